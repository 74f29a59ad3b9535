from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from freehold.errors import EngineError
from freehold.own.engine import EngineSpec
from freehold.own.engines import adapter, describe

Start = Callable[..., Awaitable[Any]]
PLAIN = ("plain", "--port", "${PORT}", "--weights", "${MODEL}", "--name", "${NAME}")


async def test_a_command_lives_from_plan_to_stop(
    start: Start, standins: Path, weights: Path, is_alive: Callable[[int], bool]
) -> None:
    env = (("PLAIN_KEY", "${API_KEY}"),)
    running = await start(EngineSpec("mine", weights, 256, engine="command", command=PLAIN, env=env))
    assert await running.chat("one two") == "stand-in: one two"
    assert (await running.post("/v1/chat/completions", {}, key="another"))[0] == 401
    pids = running.life.pids()
    assert str(weights).encode() in Path(f"/proc/{pids[1]}/cmdline").read_bytes().split(b"\0")
    await running.life.stop(5.0)
    await running.life.end()
    assert not any(is_alive(pid) for pid in pids)


async def test_a_command_that_is_told_no_key_is_asked_without_one(start: Start, standins: Path) -> None:
    running = await start(
        EngineSpec("mine", None, 256, engine="command", command=("plain", "--port=${PORT}", "--name=mine"))
    )
    assert running.life.api_key == ""
    assert await running.chat("one") == "stand-in: one"


async def test_no_shell_reads_the_words(start: Start, standins: Path, tmp_path: Path) -> None:
    words = ("plain", "--port", "${PORT}", "--name", f"mine; touch {tmp_path / 'shell'} $(id) `id` $HOME")
    running = await start(EngineSpec("mine", None, 256, engine="command", command=words, model=words[-1]))
    assert await running.chat("one") == "stand-in: one"
    assert not (tmp_path / "shell").exists()


@pytest.mark.parametrize(
    ("command", "says"),
    [
        ((), "needs a command"),
        (("plain",), "must be told its port"),
        (("plain", "${PORT}", "${SECRET}"), r"knows no \$\{SECRET\}"),
        (("no-such-program", "${PORT}"), "not there"),
    ],
)
def test_a_command_that_cannot_work_is_refused(command: tuple[str, ...], says: str, standins: Path) -> None:
    spec = EngineSpec("mine", None, 256, engine="command", command=command)
    with pytest.raises(EngineError, match=says) as caught:
        adapter("command").plan(spec, describe(spec), "k")
    assert caught.value.retry == "no"
