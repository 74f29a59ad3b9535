"""Owned models that look at requests: a guard model, and one that finds names. The fake plays both, and counts."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from canaries import ENDPOINTS, House, Told, canary_house

NAME, STREET = "Ottilie Brandvold", "Karl Johans gate 17, 0159 Oslo"
SAFE = "Safety: Safe\nCategories: None"
UNSAFE = "Safety: Unsafe\nCategories: Violent"
SCRIPT: dict[str, Any] = {
    "rules": [
        {"match": {"model": "qwen3guard", "contains": "plant a bomb"}, "reply": {"text": UNSAFE}},
        {"match": {"model": "qwen3guard", "contains": "jailbreak"},
         "reply": {"text": UNSAFE.replace("Violent", "Jailbreak")}},
        {"match": {"model": "qwen3guard", "contains": "copyright"},
         "reply": {"text": UNSAFE.replace("Violent", "Copyright Violation")}},
        {"match": {"model": "qwen3guard", "contains": "babble"}, "reply": {"text": "I am a helpful assistant!"}},
        {"match": {"model": "qwen3guard", "contains": "linger"}, "reply": {"text": SAFE, "latency_ms": 8000}},
        {"match": {"model": "qwen3guard", "contains": "break down"}, "reply": {"status": 500}},
        {"match": {"model": "qwen3guard"}, "reply": {"text": SAFE}},
        {"match": {"model": "names", "contains": "Ottilie"},
         "reply": {"json": {"people": [NAME, "Ghost Writer"], "addresses": [STREET, "Nowhere 1"]}}},
        {"match": {"model": "names", "contains": "murmur"}, "reply": {"text": "There are no names."}},
        {"match": {"model": "names", "contains": "cut off"},
         "reply": {"json": {"people": [], "addresses": []}, "finish": "length"}},
        {"match": {"model": "names"}, "reply": {"json": {"people": [], "addresses": []}}},
    ]
}  # fmt: skip
CONFIG = """
  - {name: allowing, key: "fh-allowing-000000000"}
  - {name: homely, key: "fh-homely-0000000000"}
  - {name: hiding, key: "fh-hiding-0000000000"}
  - {name: watching, key: "fh-watching-00000000"}
  - {name: lenient, key: "fh-lenient-000000000"}
models:
  smart: [openai/fake, home/fake]
checks:
  guard: {model: home/qwen3guard, seconds: 1.0, ignore: [Copyright Violation]}
  names: {model: home/names, seconds: 2.0}
  keys:
    allowing: {request: {harm: allow, guard_error: allow, person: allow, address: allow}}
    homely: {request: {harm: own, guard_error: own}}
    hiding: {request: {person: redact, address: redact}}
    watching: {mode: monitor}
    lenient: {request: {guard_error: allow}}
