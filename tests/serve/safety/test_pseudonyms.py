"""Pseudonyms on the way of a request: a provider that is not cleared never sees a value, in any dialect, streamed or
not, with every way there is to ask somebody else; the client gets its values back; the label falls only by that.
"""

import json
import random
import re
from collections.abc import Iterator
from typing import Any

import anthropic
import openai
import pytest
from canaries import ENDPOINTS, House, Told, canary_house
from dialogue import CLIENTS, PROVIDERS, body_of, said
from running import KEY

from freehold.record.entries import Intent
from freehold.record.journal import read_segment, segments

MAIL, PHONE, CARD, IBAN = (
    "bob.jones@example.com",
    "+1 (415) 555-2671",
    "4539 1488 0343 6467",
    "DE89 3704 0044 0532 0130 00",
)
VALUES = (MAIL, PHONE, CARD, IBAN)
TEXT = f"I am {MAIL} ({PHONE}), card {CARD}, account {IBAN}. Who am I?"
PIECES = (1, 2, 3, 5, 7, 11, 40, 400)
RULES = [
    {"match": {"model": f"echo-{size}"}, "reply": {"text": "You said: {last_user}", "chunk": size}} for size in PIECES
]
RULES += [
    {"match": {"model": "broken-*"}, "reply": {"status": 500}},
    {"match": {"model": "slow"}, "reply": {"latency_ms": 1500, "text": "slow: {last_user}"}},
    {"match": {"model": "home-echo"}, "reply": {"text": "Home: {last_user}"}},
    {"match": {"model": "liar"}, "reply": {"text": "Ask PHONE22334455 or {last_user}", "chunk": 3}},
    {"match": {"model": "fallen"}, "times": 1, "reply": {"status": 500}},
    {"match": {"model": "fallen"}, "reply": {"text": "Again: {last_user}"}},
]
CONFIG = """
  - {name: strict, key: fh-strict-0123456789abcd}
  - {name: plain, key: fh-plain-0123456789abcd}
  - {name: asks, key: fh-secretly-0123456789abcd, label: confidential}
checks:
  request: {personal: pseudonymise}
  keys: {plain: {request: {personal: label}}}
models:
  doubtful:
    among: [openai/echo-400, home/home-echo]
    cascade: {first: openai/echo-400, checks: [complete, agree], samples: 2}
  journalled: [openai/broken-j, home/broken-j, gemini/echo-5]
  raced: {among: [openai/slow, home/home-echo], hedge: {after: 0.1, share: 1}}
"""
COURSES = [f"{client}-{streams}" for client in CLIENTS for streams in (False, True)]
CONFIG += "".join(
    f"""
  1-{name}: [openai/broken-1-{name}, home/home-echo]
  2-{name}: [home/broken-2-{name}, anthropic/echo-7]
  3-{name}: [openai/broken-3-{name}, home/broken-4-{name}, gemini/echo-5]
"""
    for name in COURSES  # a deployment that has failed is asked last from then on
)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with canary_house(tmp_path_factory.mktemp("pseudonyms"), CONFIG, {"rules": RULES}) as house:
        yield house


def received(house: House) -> list[bytes]:
    kept = list(house.kept)
    house.kept.clear()
    return kept


def digits(text: str | bytes) -> str:
    text = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
    return re.sub(r"[^a-z0-9@]", "", text.lower())


def shows(body: bytes) -> list[str]:
    """Which of the values a body shows, in whatever spelling."""
    plain = digits(body)
    return [value for value in VALUES if digits(value) in plain or value.encode() in body]


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("client", CLIENTS)
def test_no_value_gets_out_and_all_come_back(house: House, client: str, provider: str) -> None:
    for stream in (False, True):
        for size in random.Random(f"{client}{provider}").sample(PIECES, 2):
            told = house.ask(ENDPOINTS[client], body_of(client, TEXT), stream=stream, model=f"{provider}/echo-{size}")
            where = (stream, size, told)
            assert told.status == 200, where
            assert [value for value in VALUES if value in said(told.body)] == list(VALUES), where
            checks = told.headers["x-freehold-checks"]
            assert "email=pseudonymise" in checks, where
            kept = received(house)
            assert len(kept) == 1, where
            assert not shows(kept[0]), kept
            assert b"@private.invalid" in kept[0]


