"""Every endpoint, every place in its requests, streamed or not, every kind of finding: what was found stays at home.

A canary is put into each string of a request that uses nearly everything its dialect has. It must not reach a rented
provider that is not cleared for it; with the same key in mode `monitor` it does, which shows that the place leads out.
"""

import json
from collections.abc import Iterator

import pytest
from canaries import CANARIES, ENDPOINTS, House, canary_house, places, planted

from freehold.check.detect import default_rules, scan

KEYS = ("monitor", "off", "redact", "block", "own")
CHECKS = """
  - {name: monitor, key: fh-monitor-0123456789}
  - {name: off, key: fh-off-0123456789abcd}
  - {name: redact, key: fh-redact-0123456789}
  - {name: block, key: fh-block-0123456789a}
  - {name: own, key: fh-own-0123456789abcd}
checks:
  keys:
    monitor: {mode: monitor}
    off: {mode: "off"}
    redact: {request: {secrets: redact, personal: redact}}
    block: {request: {secrets: block, personal: block}}
    own: {request: {secrets: own, personal: own}}
"""
KEY_OF = {
    "monitor": "fh-monitor-0123456789",
    "off": "fh-off-0123456789abcd",
    "redact": "fh-redact-0123456789",
    "block": "fh-block-0123456789a",
    "own": "fh-own-0123456789abcd",
}
LEAST = {"chat": 12, "responses": 12, "messages": 12, "gemini": 10, "input_tokens": 0}
"""Of the places of a dialect, how many lead to a provider at the least; some are counted here and sent nowhere."""


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with canary_house(tmp_path_factory.mktemp("matrix"), CHECKS) as house:
        yield house


def ways(name: str) -> list[bool]:
    return [False, True] if ENDPOINTS[name].streams else [False]


@pytest.mark.parametrize("kind", CANARIES)
def test_the_canaries_are_what_they_are_taken_for(kind: str) -> None:
    assert {finding.type for finding in scan(f"hi {CANARIES[kind]} so", default_rules())} == {kind}


@pytest.mark.parametrize("kind", CANARIES)
@pytest.mark.parametrize("name", ENDPOINTS)
def test_nothing_found_reaches_a_provider_that_is_not_cleared(house: House, name: str, kind: str) -> None:
    endpoint, canary = ENDPOINTS[name], CANARIES[kind]
    leading = 0
    for place in places(endpoint.body):
        body = planted(endpoint.body, place, canary)
        for stream in ways(name):
            house.kept.clear()
            told = house.ask(endpoint, body, stream=stream)
            assert told.status in (400, 404), (place, told)
            assert not house.reached(canary), place
            assert canary.encode() not in told.body, place
        escaped = house.ask(endpoint, body, escaped=canary)
        assert escaped.status in (400, 404), (place, escaped)
        assert not house.reached(canary), place
        if kind == "secret":
            house.ask(endpoint, body, key=KEY_OF["monitor"])
            leading += house.reached(canary)
    if kind == "secret":
        assert leading >= LEAST.get(name, 1), f"the canary leads out of {leading} places only"


@pytest.mark.parametrize("name", ENDPOINTS)
def test_what_is_to_be_redacted_is_gone_or_the_request_is_refused(house: House, name: str) -> None:
    endpoint, canary = ENDPOINTS[name], CANARIES["secret"]
    passed = 0
    for place in places(endpoint.body):
        body = planted(endpoint.body, place, canary)
        for stream in ways(name):
            house.kept.clear()
            told = house.ask(endpoint, body, key=KEY_OF["redact"], stream=stream)
            passed += told.status == 200
            if told.status == 200:
                assert "secret=redact" in told.headers.get("x-freehold-checks", "secret=redact")
                assert any(b"[redacted secret]" in one for one in house.kept) or not house.reached("[redacted")
            assert not house.reached(canary), place
    if name not in ("gemini_count", "count_tokens", "input_tokens"):
        assert passed


@pytest.mark.parametrize("kind", CANARIES)
@pytest.mark.parametrize("name", ENDPOINTS)
def test_what_is_blocked_reaches_nobody_and_says_why(house: House, name: str, kind: str) -> None:
    endpoint = ENDPOINTS[name]
    house.kept.clear()
    for place in places(endpoint.body):
        body = planted(endpoint.body, place, CANARIES[kind])
        told = house.ask(endpoint, body, key=KEY_OF["block"], model="home/fake")
        assert told.status == 400, (place, told)
        assert b"blocked" in told.body, (place, told)
        assert kind.encode() in told.body, (place, told)
        assert not house.kept


