"""What a pipe gets, and what a terminal adds."""

import io
import json
import re
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freehold.cli import output
from freehold.errors import BadRequest


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_pipe_gets_aligned_text(capsys: pytest.CaptureFixture[str]) -> None:
    output.table(["name", output.Column("tokens", right=True)], [("a", 12345), ("longer", None), ("", True)])
    assert capsys.readouterr().out == "name    tokens\na       12,345\nlonger       -\n-          yes\n"


def test_a_terminal_gets_every_cell_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Terminal()
    monkeypatch.setattr(sys, "stdout", screen)
    monkeypatch.setenv("NO_COLOR", "1")
    output.table(["name"], [["[bold]not markup[/bold]"]])
    assert "[bold]not markup[/bold]" in screen.getvalue()
    assert "\x1b[3" not in screen.getvalue()


def test_json_is_one_line_in_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    output.emit({"a": [1, None], "b": "ä\n"})
    out = capsys.readouterr().out
    assert out.count("\n") == 1
    assert json.loads(out) == {"a": [1, None], "b": "ä\n"}


def test_json_is_indented_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Terminal()
    monkeypatch.setattr(sys, "stdout", screen)
    output.emit({"a": 1})
    assert screen.getvalue() == '{\n  "a": 1\n}\n'


@pytest.mark.parametrize(
    ("terminal", "variables", "expected"),
    [(True, {}, True), (True, {"NO_COLOR": "1"}, False), (True, {"TERM": "dumb"}, False), (False, {}, False)],
)
def test_colour(terminal: bool, variables: dict[str, str], expected: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert output.coloured(Terminal() if terminal else io.StringIO()) is expected


def test_colour_repeats_what_the_words_say(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    output.fail(BadRequest("no", hint="yes"))
    assert "\x1b[" in screen.getvalue()
    assert "error:" in screen.getvalue()
    assert "hint:" in screen.getvalue()


def test_progress_is_silent_in_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    with output.progress("working", 3) as advance:
        advance(1)
    assert capsys.readouterr() == ("", "")


def test_progress_shows_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setenv("TERM", "xterm")
    with output.progress("working", 3) as advance:
        advance(3)
    assert "working" in screen.getvalue()


@pytest.mark.parametrize(
    ("value", "shown"),
    [(None, None), (0, "$0"), (12.5, "$12.50"), (1234.5, "$1,234.50"), (0.0123, "$0.012"), (1.5e-6, "$1.5e-06")],
)
def test_money_has_the_digits_it_needs(value: float | None, shown: str | None) -> None:
    assert output.money(value) == shown


@given(st.lists(st.lists(st.text(st.characters(codec="ascii", exclude_categories=["Cc"])), min_size=2, max_size=2)))
def test_plain_text_keeps_every_value(cells: list[list[str]]) -> None:
    text = output.plain([output.Column("a"), output.Column("b", right=True)], cells)
    lines = text.splitlines()
    assert len(lines) == len(cells) + 1
    for line, (first, second) in zip(lines[1:], cells, strict=True):
        assert line.startswith(first.rstrip())
        assert line.endswith(second.rstrip())


@pytest.mark.parametrize(("columns", "shown"), [("200", "name provider kind"), ("24", "name provider"), ("10", "name")])
def test_a_narrow_terminal_loses_what_it_can_do_without(
    columns: str, shown: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    screen = Terminal()
    monkeypatch.setattr(sys, "stdout", screen)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", columns)
    spare = [output.Column("provider", spare=True), output.Column("kind", spare=True)]
    output.table([output.Column("name", whole=True), *spare], [["a/b", "openai", "direct"]])
    assert re.sub(r"\x1b\[\d+m", "", screen.getvalue()).split("\n")[1].split() == shown.split()


@pytest.mark.parametrize(
    ("count", "shown"), [(None, None), (512, "512"), (8192, "8,192"), (128_000, "128k"), (1_050_000, "1.05M")]
)
def test_context_lengths_are_said_as_people_do(count: int | None, shown: str | None) -> None:
    assert output.tokens(count) == shown
