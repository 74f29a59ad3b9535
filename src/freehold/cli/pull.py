"""`freehold pull`: weights from elsewhere, so that own/NAME answers."""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import click
from msgspec import Struct

from freehold.cli import output
from freehold.errors import FreeholdError

if TYPE_CHECKING:
    from freehold.own.weights.events import Event, Planning
    from freehold.own.weights.reference import Reference
    from freehold.own.weights.store import Version

OFFER_WAIT = 5.0
"""Seconds a running gateway may take to see what was pulled."""
WORKERS_LOOK = 0.3
"""Seconds in which every worker of a gateway has looked (serve/worker.py)."""
PAUSE = 10.0
"""Seconds between two lines about the same file, where nothing can be drawn."""
SMALL = 1 << 20
"""Bytes of a file that gets a bar of its own."""


class _Model(Struct):
    id: str


class _Offered(Struct):
    """What GET /v1/models answers."""

    data: list[_Model]


_HELP = """Fetch weights, verify them, and serve them as own/NAME.

\b
REFERENCE is one of
  ORG/NAME[@REVISION][:QUANTISATION]   a repository of a Hugging Face hub (HF_ENDPOINT, HF_TOKEN)
  https://HOST/FILE.gguf[#sha256=HEX]  a file
  ollama:NAME[:TAG]                    a model of an Ollama registry (OLLAMA_REGISTRY)
  ./FOLDER or ./FILE.gguf              what is here already

Of a repository with GGUF files one quantisation is taken: the one asked for, else Q4_K_M or the next in size.
Safetensors are converted, and quantised when a quantisation is asked for; what was made here is compared with the
original where torch is installed. An interrupted pull goes on where it stopped. Pickles are refused: a pickle is a
program that runs when it is read. --pickles has safetensors made of them by torch's restricted reader, in a process of
its own; it refuses what is no weights, and only the safetensors are kept.
"""


