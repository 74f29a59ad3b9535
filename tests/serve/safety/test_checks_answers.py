"""Answers that are looked at: every client dialect, every kind of text in an answer, streamed or not, whatever the
pieces it comes in. What is to be redacted or blocked is never seen, and every answer still ends as its dialect says.
"""

import json
import random
from collections.abc import Iterator
from typing import Any

import pytest
from canaries import CANARIES, ENDPOINTS, House, Told, canary_house
from dialogue import CLIENTS, PROVIDERS, said

SECRET = CANARIES["secret"]
TEXT = f"Well, your key is {SECRET} and that is all I know of it."
CHANNELS = {
    "text": {"text": TEXT},
    "thinking": {"thinking": TEXT, "text": "so"},
    "tool": {"tool_calls": [{"name": "save", "arguments": {"note": TEXT, "count": 3}}]},
}
RULES = [
    {"match": {"model": f"{name}-{size}"}, "reply": {**reply, "chunk": size}}
    for name, reply in CHANNELS.items()
    for size in (1, 2, 3, 5, 7, 11, 40, 400)
]
KEYS = {
    "redact": "{answer: {secrets: redact}}",
    "block": "{answer: {secrets: block}}",
    "strict": "{answer: {secrets: redact}, streams: strict}",
    "strictblock": "{answer: {secrets: block}, streams: strict}",
    "watch": "{mode: monitor, answer: {secrets: block}}",
}
CHECKS = "\n".join(
    [
        *(f"  - {{name: {name}, key: fh-{name}-0123456789abcd}}" for name in KEYS),
        "checks:",
        "  keys:",
        *(f"    {name}: {rules}" for name, rules in KEYS.items()),
    ]
)
WORDS = {
    "chat": "content_filter", "completions": "content_filter", "responses": "content_filter", "messages": "refusal",
    "gemini": "SAFETY", "mistral": "content_filter", "cohere": "ERROR", "ollama": "content_filter",
    "ollama_generate": "content_filter",
}  # fmt: skip
"""How each dialect says that an answer was filtered, where it has a word for it."""


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with canary_house(tmp_path_factory.mktemp("answers"), CHECKS, {"rules": RULES}) as house:
        yield house


def asked(client: str, tools: bool) -> dict[str, Any]:
    if client == "gemini":
        body: dict[str, Any] = {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]}
        if tools:
            body["tools"] = [{"functionDeclarations": [{"name": "save", "parameters": {"type": "object"}}]}]
        return body
    if client in ("completions", "ollama_generate"):
        return {"prompt": "hi"}
    body = {"input": "hi"} if client == "responses" else {"messages": [{"role": "user", "content": "hi"}]}
    if client == "messages":
        body["max_tokens"] = 500
    if tools:
        function = {"name": "save", "parameters": {"type": "object", "properties": {"note": {"type": "string"}}}}
        if client == "responses":
            body["tools"] = [{"type": "function", **function}]
        elif client == "messages":
            body["tools"] = [{"name": "save", "input_schema": function["parameters"]}]
        else:
            body["tools"] = [{"type": "function", "function": function}]
    return body


def ask(house: House, client: str, channel: str, key: str, *, provider: str, size: int, stream: bool) -> Told:
    house.kept.clear()
    body = asked(client, channel == "tool")
    secret = f"fh-{key}-0123456789abcd"
    return house.ask(ENDPOINTS[client], body, key=secret, stream=stream, model=f"{provider}/{channel}-{size}")


def leaks(body: bytes) -> bool:
    """Whether more of the secret is to be read than its first letters, in one piece or in several."""
    return SECRET[:12] in said(body) or SECRET[-12:] in said(body)


def sizes(*seed: str) -> list[int]:
    return random.Random("-".join(seed)).sample((1, 2, 3, 5, 7, 11, 40, 400), 2)


@pytest.mark.parametrize("channel", CHANNELS)
@pytest.mark.parametrize("client", CLIENTS)
def test_without_rules_for_answers_they_pass_and_leak_what_the_tests_look_for(
    house: House, client: str, channel: str
) -> None:
    if channel != "text" and client in ("completions", "ollama_generate"):
        pytest.skip("this dialect has no such thing")
    for stream in (False, True):
        told = house.ask(
            ENDPOINTS[client], asked(client, channel == "tool"), stream=stream, model=f"openai/{channel}-3"
        )
        assert told.status == 200, told
        if channel == "text":
            assert leaks(told.body), said(told.body)


