"""`freehold import`: another gateway's configuration as freehold.yaml."""

import sys
from collections.abc import Callable, Iterator
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from freehold.cli import output

if TYPE_CHECKING:
    from freehold.config.litellm import Builtin, Finding, Imported

_FATES = ("mapped", "approximated", "dropped")


@click.group()
def command() -> None:
    """Turn another gateway's configuration into freehold.yaml."""


@command.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--output", "target", type=click.Path(path_type=Path, dir_okay=False, allow_dash=True),
              default=Path("freehold.yaml"), show_default=True, help="File to write; - for stdout.")  # fmt: skip
@click.option("--dry-run", is_flag=True, help="Write nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON: the configuration, and what became of every field.")
def litellm(file: Path, target: Path, dry_run: bool, as_json: bool) -> None:
    """Turn a LiteLLM proxy's config.yaml into freehold.yaml.

    Prints what became of every field: mapped (means the same here), approximated (nearly, and how it differs) or
    dropped (has no effect, and why). No secret is copied: keys stay references to the environment, and a key written
    in the file becomes a variable to be set. An existing file is never overwritten.
    """
    from freehold.config.litellm import convert
    from freehold.errors import BadRequest

    stdout = str(target) == "-"
    if not stdout and not dry_run and target.exists():
        raise BadRequest(f"{target} exists already", hint="name another file with --output", code="exists")
    result = convert(_read(file), str(file), providers=_built_in(), include=_included(file.parent))
    _checked(result)
    if not stdout and not dry_run:
        _create(target, result.text)
    written = None if stdout or dry_run else str(target)
    if as_json:
        output.emit(_as_json(result, written))
        return
    if stdout:
        sys.stdout.write(result.text)
        sys.stdout.flush()
    else:
        _show(result.findings)
    _tell(result, written)


def _built_in() -> "dict[str, Builtin]":
    from freehold.call.providers import rows
    from freehold.config.litellm import Builtin

    return {name: Builtin(row.base_url, row.dialect, tuple(row.keys)) for name, row in rows().items()}


def _read(path: Path) -> bytes:
    """Returns the file's content. Raises ConfigErrors where it cannot be read."""
    from freehold.config.problems import file_error
    from freehold.config.tree import MAX_BYTES

    try:
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except OSError as error:
        raise file_error(
            path, f"the file cannot be read: {error.strerror}", hint="give the path of LiteLLM's config.yaml"
        ) from None


def _included(folder: Path) -> Callable[[str], bytes]:
    """Returns what reads an included file: its name is relative to the file that names it, as in LiteLLM."""
    return lambda name: _read(folder / name)


def _create(path: Path, text: str) -> None:
    """Writes a new file. Raises BadRequest if somebody else just made one of that name."""
    from freehold.errors import BadRequest

    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise BadRequest(f"{path} exists already", hint="name another file with --output", code="exists") from None


def _checked(result: "Imported") -> None:
    """Reads the new file with the loader itself, variables filled in. Raises ConfigErrors where that refuses it."""
    from freehold.call.providers import rows
    from freehold.config.load import loads

    stand_ins = {variable.name: _stand_in(variable.used_for, i) for i, variable in enumerate(result.variables)}
    loads(result.text.encode(), stand_ins, providers=rows().keys())


def _stand_in(used_for: str, number: int) -> str:
    """Returns a value of the kind that a variable will hold."""
    if used_for.startswith("the address"):
        return "https://host.invalid"
    return "30" if used_for == "a number of seconds" else f"stand-in-for-a-key-{number}"


def _show(findings: "list[Finding]") -> None:
    columns: list[output.Column | str] = [
        output.Column("what", whole=True),
        output.Column("line", right=True),
        "LiteLLM",
        "freehold.yaml",
        "why",
    ]
    output.table(columns, [row for fate in _FATES for row in _rows(findings, fate)])


def _rows(findings: "list[Finding]", fate: str) -> Iterator[list[str | None]]:
    """Yields one row for each decision: fields of one section that share it stand together."""
    chosen = [one for one in findings if one.fate == fate]
    for (decided_at, to, why), group in groupby(chosen, key=lambda one: (one.decided_at, one.to, one.why)):
        fields = list(group)
        name = fields[0].key if len(fields) == 1 else f"{decided_at} ({len(fields)} fields)"
        yield [fate, fields[0].where.rsplit(":", 2)[1], name, to or None, why or None]


def _tell(result: "Imported", written: str | None) -> None:
    counts = [f"{sum(one.fate == fate for one in result.findings)} {fate}" for fate in _FATES]
    output.say(f"{len(result.findings)} fields: {', '.join(counts)}")
    for variable in result.variables:
        if variable.secret_was_literal:
            output.warn(f"{variable.name} ({variable.used_for}) was written in the file and was not copied: set it")
    missing = [variable.name for variable in result.variables if variable.default is None]
    if missing:
        output.say("it reads from the environment: " + ", ".join(missing))
    if not result.config.get("providers"):
        output.warn("nothing in it can be called: no entry of model_list was mapped")
    if written is None:
        output.say("nothing was written")
        return
    output.say(f"wrote {written}")
    output.hint(f"freehold config check --config {written}")


def _as_json(result: "Imported", written: str | None) -> dict[str, Any]:
    return {
        "written": written,
        "config": result.config,
        "text": result.text,
        "variables": result.variables,
        **{fate: [one for one in result.findings if one.fate == fate] for fate in _FATES},
    }