def asked(house: House, model: str, *texts: str, client: str = "chat", key: str = "", **more: Any) -> Told:
    keys = {"key": f"fh-{key}-0123456789abcd"} if key else {}
    return house.ask(ENDPOINTS[client], body_of(client, *texts), model=model, **keys, **more)


def by_model(house: House) -> dict[str, list[bytes]]:
    found: dict[str, list[bytes]] = {}
    for request in received(house):
        body = json.loads(request.partition(b"\n\n")[2])
        named = re.search(rb"/models/([\w-]+)", request.partition(b"\n")[0])
        name = body["model"] if named is None else named[1].decode()
        found.setdefault(name.partition("-")[0] if name.startswith("broken") else name, []).append(request)
    return found


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("client", CLIENTS)
def test_each_attempt_gets_its_own_text(house: House, client: str, stream: bool) -> None:
    house.kept.clear()
    told = asked(house, f"1-{client}-{stream}", TEXT, client=client, stream=stream)
    assert told.status == 200, told
    assert "Home: " in said(told.body)
    assert all(value in said(told.body) for value in VALUES)
    assert "email=label" in told.headers["x-freehold-checks"], "what answered got it as it is"
    kept = by_model(house)
    assert not any(shows(one) for one in kept["broken"])
    assert all(shows(one) == list(VALUES) for one in kept["home-echo"])
    told = asked(house, f"2-{client}-{stream}", TEXT, client=client, stream=stream)
    assert all(value in said(told.body) for value in VALUES)
    assert "email=pseudonymise" in told.headers["x-freehold-checks"]
    kept = by_model(house)
    assert all(shows(one) == list(VALUES) for one in kept["broken"])
    assert not any(shows(one) for one in kept["echo-7"])
    told = asked(house, f"3-{client}-{stream}", TEXT, client=client, stream=stream)
    assert all(value in said(told.body) for value in VALUES)
    kept = by_model(house)
    assert [bool(shows(one)) for one in kept["broken"]] == [False, True]
    assert not any(shows(one) for one in kept["echo-5"])


@pytest.mark.parametrize("stream", [False, True])
def test_a_hedge_gets_its_own_text_too(house: House, stream: bool) -> None:
    house.kept.clear()
    told = asked(house, "raced", TEXT, stream=stream)
    assert told.status == 200, told.body
    assert all(value in said(told.body) for value in VALUES)
    kept = by_model(house)
    assert not any(shows(one) for one in kept.get("slow", []))
    assert all(shows(one) for one in kept.get("home-echo", []))
    assert len(kept) == 2, "both were asked"


def test_the_same_value_has_the_same_placeholder_in_all_turns_and_in_no_other_conversation(house: House) -> None:
    house.kept.clear()
    first = asked(house, "openai/echo-3", f"Write to {MAIL}")
    answer = json.loads(first.body)["choices"][0]["message"]["content"]
    assert MAIL in answer
    asked(house, "openai/echo-3", f"Write to {MAIL}", answer, f"And again to {MAIL}")
    asked(house, "openai/echo-3", f"Please write to {MAIL}")
    asked(house, "openai/echo-3", f"Write to {MAIL}", key="strict")
    found = [re.findall(rb"email\w{8}@private.invalid", one) for one in received(house)]
    assert len(set(found[1])) == 1
    assert found[1][0] == found[0][0]
    assert len({one[0] for one in found}) == 3


def test_a_conversation_that_is_pseudonymised_in_every_turn_goes_on(house: House) -> None:
    opening, answer = f"I am {MAIL}, card {CARD}; turn one", f"You said: I am {MAIL}"
    assert asked(house, "openai/echo-3", opening).status == 200
    for texts in (
        (opening, answer, "and so?"),
        (opening, answer, "and so?", "Well.", f"what of {IBAN}?"),
        (opening, answer, "and so?", "Well.", f"what of {IBAN}?", "Hm.", "go on"),
        ("nothing of it is left", "Indeed.", "go on"),
    ):
        assert asked(house, "openai/echo-3", *texts).status == 200, texts
    received(house)


