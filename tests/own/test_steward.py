"""The steward against a stand-in engine that behaves, or misbehaves, to order; and once against the real one."""

import asyncio
import os
import signal
import stat
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from standing_in import Bench, StandIn, zombie

from freehold.call.transport import fetch
from freehold.own import places as places_module
from freehold.own import steward as steward_module
from freehold.own.engine import (
    TRANSITIONS,
    EngineSpec,
    LaunchPlan,
    Published,
    State,
)
from freehold.own.gguf import ModelFile
from freehold.own.life import BoundedLog
from freehold.own.lives import Prepared, Run
from freehold.own.schedule import Need
from freehold.own.steward import Policy, Steward

FAST = Policy(first=0.02, longest=0.05, crashes=3, rest=300.0, notice=0.05, drain=5.0)


@pytest.fixture
async def bench(tmp_path: Path, tiny: Path) -> AsyncIterator[Bench]:
    bench = Bench(tmp_path, tiny, StandIn(tmp_path), FAST)
    yield bench
    bench.stop.set()
    await asyncio.wait_for(bench.task, 15)
    left = [pid for starts in tmp_path.glob("*.starts") for pid in starts.read_text().split() if pid.isdigit()]
    assert not [pid for pid in left if Path(f"/proc/{pid}/stat").exists() and not zombie(pid)], "a child outlived it"


async def ask(engine: dict[str, Any], key: str | None = None) -> int:
    headers = {"authorization": f"Bearer {key or engine['api_key']}"}
    return (await fetch("GET", engine["base_url"] + "/models", headers))[0]


async def test_an_engine_becomes_ready_and_is_published(bench: Bench) -> None:
    bench.steward.apply([bench.spec("a")])
    engine = await bench.state("a", "ready")
    assert engine["base_url"].startswith("http://127.0.0.1:")
    assert engine["base_url"].endswith("/v1")
    assert (engine["context"], engine["capabilities"], engine["error"]) == (512, ["chat"], None)
    assert await ask(engine) == 200
    assert await ask(engine, "another-key") == 401
    assert stat.S_IMODE((bench.run_dir / "engines.json").stat().st_mode) == 0o600


async def test_every_life_has_a_key_of_its_own(bench: Bench) -> None:
    bench.steward.apply([bench.spec("a"), bench.spec("b")])
    first, other = await bench.state("a", "ready"), await bench.state("b", "ready")
    os.kill(first["pid"], signal.SIGKILL)
    again = await bench.until(lambda e: e["a"]["state"] == "ready" and e["a"]["pid"] != first["pid"])
    assert len({first["api_key"], other["api_key"], again["a"]["api_key"]}) == 3
    assert len(first["api_key"]) >= 32


async def test_an_engine_that_keeps_crashing_is_left_alone(bench: Bench) -> None:
    bench.adapter.modes["a"] = "exits"
    bench.steward.apply([bench.spec("a")])
    found = await bench.until(lambda e: "death 3" in (e.get("a", {}).get("error") or ""))
    error = found["a"]["error"]
    assert found["a"]["state"] == "failed"
    assert "exit status 7" in error
    assert "assert failed: no such layer" in error
    assert len(bench.adapter.starts("a")) == FAST.crashes


@pytest.mark.parametrize(
    ("mode", "said"),
    [
        ("refuses", "this is no model"),
        ("elsewhere", "elsewhere than on loopback"),
    ],
)
async def test_what_cannot_get_better_is_tried_once(bench: Bench, mode: str, said: str) -> None:
    bench.adapter.modes["a"] = mode
    bench.steward.apply([bench.spec("a")])
    engine = await bench.state("a", "failed")
    assert said in engine["error"]
    assert "next start" not in engine["error"]
    bench.adapter.modes["a"] = "good"
    bench.steward.apply([bench.spec("a")])
    await bench.state("a", "ready")
    assert len(bench.adapter.starts("a")) == 2