def chat(text: str, *before: str) -> dict[str, object]:
    turns = [{"role": "user" if n % 2 == 0 else "assistant", "content": said} for n, said in enumerate((*before, text))]
    return {"messages": turns}


CHAT = ENDPOINTS["chat"]


@pytest.mark.parametrize("kind", CANARIES)
def test_who_is_cleared_gets_it_and_who_owns_gets_what_is_own(house: House, kind: str) -> None:
    body = chat(f"hi {CANARIES[kind]} so")
    told = house.ask(CHAT, body, model="trusted/fake")
    assert told.status == 200
    assert told.headers["x-freehold-checks"] == f"{kind}=label"
    assert house.reached(CANARIES[kind])
    assert house.ask(CHAT, body, model="home/fake").status == 200
    assert house.ask(CHAT, body, model="trusted/fake", key=KEY_OF["own"]).status == 400
    told = house.ask(CHAT, body, model="home/fake", key=KEY_OF["own"])
    assert (told.status, told.headers["x-freehold-checks"]) == (200, f"{kind}=own")


def test_monitor_counts_and_off_does_not_look(house: House) -> None:
    body = chat(f"hi {CANARIES['secret']} so")
    before = house.counted("request", "secret", "would label")
    told = house.ask(CHAT, body, key=KEY_OF["monitor"])
    assert (told.status, told.headers["x-freehold-checks"]) == (200, "secret=label")
    assert house.counted("request", "secret", "would label") == before + 1
    told = house.ask(CHAT, body, key=KEY_OF["off"])
    assert told.status == 200
    assert "x-freehold-checks" not in told.headers
    assert house.counted("request", "secret", "would label") == before + 1


def test_what_everybody_writes_goes_through_and_is_named(house: House) -> None:
    told = house.ask(CHAT, chat("write to ann.smith@acme-corp.com"))
    assert (told.status, told.headers["x-freehold-checks"]) == (200, "email=allow")
    assert "x-freehold-checks" not in house.ask(CHAT, chat("what is the capital of Norway?")).headers


def test_a_conversation_stays_as_sensitive_as_it_was(house: House) -> None:
    secret = f"my key is {CANARIES['secret']} so"
    assert house.ask(CHAT, chat(secret), model="home/fake").status == 200
    assert house.ask(CHAT, chat("go on", "hello there", "hello yourself, number 17")).status == 200, "another one"
    first = ("tell me about locks", "they turn", secret, "noted")
    assert house.ask(CHAT, chat("more", *first), model="home/fake").status == 200
    shortened = house.ask(CHAT, chat("and now?", "tell me about locks", "they turn"))
    assert shortened.status == 400, "the secret was left out, but it was said"
    assert b"restricted" in shortened.body
    assert house.ask(CHAT, chat("tell me about locks")).status == 200, "others may begin with the same words"
    named = (("x-freehold-session", "s-1"),)
    claimed = (*named, ("x-freehold-label", "confidential"))
    assert house.ask(CHAT, chat("a plan"), model="home/fake", headers=claimed).status == 200
    assert house.ask(CHAT, chat("something else"), headers=named).status == 400
    assert house.ask(CHAT, chat("something else"), headers=(("x-freehold-session", "s-2"),)).status == 200
    assert house.ask(CHAT, chat("something else"), headers=named, key=KEY_OF["monitor"]).status == 200, "of another key"


def test_a_secret_in_a_large_request_is_found_wherever_it_stands(house: House) -> None:
    house.kept.clear()
    for before in (0, 262_100, 500_000):
        text = "a word " * (before // 7) + CANARIES["secret"] + " and more" * 40_000
        assert house.ask(CHAT, chat(text)).status == 400, before
    assert not house.reached(CANARIES["secret"])
    assert house.ask(CHAT, chat("a word " * 100_000)).status == 200


def test_moderations_are_answered_here_and_leave_nothing(house: House) -> None:
    endpoint = ENDPOINTS["moderations"]
    house.kept.clear()
    told = house.ask(endpoint, {"input": ["have a nice day", "I will kill you tomorrow"]}, model="freehold-moderation")
    assert told.status == 200
    answer = json.loads(told.body)
    assert [one["flagged"] for one in answer["results"]] == [False, True]
    assert answer["model"] == "freehold-moderation"
    assert told.headers["x-freehold-deployment"] == "freehold-moderation"
    assert not house.kept
    refused = house.ask(endpoint, {"input": [{"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}]},
                        model="freehold-moderation")  # fmt: skip
    assert refused.status == 400
    by_default = house.ask(endpoint, {"input": "hi"}, model="text-moderation-stable")
    assert by_default.status == 200, "the name an SDK asks for, which nobody here serves"
    assert not house.kept