@pytest.mark.parametrize("what", ["claim", "secret", "other rules", "picture"])
def test_a_mark_that_something_else_has_set_holds(house: House, what: str) -> None:
    opening = f"I am {MAIL}; a conversation with a {what}"
    key = "plain" if what == "other rules" else ""
    session = (("x-freehold-session", f"session {what}"),) if what == "other rules" else ()
    turns = (opening, "Well.", "go on")
    first = asked(house, "openai/echo-3", opening, headers=session)
    assert first.status == 200
    received(house)
    if what == "claim":
        raised = asked(house, "openai/echo-3", *turns, headers=(("x-freehold-label", "confidential"),))
    elif what == "secret":
        raised = asked(house, "openai/echo-3", *turns[:2], "ghp_Wq7RrT2yUi9OpA5sDfGh4JkLzXcVbN0yMPpM")
    elif what == "picture":
        body = body_of("chat", *turns)
        picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "iVBORw0KGgo" * 40}}
        body["messages"][-1]["content"] = [{"type": "text", "text": "see"}, picture]
        raised = house.ask(ENDPOINTS["chat"], body, model="openai/echo-3")
        shown = house.ask(ENDPOINTS["chat"], body, model="trusted/echo-3")
        assert "kept: turns.2.1 (image) cannot be read" in shown.headers["x-freehold-checks"]
        received(house)
    else:
        raised = asked(house, "openai/echo-3", *turns, key=key, headers=session)
    assert raised.status == 400, raised
    later = asked(house, "openai/echo-3", *turns, "Well.", "and now?", key=key, headers=session)
    assert later.status == 400, later
    assert not received(house)
    assert asked(house, "home/home-echo", *turns, "Well.", "and now?", key=key, headers=session).status == 200
    received(house)


def test_a_value_that_only_its_surroundings_give_away_must_come_again(house: House) -> None:
    opening, answer = "my phone number is 450 0840, call me", "I shall call you there."
    assert asked(house, "openai/echo-3", opening).status == 200
    assert asked(house, "openai/echo-3", opening, answer, "was it 450 0840 or not?").status == 200
    assert not any(b"0840" in one for one in received(house))
    session = (("x-freehold-session", "a trimmed one"),)
    assert asked(house, "openai/echo-3", opening, headers=session).status == 200
    assert asked(house, "openai/echo-3", "was it 450 0840 or not?", headers=session).status == 400
    assert not any(b"0840" in one for one in received(house))


def test_a_claim_and_a_keys_own_label_hold(house: House) -> None:
    house.kept.clear()
    claim = (("x-freehold-label", "confidential"),)
    assert asked(house, "openai/echo-3", "claimed " + TEXT, headers=claim).status == 400
    assert asked(house, "openai/echo-3", "of a key " + TEXT, key="secretly").status == 400
    assert not received(house)


@pytest.mark.parametrize("name", ["embeddings", "mistral", "gemini_embed", "gemini_batch_embed", "ollama_embed"])
def test_embeddings_are_made_of_placeholders(house: House, name: str) -> None:
    endpoint = ENDPOINTS.get(name)
    if endpoint is None or "embed" not in endpoint.path:
        pytest.skip("no such endpoint here")
    house.kept.clear()
    told = house.ask(endpoint, _with(endpoint.body, TEXT))
    kept = received(house)
    assert told.status == 200, told
    assert "email=pseudonymise" in told.headers["x-freehold-checks"]
    assert len(kept) == 1
    assert not shows(kept[0])
    assert b"@private.invalid" in kept[0]
    assert house.ask(endpoint, _with(endpoint.body, TEXT), model="home/fake").status == 200
    assert shows(received(house)[0]) == list(VALUES)


def _with(body: Any, text: str) -> Any:
    """A copy of a request with `text` behind its first text."""
    if isinstance(body, dict):
        for name in ("input", "text", "prompt", "query", "content", "requests", "parts"):
            if name in body:
                return {**body, name: _with(body[name], text)}
        return body
    if isinstance(body, list):
        return [_with(body[0], text), *body[1:]]
    return f"{body} {text}"


@pytest.mark.parametrize("name", ["rerank", "moderations", "images", "speech", "edits", "transcriptions"])
def test_where_it_cannot_be_put_back_the_label_holds(house: House, name: str) -> None:
    house.kept.clear()
    endpoint = ENDPOINTS[name]
    body = _with(endpoint.body, TEXT)
    told = house.ask(endpoint, body)
    assert told.status == 400, told
    assert not received(house)
    told = house.ask(endpoint, body, model="trusted/fake")
    assert told.status in (200, 400), told  # not all of them are served by that dialect
    if told.status == 200:
        assert "email=label" in told.headers["x-freehold-checks"]
        assert "kept: this endpoint has no way to put it back" in told.headers["x-freehold-checks"]