@pytest.mark.parametrize(
    ("mode", "said"),
    [
        ("garbage", "not what a worker says"),
        ("silent", "did not listen within"),
        ("wedged", "/v1/completions answered 500"),
    ],
)
async def test_who_does_not_answer_never_becomes_ready(bench: Bench, mode: str, said: str) -> None:
    """The wedged one answers /health with 200."""
    seen: set[str] = set()
    bench.adapter.modes["a"] = mode
    bench.adapter.ready_timeout = 0.5 if mode == "silent" else 10.0
    bench.steward.apply([bench.spec("a")])

    def watch(engines: dict[str, Any]) -> bool:
        seen.add(engines.get("a", {}).get("state", ""))
        return bool(engines.get("a", {}).get("error"))

    found = await bench.until(watch)
    assert said in found["a"]["error"]
    assert "ready" not in seen


async def test_a_deaf_engine_is_killed(tmp_path: Path, tiny: Path) -> None:
    bench = Bench(tmp_path, tiny, StandIn(tmp_path), Policy(drain=0.3))
    bench.adapter.modes["a"] = "deaf"
    bench.steward.apply([bench.spec("a")])
    engine = await bench.state("a", "ready")
    bench.stop.set()
    await asyncio.wait_for(bench.task, 10)
    assert zombie(str(engine["pid"]))


async def test_children_of_an_engine_end_with_it(bench: Bench) -> None:
    bench.adapter.modes["a"] = "parent"
    bench.steward.apply([bench.spec("a")])
    engine = await bench.state("a", "ready")
    grandchild = next(pid for pid in bench.adapter.starts("a") if int(pid) != engine["pid"])
    os.kill(engine["pid"], signal.SIGKILL)
    await bench.until(lambda e: e["a"]["pid"] not in (engine["pid"],))
    async with asyncio.timeout(5):
        while not zombie(grandchild):
            await asyncio.sleep(0.01)


async def test_only_what_changed_is_touched(bench: Bench) -> None:
    bench.steward.apply([bench.spec("stays"), bench.spec("goes"), bench.spec("changes")])
    before = {name: await bench.state(name, "ready") for name in ("stays", "goes", "changes")}
    bench.steward.apply([bench.spec("stays"), bench.spec("changes", threads=2), bench.spec("comes")])
    await bench.state("comes", "ready")
    after = await bench.until(
        lambda e: (
            "goes" not in e and e["changes"]["state"] == "ready" and e["changes"]["pid"] != before["changes"]["pid"]
        )
    )
    assert after["stays"] == before["stays"]
    assert bench.adapter.starts("goes")[-1] == "drained"
    await bench.until(lambda _: bench.adapter.starts("changes")[-1] == "drained")
    assert bench.adapter.starts("changes")[1].isdigit(), "the new one started before the old one ended"


async def test_draining_is_announced_before_it_ends(tmp_path: Path, tiny: Path) -> None:
    bench = Bench(tmp_path, tiny, StandIn(tmp_path), Policy(notice=0.5))
    bench.steward.apply([bench.spec("a")])
    await bench.state("a", "ready")
    bench.steward.apply([])
    assert await ask(await bench.state("a", "draining")) == 200
    await bench.until(lambda e: e == {})
    bench.stop.set()
    await asyncio.wait_for(bench.task, 10)


async def test_what_comes_back_while_it_drains_starts_again(bench: Bench) -> None:
    bench.steward.apply([bench.spec("a")])
    first = await bench.state("a", "ready")
    bench.steward.apply([])
    bench.steward.apply([bench.spec("a")])
    await bench.until(lambda e: e["a"]["state"] == "ready" and e["a"]["pid"] != first["pid"])


async def test_an_engine_taken_back_while_it_starts(bench: Bench) -> None:
    """It would not hear SIGTERM while it loads, and it has no requests to end."""
    bench.adapter.modes["a"] = "silent"
    bench.steward.apply([bench.spec("a")])
    await bench.until(lambda e: e.get("a", {}).get("pid"))
    bench.steward.apply([])
    await bench.until(lambda e: e == {})


