"""`pull`: one reference in, weights that can serve out.

    plan      ask the other side what there is, and choose (hub.py, sources.py, choose.py)
    estimate  disk and memory, told and checked before a byte of weights is fetched (plan.py)
    fetch     small files first, so that code nobody allowed is refused before hours of download; then the weights
              (download.py)
    prepare   safetensors become GGUF, in a child process (prepare.py)
    add       headers are read, the version is in the store and offered as own/NAME (store.py)
    check     what was converted or quantised is compared with the original where torch is installed (prepare.py)

A version appears in one step, with what can serve it, so that a pull never leaves a name worse than it was. A pull
that is interrupted leaves the store as it was; the next one goes on where it stopped. What is there already is not
pulled again: the same commit, with the same files, is done at once.
"""

from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager, nullcontext
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from freehold.errors import EngineError
from freehold.own.weights import describe, download, hub, inspect, pickled, prepare, refusals, remote, sources
from freehold.own.weights.apart import apart
from freehold.own.weights.events import Note, Planning, Step, Tell, silent
from freehold.own.weights.noted import Receipts
from freehold.own.weights.origin import note as noted
from freehold.own.weights.origin import pulled
from freehold.own.weights.plan import Plan, Planned, estimate, refuse_full_disk
from freehold.own.weights.reference import Reference, parse
from freehold.own.weights.remote import Patience
from freehold.own.weights.store import Artefact, FileRef, Hold, Store, Version, artefact_id
from freehold.own.weights.types import check_name

if TYPE_CHECKING:
    import httpx2

__all__ = ["look", "pull", "pulled"]


async def pull(
    reference: str | Reference,
    store: Store,
    *,
    name: str | None = None,
    remote_code: bool = False,
    pickles: bool = False,
    check: bool = True,
    tell: Tell = silent,
    patience: Patience | None = None,
    receipts: Receipts | None = None,
) -> Version:
    """Fetches weights, or does nothing where they are there; returns the version that has them.

    `name` is NAME of own/NAME, otherwise taken from the reference. `remote_code` allows Python code in the repository
    to be fetched and run by engines. `pickles` allows pickles to be fetched, where there is nothing else, and
    safetensors to be made of them (pickled.py). `check` compares what is made here with the original. `receipts` writes
    down what is asked of whom.

    Raises:
        ConfigError: the reference, or an address in the environment, is none.
        EngineError: everything else; see hub.py, sources.py, choose.py, download.py, store.py for the codes.
    """
    wanted = parse(reference) if isinstance(reference, str) else reference
    name = check_name(name or wanted.name)
    async with _opened(wanted, receipts) as client:
        plan = await _plan(wanted, client, remote_code, pickles, tell, patience)
        there = await apart(_there, store, name, plan)
        if there is not None:
            tell(Note(f"own/{name} is {there.full_name} already, from the same {_of(plan)}"))
            return await apart(noted, store, there, wanted)
        await _afford(plan, store, tell)
        hold = await apart(store.hold, f"pull {wanted.text}", undo=Hold.close)
        refs: dict[str, FileRef] = {}
        try:
            refs = await _fetch(plan, store, hold, client, tell, patience)
            artefacts = await _taken(plan, refs, store, hold, tell)
            made = await prepare.prepare(plan, artefacts, store, hold, tell)
            tell(Step("reading headers"))
            version = await apart(_add, store, name, plan, made)
        finally:
            hold.close()
            if refs and plan.pickles:
                await apart(pickled.drop, plan, refs, store)
    version = await apart(noted, store, version, wanted)
    if check:
        version = await prepare.check(store, version, tell)
    _tell_current(store, version, tell)
    return version


async def look(
    reference: str | Reference,
    store: Store,
    *,
    remote_code: bool = False,
    pickles: bool = False,
    tell: Tell = silent,
    patience: Patience | None = None,
    receipts: Receipts | None = None,
) -> Planning:
    """Returns what `pull` would do, fetching nothing."""
    wanted = parse(reference) if isinstance(reference, str) else reference
    async with _opened(wanted, receipts) as client:
        plan = await _plan(wanted, client, remote_code, pickles, tell, patience)
    return Planning(plan, await apart(estimate, plan, store))