@pytest.mark.parametrize("key", ["redact", "strict"])
@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("client", CLIENTS)
def test_what_is_to_be_redacted_is_never_seen(house: House, client: str, provider: str, key: str) -> None:
    for channel in CHANNELS:
        for stream in (False, True):
            for size in sizes(client, provider, channel, key):
                told = ask(house, client, channel, key, provider=provider, size=size, stream=stream)
                where = (channel, stream, size, told.status, said(told.body))
                if told.status != 200:
                    assert channel == "tool", where
                    continue
                assert not leaks(told.body), where
                if channel == "text":
                    assert "[redacted secret]" in said(told.body), where
                    assert "and that is all I know of it." in said(told.body), where
                assert b'"error"' not in told.body or b'"error":null' in told.body.replace(b" ", b""), where


@pytest.mark.parametrize("key", ["block", "strictblock"])
@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("client", CLIENTS)
def test_a_blocked_answer_ends_before_it_and_says_so(house: House, client: str, provider: str, key: str) -> None:
    for channel in CHANNELS:
        for stream in (False, True):
            for size in sizes(client, provider, channel, key):
                told = ask(house, client, channel, key, provider=provider, size=size, stream=stream)
                where = (channel, stream, size, told.status, said(told.body))
                if told.status != 200:
                    assert channel == "tool", where
                    continue
                assert not leaks(told.body), where
                if channel == "text":
                    assert "all I know" not in said(told.body), where
                    assert WORDS.get(client, "") in said(told.body), where
                    if key == "strictblock":
                        assert "Well, your" not in said(told.body) or not stream, where


def test_monitor_changes_nothing_and_counts(house: House) -> None:
    before = house.counted("answer", "secret", "would block")
    for stream in (False, True):
        told = ask(house, "chat", "text", "watch", provider="openai", size=5, stream=stream)
        assert leaks(told.body)
    assert house.counted("answer", "secret", "would block") == before + 2


def test_usage_of_a_redacted_answer_is_the_providers(house: House) -> None:
    told = ask(house, "chat", "text", "redact", provider="anthropic", size=5, stream=False)
    assert json.loads(told.body)["usage"]["completion_tokens"] == -(-len(TEXT) // 4)
    assert told.headers["x-freehold-checks"] == "answer secret=redact"


def test_a_blocked_stream_is_cut_off_upstream_and_its_usage_is_told(house: House) -> None:
    body = {**asked("chat", tools=False), "stream_options": {"include_usage": True}}
    house.kept.clear()
    told = house.ask(ENDPOINTS["chat"], body, key="fh-block-0123456789abcd", stream=True, model="openai/text-1")
    events = [json.loads(line[6:]) for line in told.body.splitlines() if line.startswith(b"data: {")]
    usage = [event["usage"] for event in events if event.get("usage")]
    assert len(usage) == 1
    assert usage[0]["completion_tokens"] > 0
    assert usage[0]["prompt_tokens"] > 0
    assert told.body.rstrip().endswith(b"data: [DONE]")
    assert [c["finish_reason"] for event in events for c in event["choices"] if c["finish_reason"]] == [
        "content_filter"
    ]


@pytest.mark.parametrize("kind", ["json", "text", "verbose_json"])
def test_a_transcript_is_looked_at_too(house: House, kind: str) -> None:
    endpoint = ENDPOINTS["transcriptions"]
    body = {"": SECRET, "file": b"RIFF\xff\xfe", "response_format": kind}  # the fake has heard the file's name
    told = house.ask(endpoint, body, model="home/fake")
    assert told.status == 200
    assert SECRET.encode() in told.body
    told = house.ask(endpoint, body, key="fh-redact-0123456789abcd", model="home/fake")
    assert told.status == 200
    assert SECRET.encode() not in told.body
    assert b"Heard [redacted secret], 6 bytes" in told.body
    before = house.requests()
    told = house.ask(endpoint, body, key="fh-block-0123456789abcd", model="home/fake")
    assert told.status == 400
    assert b"content_blocked" in told.body
    assert house.requests() - before == {'{model="home/fake",provider="home",route="audio",status="400"}': 1}
    assert house.ask(endpoint, body, key="fh-watch-0123456789abcd", model="home/fake").status == 200


@pytest.mark.parametrize("key", ["redact", "block", "watch"])
def test_a_streamed_transcript_is_let_go_when_it_has_been_looked_at(house: House, key: str) -> None:
    endpoint = ENDPOINTS["transcriptions"]
    body = {"": SECRET, "file": b"RIFF\xff\xfe", "stream": "true"}
    assert leaks(house.ask(endpoint, body, model="home/fake").body)
    told = house.ask(endpoint, body, key=f"fh-{key}-0123456789abcd", model="home/fake")
    assert told.status == 200
    if key == "watch":
        assert leaks(told.body)
        return
    assert not leaks(told.body)
    if key == "redact":
        assert "Heard [redacted secret], 6 bytes" in said(told.body)
        assert '"transcript.text.done"' in told.body.decode()
    else:
        assert b"content_blocked" in told.body
