"""Counting the tokens of a text sends it somewhere, so whoever counts must be cleared for it like whoever answers."""

import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from canaries import CANARIES, ENDPOINTS, House
from faking import fake_here
from running import KEY, started

SECRET = CANARIES["secret"]
COUNTS = ("count_tokens", "gemini_count", "input_tokens")
CONFIG = f"""
server: {{{{port: 0, drain_seconds: 5}}}}
box: false
discover: false
retries: 0
learn: false
breaker: {{{{failures: 100000}}}}
providers:
  anthropic: {{{{base_url: "{{url}}", api_key: sk-1, policy: contract, cleared: restricted}}}}
  gemini: {{{{base_url: "{{url}}", api_key: sk-2}}}}
models:
  both: [gemini/open, anthropic/shut]
  first: [anthropic/broken, gemini/open, anthropic/shut]
  nobody: [gemini/open, gemini/other]
keys:
  - {{{{name: ci, key: "{KEY}"}}}}
"""
RULES = [{"match": {"model": "broken"}, "reply": {"status": 500}}]


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("counts")
    with fake_here(script={"rules": RULES}) as fake:
        kept: list[bytes] = []
        accept = fake.served.accept

        def keep(row: Any, request: Any) -> None:
            kept.append(request.url + b"\n" + request.body)
            accept(row, request)

        fake.served.accept = keep  # type: ignore[method-assign]
        config = folder / "freehold.yaml"
        config.write_text(CONFIG.format(url=fake.url))
        with started("up", "--config", str(config), home=folder / "home") as gateway:
            house = House(gateway, fake, kept, threading.local(), [])
            yield house
            house.close()


def asked(name: str, text: str) -> dict[str, Any]:
    if name == "gemini_count":
        return {"contents": [{"role": "user", "parts": [{"text": text}]}]}
    if name == "input_tokens":
        return {"input": text}
    return {"messages": [{"role": "user", "content": text}]}


def went(house: House) -> list[str]:
    """To whom, by model."""
    return [where for one in house.kept for where in ("open", "other", "shut", "broken") if where.encode() in one]


@pytest.mark.parametrize("name", COUNTS)
def test_a_text_that_anybody_may_see_is_counted_by_the_first(house: House, name: str) -> None:
    house.kept.clear()
    told = house.ask(ENDPOINTS[name], asked(name, "how deep is a fjord?"), model="both")
    assert told.status == 200
    assert went(house) == ["open"]


@pytest.mark.parametrize("name", COUNTS)
@pytest.mark.parametrize(("model", "route"), [("both", ["shut"]), ("first", ["broken", "shut"])])
def test_a_restricted_text_is_counted_only_by_members_that_are_cleared(
    house: House, name: str, model: str, route: list[str]
) -> None:
    house.kept.clear()
    told = house.ask(ENDPOINTS[name], asked(name, f"is {SECRET} a good one?"), model=model)
    assert told.status == 200, told.body
    assert went(house) == route
    assert any(SECRET.encode() in one for one in house.kept), "it is not counted by a guess"


@pytest.mark.parametrize("name", COUNTS)
def test_where_no_member_is_cleared_it_is_refused(house: House, name: str) -> None:
    house.kept.clear()
    told = house.ask(ENDPOINTS[name], asked(name, f"is {SECRET} a good one?"), model="nobody")
    assert told.status == 400
    assert b"the request is restricted" in told.body
    assert not house.kept


def test_what_a_conversation_was_labelled_holds_for_counting_it(house: House) -> None:
    """The words alone would go anywhere: it is their conversation that was claimed to be confidential."""
    turns = [
        {"role": "user", "content": "let us begin"},
        {"role": "assistant", "content": "gladly"},
        {"role": "user", "content": "and go on"},
    ]
    claimed = (("x-freehold-label", "confidential"),)
    body = {"messages": turns, "max_tokens": 9}
    assert house.ask(ENDPOINTS["messages"], body, model="both", headers=claimed).status == 200
    house.kept.clear()
    told = house.ask(ENDPOINTS["count_tokens"], {"messages": turns}, model="both")
    assert told.status == 200
    assert "input_tokens" in json.loads(told.body)
    assert went(house) == ["shut"]
    house.kept.clear()
    refused = house.ask(ENDPOINTS["count_tokens"], {"messages": turns}, model="nobody")
    assert refused.status == 400
    assert not house.kept
