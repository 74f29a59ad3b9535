"""Who must never get whose answer: over keys, labels, dialects, workers and configurations, through a real gateway.

The fake answers every call with a number of its own, so two answers are the same only if one was given again.
"""

import itertools
import json
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import anthropic
import canaries
import openai
import pytest
from canaries import ENDPOINTS, House, Told, canary_house
from google import genai
from google.genai import types
from hypothesis import given, settings
from hypothesis import strategies as st
from running import KEY, clean_environment

KEYS = ("one", "two", "team-a", "team-b")
TENANT = {"team-a": "team", "team-b": "team"}
LABELS = ("", "public", "internal", "confidential", "restricted", "internal+phi")
EXTRA = "\n".join(
    [
        *(f"  - {{name: {name}, key: fh-{name}-0123456789abcd}}" for name in KEYS),
        "labels: {default: public}",
        "cache:",
        "  enabled: true",
        "  clearance: confidential",
        "  groups: {team: [team-a, team-b]}",
    ]
)
CLIENTS = ("chat", "completions", "responses", "messages", "gemini", "ollama", "cohere", "mistral", "embeddings")


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with canary_house(tmp_path_factory.mktemp("apart"), EXTRA) as house:
        yield house


def body_of(client: str, text: str) -> dict[str, Any]:
    if client == "embeddings":
        return {"input": [text]}
    if client == "gemini":
        return {"contents": [{"role": "user", "parts": [{"text": text}]}], "generationConfig": {"temperature": 0}}
    if client == "completions":
        return {"prompt": text, "temperature": 0}
    if client == "responses":
        return {"input": text, "temperature": 0, "store": False}
    body: dict[str, Any] = {"messages": [{"role": "user", "content": text}]}
    if client == "ollama":
        return {**body, "options": {"temperature": 0}}
    return {**body, "temperature": 0, **({"max_tokens": 50} if client == "messages" else {})}


def ask(house: House, client: str, text: str, key: str = "one", label: str = "", stream: bool = False) -> Told:
    headers = (("x-freehold-label", label),) if label else ()
    return house.ask(
        ENDPOINTS[client],
        body_of(client, text),
        key=f"fh-{key}-0123456789abcd",
        model="trusted/fake",
        stream=stream and client != "embeddings",
        headers=headers,
    )


def state(told: Told) -> str:
    assert told.status == 200, told
    return told.headers["x-freehold-cache"].partition(";")[0]


asked = st.tuples(
    st.sampled_from(CLIENTS), st.integers(0, 2), st.sampled_from(KEYS), st.sampled_from(LABELS), st.booleans()
)
rounds = itertools.count()


@settings(max_examples=15)
@given(st.lists(asked, min_size=4, max_size=14))
def test_a_hit_was_kept_by_the_same_tenant_with_the_same_label(house: House, requests: list[Any]) -> None:
    number, seen = next(rounds), set[tuple[Any, ...]]()
    for client, text, key, label, stream in requests:
        calls = len(house.kept)
        told = ask(house, client, f"round {number} text {text}", key, label, stream)
        place = (client, text, TENANT.get(key, key), label or "public")
        if label in ("restricted", "internal+phi"):
            assert state(told) == "bypass"
        else:
            assert state(told) == ("hit" if place in seen else "miss"), (place, told)
        assert len(house.kept) - calls == (0 if state(told) == "hit" else 1)
        if state(told) == "miss":
            seen.add(place)


def test_the_label_of_a_conversation_is_raised_between_two_equal_requests(house: House) -> None:
    assert state(ask(house, "chat", "raised")) == "miss"
    assert state(ask(house, "chat", "raised")) == "hit"
    assert state(ask(house, "chat", "raised", label="internal")) == "miss"
    assert state(ask(house, "chat", "raised", label="internal")) == "hit"
    assert state(ask(house, "chat", "raised", label="restricted")) == "bypass"


