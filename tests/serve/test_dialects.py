"""Every client dialect over HTTP to every provider dialect of the fake: whole, streamed, failing, kept for later."""

import json
import sqlite3
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
from running import KEY, Running, config_for, started

PROVIDERS = ["openai", "anthropic", "gemini"]
CLIENTS = {
    "chat": "/v1/chat/completions",
    "responses": "/v1/responses",
    "messages": "/v1/messages",
    "gemini": "/v1beta/models/{model}:generateContent",
    "ollama": "/api/chat",
    "ollama_generate": "/api/generate",
}
TEXT = "Hello from the fake provider: nobody was billed for this."


def ask(url: str, path: str, body: Any = None, method: str = "POST", key: str = KEY) -> tuple[int, Any, bytes]:
    """Returns status, headers and body."""
    data = None if body is None else json.dumps(body).encode()
    headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
    request = urllib.request.Request(url + path, data, headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers, error.read()


def request_for(client: str, model: str, stream: bool) -> tuple[str, dict[str, Any]]:
    path = CLIENTS[client]
    if client == "gemini":
        path = path.format(model=model)
        if stream:
            path = path.replace("generateContent", "streamGenerateContent") + "?alt=sse"
        return path, {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]}
    if client == "responses":
        return path, {"model": model, "input": "hi", "stream": stream}
    if client == "ollama_generate":
        return path, {"model": model, "prompt": "hi", "stream": stream}
    return path, {
        "model": model,
        "max_tokens": 50,
        "stream": stream,
        "messages": [{"role": "user", "content": "hi"}],
    }


def text_of(client: str, answer: dict[str, Any]) -> str:
    match client:
        case "chat":
            return str(answer["choices"][0]["message"]["content"])
        case "responses":
            return "".join(p["text"] for item in answer["output"] if item["type"] == "message" for p in item["content"])
        case "messages":
            return "".join(block.get("text", "") for block in answer["content"])
        case "gemini":
            return "".join(part.get("text", "") for part in answer["candidates"][0]["content"]["parts"])
        case "ollama":
            return str(answer["message"]["content"])
    return str(answer["response"])


def streamed_text(client: str, body: bytes) -> str:
    if client.startswith("ollama"):
        lines = [json.loads(line) for line in body.splitlines()]
        assert lines[-1]["done"] is True
        return "".join(text_of(client, line) for line in lines)
    events = [json.loads(line[5:]) for line in body.splitlines() if line.startswith(b"data:") and b"[DONE]" not in line]
    match client:
        case "chat":
            assert body.rstrip().endswith(b"[DONE]")
            return "".join(c["delta"].get("content") or "" for event in events for c in event["choices"])
        case "responses":
            assert events[-1]["type"] == "response.completed"
            assert [event["sequence_number"] for event in events] == list(range(len(events)))
            assert text_of(client, events[-1]["response"]) == TEXT
            return "".join(event["delta"] for event in events if event["type"] == "response.output_text.delta")
        case "messages":
            assert events[-1]["type"] == "message_stop"
            deltas = [event["delta"] for event in events if event["type"] == "content_block_delta"]
            return "".join(delta.get("text", "") for delta in deltas)
    return "".join(text_of(client, event) for event in events if event["candidates"][0].get("content"))


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("client", CLIENTS)
def test_each_client_dialect_reaches_each_provider(gateway: Running, client: str, provider: str) -> None:
    path, body = request_for(client, f"{provider}/fake", False)
    status, headers, answer = ask(gateway.url, path, body)
    assert status == 200, answer
    assert text_of(client, json.loads(answer)) == TEXT
    assert headers["x-freehold-deployment"] == f"{provider}/fake"


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("client", CLIENTS)
def test_each_client_dialect_streams_from_each_provider(gateway: Running, client: str, provider: str) -> None:
    path, body = request_for(client, f"{provider}/fake", True)
    status, headers, answer = ask(gateway.url, path, body)
    assert status == 200, answer
    assert streamed_text(client, answer) == TEXT
    kind = headers["content-type"].partition(";")[0]
    assert kind == ("application/x-ndjson" if client.startswith("ollama") else "text/event-stream")