async def test_a_storm_of_changes_settles_on_the_last(bench: Bench) -> None:
    for threads in range(1, 20):
        bench.steward.apply([bench.spec("a", threads=threads), bench.spec(f"b{threads}")])
        await asyncio.sleep(0.005)
    await bench.until(lambda e: set(e) == {"a", "b19"} and {v["state"] for v in e.values()} == {"ready"}, 30)


async def test_stop_before_anything_started(tmp_path: Path, tiny: Path) -> None:
    bench = Bench(tmp_path, tiny, StandIn(tmp_path), FAST)
    bench.steward.apply([bench.spec("a")])
    bench.stop.set()
    await asyncio.wait_for(bench.task, 10)


async def test_stopped_engines_are_published_as_such(bench: Bench) -> None:
    bench.steward.apply([bench.spec("a")])
    await bench.state("a", "ready")
    bench.stop.set()
    await asyncio.wait_for(bench.task, 10)
    assert bench.file()["a"]["state"] == "stopped"
    assert bench.file()["a"]["api_key"] == ""
    assert bench.adapter.starts("a")[-1] == "drained"


async def test_cancelling_the_steward_kills_its_engines(bench: Bench) -> None:
    bench.steward.apply([bench.spec("a")])
    engine = await bench.state("a", "ready")
    task, bench.task = bench.task, asyncio.create_task(asyncio.sleep(0))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert zombie(str(engine["pid"]))


async def test_an_engine_that_is_not_installed(bench: Bench) -> None:
    bench.adapter.missing = True
    bench.steward.apply([bench.spec("a")])
    assert (await bench.state("a", "failed"))["error"] == "no such engine here (hint: pip install it)"


@pytest.mark.parametrize("content", [b"", b"GGUF", b"not a model" * 100, None])
async def test_a_bad_file_never_reaches_an_engine(bench: Bench, content: bytes | None, tmp_path: Path) -> None:
    file = tmp_path / "bad.gguf"
    if content is not None:
        file.write_bytes(content)
    bench.steward.apply([bench.spec("a", path=file)])
    assert "bad.gguf: " in (await bench.state("a", "failed"))["error"]
    assert bench.adapter.starts("a") == []


async def test_a_model_larger_than_memory_is_not_loaded(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places_module, "available", lambda: 50 << 20)
    bench.steward.apply([bench.spec("a")])
    error = (await bench.state("a", "failed"))["error"]
    assert "needs about 100.0 MiB of memory" in error
    assert "50.0 MiB are free" in error
    assert bench.adapter.starts("a") == []


