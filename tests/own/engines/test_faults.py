"""Servers that misbehave, by the stand-in's faults: none outlives its life, hangs it, or fools it."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest

from freehold.errors import EngineError
from freehold.own import child as child_module
from freehold.own import processes
from freehold.own.engine import EngineSpec, LaunchPlan, Probe
from freehold.own.engines import adapter, describe, keeper
from freehold.own.life import BoundedLog, launch
from freehold.own.pipes import LOG_LIMIT

Start = Callable[..., Awaitable[Any]]


@pytest.fixture
def faulty(weights: Path) -> Callable[..., EngineSpec]:
    def make(fault: str, engine: str = "vllm", **changes: Any) -> EngineSpec:
        return EngineSpec("tiny", weights, 256, engine=engine, env=(("STANDIN", fault),), **changes)

    return make


def soon(plan: LaunchPlan) -> LaunchPlan:
    return msgspec.structs.replace(plan, ready_timeout=1.0)


async def eventually(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.01)


@pytest.mark.parametrize(("engine", "fault"), [("vllm", "silent"), ("sglang", "loading"), ("vllm", "slow=60")])
async def test_an_engine_that_is_never_ready_is_given_up(
    engine: str, fault: str, start: Start, standins: Path, faulty: Callable[..., EngineSpec]
) -> None:
    with pytest.raises(EngineError, match="did not listen within 1 s") as caught:
        await start(faulty(fault, engine), change=soon)
    assert caught.value.retry != "no"


@pytest.mark.parametrize("engine", ["vllm", "sglang"])
async def test_a_slow_load_is_waited_for(
    engine: str, start: Start, standins: Path, faulty: Callable[..., EngineSpec]
) -> None:
    running = await start(faulty("slow=0.5", engine))
    assert await running.chat("at last") == "stand-in: at last"


async def test_garbage_on_stdout_is_log_and_nothing_else(
    start: Start, standins: Path, faulty: Callable[..., EngineSpec], tmp_path: Path
) -> None:
    running = await start(faulty("garbage"))
    assert await running.chat("fine") == "stand-in: fine"
    assert bytes(range(256)) in (tmp_path / "tiny.log").read_bytes()


async def test_an_engine_that_exits_tells_the_exception(
    start: Start, standins: Path, faulty: Callable[..., EngineSpec]
) -> None:
    with pytest.raises(EngineError, match=r"exit status 1.*RuntimeError: CUDA error: out of memory"):
        await start(faulty("exits"))


async def test_a_crash_while_loading_is_told_by_its_signal(
    start: Start, standins: Path, faulty: Callable[..., EngineSpec]
) -> None:
    with pytest.raises(EngineError, match="killed by SIGSEGV"):
        await start(faulty("segfault"))


async def test_a_port_that_is_taken_in_the_meantime_is_replaced(
    start: Start, standins: Path, faulty: Callable[..., EngineSpec], tmp_path: Path
) -> None:
    running = await start(faulty(f"taken={tmp_path / 'once'}"))
    assert (tmp_path / "once").exists()
    assert await running.chat("fine") == "stand-in: fine"


async def test_a_stranger_on_the_port_is_not_taken_for_the_engine(
    start: Start, standins: Path, faulty: Callable[..., EngineSpec], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The engine is still loading, and somebody else answers 200 on the port that was chosen for it."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")
        writer.close()

    stranger = await asyncio.start_server(answer, "127.0.0.1", 0)
    taken = stranger.sockets[0].getsockname()[1]
    real, given = child_module.free_port, [taken]
    monkeypatch.setattr(child_module, "free_port", lambda: given.pop() if given else real())
    async with stranger:
        running = await start(faulty("slow=0.3"))
        assert not running.life.origin.endswith(f":{taken}")
        assert await running.chat("mine") == "stand-in: mine"


async def test_a_port_that_the_owner_chose_is_used(
    start: Start, standins: Path, faulty: Callable[..., EngineSpec]
) -> None:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    running = await start(faulty("", port=port))
    assert running.life.origin == f"http://127.0.0.1:{port}"


async def test_an_engine_on_all_addresses_is_refused(
    start: Start, standins: Path, faulty: Callable[..., EngineSpec]
) -> None:
    with pytest.raises(EngineError, match="elsewhere than on loopback") as caught:
        await start(faulty("everywhere"))
    assert caught.value.retry == "no"


async def test_a_child_that_leaves_the_session_does_not_outlive_the_engine(
    start: Start, standins: Path, faulty: Callable[..., EngineSpec], tmp_path: Path, is_alive: Callable[[int], bool]
) -> None:
    running = await start(faulty(f"escapes={tmp_path / 'escaped'}"))
    escaped = int((tmp_path / "escaped").read_text())
    assert is_alive(escaped)
    assert escaped in running.life.pids()
    await running.life.stop(5.0)
    await running.life.end()
    assert not is_alive(escaped)


async def test_an_engine_that_dies_takes_its_children_along(
    start: Start, standins: Path, faulty: Callable[..., EngineSpec], tmp_path: Path, is_alive: Callable[[int], bool]
) -> None:
    """Nobody stops it: the keeper does it alone."""
    running = await start(faulty(f"escapes={tmp_path / 'escaped'},dies=2"))
    escaped = int((tmp_path / "escaped").read_text())
    with pytest.raises(Exception):  # noqa: B017 - the connection is cut somehow
        await running.chat("die")
    assert await running.life.exited() == 9
    assert not is_alive(escaped)


@pytest.mark.parametrize("victim", ["keeper", "engine"])
async def test_kill_9_leaves_nothing_behind(
    victim: str, start: Start, standins: Path, faulty: Callable[..., EngineSpec], tmp_path: Path,
    is_alive: Callable[[int], bool],
) -> None:  # fmt: skip
    running = await start(faulty(f"escapes={tmp_path / 'escaped'}"))
    pids = running.life.pids()
    os.kill(pids[0] if victim == "keeper" else running.life.pids()[1], signal.SIGKILL)
    assert await running.life.exited() != 0
    await running.life.end()
    await eventually(lambda: not any(is_alive(pid) for pid in pids))


def test_a_steward_that_is_killed_takes_everything_along(
    tmp_path: Path, standins: Path, weights: Path, is_alive: Callable[[int], bool]
) -> None:
    """End of file on the keeper's stdin is all that is left of the steward."""
    argv = [str(standins / "vllm"), "serve", str(weights), "--port", "0"]
    env = os.environ | {"STANDIN": f"escapes={tmp_path / 'escaped'}"}
    command = [sys.executable, "-I", "-S", keeper.__file__, *argv]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, env=env, text=True) as process:
        assert process.stderr is not None
        assert process.stdin is not None
        for line in process.stderr:
            if line.startswith("listening"):
                break
        escaped = int((tmp_path / "escaped").read_text())
        below = processes.descendants(process.pid)
        assert escaped in below
        process.stdin.close()
        assert process.wait(10) == 0
    assert not any(is_alive(pid) for pid in below)