def test_rows_of_one_partition_moved_to_another_are_not_given(house: House) -> None:
    ask(house, "chat", "moved", "one")
    ask(house, "chat", "moved", "two")
    assert state(ask(house, "chat", "moved", "one")) == state(ask(house, "chat", "moved", "two")) == "hit"
    with sqlite3.connect(house.gateway.home / "cache" / "answers.db") as connection:
        rows = connection.execute("SELECT digest, seal, content FROM answers ORDER BY made DESC LIMIT 2").fetchall()
        (digest, seal, content), (other, _, _) = rows
        connection.execute("UPDATE answers SET seal = ?, content = ? WHERE digest = ?", (seal, content, other))
    states = {state(ask(house, "chat", "moved", key)) for key in ("one", "two")}
    assert states == {"hit", "miss"}  # the one that was overwritten is not there any more
    assert digest != other


def test_json_with_a_key_twice_is_not_kept(house: House) -> None:
    body = (
        b'{"model": "trusted/fake", "temperature": 0, "messages": [{"role": "user", "content": "a", "content": "b"}]}'
    )
    for _ in range(2):
        told = raw(house, body)
        assert state(told) == "miss"
    assert state(ask(house, "chat", "b")) == "miss"


def raw(house: House, body: bytes, key: str = "one") -> Told:
    connection = house._connection()
    headers = {"authorization": f"Bearer fh-{key}-0123456789abcd", "content-type": "application/json"}
    connection.request("POST", "/v1/chat/completions", body, headers)
    answer = connection.getresponse()
    return Told(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())


def test_the_same_at_the_same_time_is_asked_once(tmp_path: Path) -> None:
    script = {"rules": [{"reply": {"text": "slow", "latency_ms": 500}}]}
    with canary_house(tmp_path, EXTRA, script) as house:

        def one(_: int) -> str:
            own = House(house.gateway, house.fake, house.kept, threading.local(), [])
            try:
                return state(ask(own, "chat", "together"))
            finally:
                own.close()

        with ThreadPoolExecutor(6) as pool:
            assert sorted(pool.map(one, range(6))) == ["hit"] * 5 + ["miss"]
        assert len(house.kept) == 1


def test_two_workers_share_answers_and_the_ledger_says_cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(canaries, "_CONFIG", canaries._CONFIG.replace("port: 0,", "port: 0, workers: 2,"))
    extra = EXTRA.replace("cache:", "models: {small: [trusted/fake]}\ncache:")
    folder = tmp_path
    with canary_house(folder, extra + "\n") as house:
        path = folder / "freehold.yaml"
        assert state(ask(house, "chat", "ledger")) == "miss"
        wait_for_rows(house, 1)
        for _ in range(3):
            house.close()
            del house.local.connection  # the next one may reach the other worker
            assert state(ask(house, "chat", "ledger")) == "hit"
        home = house.gateway.home
        env = clean_environment(FREEHOLD_HOME=str(home), UPSTREAM="x")
        command = [sys.executable, "-m", "freehold", "cache", "show", "--json", "--config", str(path)]
        for _ in range(40):
            shown = json.loads(subprocess.run(command, capture_output=True, check=True, env=env, timeout=60).stdout)
            if shown["saved"]["hits"] == 3:
                break
        assert shown["saved"]["hits"] == 3, shown
        assert shown["saved"]["tokens"] > 0
        assert shown["rows"][0]["tenant"] == "key one"
        with sqlite3.connect(home / "freehold.db") as connection:
            rows = connection.execute("SELECT reason, cost_usd, outcome FROM ledger").fetchall()
        # In no order: each worker has a journal of its own, and either may have been read first.
        assert sorted(row[0] for row in rows) == ["asked for by name", *["cached"] * 3]
        assert {row[1] for row in rows if row[0] == "cached"} == {0.0}
        clear = [sys.executable, "-m", "freehold", "cache", "clear", "--tenant", "one", "--json"]
        gone = json.loads(subprocess.run(clear, capture_output=True, check=True, env=env, timeout=60).stdout)
        assert gone["deleted"] == 1
        assert state(ask(house, "chat", "ledger")) == "miss"


