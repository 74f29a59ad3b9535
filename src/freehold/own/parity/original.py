"""Asks the original: starts the reference process, gives it what it may use, and reads its one line.

It may use as much memory as the weights need in its arithmetic and some more, and as long as reading them and the
questions should take on the slowest machine worth waiting for. Past either it ends, and the gate could not judge.
"""

import asyncio
import contextlib
import importlib.util
import os
import signal
import sys
from pathlib import Path

import msgspec

from freehold.errors import EngineError
from freehold.own.engines.llamacpp import environment
from freehold.own.memory import available, shown
from freehold.own.parity.answers import Answers, Questions
from freehold.own.parity.reference import Task

HINT = "pip install 'freehold[reference]'"
MODULE = "freehold.own.parity.reference"
BASE_MEMORY = 1 << 30
"""What torch and transformers take before any model."""
HEADROOM = 1.3
BASE_TIME = 180.0
"""Seconds for imports and questions on a small model."""
RATE = 20 << 20
"""Bytes of weights a second, the questions included."""
MOST_OUTPUT = 256 << 20
LAST_WORDS = 2000


class NoReference(EngineError):
    """The original cannot be asked here: nothing is known against the artefact, and nothing for it."""

    default_code = "no_reference"


def missing() -> str | None:
    """Returns why there is no reference on this installation, None when there is one."""
    for name in ("torch", "transformers"):
        if importlib.util.find_spec(name) is None:
            return f"the reference needs {name}, which is not installed"
    return None


async def ask(folder: Path, questions: Questions, *, parameters: int, wide: bool = False) -> Answers:
    """Returns the original's answers. `parameters` is its size; `wide` forces float32 even where it does not fit.

    Raises NoReference when torch or transformers is not installed or memory is too small, EngineError when the
    original cannot be loaded or did not answer in time.
    """
    if (reason := missing()) is not None:
        raise NoReference(reason, hint=HINT, retry="no")
    free = available()
    task = Task(str(folder), questions, threads=threads())
    need = _need(parameters, 4)
    if free is not None and need > free and not wide:
        task.dtype, need = "bfloat16", _need(parameters, 2)
    if free is not None and need > free:
        raise NoReference(
            f"the original needs about {shown(need)} of memory to answer, {shown(free)} are free",
            hint="check it on a larger machine: freehold weights export, then freehold check there",
            retry="no",
        )
    task.memory_limit = need + (need >> 1)
    line = await _run(msgspec.json.encode(task) + b"\n", BASE_TIME + 4 * parameters / RATE)
    try:
        if line.startswith(b'{"error"'):
            raise EngineError(
                f"the original cannot be asked: {msgspec.json.decode(line)['error']}", code="bad_weights", retry="no"
            )
        return msgspec.json.decode(line, type=Answers)
    except msgspec.DecodeError as error:
        raise EngineError(f"the reference process said something else than answers: {error}") from error


def threads() -> int:
    """Returns the number of threads the reference may use: the processors of this process, at most 8."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(8, usable))


def _need(parameters: int, size: int) -> int:
    return BASE_MEMORY + int(parameters * size * HEADROOM)


async def _run(message: bytes, timeout: float) -> bytes:
    offline = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", MODULE,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        env=environment(os.environ) | offline, start_new_session=True, limit=MOST_OUTPUT,
    )  # fmt: skip
    assert child.stdin is not None
    assert child.stdout is not None
    assert child.stderr is not None
    noise = asyncio.create_task(_last(child.stderr))
    try:
        async with asyncio.timeout(timeout):
            child.stdin.write(message)
            line = await child.stdout.readline()
            if not line.endswith(b"\n"):
                status = await child.wait()
                words = (await noise).decode(errors="replace").strip().splitlines()
                raise EngineError(f"the reference process ended ({status})" + (f": {words[-1]}" if words else ""))
            return line
    except TimeoutError:
        raise EngineError(f"the reference did not answer within {timeout:g} s") from None
    finally:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(child.pid, signal.SIGKILL)
        child.stdin.close()
        await child.wait()
        noise.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await noise


async def _last(stream: asyncio.StreamReader) -> bytes:
    """Reads a stream to its end and returns the last of it."""
    kept = b""
    while data := await stream.read(65536):
        kept = (kept + data)[-LAST_WORDS:]
    return kept