async def test_an_engine_deaf_to_sigterm_is_killed(
    start: Start, standins: Path, faulty: Callable[..., EngineSpec], is_alive: Callable[[int], bool]
) -> None:
    running = await start(faulty("deaf"))
    pids = running.life.pids()
    await running.life.stop(0.2)
    await running.life.end()
    assert not any(is_alive(pid) for pid in pids)


async def test_a_wedge_is_healthy_and_fails_the_one_token_probe(
    start: Start, standins: Path, faulty: Callable[..., EngineSpec]
) -> None:
    running = await start(faulty("wedges=2"))
    await running.life.ask(running.adapter.health)
    probe = msgspec.structs.replace(running.adapter.warm_up(running.spec, running.model), timeout=0.3)
    with pytest.raises(EngineError, match="/v1/completions"):
        await running.life.ask(probe)
    await running.life.ask(running.adapter.health)


async def test_a_command_that_cannot_be_started_is_refused(
    standins: Path, faulty: Callable[..., EngineSpec], tmp_path: Path
) -> None:
    spec = faulty("")
    plan = adapter("vllm").plan(spec, describe(spec), "k")
    plan = msgspec.structs.replace(plan, argv=[str(tmp_path / "nothing"), "serve"])
    life = await launch(plan, BoundedLog(tmp_path / "log"))
    with pytest.raises(EngineError, match="cannot be started: No such file") as caught:
        await life.answering()
    assert caught.value.retry == "no"
    await life.end()


async def test_the_private_folder_is_for_us_only_and_goes_with_the_life(
    start: Start, standins: Path, faulty: Callable[..., EngineSpec]
) -> None:
    running = await start(faulty("", "sglang"))
    words = Path(f"/proc/{running.life.pids()[1]}/cmdline").read_bytes().split(b"\0")
    file = Path(words[words.index(b"--config") + 1].decode())
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.parent.stat().st_mode & 0o777 == 0o700
    await running.life.end()
    assert not file.parent.exists()


async def test_the_log_of_a_chatty_server_stays_bounded(tmp_path: Path) -> None:
    script = "import os\nfor _ in range(200): os.write(1, b'x' * 65536); os.write(2, b'y' * 65536)"
    plan = LaunchPlan(
        argv=[sys.executable, "-I", "-S", "-c", script], env={}, message=b"", api_key="", memory=0, mapped=0,
        ready_timeout=20.0, kind="server", ready=Probe("/health"),
    )  # fmt: skip
    life = await launch(plan, BoundedLog(tmp_path / "log"))
    with pytest.raises(EngineError, match="exit status 0"):
        await life.answering()
    await life.end()
    assert sum(file.stat().st_size for file in tmp_path.glob("log*")) < 3 * LOG_LIMIT