@pytest.mark.parametrize("client", CLIENTS)
def test_an_unknown_model_and_a_wrong_key_in_the_clients_own_shape(gateway: Running, client: str) -> None:
    path, body = request_for(client, "nobody/nothing", False)
    status, headers, answer = ask(gateway.url, path, body)
    assert status == 404
    assert headers["x-request-id"]
    assert_error(client, json.loads(answer))
    status, _, answer = ask(gateway.url, path, body, key="fh-ffffffffffffffff")
    assert status == 401
    assert_error(client, json.loads(answer))


def assert_error(client: str, answer: dict[str, Any]) -> None:
    if client.startswith("ollama"):
        assert isinstance(answer["error"], str)
    elif client == "gemini":
        assert isinstance(answer["error"]["code"], int)
        assert answer["error"]["status"]
    else:
        assert answer["error"]["message"]


def test_gemini_streams_an_array_where_events_were_not_asked_for(gateway: Running) -> None:
    path, body = request_for("gemini", "openai/fake", True)
    status, headers, answer = ask(gateway.url, path.removesuffix("?alt=sse"), body)
    assert status == 200
    assert headers["content-type"] == "application/json"
    pieces = [event for event in json.loads(answer) if event["candidates"][0].get("content")]
    assert "".join(text_of("gemini", event) for event in pieces) == TEXT


def test_what_is_lost_stands_in_the_ledger(keeper: Running) -> None:
    body = request_for("chat", "anthropic/fake", False)[1] | {"logit_bias": {"1": 1}, "seed": 7}
    _, headers, _ = ask(keeper.url, CLIENTS["chat"], body)
    ledger = sqlite3.connect(keeper.home / "freehold.db")
    deadline = time.monotonic() + 20
    query = "SELECT lost FROM ledger WHERE request = ?"
    while (row := ledger.execute(query, (headers["x-request-id"],)).fetchone()) is None:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    ledger.close()
    assert row[0] == headers["x-freehold-lost"]
    assert {"logit_bias", "seed"} <= set(row[0].split(", "))


def test_a_request_header_turns_losses_into_an_error_that_names_the_field(gateway: Running) -> None:
    body = request_for("chat", "anthropic/fake", False)[1] | {"logit_bias": {"50256": -100}}
    status, headers, _ = ask(gateway.url, CLIENTS["chat"], body)
    assert status == 200
    assert "logit_bias" in headers["x-freehold-lost"].split(", ")
    request = urllib.request.Request(
        gateway.url + CLIENTS["chat"],
        json.dumps(body).encode(),
        {"authorization": f"Bearer {KEY}", "x-freehold-strict": "true"},
    )
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request, timeout=20)
    with refused.value as error:
        assert error.code == 400
        assert json.loads(error.read())["error"]["param"] == "logit_bias"


# What is kept


