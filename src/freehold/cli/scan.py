"""`freehold scan`: what the detectors find in text, with the same rules and code as the request path.

Reads files, or stdin where none are named. JSON lines are told by one of the first two lines being a JSON object: then
each line with a string `text` is one text. Anything else is one text as a whole. Lines are read and answered one at a
time, so memory stays the same however long the input is; a plain file is read up to MAX_FILE.

With --json one object per line, in the order of the input: `{"label": ..., "findings": [...]}`; start and end count
Unicode code points. A line that cannot be read becomes `{"error": ..., "line": N}` and is told on stderr; the exit
status is then 1. Findings are no error: 0 says that everything was read.
"""

import sys
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import click
from msgspec import Struct

from freehold.cli import output
from freehold.errors import BadRequest

if TYPE_CHECKING:
    from freehold.check.detect import Finding, Rules

MAX_LINE = 64 << 20
"""Bytes of one line; a longer one is an error of its own and is not read whole."""
MAX_FILE = 1 << 30


class Line(Struct):
    """A line of input. Other fields are let be."""

    text: str


class Problem(Struct):
    """What `--json` prints for a line that is no text; `line` counts from 1."""

    error: str
    line: int
    file: str | None = None


class Said(Struct):
    """A finding as `--json` prints it. No part of the text is repeated: output may be kept where the text may not."""

    type: str
    start: int
    end: int
    rule: str
    score: float


class Scanned(Struct):
    """What `--json` prints for a text."""

    label: str
    findings: list[Said]


@click.command()
@click.argument("files", metavar="[FILE]...", nargs=-1, type=click.Path(exists=True, dir_okay=False))
@click.option("--json", "as_json", is_flag=True, help="One JSON object per text, for programs.")
@click.option("--minimum", type=click.FloatRange(0, 1), default=0.5, show_default=True, help="Leave out lower scores.")
def command(files: tuple[str, ...], as_json: bool, minimum: float) -> None:
    """Show what the detectors find in text: secrets, personal data, injection.

    Reads JSON lines {"text": ...} or plain text, from files or stdin.
    """
    from freehold.check.detect import Rules

    rules = Rules(minimum=minimum)
    for absent in rules.absent:
        output.warn(
            f"{len(absent.rules)} rules are off, for want of {absent.package}: {', '.join(absent.rules[:4])} ..."
        )
        output.hint(absent.hint)
    bad = 0
    for name in files or (None,):
        if name is None:
            bad += _read(sys.stdin.buffer, None, rules, as_json)
        else:
            with Path(name).open("rb") as stream:
                bad += _read(stream, name, rules, as_json)
    if bad:
        raise BadRequest(f"{bad} line{'s' if bad > 1 else ''} could not be read", code="bad_lines")


def _read(stream: IO[bytes], name: str | None, rules: "Rules", as_json: bool) -> int:
    """Scans one stream; returns how many lines of it were no text."""
    bad = 0
    for number, text in _texts(stream):
        if isinstance(text, str):
            _show(text, number, name, rules, as_json)
        else:
            bad += 1
            where = f"{name or 'stdin'}:{number}"
            output.say(f"{where}: {text}")
            if as_json:
                _line(Problem(str(text), number, name))
    return bad


def _texts(stream: IO[bytes]) -> Iterator[tuple[int, str | ValueError]]:
    """Yields line numbers with texts, or with what is wrong."""
    head: list[bytes] = []
    while len([line for line in head if line.strip()]) < 2 and (line := stream.readline(MAX_LINE)):
        head.append(line.removeprefix(b"\xef\xbb\xbf") if not head else line)
        if _is_object(line):
            yield from _lines(head, stream)
            return
    if head:
        rest = stream.read(MAX_FILE)
        yield 1, (b"".join(head) + rest).decode("utf-8", "replace")
        if len(rest) == MAX_FILE:
            yield 1, ValueError(f"only the first {MAX_FILE >> 20} MB were read")


def _is_object(line: bytes) -> bool:
    import msgspec

    try:
        return isinstance(msgspec.json.decode(line.removeprefix(b"\xef\xbb\xbf")), dict)
    except msgspec.DecodeError:
        return isinstance(_text(line), str)


def _lines(head: list[bytes], stream: IO[bytes]) -> Iterator[tuple[int, str | ValueError]]:
    """Yields each line's text: of those that were read already, and of the rest."""
    for number, line in enumerate(chain(head, iter(lambda: stream.readline(MAX_LINE), b"")), 1):
        if len(line) >= MAX_LINE and not line.endswith(b"\n"):
            yield number, ValueError(f"the line is longer than {MAX_LINE >> 20} MB")
            rest = line
            while rest and not rest.endswith(b"\n"):
                rest = stream.readline(MAX_LINE)
        elif line.strip():
            yield number, _text(line)


def _text(line: bytes) -> str | ValueError:
    import json

    import msgspec

    try:
        return msgspec.json.decode(line, type=Line).text
    except msgspec.DecodeError as error:
        problem: Exception = error
    try:  # half a surrogate pair is JSON to the standard library, and must not be a way past the rules
        value = json.loads(line)
        if isinstance(value, dict) and isinstance(value.get("text"), str):
            return str(value["text"])
    except (ValueError, RecursionError):
        pass
    return ValueError(f'not an object with a string "text": {problem}')


def _show(text: str, number: int, name: str | None, rules: "Rules", as_json: bool) -> None:
    from freehold.check.detect import label_of, scan

    findings = scan(text, rules)
    label = label_of(findings)
    if as_json:
        _line(Scanned(str(label), [Said(f.type, f.start, f.end, f.rule, f.score) for f in findings]))
        return
    where = f"{name or 'stdin'}:{number}"
    print(f"{where}: {label}" + ("" if findings else ", nothing found"))
    if findings:
        rows = [(f.type, f.rule, f"{f.score:.2f}", f.start, f.end, _masked(text, f)) for f in findings]
        right = [output.Column(title, right=True) for title in ("score", "start", "end")]
        output.table(["type", "rule", *right, "text"], rows)


def _masked(text: str, finding: "Finding") -> str:
    """Returns the found text with all but its ends hidden, so that a terminal's history holds no secret."""
    value = " ".join(text[finding.start : finding.end].split())
    if finding.type in ("prompt_injection", "exfiltration"):
        return value if len(value) <= 60 else value[:57] + "..."
    if finding.type == "hidden_unicode":
        return ascii(value)[1:-1][:40]
    return value[:4] + "*" * min(12, len(value) - 6) + value[-2:] if len(value) > 12 else value[:1] + "***"


def _line(value: Any) -> None:
    import msgspec

    sys.stdout.write(msgspec.json.encode(value).decode() + "\n")
    sys.stdout.flush()