@asynccontextmanager
async def _opened(reference: Reference, receipts: Receipts | None) -> "AsyncIterator[httpx2.AsyncClient | None]":
    """Yields the HTTP client that the reference needs."""
    if reference.kind in ("folder", "file"):
        yield None
        return
    others = [hub.blocking_session()] if reference.kind == "hub" else []
    async with hub.session() if reference.kind == "hub" else sources.session() as client:
        with receipts.of(client, *others) if receipts is not None else nullcontext():
            yield client


async def _plan(
    reference: Reference,
    client: "httpx2.AsyncClient | None",
    remote_code: bool,
    pickles: bool,
    tell: Tell,
    patience: Patience | None,
) -> Plan:
    if client is None:
        plan = await apart(sources.plan_local, reference, remote_code=remote_code, pickles=pickles)
    elif reference.kind == "hub":
        tell(Step(f"asking {hub.endpoint()} for {reference.repo}"))
        plan = await hub.plan(reference, remote_code=remote_code, pickles=pickles, patience=patience)
    else:
        tell(Step(f"asking for {reference.text}"))
        plan = await (sources.plan_ollama if reference.kind == "ollama" else sources.plan_url)(reference, client)
    prepare.refuse_unknown(plan)
    pickled.refuse_unreadable(plan)
    return plan


async def _afford(plan: Plan, store: Store, tell: Tell) -> None:
    found = await apart(estimate, plan, store)
    tell(Planning(plan, found))
    for note in (*plan.notes, *([found.warning] if found.warning else [])):
        tell(Note(note))
    refuse_full_disk(plan, found, store.root)


# Fetching


async def _fetch(
    plan: Plan, store: Store, hold: Hold, client: "httpx2.AsyncClient | None", tell: Tell, patience: Patience | None
) -> dict[str, FileRef]:
    """Brings all files in; returns their contents by name."""
    small = [file for file in plan.files if not file.name.endswith((".gguf", ".safetensors")) and not _is_large(file)]
    large = [file for file in plan.files if file not in small]
    refs = await _bring(plan, small, store, hold, client, tell, patience)
    configs = {name: inspect.read_json(store.blob(ref.sha256), name) for name, ref in refs.items() if _is_config(name)}
    names = [file.name for file in plan.files]
    refusals.refuse_remote_code(
        plan.reference.text,
        names,
        configs,
        allowed=plan.remote_code,
        override="read it; then freehold pull ... --remote-code, or write `remote_code: true` for it in freehold.yaml",
    )
    prepare.note_unsupported(plan, configs.get("config.json"), tell)
    tell(Step("downloading" if client is not None else "copying"))
    return refs | await _bring(plan, large, store, hold, client, tell, patience)


async def _taken(plan: Plan, refs: Mapping[str, FileRef], store: Store, hold: Hold, tell: Tell) -> list[Artefact]:
    """The artefacts of what has come: as it was published, but for pickles."""
    if not plan.pickles:
        return _artefacts(plan, refs, store)
    tell(Step("making safetensors of pickles, in a process of its own"))
    made = await apart(pickled.unpickled, plan, refs, store, hold)
    return [pickled.described(plan, refs, one) for one in _artefacts(plan, refs, store, made)]


def _is_large(file: Planned) -> bool:
    return file.part == "pickle" and not file.name.endswith(".json")


def _is_config(name: str) -> bool:
    return name.endswith("config.json") and "/" not in name


