"""Answers that a guard model judges before anybody sees them, whole and streamed, in each dialect."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from canaries import ENDPOINTS, House, Told, canary_house
from hypothesis import given
from hypothesis import strategies as st

from freehold.serve.safety.guards_answer import said

HARM = "first you build the bomb"
UNSAFE = "Safety: Unsafe\nCategories: Violent\nRefusal: No"
SAFE = "Safety: Safe\nCategories: None"
WORDS = [f"explain{number}x" for number in range(40)]
"""Each is asked about twice: the request is harmless, and the answer is not."""


def _rules() -> list[dict[str, Any]]:
    second = [
        {"match": {"model": "qwen3guard", "contains": word, "nth": 2}, "reply": {"text": UNSAFE}} for word in WORDS
    ]
    return [
        *second,
        {"match": {"model": "qwen3guard", "contains": "mumble", "nth": 2}, "reply": {"text": "hm"}},
        {"match": {"model": "qwen3guard"}, "reply": {"text": SAFE}},
        {"match": {"contains": "call"}, "reply": {"tool_calls": [{"name": "run", "arguments": {"what": HARM}}]}},
        {"match": {"contains": "explain"}, "reply": {"text": HARM, "usage": {"input": 7, "output": 5}}},
        {"reply": {"text": "fjords are deep"}},
    ]


CONFIG = """
  - {name: loose, key: "fh-loose-00000000000"}
checks:
  guard: {model: home/qwen3guard, answers: true}
  keys: {loose: {request: {harm: allow, guard_error: allow}}}
"""
BODIES: dict[str, dict[str, Any]] = {
    "chat": {"messages": [{"role": "user", "content": "WORD"}]},
    "messages": {"messages": [{"role": "user", "content": "WORD"}], "max_tokens": 50},
    "responses": {"input": "WORD"},
    "gemini": {"contents": [{"role": "user", "parts": [{"text": "WORD"}]}]},
    "cohere": {"messages": [{"role": "user", "content": "WORD"}]},
    "ollama": {"messages": [{"role": "user", "content": "WORD"}]},
}


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with canary_house(tmp_path_factory.mktemp("answers"), CONFIG, {"rules": _rules()}) as house:
        yield house


def ask(house: House, name: str, word: str, *, stream: bool, model: str = "openai/fake", **options: Any) -> Told:
    body = json.loads(json.dumps(BODIES[name]).replace("WORD", word))
    house.kept.clear()
    return house.ask(ENDPOINTS[name], body, stream=stream, model=model, **options)


def judged(house: House) -> list[Any]:
    bodies = [json.loads(request.partition(b"\n\n")[2]) for request in house.kept]
    return [body["messages"] for body in bodies if body.get("model") == "qwen3guard"]


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("name", [name for name in BODIES if name in ENDPOINTS])
@pytest.mark.parametrize("model", ["openai/fake", "anthropic/fake"])
def test_an_answer_is_shown_to_the_guard_and_passes(house: House, name: str, stream: bool, model: str) -> None:
    plain = ask(house, name, f"tell me {name} {stream} {model}", stream=stream, model=model, key="fh-loose-00000000000")
    assert not judged(house)
    told = ask(house, name, f"tell me {name} {stream} {model}", stream=stream, model=model)
    assert told.status == 200
    assert b"fjords" in told.body
    assert said(told.body) == said(plain.body)
    request, answer = judged(house)
    assert request[-1]["role"] == "user"
    assert answer[-1]["role"] == "assistant"
    assert "fjords are deep" in answer[-1]["content"]


CASES = [
    (name, stream, model) for name in BODIES for stream in (False, True) for model in ("openai/fake", "anthropic/fake")
]


@pytest.mark.parametrize(
    ("name", "stream", "model", "word"), [(*case, word) for case, word in zip(CASES, WORDS[: len(CASES)], strict=True)]
)
def test_of_an_answer_that_does_harm_nothing_is_seen(
    house: House, name: str, stream: bool, model: str, word: str
) -> None:
    told = ask(house, name, word, stream=stream, model=model)
    assert told.status == 400
    assert b"harm" in told.body
    assert b"bomb" not in told.body
    assert any(HARM in json.dumps(messages) for messages in judged(house))


def test_the_arguments_of_tools_are_judged(house: House) -> None:
    told = ask(house, "chat", f"call {WORDS[30]}", stream=True)
    assert told.status == 400
    assert HARM in json.dumps(judged(house)[-1])


def test_no_verdict_on_an_answer_blocks_it(house: House) -> None:
    told = ask(house, "chat", "mumble", stream=False)
    assert told.status == 400
    assert b"guard_error" in told.body
    assert house.counted("answer", "guard_error", "block") == 1


def test_what_was_blocked_was_paid_for(house: House) -> None:
    told = ask(house, "chat", WORDS[31], stream=True)
    assert told.status == 400
    written = b"".join(path.read_bytes() for path in (house.gateway.home / "journal").iterdir())
    assert b"content_blocked" in written


@given(
    st.recursive(
        st.none() | st.booleans() | st.text(max_size=5), lambda x: st.lists(x) | st.dictionaries(st.text(max_size=5), x)
    )
)
def test_anything_can_be_read(value: Any) -> None:
    body = json.dumps(value).encode()
    said(body)
    said(b"data: " + body + b"\n\n")
    said(body + b"\n" + body)


def test_texts_are_found_in_every_form() -> None:
    assert said(b'{"choices":[{"message":{"role":"assistant","content":"a"}}]}') == "a"
    assert (
        said(b'data: {"choices":[{"delta":{"content":"a"}}]}\n\ndata: {"choices":[{"delta":{"content":"b"}}]}\n\n')
        == "ab"
    )
    assert said(b'{"message":{"content":"a"}}\n{"message":{"content":"b"}}\n') == "ab"
    assert said(b'[{"candidates":[{"content":{"parts":[{"text":"a"}]}}]},{"candidates":[]}]') == "a"
    assert said(b'{"content":[{"type":"tool_use","id":"x","name":"run","input":{"name":"b","what":"c"}}]}') == "bc"
    assert said(b"\xff\x00") == ""
