"""`freehold chat`: turns that remember each other, commands, and Ctrl-C."""

import json
import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from freehold.cli import main

StubGateway = Any
"""The fixture `stub` of conftest.py."""


def chat(*lines: str, options: tuple[str, ...] = ()) -> Result:
    return CliRunner().invoke(main, ["chat", *options], input="".join(f"{line}\n" for line in lines))


def test_each_turn_carries_those_before_it(stub: StubGateway) -> None:
    stub.says("Hello")
    result = chat("hi", "and again")
    assert (result.exit_code, result.stdout) == (0, "Hello\nHello\n")
    assert stub.asked[1]["messages"] == [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": "Hello"},
        {"role": "user", "content": "and again"},
    ]


def test_a_backslash_joins_lines(stub: StubGateway) -> None:
    stub.says("ok")
    chat("first \\", "second", "", "   ")
    assert [asked["messages"][-1]["content"] for asked in stub.asked] == ["first \nsecond"]


def test_the_last_line_needs_no_end(stub: StubGateway) -> None:
    stub.says("ok")
    CliRunner().invoke(main, ["chat"], input="no newline here")
    CliRunner().invoke(main, ["chat"], input="goes on \\\n")
    assert [asked["messages"][-1]["content"] for asked in stub.asked] == ["no newline here", "goes on "]


def test_commands_change_what_is_asked(stub: StubGateway) -> None:
    stub.says("ok")
    chat("/model fast", "/system be brief", "one", "/reset", "/system", "two", options=("--max-tokens", "9"))
    first, second = stub.asked
    assert first["model"] == "fast"
    assert first["max_tokens"] == 9
    assert first["messages"][0] == {"role": "system", "content": "be brief"}
    assert second["messages"] == [{"role": "user", "content": "two"}]


def test_quit_leaves_at_once(stub: StubGateway) -> None:
    assert chat("/quit", "never asked").exit_code == 0
    assert stub.asked == []


def test_help_and_words_that_are_no_command(stub: StubGateway) -> None:
    result = chat("/help", "/what is this")
    assert "/save FILE" in result.stderr
    assert "there is no /what" in result.stderr
    assert (result.stdout, stub.asked) == ("", [])


@pytest.mark.parametrize("name", ["talk.json", "talk.md"])
def test_save_writes_what_was_said(stub: StubGateway, tmp_path: Path, name: str) -> None:
    stub.says("Grüße")
    chat("/system be brief", "hi", f"/save {name}", "/save")
    text = (tmp_path / name).read_text("utf-8")
    if name.endswith(".json"):
        assert json.loads(text) == {
            "model": "auto",
            "messages": [
                {"role": "system", "content": "be brief"},
                {"role": "user", "content": "hi"},
                {"role": "assistant", "content": "Grüße"},
            ],
        }
    else:
        assert text == "## system\n\nbe brief\n\n## user\n\nhi\n\n## assistant\n\nGrüße\n\n"


def test_a_file_that_cannot_be_written_does_not_end_the_conversation(stub: StubGateway) -> None:
    stub.says("ok")
    result = chat("/save /nowhere/talk.md", "hi")
    assert result.exit_code == 0
    assert "not saved: No such file or directory" in result.stderr
    assert len(stub.asked) == 1


def test_json_is_one_value_a_turn(stub: StubGateway) -> None:
    stub.says("Hello")
    result = chat("hi", "again", options=("--json",))
    assert [json.loads(line)["text"] for line in result.stdout.splitlines()] == ["Hello", "Hello"]


def test_an_error_ends_a_piped_conversation(stub: StubGateway) -> None:
    stub.answers({"error": {"message": "no (hint: yes)"}}, 429)
    result = chat("hi", "never asked")
    assert result.exit_code == 1
    assert result.stderr.endswith("error: no\nhint: yes\n")
    assert len(stub.asked) == 1


class Talk:
    """The command on a terminal of its own."""

    def __init__(self, stub: StubGateway, home: Path) -> None:
        self._master, slave = pty.openpty()
        environment = {**os.environ, "TERM": "dumb"}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "freehold", "chat"],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=environment,
            start_new_session=True,
        )
        os.close(slave)
        self.seen = ""

    def type(self, text: str) -> None:
        os.write(self._master, text.encode())

    def until(self, text: str) -> None:
        """Reads what is shown until `text` comes."""
        end = time.monotonic() + 15
        while text not in self.seen:
            assert time.monotonic() < end, f"{text!r} did not come in {self.seen!r}"
            self.seen += os.read(self._master, 4096).decode()
        self.seen = self.seen.partition(text)[2]

    def interrupt(self) -> None:
        os.kill(self._process.pid, signal.SIGINT)

    def close(self) -> int:
        try:
            return self._process.wait(15)
        finally:
            self._process.kill()
            os.close(self._master)


def test_ctrl_c_stops_an_answer_and_the_conversation_goes_on(stub: StubGateway, home: Path) -> None:
    stub.events, stub.held = [stub.chunk("the beginning of")], True
    talk = Talk(stub, home)
    talk.until("> ")
    talk.type("hi\n")
    talk.until("the beginning of")
    talk.interrupt()
    talk.until("stopped")
    stub.held = False
    stub.says("a whole answer")
    talk.until("> ")
    talk.type("go on\n")
    talk.until("a whole answer")
    talk.until("> ")
    talk.type("\x04")
    assert talk.close() == 0
    assert stub.asked[1]["messages"][1] == {"role": "assistant", "content": "the beginning of"}


def test_on_a_terminal_an_error_is_told_and_the_turn_is_taken_back(stub: StubGateway, home: Path) -> None:
    stub.answers({"error": {"message": "not now"}}, 503)
    talk = Talk(stub, home)
    talk.until("> ")
    talk.type("hi\n")
    talk.until("error: not now")
    stub.status, stub.body = 200, None
    stub.says("fine")
    talk.until("> ")
    talk.type("hi again\n")
    talk.until("fine")
    talk.until("> ")
    talk.type("/quit\n")
    assert talk.close() == 0
    assert stub.asked[1]["messages"] == [{"role": "user", "content": "hi again"}]
