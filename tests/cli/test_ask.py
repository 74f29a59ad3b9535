"""`freehold ask`: the answer alone on stdout, who gave it on stderr, and every failure in words."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from freehold.cli import main

StubGateway = Any
"""The fixture `stub` of conftest.py."""
KEY = "fh-0123456789abcdef"


def ask(*words: str, stdin: str | bytes = "") -> Result:
    return CliRunner().invoke(main, ["ask", *words], input=stdin)


def test_the_answer_is_all_there_is_on_stdout(stub: StubGateway) -> None:
    stub.says("Hel", "lo")
    result = ask("hi")
    assert (result.exit_code, result.stdout) == (0, "Hello\n")
    assert result.stderr.startswith("openai/gpt-4o-mini answered (first of its alias): 12 tokens in, 3 out, ")
    assert stub.keys == [f"Bearer {KEY}"]
    asked = stub.asked[0]
    assert asked["model"] == "auto"
    assert asked["messages"] == [{"role": "user", "content": "hi"}]
    assert asked["stream"] is True


def test_options_reach_the_gateway(stub: StubGateway, tmp_path: Path) -> None:
    stub.says("{}")
    schema = tmp_path / "refund form.json"
    schema.write_text('{"type": "object", "additionalProperties": false}')
    ask("hi", "--model", "fast", "--system", "be brief", "--max-tokens", "7", "--schema", str(schema))
    asked = stub.asked[0]
    assert asked["model"] == "fast"
    assert asked["max_tokens"] == 7
    assert asked["messages"][0] == {"role": "system", "content": "be brief"}
    assert asked["response_format"]["json_schema"] == {
        "name": "refund_form",
        "schema": {"type": "object", "additionalProperties": False},
        "strict": True,
    }


def test_json_holds_text_usage_and_who(stub: StubGateway) -> None:
    stub.headers["x-freehold-lost"] = "logit_bias, seed"
    stub.headers["x-freehold-attempts"] = "2"
    stub.answers(
        {
            "model": "gpt-4o-mini",
            "choices": [{"message": {"content": "Hello"}, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 12, "completion_tokens": 3},
        }
    )
    result = ask("hi", "--json")
    answer = json.loads(result.stdout)
    assert result.stderr == ""
    assert answer.pop("seconds") >= 0
    assert answer == {
        "text": "Hello",
        "model": "gpt-4o-mini",
        "deployment": "openai/gpt-4o-mini",
        "reason": "first of its alias",
        "attempts": 2,
        "lost": ["logit_bias", "seed"],
        "finish": "stop",
        "usage": {"prompt_tokens": 12, "completion_tokens": 3},
    }
    assert "stream" not in stub.asked[0]


def test_what_is_piped_in_follows_the_prompt(stub: StubGateway) -> None:
    stub.says("ok")
    ask("summarise", stdin="line 1\nline 2\n")
    ask(stdin="only this\n")
    ask("-", stdin="only this\n")
    contents = [asked["messages"][0]["content"] for asked in stub.asked]
    assert contents == ["summarise\n\nline 1\nline 2", "only this", "only this"]


def test_bytes_that_are_no_text_do_not_crash(stub: StubGateway) -> None:
    stub.says("ok")
    assert ask(stdin=b"\xff\xfe broken").exit_code == 0
    assert stub.asked[0]["messages"][0]["content"].endswith(" broken")


def test_files_become_parts(stub: StubGateway, tmp_path: Path) -> None:
    stub.says("ok")
    (tmp_path / "notes.py").write_text("print(1)")
    (tmp_path / "dot.png").write_bytes(b"\x89PNG")
    (tmp_path / "page.pdf").write_bytes(b"%PDF")
    ask("look", "-f", "notes.py", "-f", "dot.png", "-f", "page.pdf")
    image, document, text = stub.asked[0]["messages"][0]["content"]
    assert image["image_url"]["url"] == "data:image/png;base64,iVBORw=="
    assert document["file"] == {"filename": "page.pdf", "file_data": "data:application/pdf;base64,JVBERg=="}
    assert text["text"] == "File notes.py:\n\nprint(1)\n\nlook"


@pytest.mark.parametrize("name", ["missing.txt", "binary.bin", "."])
def test_a_file_that_cannot_be_sent_is_named(stub: StubGateway, tmp_path: Path, name: str) -> None:
    (tmp_path / "binary.bin").write_bytes(b"\xff\x00\xfe")
    result = ask("look", "-f", name)
    assert result.exit_code == 2
    assert name in result.stderr
    assert stub.asked == []


@pytest.mark.parametrize("content", ["not json", "[1]", '"text"'])
def test_a_schema_that_is_none_is_refused(stub: StubGateway, tmp_path: Path, content: str) -> None:
    (tmp_path / "s.json").write_text(content)
    result = ask("hi", "--schema", "s.json")
    assert result.exit_code == 2
    assert stub.asked == []


def test_nothing_to_ask(stub: StubGateway) -> None:
    result = ask()
    assert result.exit_code == 2
    assert "there is no question" in result.stderr


def test_no_gateway_says_how_to_start_one(home: Path) -> None:
    result = ask("hi")
    assert result.exit_code == 1
    assert "hint: start one with: freehold up" in result.stderr


def test_one_that_was_killed_is_not_believed_to_run(home: Path) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    (home / "run").mkdir(parents=True)
    (home / "run" / "up.json").write_text(json.dumps({"url": "http://127.0.0.1:1", "key": KEY, "pid": gone.pid}))
    assert "no gateway runs from" in ask("hi").stderr


def test_the_local_gateway_is_found_with_its_key(
    stub: StubGateway, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stub.says("ok")
    monkeypatch.delenv("FREEHOLD_URL")
    monkeypatch.delenv("FREEHOLD_API_KEY")
    announce(home, stub.url)
    assert ask("hi").exit_code == 0
    assert stub.keys == ["Bearer fh-local-key-0123456"]


def test_the_local_key_is_sent_to_nobody_else(stub: StubGateway, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FREEHOLD_API_KEY")
    announce(home, "http://127.0.0.1:1")
    result = ask("hi")
    assert result.exit_code == 1
    assert "there is no key to send" in result.stderr
    assert stub.asked == []


def announce(home: Path, url: str) -> None:
    (home / "run").mkdir(parents=True, exist_ok=True)
    told = {"url": url, "key": "fh-local-key-0123456", "pid": os.getpid()}
    (home / "run" / "up.json").write_text(json.dumps(told))


@pytest.mark.parametrize("url", ["127.0.0.1:8484", "ftp://x", "http://", "http://u:p@host", "http://h:99999"])
def test_a_url_that_is_none(home: Path, url: str) -> None:
    result = ask("hi", "--url", url, "--key", KEY)
    assert result.exit_code == 1
    assert "hint: write it like" in result.stderr


def test_a_base_url_may_end_in_v1(stub: StubGateway) -> None:
    stub.says("ok")
    assert ask("hi", "--url", stub.url + "/v1/").exit_code == 0


def test_nobody_listens(home: Path) -> None:
    result = ask("hi", "--url", "http://127.0.0.1:1", "--key", KEY)
    assert result.exit_code == 1
    assert result.stderr == (
        "error: no gateway answers at http://127.0.0.1:1: Connection refused\nhint: start one with: freehold up\n"
    )


def test_the_gateway_s_error_and_hint_are_shown_as_ours(stub: StubGateway) -> None:
    stub.answers({"error": {"message": "there is no model 'x' here (hint: did you mean 'y'?)", "code": "m"}}, 404)
    result = ask("hi", "--json")
    assert result.exit_code == 1
    assert json.loads(result.stderr)["error"] == {
        "message": "there is no model 'x' here",
        "hint": "did you mean 'y'?",
        "code": "m",
        "fault": "caller",
    }


@pytest.mark.parametrize("body", [b"<html>", b"", b'{"error": "text"}', b"[]"])
def test_an_error_that_is_not_the_gateway_s(stub: StubGateway, body: bytes) -> None:
    stub.status, stub.body = 502, body
    result = ask("hi")
    assert result.exit_code == 1
    assert result.stderr.startswith("error: the gateway answered with status 502")


def test_an_error_in_the_stream_ends_the_answer_in_words(stub: StubGateway) -> None:
    stub.events = [stub.chunk("Hel"), {"error": {"message": "it broke (hint: again)", "code": "upstream_broken"}}]
    result = ask("hi")
    assert (result.exit_code, result.stdout) == (1, "Hel\n")
    assert result.stderr == "error: it broke\nhint: again\n"


def test_a_stream_without_an_end_is_not_an_answer(stub: StubGateway) -> None:
    stub.events, stub.done = [stub.chunk("Hel")], False
    result = ask("hi")
    assert (result.exit_code, result.stdout) == (1, "Hel\n")
    assert "ended before it was complete" in result.stderr


def test_garbage_in_a_stream(stub: StubGateway) -> None:
    stub.body = b"data: {nonsense\n\n"
    result = ask("hi")
    assert result.exit_code == 1
    assert "cannot be read" in result.stderr


@pytest.mark.parametrize(("finish", "word"), [("length", "token limit"), ("content_filter", "withheld")])
def test_an_answer_that_is_not_whole_is_said_so(stub: StubGateway, finish: str, word: str) -> None:
    stub.events = [stub.chunk("Hel"), stub.chunk(finish=finish)]
    result = ask("hi")
    assert result.exit_code == 0
    assert word in result.stderr


def test_a_model_cannot_steer_the_terminal() -> None:
    from freehold.cli.prompt import printable

    assert printable("a\x1b[2Jb\x07\r\n\tc\x9b1m\u00e9") == "a[2Jb\n\tc1m\u00e9"


def test_no_stream_asks_for_a_whole_answer(stub: StubGateway) -> None:
    stub.answers({"choices": [{"message": {"content": None, "refusal": "no"}, "finish_reason": "stop"}]})
    result = ask("hi", "--no-stream")
    assert result.stdout == "no\n"
    assert "stream" not in stub.asked[0]


def test_ctrl_c_ends_the_answer_where_it_is(stub: StubGateway) -> None:
    stub.events, stub.held = [stub.chunk("the beginning of")], True
    process = subprocess.Popen(
        [sys.executable, "-m", "freehold", "ask", "hi"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stdout.read(16) == b"the beginning of"
    process.send_signal(signal.SIGINT)
    rest, said = process.communicate(timeout=15)
    assert (process.returncode, rest, said.strip()) == (130, b"\n", b"")