async def test_two_models_that_fit_one_at_a_time(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one that came first, whichever that is, may not have taken its memory yet when the other asks."""
    bench.adapter.modes["a"] = "silent"
    monkeypatch.setattr(places_module, "available", lambda: 150 << 20)
    bench.steward.apply([bench.spec("a"), bench.spec("b")])
    await bench.until(lambda e: any("50.0 MiB are free" in (engine["error"] or "") for engine in e.values()))


async def test_a_full_disk_does_not_end_it(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    write = steward_module.write_private
    full = asyncio.Event()

    def no_space(path: Path, content: bytes) -> None:
        full.set()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(steward_module, "write_private", no_space)
    bench.steward.apply([bench.spec("a")])
    await asyncio.wait_for(full.wait(), 5)
    monkeypatch.setattr(steward_module, "write_private", write)
    await bench.state("a", "ready")


def test_pauses_grow_and_then_the_breaker_opens() -> None:
    policy = Policy()
    pauses = [policy.pause(deaths) for deaths in range(1, 8)]
    assert pauses[0] < pauses[1] < pauses[2] < pauses[3] <= policy.longest * 1.2
    assert pauses[4:] == [policy.rest] * 3


def test_no_other_transitions() -> None:
    model = ModelFile(
        Path("x"), 1, 1, "llama", 1, 1, "F16", None, None, None, None, None, None, 0, False, None, True, {}
    )
    plan = LaunchPlan([], {}, b"", "", 0, 0, 1.0)
    run = Run("a", 1, EngineSpec("a", Path("x"), 1), Prepared(model, plan, Need(), (0, 0)), ())
    assert set(TRANSITIONS) == set(State)
    with pytest.raises(AssertionError):
        run.to(State.READY)


def test_a_log_is_bounded(tmp_path: Path) -> None:
    log = BoundedLog(tmp_path / "x.log", limit=1000)
    for n in range(1000):
        log.write(b"line %06d\n" % n)
    log.write(b"y" * 5000)
    assert sum(file.stat().st_size for file in tmp_path.iterdir()) <= 3000
    BoundedLog(tmp_path / "none" / "x.log").write(b"no folder, no harm")


# the real engine


async def settle(steward: Steward, met: Callable[[dict[str, Published]], bool]) -> dict[str, Published]:
    async with asyncio.timeout(20):
        while not met(steward.published()):
            await asyncio.sleep(0.01)
    return steward.published()


async def test_llama_cpp_killed_comes_back(tmp_path: Path, tiny: Path, engine_needed: None) -> None:
    stop = asyncio.Event()
    steward = Steward([EngineSpec("tiny", tiny, 512)], tmp_path)
    task = asyncio.create_task(steward.run(stop))
    first = (await settle(steward, lambda e: "tiny" in e and e["tiny"].state is State.READY))["tiny"]
    assert first.pid is not None
    assert {"chat", "completions", "embeddings", "schema"} <= set(first.capabilities)
    os.kill(first.pid, signal.SIGKILL)
    again = await settle(steward, lambda e: e["tiny"].state is State.READY and e["tiny"].pid != first.pid)
    assert (tmp_path / "engines.json").read_bytes().count(again["tiny"].api_key.encode()) == 1
    body = b'{"prompt": "hello", "max_tokens": 2}'
    headers = {"authorization": f"Bearer {again['tiny'].api_key}", "content-type": "application/json"}
    status, _, _ = await fetch("POST", again["tiny"].base_url + "/completions", headers, body)
    assert status == 200
    stop.set()
    await asyncio.wait_for(task, 10)


async def test_llama_cpp_does_not_loop_over_a_model_it_cannot_load(
    tmp_path: Path, make_gguf: Callable[..., Path], engine_needed: None
) -> None:
    stop = asyncio.Event()
    steward = Steward([EngineSpec("broken", make_gguf(skip="blk.1.attn_q"), 512)], tmp_path)
    task = asyncio.create_task(steward.run(stop))
    found = await settle(steward, lambda e: "broken" in e and e["broken"].state is State.FAILED)
    error = found["broken"].error or ""
    assert "llama.cpp could not load the model" in error
    assert "blk.1.attn_q.weight" in error
    assert "next start" not in error
    stop.set()
    await asyncio.wait_for(task, 10)


def test_llama_cpp_ends_when_the_steward_is_killed(
    tmp_path: Path, tiny: Path, engine_needed: None, is_alive: Callable[[int], bool]
) -> None:
    program = """
import asyncio, sys
from pathlib import Path
from freehold.own.engine import EngineSpec
from freehold.own.steward import Steward
async def main():
    steward = Steward([EngineSpec("tiny", Path(sys.argv[1]), 512)], Path(sys.argv[2]))
    task = asyncio.create_task(steward.run(asyncio.Event()))
    while steward.published().get("tiny") is None or steward.published()["tiny"].state != "ready":
        await asyncio.sleep(0.01)
    print(steward.published()["tiny"].pid, flush=True)
    await task
asyncio.run(main())
"""
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(tiny), str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout is not None
        pid = int(process.stdout.readline())
        process.kill()
    for _ in range(500):
        if not is_alive(pid):
            return
        signal.sigtimedwait([], 0.02)
    raise AssertionError("the engine outlived its steward")
