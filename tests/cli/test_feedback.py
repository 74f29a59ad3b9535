"""`freehold feedback`: what it sends, and how it says what came of it."""

import json
from typing import Any

import pytest
from click.testing import CliRunner, Result

from freehold.cli.feedback import command

KEPT = {"object": "feedback", "request_id": "req_1", "deployment": "lab/small", "score": 1.0, "not_kept": []}


def rate(stub: Any, *words: str) -> Result:
    return CliRunner().invoke(command, [*words, "--url", stub.url, "--key", stub.key])


@pytest.mark.parametrize(
    ("words", "sent"),
    [
        (["req_1", "--score", "0.5"], {"request_id": "req_1", "score": 0.5}),
        (["req_1", "--up"], {"request_id": "req_1", "rating": "up"}),
        (
            ["chatcmpl-1", "--down", "--reason", "wrong"],
            {"response_id": "chatcmpl-1", "rating": "down", "reason": "wrong"},
        ),
    ],
)
def test_sends_a_rating(stub: Any, words: list[str], sent: dict[str, Any]) -> None:
    stub.body = json.dumps({**KEPT, "not_kept": ["reason"]}).encode()
    result = rate(stub, *words)
    assert result.exit_code == 0, result.stderr
    assert stub.asked == [sent]
    assert stub.keys == [f"Bearer {stub.key}"]
    assert "1 for the answer of lab/small" in result.stderr
    assert "not kept: reason" in result.stderr


def test_prints_json(stub: Any) -> None:
    stub.body = json.dumps(KEPT).encode()
    assert json.loads(rate(stub, "req_1", "--up", "--json").stdout) == KEPT


@pytest.mark.parametrize("words", [["req_1"], ["req_1", "--up", "--score", "1"], ["req_1", "--score", "2"]])
def test_one_verdict_is_wanted(stub: Any, words: list[str]) -> None:
    assert rate(stub, *words).exit_code == 2
    assert not stub.asked


def test_says_what_the_gateway_says(stub: Any) -> None:
    stub.status = 404
    stub.body = json.dumps({"error": {"message": "there is no answer 'req_9' of this key (hint: wait)"}}).encode()
    result = rate(stub, "req_9", "--up")
    assert result.exit_code == 1
    assert str(result.exception) == "there is no answer 'req_9' of this key"
    stub.status, stub.body = 200, b"<html>"
    assert "cannot be read" in str(rate(stub, "req_9", "--up").exception)
