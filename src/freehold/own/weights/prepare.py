"""From what was published to what can serve: safetensors become GGUF, and are compared with what they came from.

A conversion or quantisation runs in a child process (own/convert) in a folder of the store's disk that ends with the
pull. What it makes is `unverified` until the parity gate (own/parity) has compared it with the original, which takes
torch and transformers. Where a model cannot be converted, or the packages for it are missing, it stays as it is, for
engines that take safetensors, and the person is told.
"""

import asyncio
import os
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from freehold.errors import EngineError
from freehold.own.weights.apart import apart
from freehold.own.weights.events import Done, Note, Step, Tell
from freehold.own.weights.plan import Plan
from freehold.own.weights.store import Artefact, Hold, Store, Version, artefact_id

if TYPE_CHECKING:
    from freehold.own.convert.report import Report

PLAIN = ("F32", "F16", "BF16")
STAYS = ("unsupported_architecture", "missing_package")
"""Codes of a conversion that leave the original as it is; others mean that something is wrong with it."""


def refuse_unknown(plan: Plan) -> None:
    """Raises EngineError (no_such_quantisation) for a quantisation that is neither there nor can be made."""
    if plan.wanted is None or plan.wanted in PLAIN:
        return
    from freehold.own.convert.quantise import BY_LLAMA_CPP, KINDS

    if plan.wanted not in KINDS:
        there = sorted(label for label in plan.others if label)
        raise EngineError(
            f"{plan.reference.text}: {plan.wanted} is neither there nor can it be made here",
            code="no_such_quantisation",
            retry="no",
            hint=(f"there are {', '.join(there)}; " if there else "") + f"{', '.join((*PLAIN, *KINDS))} can be made",
        )
    needed = "cyllama" if plan.wanted in BY_LLAMA_CPP else "gguf"
    if find_spec(needed) is None:
        raise EngineError(
            f"making {plan.wanted} needs the package {needed}",
            code="missing_package",
            retry="no",
            hint="pip install 'freehold[own]'",
        )


def note_unsupported(plan: Plan, config: Any, tell: Tell) -> None:
    """Says before the download where a model will not be converted."""
    if plan.format != "safetensors" or not isinstance(config, dict):
        return
    if not _convertible(config):
        named = config.get("architectures")
        what = ", ".join(map(str, named))[:80] if isinstance(named, list) else "this architecture"
        tell(Note(f"{what} cannot be converted to GGUF here: it stays safetensors, for engines such as vllm"))


def is_ready(version: Version, plan: Plan) -> bool:
    """Whether a version has what `prepare` would make."""
    made = [one for one in version.artefacts if one.format == "gguf" and not one.projector]
    if plan.format == "gguf" or (plan.wanted is None and made):
        return True
    if plan.wanted is not None:
        return any(one.quantisation == plan.wanted for one in made)
    return find_spec("gguf") is None


async def prepare(plan: Plan, artefacts: list[Artefact], store: Store, hold: Hold, tell: Tell) -> list[Artefact]:
    """Returns the artefacts, and what was made of them.

    Raises EngineError: bad_weights, disk_full, and what else is wrong with the files.
    """
    original = next((one for one in artefacts if one.format == "safetensors"), None)
    if original is None:
        return artefacts
    room = await apart(hold.workroom)
    folder = room / "original"
    await apart(_laid_out, original, store, folder)
    target = plan.wanted if plan.wanted in PLAIN else None
    try:
        base, path = await _converted(plan, original, folder, room, store, hold, target, tell)
    except EngineError as error:
        if error.code not in STAYS:
            raise
        tell(Note(f"{error.message}; it stays safetensors, for engines such as vllm" + _hinted(error)))
        return artefacts
    made = [*artefacts, base]
    if plan.wanted is not None and plan.wanted not in PLAIN:
        made.append(await _quantised(plan, base, path, room, store, hold, tell))
    return made


async def _converted(
    plan: Plan, original: Artefact, folder: Path, room: Path, store: Store, hold: Hold, target: str | None, tell: Tell
) -> tuple[Artefact, Path]:
    from freehold.own.convert.child import convert_apart

    tell(Step("converting to GGUF"))
    title = (plan.reference.repo or plan.reference.name).rpartition("/")[2]
    where = f"{plan.source.endpoint}/{plan.reference.repo}" if plan.source.endpoint and plan.reference.repo else None
    report: Report = await apart(
        convert_apart,
        folder,
        room / "converted.gguf",
        outtype=(target or "auto").lower(),
        name=title,
        licence=plan.licence,
        source=where,
        progress=_progress(tell),
    )
    for note in report.notes:
        tell(Note(note))
    return await _kept(plan, report, original, "converted", store, hold)


async def _quantised(
    plan: Plan, base: Artefact, path: Path, room: Path, store: Store, hold: Hold, tell: Tell
) -> Artefact:
    from freehold.own.convert.child import quantise_apart

    tell(Step(f"quantising to {plan.wanted}"))
    report = await apart(quantise_apart, path, room / "quantised.gguf", plan.wanted, progress=_progress(tell))
    return (await _kept(plan, report, base, "quantised", store, hold))[0]


async def _kept(
    plan: Plan, report: "Report", of: Artefact, made: Any, store: Store, hold: Hold
) -> tuple[Artefact, Path]:
    """Takes a made file into the store."""
    ref = await apart(store.adopt, hold, Path(report.path))
    label = report.quantisation.upper()
    files = {f"{plan.reference.name}-{label}.gguf": ref}
    artefact = Artefact(artefact_id("gguf", label), "gguf", label, files, made=made, of=of.id, verdict="unverified")
    return artefact, store.blob(ref.sha256)


async def check(store: Store, version: Version, tell: Tell) -> Version:
    """Compares what was made here with its original, and notes the verdicts in the store. What cannot be compared here
    stays unverified, and the person is told."""
    from freehold.own.parity.gate import Originals, judge, judged
    from freehold.own.parity.original import NoReference

    originals: Originals = {}
    for artefact in judged(version):
        if artefact.verdict != "unverified":
            continue
        tell(Step(f"comparing {artefact.quantisation} with the original"))
        try:
            version = await judge(store, version, artefact, originals)
        except NoReference as error:
            serves = "it serves all the same" if artefact.made == "converted" else "it does not serve before that"
            tell(Note(f"{artefact.quantisation} was not compared with the original, {serves}: {error.text}"))
        except EngineError as error:
            tell(Note(f"{artefact.quantisation} could not be compared with the original: {error.text}"))
        if version.artefact(artefact.id).verdict == "quarantined":
            name = version.full_name
            tell(Note(f"{artefact.quantisation} does not say what its original says: freehold weights show {name}"))
    return version


def _laid_out(artefact: Artefact, store: Store, folder: Path) -> None:
    for name, ref in artefact.files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        blob = store.blob(ref.sha256)
        try:
            os.link(blob, path)
        except OSError:  # a file system without hard links
            path.symlink_to(blob)


def _progress(tell: Tell) -> Callable[[int, int, str], None]:
    """Tells progress from the thread that waits for the child."""
    loop = asyncio.get_running_loop()

    def progress(done: int, total: int, name: str) -> None:
        loop.call_soon_threadsafe(tell, Done(done, total))

    return progress


def _convertible(config: Mapping[str, Any]) -> bool:
    try:
        from freehold.own.convert.core import supported
    except ImportError:
        return True  # told when the conversion is tried, with what to install
    return supported(config) is not None


def _hinted(error: EngineError) -> str:
    return f" ({error.hint})" if error.hint else ""
