"""A replica elsewhere: the engine by itself, its routes passed through, its health by its tokens. No Ray is needed."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from freehold.errors import EngineError
from freehold.own.render.replica import Answered, Args, Replica

KEY = "replica-key-for-tests"


@pytest.fixture
async def replica(tiny: Path, engine_needed: None) -> AsyncIterator[Replica]:
    made = Replica(Args("tiny", 256, parallel=2, path=str(tiny)))
    await made.start()
    yield made
    await made.stop()


async def whole(answered: Answered) -> bytes:
    return b"".join([chunk async for chunk in answered.body])


def chat(**more: Any) -> bytes:
    return json.dumps(
        {"model": "tiny", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 4, **more}
    ).encode()


CHAT = ("POST", "/v1/chat/completions")
JSON = [("Content-Type", "application/json")]


async def test_the_way_of_a_replica(replica: Replica, monkeypatch: pytest.MonkeyPatch) -> None:
    answered = await replica.answer(*CHAT, JSON, chat())
    assert answered.status == 200
    assert json.loads(await whole(answered))["usage"]["completion_tokens"] == 4

    streamed = await replica.answer(*CHAT, JSON, chat(stream=True))
    assert streamed.content_type.startswith("text/event-stream")
    assert (await whole(streamed)).rstrip().endswith(b"data: [DONE]")

    models = await replica.answer("GET", "/v1/models", [], b"")
    assert [one["id"] for one in json.loads(await whole(models))["data"]] == ["tiny"]

    left = await replica.answer(*CHAT, JSON, chat(stream=True, max_tokens=200))
    await anext(left.body)
    await left.body.aclose()  # type: ignore[attr-defined]

    for _ in range(3):
        await replica.check()

    refusals = [
        (("POST", "/v1/chat/completions"), chat(model="other"), 404, "model_not_found"),
        (("POST", "/v1/chat/completions"), b"{", 400, "invalid_json"),
        (("POST", "/v1/chat/completions"), b"[]", 400, "invalid_json"),
        (("POST", "/v1/chat/completions"), b'{"model": 3}', 400, "invalid_json"),
        (("GET", "/v1/chat/completions"), b"", 405, "method_not_allowed"),
        (("POST", "/slots"), b"{}", 404, "unknown_path"),
    ]
    for (method, path), body, status, code in refusals:
        refused = await replica.answer(method, path, JSON, body)
        assert (refused.status, json.loads(await whole(refused))["error"]["code"]) == (status, code)

    monkeypatch.setenv("FREEHOLD_ENGINE_KEY", KEY)
    assert (await replica.answer(*CHAT, JSON, chat())).status == 401
    answered = await replica.answer(*CHAT, [*JSON, ("Authorization", f"Bearer {KEY}")], chat())
    assert answered.status == 200
    await whole(answered)


async def test_a_dead_engine_is_told(tiny: Path, engine_needed: None) -> None:
    replica = Replica(Args("tiny", 256, parallel=1, path=str(tiny)))
    await replica.start()
    await replica.stop()
    with pytest.raises(EngineError, match="has not started"):
        await replica.check()
    answered = await replica.answer(*CHAT, JSON, chat())
    assert answered.status == 503


async def test_a_file_that_is_not_there_is_told() -> None:
    with pytest.raises(OSError, match=r"nowhere\.gguf"):
        await Replica(Args("x", 256, path="/nowhere.gguf")).start()


def test_unknown_arguments_are_refused() -> None:
    with pytest.raises(msgspec.ValidationError, match="colour"):
        msgspec.convert({"name": "x", "context": 1, "colour": 1}, Args)