@click.command(help=_HELP)
@click.argument("reference")
@click.option("--name", help="NAME in own/NAME; the repository's or file's name where it is not given.")
@click.option("--revision", help="Branch, tag or commit of a hub's repository.")
@click.option("--remote-code", is_flag=True, help="Fetch Python code in the repository too, for engines to run.")
@click.option(
    "--pickles", is_flag=True, help="Fetch pickles where there is nothing else, and make safetensors of them."
)
@click.option(
    "--check/--no-check", default=True, help="Compare what is converted with the original.", show_default=True
)
@click.option("--dry-run", is_flag=True, help="Show files, disk and memory; fetch nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(
    reference: str,
    name: str | None,
    revision: str | None,
    remote_code: bool,
    pickles: bool,
    check: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    from freehold.own.weights.noted import Receipts
    from freehold.own.weights.pull import look, pull
    from freehold.own.weights.store import open_store

    wanted = _at(reference, revision)
    store, receipts = open_store(), Receipts()
    more: dict[str, Any] = {"remote_code": remote_code, "pickles": pickles, "receipts": receipts}
    try:
        if dry_run:
            _show_plan(asyncio.run(look(wanted, store, **more)), as_json)
            return
        with _teller(as_json) as tell:
            version = asyncio.run(pull(wanted, store, name=name, check=check, tell=tell, **more))
    except KeyboardInterrupt:
        output.say("stopped; what has arrived is kept, and the same command goes on from there")
        raise click.Abort from None
    finally:
        receipts.close()
    _show(version, as_json, running=asyncio.run(_offered(version.name)))


async def _offered(name: str) -> bool:
    """Whether a gateway runs from this FREEHOLD_HOME; then waits, a few seconds at most, until it offers the model."""
    from freehold.cli import client

    gateway = client.running()
    if gateway is None:
        return False
    loop = asyncio.get_running_loop()
    end = loop.time() + OFFER_WAIT
    with suppress(FreeholdError):
        while loop.time() < end:
            offered = await client.get(gateway, "/v1/models", _Offered)
            if any(model.id == f"own/{name}" for model in offered.data):
                await asyncio.sleep(WORKERS_LOOK)  # the other workers look at the store as often
                break
            await asyncio.sleep(0.05)
    return True


def _at(text: str, revision: str | None) -> "Reference":
    """The reference, at the revision of the option."""
    from freehold.errors import ConfigError
    from freehold.own.weights.reference import parse

    found = parse(text)
    if revision is None or found.revision == revision:
        return found
    if found.kind != "hub" or found.revision is not None:
        raise ConfigError(
            f"--revision {revision} does not go with {found.text}",
            hint="a revision is of a hub's repository, and given once: ORG/NAME@REVISION",
        )
    quantisation = f":{found.quantisation}" if found.quantisation else ""
    return parse(f"{found.repo}@{revision}{quantisation}")


# What is shown at the end


def _show(version: "Version", as_json: bool, *, running: bool) -> None:
    if as_json:
        output.emit({"model": f"own/{version.name}", **_as_dict(version)})
        return
    output.table(
        ["model", "artefact", output.Column("size", right=True), "made", "verdict"],
        [(f"own/{version.full_name}", one.id, _bytes(one.size), one.made, one.verdict) for one in version.artefacts],
    )
    output.hint(f'freehold ask -m own/{version.name} "..." asks it' + ("" if running else ", once freehold up runs"))


def _show_plan(planning: "Planning", as_json: bool) -> None:
    plan, estimate = planning.plan, planning.estimate
    if as_json:
        output.emit(
            {
                "reference": plan.reference.text,
                "name": plan.reference.name,
                "source": plan.source,
                "format": plan.format,
                "licence": plan.licence,
                "files": [{"name": file.name, "size": file.size, "part": file.part} for file in plan.files],
                "estimate": estimate,
                "warning": estimate.warning,
                "notes": plan.notes,
            }
        )
        return
    output.table(
        [output.Column("file", whole=True), "part", output.Column("size", right=True)],
        [(file.name, file.part, _bytes(file.size)) for file in plan.files],
    )
    output.say("")
    output.table(
        [
            "quantisation",
            output.Column("weights", right=True),
            output.Column("memory, about", right=True),
            "",
            "fits here",
        ],
        [
            (
                row.quantisation,
                _bytes(row.weights),
                _bytes(row.memory),
                "would be pulled" if row.chosen and row.there else "would be made" if row.chosen else "",
                row.fits,
            )
            for row in estimate.rows
        ],
    )
    output.say(
        f"{_bytes(estimate.missing)} of {_bytes(estimate.size)} to fetch, {_bytes(estimate.disk)} of disk needed, "
        f"{_bytes(estimate.disk_free)} free; licence {plan.licence or 'not named'}; "
        f"revision {plan.source.revision or 'none'}"
    )
    for note in (*plan.notes, *([estimate.warning] if estimate.warning else [])):
        output.warn(note)


def _as_dict(version: "Version") -> dict[str, Any]:
    import msgspec

    value: dict[str, Any] = msgspec.to_builtins(version)
    return value


def _bytes(count: int | None) -> str | None:
    from freehold.own.memory import shown

    if count is None:
        return None
    return shown(count) if count >= 1024 else f"{count} bytes"


# What is shown while it runs


@contextmanager
def _teller(as_json: bool) -> "Iterator[Callable[[Event], None]]":
    """Yields what tells a person how far it is: bars on a terminal, lines elsewhere, nothing with --json."""
    import sys

    if as_json:
        yield lambda event: None
    elif sys.stderr.isatty():
        with _Bars() as bars:
            yield bars
    else:
        yield _Lines()


class _Lines:
    """One line for what begins, goes wrong or is done, and now and then one for what goes on."""

    def __init__(self) -> None:
        self._sizes: dict[str, int | None] = {}
        self._told: dict[str, float] = {}

    def __call__(self, event: "Event") -> None:
        if (text := self._text(event)) is not None:
            output.say(text)

    def _text(self, event: "Event") -> str | None:
        from freehold.own.weights import events, remote

        match event:
            case remote.Opened(name, size, there, whole):
                self._sizes[name] = size
                self._told[name] = time.monotonic()
                if whole:
                    return f"{name}: here already"
                return f"{name}: goes on at {_bytes(there)} of {_bytes(size) or 'an unknown size'}" if there else None
            case remote.Arrived(name, done):
                return self._far(name, done, self._sizes.get(name))
            case events.Done(done, total):
                return self._far("", done, total)
        return _sentence(event)

    def _far(self, name: str, done: int, total: int | None) -> str | None:
        if time.monotonic() - self._told.setdefault(name, time.monotonic()) < PAUSE:
            return None
        self._told[name] = time.monotonic()
        return f"{name}: {_bytes(done)}" + (f" of {_bytes(total)}" if total else "")


class _Bars:
    """A bar for each large file on its way, one for the step that runs, sentences above them."""

    def __init__(self) -> None:
        from rich import progress
        from rich.console import Console

        self._progress = progress.Progress(
            progress.SpinnerColumn(),
            progress.TextColumn("{task.description}", markup=False),
            progress.BarColumn(),
            progress.DownloadColumn(binary_units=True),
            progress.TransferSpeedColumn(),
            progress.TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
        )
        self._tasks: dict[str, Any] = {}
        self._step: Any = None

    def __enter__(self) -> "_Bars":
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def __call__(self, event: "Event") -> None:
        from freehold.own.weights import events, remote

        match event:
            case remote.Opened(name, size, there, whole):
                if not whole and (size is None or size >= SMALL) and name not in self._tasks:
                    self._tasks[name] = self._progress.add_task(name, total=size, completed=there)
                return
            case remote.Arrived(name, done):
                if name in self._tasks:
                    self._progress.update(self._tasks[name], completed=done)
                return
            case remote.Finished(name, _):
                if name in self._tasks:
                    self._progress.remove_task(self._tasks.pop(name))
            case events.Step(text):
                self._ended()
                self._step = self._progress.add_task(text, total=None)
                return
            case events.Done(done, total):
                if self._step is not None:
                    self._progress.update(self._step, completed=done, total=total)
                return
        if (sentence := _sentence(event)) is not None:
            self._progress.console.print(sentence, markup=False, highlight=False)

    def _ended(self) -> None:
        if self._step is not None:
            self._progress.remove_task(self._step)
            self._step = None


def _sentence(event: "Event") -> str | None:
    """What an event is in words; None for what is only a number."""
    from freehold.own.weights import events, remote

    match event:
        case events.Step(text) | events.Note(text):
            return text
        case events.Planning(plan, estimate):
            revision = (plan.source.revision or "")[:12]
            here = (
                ""
                if estimate.missing == estimate.size
                else f", {_bytes(estimate.size - estimate.missing)} here already"
            )
            return (
                f"{plan.reference.text}{f' at {revision}' if revision else ''}: "
                f"{len(plan.files)} files, {_bytes(estimate.size)}{here}"
            )
        case remote.Again(name, why, pause):
            return f"{name}: {why}; again in {pause:.0f} s" if pause >= 0.5 else f"{name}: {why}; again"
        case remote.Shared(name):
            return f"{name}: another process is fetching it, waiting for that"
        case remote.Finished(name, ref):
            return f"{name}: {_bytes(ref.size)}, sha256 {ref.sha256[:12]}"
    return None