async def _bring(
    plan: Plan,
    files: Iterable[Planned],
    store: Store,
    hold: Hold,
    client: "httpx2.AsyncClient | None",
    tell: Tell,
    patience: Patience | None,
) -> dict[str, FileRef]:
    if client is None:
        return {file.name: await _copied(file, store, hold, tell) for file in files}
    refusal = sources.refusal if plan.source.kind != "hub" else hub.refusal(plan.reference, plan.source.revision or "")
    remotes = [file.remote for file in files if file.remote is not None]
    return await download.download(remotes, store, hold, client, refusal=refusal, tell=tell, patience=patience)


async def _copied(file: Planned, store: Store, hold: Hold, tell: Tell) -> FileRef:
    done = 0
    path = file.path or Path()
    tell(remote.Opened(file.name, file.size, 0))

    def progress(count: int) -> None:
        nonlocal done
        done += count
        tell(remote.Arrived(file.name, done))

    ref = await apart(store.copy_in, hold, path, progress)
    tell(remote.Finished(file.name, ref))
    return ref


def _artefacts(
    plan: Plan, refs: Mapping[str, FileRef], store: Store, made: Mapping[str, FileRef] = MappingProxyType({})
) -> list[Artefact]:
    """The artefacts of what came, and of the weights `made` of it."""
    papers = {file.name: refs[file.name] for file in plan.files if file.part == "paper"}
    found = []
    for part in ("weights", "projector"):
        files = {file.name: refs[file.name] for file in plan.files if file.part == part}
        if part == "weights":
            files |= made
        if files:
            label = plan.quantisation if part == "weights" else ""
            paths = {name: store.blob(ref.sha256) for name, ref in {**papers, **files}.items()}
            label = label or describe.facts(paths, plan.format).quantisation
            projector = part == "projector"
            found.append(
                Artefact(
                    artefact_id(plan.format, label, projector=projector),
                    plan.format,
                    label,
                    files if projector else {**papers, **files},
                    projector=projector,
                )
            )
    return found


# Adding


def _add(store: Store, name: str, plan: Plan, artefacts: list[Artefact]) -> Version:
    main = next(one for one in artefacts if not one.projector)
    facts = describe.facts({file: store.blob(ref.sha256) for file, ref in main.files.items()}, main.format)
    return store.add(
        name,
        source=plan.source,
        artefacts=artefacts,
        licence=plan.licence or facts.licence,
        architecture=facts.architecture,
        parameters=facts.parameters,
        context=facts.context,
        template=facts.template,
        remote_code=plan.remote_code,
    )


def _there(store: Store, name: str, plan: Plan) -> Version | None:
    """The version that this pull would make, if it is there, whole, and can be made current."""
    if name not in store.names() or plan.source.revision is None:
        return None
    for version in reversed(store.versions(name)):
        source = version.source
        same = (source.kind, source.revision, source.endpoint) == (
            plan.source.kind, plan.source.revision, plan.source.endpoint,
        )  # fmt: skip
        if same and version.remote_code == plan.remote_code and _has(store, version, plan):
            if store.current(name) != version.version and store.current(name) not in store.pins(name):
                store.promote(name, version.version)
            return version
    return None


def _has(store: Store, version: Version, plan: Plan) -> bool:
    names = {file.name for file in plan.files if file.part == "weights"}
    wanted = {file.name for file in plan.files if file.part == "pickle"}
    pulled = [
        one
        for one in version.artefacts
        if names <= set(one.files) and (wanted == set(pickled.made_of(one)) if wanted else one.made == "pulled")
    ]
    if not pulled or not prepare.is_ready(version, plan):
        return False
    try:
        for artefact in version.artefacts:
            store.check_unchanged(version, artefact)
    except EngineError:
        return False
    return True


def _of(plan: Plan) -> str:
    return {"hub": "commit", "ollama": "manifest"}.get(plan.source.kind, "content")


def _tell_current(store: Store, version: Version, tell: Tell) -> None:
    current = store.current(version.name)
    if current != version.version:
        tell(
            Note(
                f"own/{version.name} stays at {current}, which is pinned; this one is own/{version.full_name}, "
                f"and freehold weights unpin {version.name}@{current} lets the name move"
            )
        )
