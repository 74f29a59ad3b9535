"""Answers that should be JSON, and whether they are."""

import json
from typing import Any

import pytest

from freehold.serve.quality import broke_schema


def answer(content: str | None, finish: str = "stop", **message: Any) -> bytes:
    choice = {"index": 0, "message": {"role": "assistant", "content": content, **message}, "finish_reason": finish}
    return json.dumps({"id": "x", "object": "chat.completion", "choices": [choice]}).encode()


@pytest.mark.parametrize(
    ("body", "broken"),
    [
        (answer('{"intent": "refund"}'), False),
        (answer(" [1, 2]\n"), False),
        (answer('{"intent": "refund"'), True),
        (answer("I think it is a refund."), True),
        (answer(""), True),
        (answer('{"intent": ', "length"), None),
        (answer(None, "tool_calls", tool_calls=[{"id": "1"}]), None),
        (answer(None, "stop", tool_calls=[{"id": "1"}]), None),
        (b'{"type": "message", "content": []}', None),
        (b'{"choices": []}', None),
        (b"not JSON", None),
    ],
)
def test_only_whole_answers_that_stopped_are_judged(body: bytes, broken: bool | None) -> None:
    assert broke_schema(body) is broken
