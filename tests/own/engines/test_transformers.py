"""The real `transformers serve` of the installed version, with continuous batching and a tiny random model."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from freehold.call.transport import fetch
from freehold.own.engine import EngineSpec, Installed, Missing
from freehold.own.engines import adapter, describe, transformers
from freehold.own.life import BoundedLog, Life, launch

MESSAGES = {"messages": [{"role": "user", "content": "hello"}], "max_tokens": 8, "temperature": 0}


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = adapter("transformers").probe()
    if isinstance(found, Missing):
        pytest.skip(found.reason)
    tiny_models = pytest.importorskip("tiny_models")
    return Path(tiny_models.make("qwen2", tmp_path_factory.mktemp("store") / "tiny@v1", layout="hub"))


@pytest.fixture
async def served(repository: Path, tmp_path: Path) -> AsyncIterator[tuple[Life, EngineSpec]]:
    spec = EngineSpec("tiny", repository, 256, parallel=2, engine="transformers", threads=1)
    engine, model = adapter("transformers"), describe(spec)
    life = await launch(engine.plan(spec, model, "no-key"), BoundedLog(tmp_path / "log"))
    try:
        await life.answering()
        await life.ask(engine.warm_up(spec, model))
        yield life, spec
        await life.stop(20.0)
        assert "Application shutdown complete" in (tmp_path / "log").read_text(errors="replace")
    finally:
        await life.end()


async def post(life: Life, body: dict[str, Any]) -> tuple[int, bytes]:
    headers = {"content-type": "application/json"}
    url = f"{life.origin}/v1/chat/completions"
    status, _, data = await fetch("POST", url, headers, msgspec.json.encode(body), timeout=60)
    return status, data


async def test_it_chats_streams_and_batches_within_its_memory(served: tuple[Life, EngineSpec]) -> None:
    """One test, because it takes seconds to start."""
    life, spec = served
    engine = adapter("transformers")
    asked = MESSAGES | engine.fields(spec)
    status, data = await post(life, asked)
    answer = json.loads(data)
    assert status == 200, data
    assert answer["usage"]["completion_tokens"] == 8
    assert answer["model"] == "model@main", "no path of this machine reaches a client"
    said = answer["choices"][0]["message"]["content"]

    together = await asyncio.gather(*(post(life, asked) for _ in range(4)))
    assert {json.loads(data)["choices"][0]["message"]["content"] for _, data in together} == {said}

    _, stream = await post(life, asked | {"stream": True})
    events = [json.loads(line[6:]) for line in stream.splitlines() if line.startswith(b"data: {")]
    assert "".join(one["choices"][0]["delta"].get("content") or "" for one in events) == said
    assert events[-1]["choices"][0]["finish_reason"] == "length"
    assert events[-1]["usage"]["completion_tokens"] == 8
    assert b"[DONE]" not in stream, "the adapter's docstring says that there is none"

    # What the adapter's docstring says of it.
    assert (await post(life, MESSAGES | {"model": "own/tiny"}))[0] == 400
    assert (await post(life, asked | {"top_k": 1}))[0] == 422
    assert (await post(life, asked | {"response_format": {"type": "json_object"}, "n": 1, "user": "u"}))[0] == 200

    memory = life.memory()
    assert memory is not None
    assert memory.private < 1 << 30, "the cache of continuous batching is not bounded"
    assert engine.capabilities(spec, describe(spec), {}) == ["chat", "completions"]


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    real = transformers.importlib.util.find_spec
    monkeypatch.setattr(
        transformers.importlib.util, "find_spec", lambda name: None if name == "fastapi" else real(name)
    )
    found = adapter("transformers").probe()
    assert isinstance(found, Missing | Installed)
    assert not isinstance(found, Installed)
    assert found.hint == "pip install 'freehold[reference]'"
