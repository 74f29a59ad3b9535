"""Ollama and LM Studio against the stand-in that speaks their HTTP surface (not the real programs)."""

import asyncio
import os
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from freehold.errors import EngineError
from freehold.own.attached import Attached
from freehold.own.engine import EngineSpec, Lora
from freehold.own.engines import adapter, describe

Daemon = Callable[..., str]
COMMANDS = {"ollama": ["serve"], "lmstudio": ["server", "start", "--port", "0"]}
PROGRAMS = {"ollama": "ollama", "lmstudio": "lms"}


@pytest.fixture
def daemon(standins: Path) -> Iterator[Daemon]:
    """Starts a daemon that is not ours, and returns its URL."""
    running: list[subprocess.Popen[str]] = []

    def start(engine: str, **env: str) -> str:
        command = [str(standins / PROGRAMS[engine]), *COMMANDS[engine]]
        process = subprocess.Popen(
            command, stderr=subprocess.PIPE, text=True, env=os.environ | {"OLLAMA_HOST": "127.0.0.1:0"} | env
        )
        running.append(process)
        assert process.stderr is not None
        for line in process.stderr:
            if found := re.search(r"listening on \S+:(\d+)", line):
                return f"http://127.0.0.1:{found[1]}"
        raise AssertionError("the stand-in did not listen")

    yield start
    for process in running:
        process.kill()
        process.wait()
        assert process.stderr is not None
        process.stderr.close()


async def attach(engine: str, url: str, **changes: Any) -> tuple[Attached, EngineSpec]:
    spec = EngineSpec("tiny", None, 2048, engine=engine, url=url, **changes)
    life = Attached(adapter(engine).plan(spec, describe(spec), "our-key"), looks=0.02)
    try:
        await life.answering()
    except BaseException:
        await life.end()
        raise
    return life, spec


async def loaded(life: Attached) -> bool:
    plan = life._plan
    assert plan.loaded is not None
    return plan.sign in msgspec.json.encode(msgspec.json.decode(await life.ask(plan.loaded)))


@pytest.mark.parametrize("engine", ["ollama", "lmstudio"])
async def test_to_launch_is_to_load_and_to_stop_is_to_unload(engine: str, daemon: Daemon) -> None:
    life, spec = await attach(engine, daemon(engine))
    one = adapter(engine)
    assert life.pid is None
    assert life.pids() == []
    assert life.memory() is None
    await life.ask(one.warm_up(spec, describe(spec)))
    facts = life._plan.facts or one.facts
    assert facts is not None
    able = one.capabilities(spec, describe(spec), msgspec.json.decode(await life.ask(facts)))
    assert able == ["chat", "completions", "schema", "tools"]
    assert await loaded(life)
    await life.stop(5.0)
    assert not await loaded(life)
    assert await life.exited() == 0
    await life.end()


@pytest.mark.parametrize("engine", ["ollama", "lmstudio"])
async def test_an_embedding_model_is_loaded_as_one(engine: str, daemon: Daemon) -> None:
    name = "nomic-embed:latest"
    life, spec = await attach(engine, daemon(engine, STANDIN_MODELS=name), model=name)
    one = adapter(engine)
    await life.ask(one.warm_up(spec, describe(spec)))
    facts = life._plan.facts or one.facts
    assert facts is not None
    assert one.capabilities(spec, describe(spec), msgspec.json.decode(await life.ask(facts))) == ["embeddings"]
    await life.end()


@pytest.mark.parametrize("engine", ["ollama", "lmstudio"])
async def test_a_model_that_others_unload_is_a_life_that_ended(engine: str, daemon: Daemon) -> None:
    life, _ = await attach(engine, daemon(engine))
    watching = asyncio.create_task(life.exited())
    for probe in life._plan.teardown:
        await life.ask(probe)
    async with asyncio.timeout(10):
        assert await watching == 1
    await life.end()


async def test_a_daemon_that_goes_away_is_a_life_that_ended(daemon: Daemon) -> None:
    url = daemon("ollama")
    life, spec = await attach("ollama", url)
    with pytest.raises(EngineError):
        await attach("ollama", "http://127.0.0.1:9")
    life.origin = "http://127.0.0.1:9"
    async with asyncio.timeout(10):
        assert await life.exited() == 1
    await life.end()
    assert spec.url == url


@pytest.mark.parametrize("engine", ["ollama", "lmstudio"])
async def test_an_unknown_model_is_refused_with_the_command_that_gets_it(engine: str, daemon: Daemon) -> None:
    with pytest.raises(EngineError, match="404") as caught:
        await attach(engine, daemon(engine), model="other")
    assert caught.value.retry == "no"
    assert "other" in (caught.value.hint or "")


@pytest.mark.parametrize("engine", ["ollama", "lmstudio"])
async def test_without_a_daemon_the_hint_says_how_to_start_it(engine: str) -> None:
    with pytest.raises(EngineError, match="no server at") as caught:
        await attach(engine, "http://127.0.0.1:9")
    assert caught.value.retry != "no"
    assert "start" in (caught.value.hint or "") or "serve" in (caught.value.hint or "")


async def test_a_token_is_sent_where_the_owner_gave_one(daemon: Daemon) -> None:
    url = daemon("lmstudio", STANDIN_TOKEN="lm-token")
    life, _ = await attach("lmstudio", url, env=(("LM_API_TOKEN", "lm-token"),))
    assert life.api_key == "lm-token"
    await life.end()
    with pytest.raises(EngineError, match="401"):
        await attach("lmstudio", url)


def test_a_daemon_takes_nothing_that_is_ours(tiny: Path) -> None:
    for changes in ({"path": tiny}, {"adapters": (Lora("a", tiny),)}, {"projector": tiny}, {"args": ("--x",)}):
        spec = EngineSpec(**{"name": "tiny", "path": None, "context": 512, "engine": "ollama"} | changes)
        with pytest.raises(EngineError) as caught:
            adapter("ollama").plan(spec, describe(spec), "k")
        assert caught.value.retry == "no"


@pytest.mark.parametrize("url", ["ftp://a", "http://", "http://a:b@c", "http://a/path", "http://a:99999", "nonsense"])
def test_a_url_that_is_none_is_refused(url: str) -> None:
    spec = EngineSpec("tiny", None, 512, engine="ollama", url=url)
    with pytest.raises(EngineError, match="cannot be reached"):
        adapter("ollama").plan(spec, describe(spec), "k")


def test_ollama_names_have_a_tag() -> None:
    for given, expected in (
        ("llama3", "llama3:latest"),
        ("llama3:8b", "llama3:8b"),
        ("hub.io:80/a", "hub.io:80/a:latest"),
    ):
        spec = EngineSpec("tiny", None, 512, engine="ollama", model=given)
        assert adapter("ollama").fields(spec) == {"model": expected}
