"""Weights that the configuration names and that are not there yet: `freehold pull`, run as a child.

A child, because a pull hashes gigabytes and converts: the engines' loop must not wait for it. One at a time, so that
two do not share one line of the network. One that fails is tried again later and later, and at once when the
configuration changes; it goes on where it stopped.
"""

import asyncio
import contextlib
import os
import sys
from collections.abc import Callable, Mapping
from types import MappingProxyType

from freehold.own.events import Absent
from freehold.own.weights.types import shown

FIRST, LONGEST = 5.0, 600.0
"""Seconds between tries."""
LAST_WORDS = 8000
ERROR, HINT = "error:", "hint:"
"""How `freehold pull` begins its lines (cli/output.py)."""


class Pulls:
    """`changed` is called when there is news; `say` tells the person who runs the gateway."""

    def __init__(self, changed: Callable[[], None], say: Callable[[str], None]) -> None:
        self._changed = changed
        self._say = say
        self._wanted: dict[str, str] = {}
        self._words: dict[str, list[str]] = {}
        self._failed: dict[str, str] = {}
        self._work: asyncio.Task[None] | None = None
        self._wake = asyncio.Event()

    def begin(
        self, wanted: Mapping[str, str], words: Mapping[str, list[str]] = MappingProxyType({})
    ) -> dict[str, Absent]:
        """Pulls these references, by name; `words` are further options of `freehold pull`, by name. Returns how each
        stands, for whoever asks for the model meanwhile."""
        self._wanted, self._words = dict(wanted), dict(words)
        if wanted and (self._work is None or self._work.done()):
            self._work = asyncio.get_running_loop().create_task(self._pull_all())
        return {
            name: Absent(self._failed[name])
            if name in self._failed
            else Absent(f"its weights are being pulled from {shown(reference)}", pulling=True)
            for name, reference in wanted.items()
        }

    def forgive(self) -> None:
        """Tries at once what has failed."""
        self._failed.clear()
        self._wake.set()

    async def close(self) -> None:
        if self._work is not None:
            self._work.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._work

    async def _pull_all(self) -> None:
        pause = FIRST
        while self._wanted:
            self._wake.clear()
            for name, reference in list(self._wanted.items()):
                failure = await self._pull(name, reference)
                self._wanted.pop(name, None)
                if failure is None:
                    self._failed.pop(name, None)
                    self._changed()
                    if self._wanted.get(name) != reference:
                        continue
                    failure = f"the store has no {shown(reference)} after it was pulled; freehold weights show {name}"
                self._failed[name] = f"its weights could not be pulled: {failure}"
                self._say(f"freehold pull {shown(reference)}: {failure}")
                self._changed()
            if self._failed:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._wake.wait(), pause)
                pause = min(LONGEST, pause * 2)

    async def _pull(self, name: str, reference: str) -> str | None:
        """Returns why it failed."""
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "freehold", "pull", reference, "--name", name, *self._words.get(name, ()),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            env={**os.environ, "NO_COLOR": "1"},
        )  # fmt: skip
        try:
            _, words = await process.communicate()
        except asyncio.CancelledError:
            process.terminate()
            await process.wait()
            raise
        if process.returncode == 0:
            return None
        return _reason(words) or f"exit status {process.returncode}"


def _reason(words: bytes) -> str:
    """Returns what the child said last: its `error:` line and the hint below it, else its last line."""
    lines = words[-LAST_WORDS:].decode(errors="replace").strip().splitlines()
    told = next((place for place in reversed(range(len(lines))) if lines[place].startswith(ERROR)), None)
    if told is None:
        return lines[-1].strip() if lines else ""
    hints = [line.removeprefix(HINT).strip() for line in lines[told + 1 :] if line.startswith(HINT)]
    return "; ".join([lines[told].removeprefix(ERROR).strip(), *hints[:1]])
