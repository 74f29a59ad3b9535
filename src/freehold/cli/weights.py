"""`freehold weights`: what is in the store of weights, whether it is sound, and how it travels without a network.

`freehold pull` brings weights in. Everything here works with no gateway running, and beside one.
"""

import contextlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from freehold.cli import output
from freehold.cli import weights_view as view

if TYPE_CHECKING:
    from freehold.own.weights.describe import Facts
    from freehold.own.weights.integrity import Freed
    from freehold.own.weights.store import Store, Version

MIB = 1 << 20


def _names(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[Any]:
    from click.shell_completion import CompletionItem

    return [CompletionItem(name) for name in _store().names() if name.startswith(incomplete)]


_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
_name = click.argument("name", metavar="NAME[@vN]", shell_complete=_names)


@click.group()
def command() -> None:
    """List, check, remove and carry the weights of owned models.

    NAME is what comes after own/ in a model's name; NAME@v2 is its second version. `freehold pull` gets new ones.
    """


@command.command("list")
@click.option("--all", "everything", is_flag=True, help="Also list versions that are not current.")
@_json
def list_(everything: bool, as_json: bool) -> None:
    """List the weights in the store."""
    from freehold.errors import EngineError

    store = _store()
    broken: list[EngineError] = []
    current = store.everything(broken)
    versions = [one for head in current for one in (store.versions(head.name) if everything else [head])]
    rows = [view.row(store, version) for version in versions]
    for error in broken:
        output.warn(error.message)
        output.hint(error.hint or "freehold weights verify")
    if as_json:
        output.emit(rows)
        return
    columns: list[output.Column | str] = [
        output.Column("name", whole=True),
        output.Column("version", whole=True),
        "weights",
        output.Column("parameters", right=True),
        output.Column("size", right=True),
        output.Column("licence", spare=True),
        output.Column("from", spare=True),
        "state",
    ]
    output.table(columns, [view.cells(row) for row in rows])
    if not rows:
        output.hint("freehold pull ORG/NAME gets weights from a hub")


@command.command()
@_name
@click.option("--context", type=click.IntRange(1), metavar="N", help="Tokens of context to tell the memory for.")
@click.option("--template", "template_only", is_flag=True, help="Print the chat template and nothing else.")
@_json
def show(name: str, context: int | None, template_only: bool, as_json: bool) -> None:
    """Show what one model's weights are, and the memory they need.

    Architecture, parameters, context, licence, chat template, end tokens; its files and what was made of them.
    """
    from freehold.own.weights import describe

    store = _store()
    version = store.find(name)
    artefact = next((one for one in version.artefacts if not one.projector), version.artefacts[0])
    known = describe.facts_of(store, version, artefact)
    if template_only:
        _print_template(version, known)
        return
    tokens = context or version.context or known.context or 0
    needs = describe.memory(known, version.artefacts, tokens)
    if as_json:
        output.emit(view.described(store, version, known, tokens, needs))
    else:
        view.show(store, version, known, tokens, needs)


@command.command()
@click.argument("name", metavar="[NAME[@vN]]", required=False, shell_complete=_names)
@_json
def verify(name: str | None, as_json: bool) -> None:
    """Hash everything, or one model, and tell what is damaged.

    Exits 1 when something is damaged or missing.
    """
    from freehold.own.weights import integrity

    store = _store()
    total = integrity.to_verify(store, name)
    with _progress("verifying", total) as advance:
        found = store.verify(name, advance)
    if as_json:
        output.emit({"bytes": total, "damaged": found})
    elif found:
        columns: list[output.Column | str] = [output.Column("name", whole=True), "artefact", "file", "problem"]
        output.table(
            columns,
            [
                [f"{one.name}@{one.version}" if one.version else one.name, one.artefact, one.file, one.found]
                for one in found
            ],
        )
        for hint in dict.fromkeys(one.hint for one in found if one.hint):
            output.hint(hint)
    else:
        output.say(f"{view.size(total)} read, everything is as it was")
    if found:
        raise click.exceptions.Exit(1)


@command.command()
@_json
def gc(as_json: bool) -> None:
    """Remove what no model refers to, and downloads that were interrupted.

    What a running pull or engine uses stays.
    """
    freed = _store().gc()
    if as_json:
        output.emit(freed)
        return
    parts = [f"{freed.blobs} files", f"{freed.partial} interrupted downloads"]
    output.say(f"freed {view.size(freed.bytes)}: {', '.join(parts)}")
    _tell_kept(freed)


@command.command()
@click.argument("names", metavar="NAME[@vN]...", nargs=-1, required=True, shell_complete=_names)
@click.option("--force", is_flag=True, help="Also what is pinned.")
@_json
def rm(names: tuple[str, ...], force: bool, as_json: bool) -> None:
    """Remove models, or versions of them, with all files nothing else needs."""
    store = _store()
    removed = []
    for name in names:
        freed = store.remove(name, force=force)
        removed.append({"removed": name, "bytes": freed.bytes, "kept_for": freed.kept_for})
        if not as_json:
            output.say(f"removed {name}, freed {view.size(freed.bytes)}")
            _tell_kept(freed)
    if as_json:
        output.emit(removed)


@command.command()
@_name
@_json
def pin(name: str, as_json: bool) -> None:
    """Keep a version from being replaced or removed.

    Its files stay as they are and rm asks for --force. While the pinned version is the current one, no pull and no
    promotion makes another one current; pinning an old version does not make it current.
    """
    store = _store()
    version = store.pin(name)
    current = store.current(version.name)
    if as_json:
        digests = {one.id: one.digest for one in version.artefacts}
        output.emit({"pinned": version.full_name, "current": current == version.version, "digests": digests})
        return
    output.say(f"pinned {version.full_name}: it is not replaced or removed")
    if current != version.version:
        output.say(f"own/{version.name} is {current} as before")
        output.hint(f"freehold deploy {version.full_name} serves the pinned one")


@command.command()
@_name
@_json
def unpin(name: str, as_json: bool) -> None:
    """Let pinned versions be replaced and removed again.

    NAME stands for all pinned versions of it, NAME@vN for one.
    """
    names = _store().unpin(name)
    if as_json:
        output.emit({"unpinned": names})
    elif names:
        output.say(f"unpinned {', '.join(names)}")
    else:
        output.say(f"{name.removeprefix('own/')} was not pinned")


@command.command()
@_name
@click.option(
    "-o", "--output", "out", metavar="FILE.tar", help="Where to write it; - for stdout. NAME-vN.tar here else."
)
@click.option("--only", multiple=True, metavar="QUANTISATION", help="Only these artefacts; may be given again.")
@click.option("--force", is_flag=True, help="Replace the file if there is one.")
@_json
def export(name: str, out: str | None, only: tuple[str, ...], force: bool, as_json: bool) -> None:
    """Write a model into one file, for a machine without a network.

    `freehold weights import` reads it there. The file is a plain tar, and says by hash what is in it.
    """
    from freehold.errors import BadRequest
    from freehold.own.weights import bundle

    store = _store()
    version = store.find(name)
    path = Path(out) if out else Path(f"{version.name.replace('/', '-')}-{version.version}.tar")
    if out == "-" and sys.stdout.isatty():
        raise click.UsageError("a bundle is not for a terminal: give -o FILE.tar, or a pipe")
    if out != "-" and path.exists() and not force:
        raise BadRequest(f"{path} is there already", code="file_exists", hint="--force replaces it, -o names another")
    total = sum(file.size for file in bundle.contents(version))
    with _progress(f"writing {path if out != '-' else 'the bundle'}", total) as advance:
        if out == "-":
            version = bundle.export(store, name, sys.stdout.buffer, artefacts=only, progress=advance)
            return
        with _replacing(path) as file:
            version = bundle.export(store, name, file, artefacts=only, progress=advance)
    if as_json:
        output.emit({"exported": version.full_name, "file": path, "bytes": path.stat().st_size})
    else:
        output.say(f"wrote {version.full_name} to {path}, {view.size(path.stat().st_size)}")


@command.command("import")
@click.argument("file", metavar="FILE.tar", type=click.File("rb"))
@click.option("--name", help="Another name for it here.")
@click.option("--remote-code", is_flag=True, help="Allow Python code that the model brings; read it first.")
@_json
def import_(file: BinaryIO, name: str | None, remote_code: bool, as_json: bool) -> None:
    """Add a model from a file that `export` wrote; - is stdin."""
    from freehold.errors import EngineError
    from freehold.own.weights import bundle

    store = _store()
    record = bundle.read_record(file)
    if record.remote_code and not remote_code:
        raise EngineError(
            f"{record.full_name} brings Python code that an engine may run on this machine",
            code="remote_code_refused",
            retry="no",
            hint="--remote-code, if you trust whoever wrote it",
        )
    total = sum(one.size for one in bundle.contents(record))
    with _progress(f"reading {record.name}", total) as advance:
        version = bundle.import_(store, file, record, name=name, progress=advance)
    if as_json:
        output.emit({"imported": version.full_name, "model": f"own/{version.name}", "bytes": total})
        return
    output.say(f"imported {version.full_name}, asked for as own/{version.name}")
    if store.current(version.name) != version.version:
        output.warn(f"{version.name}@{store.current(version.name)} is pinned and stays the current version")


def _print_template(version: "Version", known: "Facts") -> None:
    from freehold.errors import NotFound

    if not known.chat_template:
        raise NotFound(f"{version.full_name} has no chat template", hint="it completes text, it does not chat")
    sys.stdout.write(known.chat_template.removesuffix("\n") + "\n")
    sys.stdout.flush()


def _tell_kept(freed: "Freed") -> None:
    if freed.kept_for:
        output.say(f"in use, and therefore kept: {'; '.join(freed.kept_for)}")
        output.hint("freehold weights gc removes it when it is not used any more")


def _store() -> "Store":
    from freehold.own.weights.store import open_store

    return open_store()


@contextlib.contextmanager
def _progress(label: str, total: int) -> Iterator[Callable[[int], None]]:
    with output.progress(f"{label}, MiB", max(total / MIB, 0.01)) as advance:
        yield lambda size: advance(size / MIB)


@contextlib.contextmanager
def _replacing(path: Path) -> Iterator[BinaryIO]:
    """Opens a new file that takes the place of `path` when all is written; a failure leaves nothing behind."""
    import os

    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("xb") as file:
            yield file
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
