"""What a request does besides asking a model, live: results of tools, servers of tools, what a provider is to keep, and
what is found in answers, which is remembered.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from faking import fake_here
from renting import Answer, ask
from running import KEY, Running, started

from freehold.fake import FakeProvider
from freehold.record.receipts.leaf import Call, decode
from freehold.record.receipts.places import parts

CARD = "4111 1111 1111 1111"
SCRIPT = {
    "rules": [
        {"match": {"model": "*tells*"}, "reply": {"text": f"the card is {CARD} and that is all"}},
    ]
}
CONFIG = """
server: {{port: 0, drain_seconds: 5}}
box: false
discover: false
retries: 0
providers:
  openai: {{base_url: "{url}/v1", api_key: sk-0, policy: contract, cleared: confidential+pci}}
  groq: {{base_url: "{url}/v1", api_key: sk-1}}
labels:
  sources: {{tools: {{"crm_*": confidential}}}}
  sinks: {{retention: internal}}
  answers: true
checks: {{answer: {{secrets: block, personal: allow}}, keys: {{strict: {{answer: {{personal: block}}}}}}}}
keys:
  - {{name: ci, key: "{key}"}}
  - {{name: high, key: "{key}-high", label: confidential}}
  - {{name: strict, key: "{key}-strict"}}
"""


class House(NamedTuple):
    gateway: Running
    fake: FakeProvider

    def asked(self, path: str, body: Any, key: str = KEY) -> Answer:
        return ask(self.gateway.url, path, body, key=key)

    @property
    def count(self) -> int:
        return self.fake.served.totals.requests


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("flows")
    with fake_here(script=SCRIPT) as fake:
        config = folder / "freehold.yaml"
        config.write_text(CONFIG.format(url=fake.url, key=KEY))
        with started("up", "--config", str(config), home=folder / "home") as gateway:
            yield House(gateway, fake)


def said(*texts: str) -> list[dict[str, str]]:
    return [{"role": "user" if at % 2 == 0 else "assistant", "content": text} for at, text in enumerate(texts)]


def refusal(answer: Answer) -> str:
    return str(answer.json["error"]["message"])


FOUND = {"name": "NAME", "arguments": "{}"}
RESULT = [
    {"role": "user", "content": "who is it, NAME?"},
    {"role": "assistant", "tool_calls": [{"id": "c", "type": "function", "function": FOUND}]},
    {"role": "tool", "tool_call_id": "c", "content": "somebody"},
]  # fmt: skip


def with_result(model: str, tool: str) -> dict[str, Any]:
    return {"model": model, "messages": json.loads(json.dumps(RESULT).replace("NAME", tool))}


def test_a_result_of_a_tool_decides_who_may_answer(house: House) -> None:
    before = house.count
    refused = house.asked("/v1/chat/completions", with_result("groq/m", "crm_find"))
    assert refused.status == 400
    assert "the request is confidential" in refusal(refused)
    assert house.count == before
    assert house.asked("/v1/chat/completions", with_result("groq/m", "search")).status == 200
    assert house.asked("/v1/chat/completions", with_result("openai/m", "crm_find")).status == 200


def test_what_cannot_be_read_has_every_label(house: House) -> None:
    before = house.count
    odd = house.asked("/v1/chat/completions", {"model": "groq/m", "messages": [{"role": 7, "content": "hi"}]})
    assert odd.status == 400
    assert "cannot be read" in refusal(odd)
    assert house.count == before


SERVER = {"type": "mcp", "server_label": "x", "server_url": "https://tools.example/mcp"}


@pytest.mark.parametrize(("key", "status"), [(KEY, 200), (f"{KEY}-high", 403)])
def test_a_server_of_tools_is_a_sink(house: House, key: str, status: int) -> None:
    body = {"model": "openai/m", "input": "hi", "store": False, "tools": [SERVER]}
    answer = house.asked("/v1/responses", body, key)
    assert answer.status == status, answer.body
    if status == 403:
        assert "server of tools (MCP) is cleared for internal at most" in refusal(answer)


@pytest.mark.parametrize(("store", "status"), [(None, 400), (True, 400), (False, 200)])
def test_what_may_not_be_kept_is_not_sent_to_be_kept(house: House, store: bool | None, status: int) -> None:
    body = {"model": "openai/m", "input": "hi", **({} if store is None else {"store": store})}
    assert house.asked("/v1/responses", body).status == 200
    answer = house.asked("/v1/responses", body, f"{KEY}-high")
    assert answer.status == status, answer.body
    if status == 400:
        assert "send store: false" in refusal(answer)


@pytest.mark.parametrize("stream", [False, True])
def test_what_is_found_in_an_answer_holds_for_its_conversation(house: House, stream: bool) -> None:
    first = f"which card, stream {stream}?"
    told = house.asked("/v1/chat/completions", {"model": "openai/tells", "messages": said(first), "stream": stream})
    assert told.status == 200
    before = house.count
    shortened = {"model": "groq/m", "messages": said(first, "the card is [cut]", "and then?")}
    refused = house.asked("/v1/chat/completions", shortened)
    assert refused.status == 400
    assert "confidential" in refusal(refused)
    assert house.count == before
    other = {"model": "groq/m", "messages": said("which car?", "a red one", "and then?")}
    assert house.asked("/v1/chat/completions", other).status == 200


def test_a_blocked_answer_and_a_raised_label_stand_in_the_receipts(tmp_path: Path) -> None:
    with fake_here(script=SCRIPT) as fake:
        config = tmp_path / "freehold.yaml"
        config.write_text(CONFIG.format(url=fake.url, key=KEY))
        with started("up", "--config", str(config), home=tmp_path / "home") as gateway:
            house = House(gateway, fake)
            for stream in (False, True):
                body = {"model": "openai/tells", "messages": said("which?"), "stream": stream}
                assert CARD.encode() not in house.asked("/v1/chat/completions", body, f"{KEY}-strict").body
            house.asked("/v1/chat/completions", with_result("openai/m", "crm_find"))
    lines = [line for _, path in parts(tmp_path / "home" / "receipts") for line in path.read_bytes().splitlines()]
    calls = [leaf for line in lines if isinstance(leaf := decode(line), Call)]
    assert [(call.outcome, call.label) for call in calls] == [
        ("blocked", "internal"), ("blocked", "internal"), ("ok", "confidential"),
    ]  # fmt: skip