def wait_for_rows(house: House, rows: int) -> None:
    """Until a worker has written what it was told to keep: the other one cannot know that it is about to."""
    for _ in range(200):
        with sqlite3.connect(house.gateway.home / "cache" / "answers.db") as connection:
            if connection.execute("SELECT count(*) FROM answers").fetchone()[0] >= rows:
                return
        time.sleep(0.01)
    raise AssertionError("nothing was kept")


def test_what_is_kept_survives_a_restart_and_not_a_change_of_who_may_answer(tmp_path: Path) -> None:
    alias = "models: {small: [trusted/fake]}\n"
    body = {"messages": [{"role": "user", "content": "again"}], "temperature": 0}

    def small(house: House) -> str:
        return state(house.ask(ENDPOINTS["chat"], body, key="fh-one-0123456789abcd", model="small"))

    with canary_house(tmp_path, EXTRA + "\n" + alias) as house:
        assert [small(house), small(house)] == ["miss", "hit"]
    with canary_house(tmp_path, EXTRA + "\n" + alias) as house:
        assert small(house) == "hit"
    with canary_house(tmp_path, EXTRA + "\n" + alias.replace("[trusted/fake]", "[home/fake]")) as house:
        assert small(house) == "miss"
    narrowed = EXTRA.replace("key: fh-one-0123456789abcd", "key: fh-one-0123456789abcd, providers: [home]")
    with canary_house(
        tmp_path, narrowed + "\n" + alias.replace("[trusted/fake]", "[trusted/fake, home/fake]")
    ) as house:
        assert small(house) == "miss"


class TestSdks:
    """The official SDKs read what is given again as they read any answer."""

    def test_openai(self, house: House) -> None:
        with openai.OpenAI(base_url=house.gateway.url + "/v1", api_key=KEY, max_retries=0, timeout=20) as client:
            ask: Any = {"model": "openai/fake", "messages": [{"role": "user", "content": "sdk"}], "temperature": 0}
            first = client.chat.completions.create(**ask)
            again = client.chat.completions.with_raw_response.create(**ask)
            assert again.headers["x-freehold-cache"].startswith("hit")
            whole = again.parse()
            assert whole.choices[0].message.content == first.choices[0].message.content
            assert whole.usage == first.usage
            chunks = list(client.chat.completions.create(**ask, stream=True, stream_options={"include_usage": True}))
            text = "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)
            assert text == first.choices[0].message.content
            assert chunks[-1].usage == first.usage
            asked: Any = {"model": "openai/fake", "input": "sdk", "temperature": 0, "store": False}
            told = client.responses.create(**asked)
            with client.responses.stream(**asked) as stream:
                final = stream.get_final_response()
            assert final.output_text == told.output_text
            assert final.id != told.id

    def test_anthropic(self, house: House) -> None:
        with anthropic.Anthropic(base_url=house.gateway.url, api_key=KEY, max_retries=0, timeout=20) as client:
            ask: Any = {"model": "anthropic/fake", "messages": [{"role": "user", "content": "sdk"}], "max_tokens": 50,
                        "extra_body": {"temperature": 0}}  # fmt: skip
            first = client.messages.create(**ask)
            again = client.messages.with_raw_response.create(**ask)
            assert again.headers["x-freehold-cache"].startswith("hit")
            assert again.parse().content == first.content
            with client.messages.stream(**ask) as stream:
                final = stream.get_final_message()
            assert final.content[0].text == first.content[0].text  # type: ignore[union-attr]
            assert final.usage.output_tokens == first.usage.output_tokens

    def test_gemini(self, house: House) -> None:
        options = types.HttpOptions(base_url=house.gateway.url, api_version="v1beta")
        client = genai.Client(api_key=KEY, http_options=options)
        config = types.GenerateContentConfig(temperature=0)
        first = client.models.generate_content(model="gemini/fake", contents="sdk", config=config)
        stream = client.models.generate_content_stream(model="gemini/fake", contents="sdk", config=config)
        assert "".join(chunk.text or "" for chunk in stream) == first.text
        again = client.models.generate_content(model="gemini/fake", contents="sdk", config=config)
        assert again.text == first.text
        assert again.usage_metadata == first.usage_metadata
