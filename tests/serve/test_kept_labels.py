"""Kept responses have labels: who goes on from one with `previous_response_id` has its label, whatever else he says.

Instructions are not part of what is kept, so a client may send others with each turn: what binds then is the id alone.
"""

import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from faking import fake_here
from renting import Answer, ask
from running import KEY, Running, started

from freehold.fake import FakeProvider

OTHER = f"{KEY}-other"
CONFIG = f"""
server: {{{{port: 0, drain_seconds: 5}}}}
box: false
discover: false
retries: 0
learn: false
providers:
  openai: {{{{base_url: "{{url}}/v1", api_key: sk-0, policy: contract, cleared: confidential}}}}
  anthropic: {{{{base_url: "{{url}}", api_key: sk-1, policy: contract, cleared: confidential}}}}
  groq: {{{{base_url: "{{url}}/v1", api_key: sk-2}}}}
models:
  translated: [groq/m, anthropic/m]
  passed: [groq/m, openai/m]
keys:
  - {{{{name: ci, key: "{KEY}"}}}}
  - {{{{name: other, key: "{OTHER}", label: confidential}}}}
"""
PATH = "/v1/responses"
TRANSLATED, PASSED = "anthropic/m", "openai/m"
"""Kept by us, and by the provider, which speaks the dialect."""
ALIAS = {TRANSLATED: "translated", PASSED: "passed"}


class House(NamedTuple):
    gateway: Running
    fake: FakeProvider

    def turn(self, model: str, words: str, previous: str | None = None, label: str = "", key: str = KEY,
             stream: bool = False) -> Answer:  # fmt: skip
        body: dict[str, Any] = {"model": model, "input": words, "instructions": f"answer {words}", "stream": stream}
        if previous is not None:
            body["previous_response_id"] = previous
        return ask(self.gateway.url, PATH, body, key=key, headers={"x-freehold-label": label} if label else None)

    @property
    def count(self) -> int:
        return self.fake.served.totals.requests

    def label(self, answer: Answer) -> str:
        """Of the request, by the ledger."""
        end = time.monotonic() + 20
        while time.monotonic() < end:
            with sqlite3.connect(f"file:{self.gateway.home / 'freehold.db'}?mode=ro", uri=True) as connection:
                row = connection.execute(
                    "SELECT label FROM ledger WHERE request = ?", (answer.headers["x-request-id"],)
                )
                found = row.fetchone()
            connection.close()
            if found is not None:
                return str(found[0])
            time.sleep(0.05)
        raise AssertionError("it is not in the ledger")


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder: Path = tmp_path_factory.mktemp("kept")
    with fake_here() as fake:
        config = folder / "freehold.yaml"
        config.write_text(CONFIG.format(url=fake.url))
        with started("up", "--config", str(config), home=folder / "home") as gateway:
            yield House(gateway, fake)


def identity(answer: Answer, stream: bool) -> str:
    assert answer.status == 200, answer.body
    if not stream:
        return str(answer.json["id"])
    return answer.body.decode().partition('"id":"')[2].partition('"')[0]


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("kept_by", [TRANSLATED, PASSED])
def test_who_goes_on_from_a_kept_response_has_its_label(house: House, kept_by: str, stream: bool) -> None:
    first = house.turn(kept_by, "hi", label="confidential", stream=stream)
    second = house.turn(ALIAS[kept_by], "and then?", identity(first, stream), stream=stream)
    assert second.headers["x-freehold-deployment"] == kept_by
    assert house.label(second) == "confidential"
    third = house.turn(ALIAS[kept_by], "at last?", identity(second, stream), stream=stream)
    assert third.headers["x-freehold-deployment"] == kept_by
    assert house.label(third) == "confidential"


def test_an_alias_gives_it_to_no_member_that_is_not_cleared(house: House) -> None:
    plain = house.turn(TRANSLATED, "hello")
    assert house.turn("translated", "and then?", identity(plain, False)).headers["x-freehold-deployment"] == "groq/m"
    first = identity(house.turn(TRANSLATED, "hello there", label="confidential"), False)
    before = house.count
    refused = house.turn("groq/m", "and then?", first)
    assert refused.status == 400
    assert "the request is confidential" in str(refused.json["error"]["message"])
    assert house.count == before


@pytest.mark.parametrize("kept_by", [TRANSLATED, PASSED])
def test_another_key_does_not_come_to_it_at_all(house: House, kept_by: str) -> None:
    """Neither in its own name nor over an alias, however much that key is cleared for."""
    first = identity(house.turn(kept_by, "good day", label="confidential"), False)
    before = house.count
    for model in (kept_by, ALIAS[kept_by], "groq/m"):
        refused = house.turn(model, "and then?", first, key=OTHER)
        assert (refused.status, refused.json["error"]["code"]) == (400, "previous_response_not_found")
    assert house.count == before
    assert house.turn(ALIAS[kept_by], "and then?", first).status == 200