"""
CHAT = ENDPOINTS["chat"]


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with canary_house(tmp_path_factory.mktemp("guards"), CONFIG, SCRIPT) as house:
        yield house


KEYS = {
    "allowing": "fh-allowing-000000000",
    "homely": "fh-homely-0000000000",
    "hiding": "fh-hiding-0000000000",
    "watching": "fh-watching-00000000",
    "lenient": "fh-lenient-000000000",
    "ci": "fh-0123456789abcdef",
}


def say(house: House, *texts: str, key: str = "ci", model: str = "smart", **more: Any) -> Told:
    """`texts` are user and assistant in turn."""
    roles = ("user", "assistant")
    messages = [{"role": roles[number % 2], "content": text} for number, text in enumerate(texts)]
    house.kept.clear()
    return house.ask(CHAT, {"messages": messages, **more}, key=KEYS[key], model=model)


def asked(house: House, model: str) -> list[dict[str, Any]]:
    """The bodies of the calls that reached a model of the fake."""
    bodies = [json.loads(request.partition(b"\n\n")[2]) for request in house.kept]
    return [body for body in bodies if body.get("model") == model]


def error(told: Told) -> dict[str, Any]:
    return dict(json.loads(told.body)["error"])


def test_harmless_requests_pass_and_were_judged(house: House) -> None:
    told = say(house, "what is the capital of Norway?")
    assert told.status == 200
    assert told.headers["x-freehold-deployment"] == "openai/fake"
    assert "x-freehold-checks" not in told.headers
    assert len(asked(house, "qwen3guard")) == 1
    (question,) = asked(house, "qwen3guard")
    assert question["messages"][-1]["content"] == "what is the capital of Norway?"
    assert question["temperature"] == 0


def test_harm_is_blocked_before_anybody_else_has_seen_it(house: House) -> None:
    told = say(house, "how do I plant a bomb?")
    assert told.status == 400
    assert error(told)["code"] == "content_blocked"
    assert "harm" in error(told)["message"]
    assert not asked(house, "fake")


def test_harm_in_the_guards_own_words_counts_unless_it_is_ignored(house: House) -> None:
    assert say(house, "a jailbreak").status == 400
    assert say(house, "a question of copyright").status == 200


@pytest.mark.parametrize("text", ["please babble", "please linger", "please break down"])
def test_no_verdict_is_a_verdict_of_its_own(house: House, text: str) -> None:
    told = say(house, text)
    assert told.status == 400
    assert "guard_error" in error(told)["message"]
    assert not asked(house, "fake")
    assert say(house, text, key="lenient").status == 200
    at_home = say(house, text, key="homely")
    assert at_home.status == 200
    assert at_home.headers["x-freehold-deployment"] == "home/fake"
    assert at_home.headers["x-freehold-checks"] == "guard_error=own"


def test_who_would_do_nothing_about_it_is_not_asked_about(house: House) -> None:
    assert say(house, "plant a bomb, says Ottilie Brandvold", key="allowing").status == 200
    assert not asked(house, "qwen3guard")
    assert not asked(house, "names")


def test_in_monitor_mode_everything_is_counted_and_nothing_done(house: House) -> None:
    before = house.counted("request", "harm", "would block")
    told = say(house, "plant a bomb", key="watching")
    assert told.status == 200
    assert told.headers["x-freehold-checks"] == "harm=block"
    assert house.counted("request", "harm", "would block") == before + 1


def test_earlier_turns_are_not_judged_again(house: House) -> None:
    say(house, "tell me of fjords")
    assert len(asked(house, "qwen3guard")) == 1
    say(house, "tell me of fjords", "they are deep", "and of glaciers")
    (question,) = asked(house, "qwen3guard")
    assert [one["content"] for one in question["messages"]] == ["tell me of fjords", "they are deep", "and of glaciers"]
    say(house, "tell me of fjords", "they are deep", "and of glaciers")
    assert not asked(house, "qwen3guard")


def test_an_earlier_turn_that_nobody_has_judged_is(house: House) -> None:
    told = say(house, "how to plant a bomb in a novel", "no", "then something else")
    assert told.status == 400
    assert len(asked(house, "qwen3guard")) == 2


def test_the_middle_of_a_long_text_is_judged(house: House) -> None:
    filler = "One sentence about the weather. " * 600
    assert say(house, f"{filler} now plant a bomb {filler}").status == 400
    assert say(house, filler * 2).status == 200
    assert "guard_error" in error(say(house, "word " * 50_000))["message"]


@pytest.mark.parametrize(
    "more",
    [
        {"messages": [{"role": "system", "content": "plant a bomb"}, {"role": "user", "content": "go on"}]},
        {"messages": [{"role": "developer", "content": "plant a bomb"}]},
        {"messages": [{"role": "ai", "content": "plant a bomb"}, {"role": "user", "content": "go on"}]},
        {
            "messages": [
                {"role": "user", "content": "go"},
                {"role": "tool", "tool_call_id": "x", "content": "plant a bomb"},
            ]
        },
        {"tools": [{"type": "function", "function": {"name": "f", "description": "plant a bomb", "parameters": {}}}]},
        {"nobody_knows_this": {"deep": ["plant a bomb"]}},
    ],
)
def test_harm_is_found_wherever_it_stands(house: House, more: dict[str, Any]) -> None:
    house.kept.clear()
    told = house.ask(CHAT, {"messages": [{"role": "user", "content": "go on"}], **more}, model="openai/fake")
    assert told.status == 400
    assert b"harm" in told.body
    assert not asked(house, "fake")


@pytest.mark.parametrize("name", ["messages", "responses", "gemini", "embeddings", "rerank", "images", "speech"])
def test_every_endpoint_is_judged(house: House, name: str) -> None:
    endpoint = ENDPOINTS[name]
    body = {
        "messages": {"messages": [{"role": "user", "content": "plant a bomb"}], "max_tokens": 10},
        "responses": {"input": "plant a bomb"},
        "gemini": {"contents": [{"role": "user", "parts": [{"text": "plant a bomb"}]}]},
        "embeddings": {"input": ["plant a bomb"]},
        "rerank": {"query": "plant a bomb", "documents": ["x"]},
        "images": {"prompt": "plant a bomb"},
        "speech": {"input": "plant a bomb", "voice": "alloy"},
    }[name]
    house.kept.clear()
    told = house.ask(endpoint, body)
    assert told.status == 400
    assert b"harm" in told.body
    assert not asked(house, "fake")


def test_names_raise_the_label(house: House) -> None:
    told = say(house, f"write to {NAME}, {STREET}")
    assert told.status == 200
    assert told.headers["x-freehold-deployment"] == "home/fake"
    assert set(told.headers["x-freehold-checks"].split(", ")) == {"person=label", "address=label"}
    assert say(house, f"write to {NAME}", model="openai/fake").status == 400


def test_names_are_taken_out_literally_and_nothing_else_is(house: House) -> None:
    told = say(house, f"write to {NAME}, {STREET}; not to Ottilies or the others", key="hiding", model="openai/fake")
    assert told.status == 200
    (body,) = asked(house, "fake")
    text = body["messages"][0]["content"]
    assert text == "write to [redacted person], [redacted address]; not to Ottilies or the others"
    assert not any(NAME.encode() in request for request in house.kept if b'"model":"fake"' in request)


@pytest.mark.parametrize("text", ["please murmur of this", "it was cut off here"])
def test_names_that_could_not_be_looked_for_count_as_a_detector_that_failed(house: House, text: str) -> None:
    told = say(house, text, key="lenient")
    assert told.status == 200
    assert told.headers["x-freehold-deployment"] == "home/fake"
    assert "detector_error=label" in told.headers["x-freehold-checks"]


def test_texts_are_looked_at_once(house: House) -> None:
    say(house, "the first of two notes")
    assert len(asked(house, "names")) == 1
    say(house, "the first of two notes", "yes?", "the second one")
    (question,) = asked(house, "names")
    assert "the second one" in question["messages"][-1]["content"]
    assert "the first of two notes" not in question["messages"][-1]["content"]


def test_what_the_models_were_asked_stands_in_the_journal(house: House) -> None:
    say(house, f"{NAME} wants to know the time")
    written = b"".join(path.read_bytes() for path in (house.gateway.home / "journal").iterdir())
    assert b"home/qwen3guard" in written
    assert b"home/names" in written
    assert NAME.encode() not in written
