"""The shared style of all verbs: where things are printed, and how.

stdout holds data and nothing else: a table (drawn on a terminal, plain aligned text in a pipe) or, with --json, one
JSON value. stderr holds everything said to a person: messages, `warning:`, `error:` and `hint:` lines, progress bars.
Colour only repeats what the words say, and NO_COLOR (https://no-color.org) or a dumb terminal turns it off.
"""

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal, NamedTuple, TextIO

import click

from freehold.errors import ConfigError, FreeholdError

NOTHING = "-"
"""What a table shows for a value that is not known."""


class Column(NamedTuple):
    """`right`: numbers, which line up at their end and are never broken. `whole`: a name, never broken either.
    `spare`: left out where the terminal is too narrow, the last one first; a pipe always gets it."""

    title: str
    right: bool = False
    whole: bool = False
    spare: bool = False


def coloured(stream: TextIO) -> bool:
    """Whether colour may be written to `stream`."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def say(text: str) -> None:
    """One message to the person, on stderr."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def hint(text: str) -> None:
    say(_marked("hint:", "cyan") + " " + text)


def warn(text: str) -> None:
    say(_marked("warning:", "yellow") + " " + text)


def emit(value: Any) -> None:
    """Prints one JSON value on stdout: one line in a pipe, indented on a terminal. Structs and paths are encoded."""
    import msgspec

    encoded = msgspec.json.encode(value, enc_hook=str)
    if sys.stdout.isatty():
        encoded = msgspec.json.format(encoded, indent=2)
    sys.stdout.write(encoded.decode() + "\n")
    sys.stdout.flush()


def table(columns: Sequence[Column | str], rows: Iterable[Sequence[object]]) -> None:
    """Prints rows on stdout. None is shown as `-`; a value's own text is never taken for markup."""
    heads = [column if isinstance(column, Column) else Column(column) for column in columns]
    cells = [[_cell(value) for value in row] for row in rows]
    if sys.stdout.isatty():
        _draw(heads, cells)
    else:
        sys.stdout.write(plain(heads, cells))
    sys.stdout.flush()


def plain(heads: Sequence[Column], cells: Sequence[Sequence[str]]) -> str:
    """Returns aligned text, two spaces between columns, none at the end of a line."""
    lines = [[head.title for head in heads], *cells]
    widths = [max(len(line[i]) for line in lines) for i in range(len(heads))]
    shown = []
    for line in lines:
        padded = [
            text.rjust(width) if head.right else text.ljust(width)
            for text, width, head in zip(line, widths, heads, strict=True)
        ]
        shown.append("  ".join(padded).rstrip() + "\n")
    return "".join(shown)


def money(value: float | None) -> str | None:
    """Returns US dollars with as many digits as the amount needs; None stays None: an unknown price is not 0."""
    if value is None:
        return None
    if value == 0:
        return "$0"
    return f"${value:,.2f}" if abs(value) >= 0.1 else f"${value:.2g}" if abs(value) >= 1e-4 else f"${value:.1e}"


def tokens(count: int | None) -> str | None:
    """Returns a context length as people say it: 8,192, 128k, 1.05M."""
    if count is None:
        return None
    if count >= 1_000_000:
        return f"{count / 1e6:.3g}M"
    return f"{count / 1000:.0f}k" if count >= 10_000 else f"{count:,}"


def fail(error: FreeholdError | OSError, *, as_json: bool = False) -> None:
    """Tells an expected error on stderr: text and hint, or `{"error": {...}}`."""
    if as_json:
        import msgspec

        say(msgspec.json.encode({"error": described(error)}).decode())
        return
    if isinstance(error, OSError):
        say(_marked("error:", "red") + " " + _system(error))
        return
    mistakes: list[FreeholdError] = getattr(error, "errors", [])
    for one in mistakes or [error]:
        say(_marked("error:", "red") + " " + str(one))
        if one.hint:
            hint(one.hint)
    if mistakes and error.total > len(mistakes):  # type: ignore[attr-defined]
        say(f"and {error.total - len(mistakes)} more")  # type: ignore[attr-defined]


def described(error: FreeholdError | OSError) -> dict[str, Any]:
    """Returns an error as the object that --json prints; a configuration with several mistakes lists them."""
    if isinstance(error, OSError):
        return {"message": _system(error), "code": "system", "hint": None}
    value: dict[str, Any] = {"message": str(error), "code": error.code, "fault": error.fault, "hint": error.hint}
    mistakes: list[ConfigError] = getattr(error, "errors", [])
    if mistakes:
        value["message"] = str(mistakes[0])
        value["errors"] = [{"where": e.where, "key": e.key, "message": e.message, "hint": e.hint} for e in mistakes]
    return value


@contextmanager
def progress(label: str, total: float | None = None) -> Iterator[Callable[[float], None]]:
    """Shows a bar (or a spinner, without `total`) on stderr while something slow runs, on a terminal only.

    Yields a function that advances it by so many steps.
    """
    if not sys.stderr.isatty():
        yield lambda steps: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    middle = [BarColumn(), TextColumn("{task.completed:.0f}/{task.total:.0f}")] if total else []
    columns = [SpinnerColumn(), TextColumn("{task.description}"), *middle, TimeElapsedColumn()]
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(label, total=total)
        yield lambda steps: bar.advance(task, steps)


def _cell(value: object) -> str:
    if value is None or value == "":
        return NOTHING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return str(value)


def _draw(heads: Sequence[Column], cells: Sequence[Sequence[str]]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    drawn = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    shown = _fitting(heads, cells, console.width)
    for head in (heads[i] for i in shown):
        justify: Literal["left", "right"] = "right" if head.right else "left"
        drawn.add_column(head.title, justify=justify, no_wrap=head.right or head.whole, overflow="fold")
    for row in cells:
        drawn.add_row(*(Text(row[i]) for i in shown))
    console.print(drawn)


def _fitting(heads: Sequence[Column], cells: Sequence[Sequence[str]], width: int) -> list[int]:
    """Returns the columns to draw: all, less spare ones as long as the whole is wider than `width`."""
    widths = [max(len(line[i]) for line in ([head.title for head in heads], *cells)) + 3 for i in range(len(heads))]
    shown = list(range(len(heads)))
    for i in [i for i, head in reversed(list(enumerate(heads))) if head.spare]:
        if sum(widths[k] for k in shown) > width:
            shown.remove(i)
    return shown


def _marked(word: str, colour: str) -> str:
    return click.style(word, fg=colour, bold=True) if coloured(sys.stderr) else word


def _system(error: OSError) -> str:
    reason = error.strerror or str(error)
    return f"{error.filename}: {reason}" if error.filename else reason