@pytest.mark.parametrize("name", ["count", "gemini_count", "input_tokens", "messages_count"])
def test_tokens_are_counted_of_placeholders(house: House, name: str) -> None:
    endpoint = ENDPOINTS.get(name)
    if endpoint is None:
        pytest.skip("no such endpoint here")
    house.kept.clear()
    told = house.ask(endpoint, _with(endpoint.body, TEXT) if "input" in endpoint.body else endpoint.body)
    assert told.status == 200, told
    assert not any(shows(one) for one in received(house))


def test_the_journal_names_what_lowered_the_label(house: House) -> None:
    told = asked(house, "journalled", TEXT)
    intents = _intents(house, told.headers["x-request-id"])
    assert [(one.label, one.sent.declassifier) for one in intents] == [
        ("confidential+pci", "pseudonymise+verify"),
        ("confidential+pci", ""),
        ("confidential+pci", "pseudonymise+verify"),
    ]
    received(house)


def _intents(house: House, request: str) -> list[Intent]:
    entries = [one for path in segments(house.gateway.home / "journal") for _, one in read_segment(path).entries]
    return [one for one in entries if isinstance(one, Intent) and one.request == request]


@pytest.mark.parametrize("stream", [False, True])
def test_a_cascade_and_its_samples_get_placeholders(house: House, stream: bool) -> None:
    house.kept.clear()
    told = asked(house, "doubtful", TEXT, stream=stream)
    assert told.status == 200, told
    assert all(value in said(told.body) for value in VALUES)
    kept = by_model(house)
    assert len(kept["echo-400"]) >= 2, "the first answer, and samples of it"
    assert not any(shows(one) for one in kept["echo-400"])
    assert "email=" in told.headers["x-freehold-checks"]


def test_a_kept_response_goes_on_with_placeholders(house: House) -> None:
    endpoint = ENDPOINTS["responses"]
    first = house.ask(endpoint, {"input": f"I am {MAIL}", "store": True}, model="openai/echo-5")
    assert MAIL in said(first.body)
    identity = json.loads(first.body)["id"]
    house.kept.clear()
    then = house.ask(endpoint, {"input": "and now?", "previous_response_id": identity}, model="openai/echo-5")
    assert then.status == 200, then.body
    assert not any(shows(one) for one in received(house))


def test_an_unknown_field_does_not_carry_a_value_out(house: House) -> None:
    house.kept.clear()
    for more in ({"x_note": MAIL}, {"metadata": {"who": MAIL}}, {"user": MAIL}, {"prompt_cache_key": MAIL}):
        body = {**body_of("chat", f"Hi, I am {MAIL}"), **more}
        told = house.ask(ENDPOINTS["chat"], body, model="openai/echo-5")
        assert told.status == 200, told
    for more in (
        {"service_tier": MAIL},
        {"modalities": [MAIL]},
        {"tools": [{"type": "function", "function": {"name": MAIL}}]},
    ):
        body = {**body_of("chat", f"Hello, I am {MAIL}"), **more}
        house.ask(ENDPOINTS["chat"], body, model="openai/echo-5")
    kept = received(house)
    assert len(kept) >= 4
    assert not any(shows(one) for one in kept)


def test_official_clients_see_their_own_values(house: House) -> None:
    house.kept.clear()
    with openai.OpenAI(base_url=f"{house.gateway.url}/v1", api_key=KEY, max_retries=0) as client:
        turns: Any = [{"role": "user", "content": f"sdk {TEXT}"}]
        whole = client.chat.completions.create(model="anthropic/echo-7", messages=turns)
        assert whole.choices[0].message.content == f"You said: sdk {TEXT}"
        pieces = client.chat.completions.create(model="openai/echo-3", messages=turns, stream=True)
        assert "".join(one.choices[0].delta.content or "" for one in pieces) == f"You said: sdk {TEXT}"
        answer = client.responses.create(model="openai/echo-5", input=f"sdk {TEXT}")
        assert answer.output_text == f"You said: sdk {TEXT}"
        made = client.embeddings.create(model="openai/fake", input=[TEXT, MAIL])
        assert len(made.data) == 2
    with (
        anthropic.Anthropic(base_url=house.gateway.url, api_key=KEY, max_retries=0) as other,
        other.messages.stream(model="anthropic/echo-11", max_tokens=999, messages=turns) as stream,
    ):
        assert stream.get_final_text() == f"You said: sdk {TEXT}"
    kept = received(house)
    assert len(kept) == 5
    assert not any(shows(one) for one in kept)