@pytest.fixture(scope="module")
def keeper(fake: Running, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A gateway with two keys."""
    folder = tmp_path_factory.mktemp("keeper")
    config = folder / "freehold.yaml"
    config.write_text(config_for(fake.url, '  - {name: other, key: "fh-other-0123456789"}'))
    with started("up", "--config", str(config), home=folder / "home", UPSTREAM_KEY="secret") as running:
        yield running


def made(url: str, model: str, stream: bool = False, **extra: Any) -> dict[str, Any]:
    status, _, answer = ask(url, "/v1/responses", {"model": model, "input": "hi", "stream": stream, **extra})
    assert status == 200, answer
    if not stream:
        return dict(json.loads(answer))
    last = [line for line in answer.splitlines() if line.startswith(b"data:")][-1]
    return dict(json.loads(last[5:])["response"])


@pytest.mark.parametrize("stream", [False, True])
def test_a_translated_response_is_kept_and_goes_on(keeper: Running, stream: bool) -> None:
    first = made(keeper.url, "anthropic/fake", stream, instructions="Be brief.")
    status, _, answer = ask(keeper.url, f"/v1/responses/{first['id']}", method="GET")
    assert status == 200
    assert json.loads(answer) == first
    items = json.loads(ask(keeper.url, f"/v1/responses/{first['id']}/input_items", method="GET")[2])
    assert [item["content"][0]["text"] for item in items["data"]] == ["hi"]
    assert items["has_more"] is False
    second = made(keeper.url, "gemini/fake", stream, previous_response_id=first["id"])
    assert second["previous_response_id"] == first["id"]
    third = made(keeper.url, "anthropic/fake", stream, previous_response_id=second["id"], input="and now?")
    assert third["usage"]["input_tokens"] > second["usage"]["input_tokens"] > first["usage"]["input_tokens"]


def test_a_response_is_its_keys_own(keeper: Running) -> None:
    first = made(keeper.url, "anthropic/fake")
    other = "fh-other-0123456789"
    path = f"/v1/responses/{first['id']}"
    for method, below in (("GET", ""), ("GET", "/input_items"), ("DELETE", ""), ("POST", "/cancel")):
        assert ask(keeper.url, path + below, method=method, key=other)[0] == 404
    body = {"model": "anthropic/fake", "input": "x", "previous_response_id": first["id"]}
    status, _, answer = ask(keeper.url, "/v1/responses", body, key=other)
    assert (status, json.loads(answer)["error"]["code"]) == (400, "previous_response_not_found")
    assert ask(keeper.url, path, method="DELETE")[0] == 200
    assert ask(keeper.url, path, method="GET")[0] == 404


def test_what_was_not_to_be_stored_is_not_there(keeper: Running) -> None:
    first = made(keeper.url, "anthropic/fake", store=False)
    assert first["store"] is False
    assert ask(keeper.url, f"/v1/responses/{first['id']}", method="GET")[0] == 404


def test_a_provider_that_keeps_its_own_goes_on_by_itself(keeper: Running, fake: Running) -> None:
    first = made(keeper.url, "openai/fake")
    body = {"model": "openai/fake", "input": "on", "previous_response_id": first["id"]}
    assert ask(keeper.url, "/v1/responses", body)[0] == 200
    seen = fake.get("/__fake__/requests/last")
    assert seen["body"]["previous_response_id"] == first["id"]
    body["model"] = "anthropic/fake"
    status, _, answer = ask(keeper.url, "/v1/responses", body)
    assert status == 400, answer


def test_an_id_nobody_made_here_is_unknown_wherever_it_would_go(keeper: Running) -> None:
    for provider in PROVIDERS:
        body = {"model": f"{provider}/fake", "input": "x", "previous_response_id": "resp_somebody_elses"}
        status, _, answer = ask(keeper.url, "/v1/responses", body)
        assert (status, json.loads(answer)["error"]["code"]) == (400, "previous_response_not_found")


# Lists


def test_each_dialect_lists_the_models(gateway: Running) -> None:
    listed = [row["id"] for row in json.loads(ask(gateway.url, "/v1/models", method="GET")[2])["data"]]
    assert "freehold-moderation" in listed
    names = [name for name in listed if "moderation" not in name]  # the other dialects have no such endpoint
    gemini = json.loads(ask(gateway.url, "/v1beta/models", method="GET")[2])["models"]
    ollama = json.loads(ask(gateway.url, "/api/tags", method="GET")[2])["models"]
    assert [row["name"].removeprefix("models/") for row in gemini] == names == [row["name"] for row in ollama]
    shown = json.loads(ask(gateway.url, "/api/show", {"model": names[0]})[2])
    assert shown["capabilities"]
    assert ask(gateway.url, f"/v1beta/models/{names[0]}", method="GET")[0] == 200
    assert_error("gemini", json.loads(ask(gateway.url, "/v1beta/models/none", method="GET")[2]))
    assert_error("ollama", json.loads(ask(gateway.url, "/api/show", {"model": "none"})[2]))
    assert json.loads(ask(gateway.url, "/api/version", method="GET")[2])["version"]


def test_ollama_requests_that_only_load_are_answered_here(gateway: Running) -> None:
    status, headers, answer = ask(gateway.url, "/api/generate", {"model": "openai/fake"})
    assert (status, json.loads(answer)["done_reason"]) == (200, "load")
    assert headers["content-type"] == "application/json"
