"""An engine inside a server that runs already and is not ours: Ollama, LM Studio.

Its life begins when the model is loaded and ends when it is loaded no more, whoever unloads it. There is no process to
signal: to kill is to stop watching, and the model is unloaded as soon as somebody can wait for that (`end`).
"""

import asyncio
import contextlib

import msgspec

from freehold.errors import EngineError
from freehold.own.asking import ask, send
from freehold.own.engine import LaunchPlan, Probe
from freehold.own.processes import Used

LOOKS = 2.0
"""Seconds between looks whether the model is still loaded."""
MISSED = 3
"""Looks without an answer in a row after which the server counts as gone."""
GONE = 1
LAST_UNLOAD = 5.0


class Attached:
    """A model in somebody else's server. See `Child` for the methods."""

    pid: int | None = None

    def __init__(self, plan: LaunchPlan, *, looks: float = LOOKS) -> None:
        self._plan = plan
        self._looks = looks
        self._over = asyncio.Event()
        self._loaded = False
        self.origin = plan.origin
        self.api_key = plan.api_key

    async def answering(self) -> str:
        """Has the model loaded. Raises EngineError: engine_refused when the server says it never will."""
        assert self._plan.ready is not None
        try:
            await self.ask(self._plan.ready)
        except EngineError as error:
            raise EngineError(f"no server at {self.origin}: {error.message}", hint=self._plan.hint) from error
        try:
            async with asyncio.timeout(self._plan.ready_timeout):
                if not await self._is_loaded():
                    await self._load()
        except TimeoutError:
            raise EngineError(f"it did not load the model within {self._plan.ready_timeout:g} s") from None
        self._loaded = True
        return self.origin

    async def _load(self) -> None:
        for probe in self._plan.setup:
            status, body = await send(self.origin, self.api_key, probe)
            if not 200 <= status < 300:
                reason = f"{probe.path} answered {status}: {body[:200].decode(errors='replace')}"
                if 400 <= status < 500:
                    raise EngineError(reason, code="engine_refused", retry="no", hint=self._plan.hint)
                raise EngineError(reason)
        if not await self._is_loaded():
            raise EngineError("it says that it loaded the model, and does not list it", hint=self._plan.hint)

    async def _is_loaded(self) -> bool:
        if self._plan.loaded is None:
            return True
        try:
            said = msgspec.json.encode(msgspec.json.decode(await self.ask(self._plan.loaded)))
        except msgspec.DecodeError:
            return False
        return self._plan.sign in said

    async def ask(self, probe: Probe) -> bytes:
        return await ask(self.origin, self.api_key, probe)

    async def exited(self) -> int:
        """Waits until the model is loaded no more; returns 0 after `stop` or `kill`, 1 when others did it."""
        missed = 0
        while not self._over.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._over.wait(), self._looks)
                break
            try:
                if not await self._is_loaded():
                    self._loaded = False
                    return GONE
                missed = 0
            except EngineError:
                missed += 1
                if missed >= MISSED:
                    self._loaded = False
                    return GONE
        return 0

    async def stop(self, patience: float) -> None:
        """Has the model unloaded."""
        await self._unload(patience)
        self._over.set()

    async def end(self) -> None:
        self._over.set()
        await self._unload(LAST_UNLOAD)

    async def _unload(self, patience: float) -> None:
        if self._loaded:
            self._loaded = False
            with contextlib.suppress(EngineError, TimeoutError):
                async with asyncio.timeout(patience):
                    for probe in self._plan.teardown:
                        await self.ask(probe)

    def kill(self) -> None:
        self._over.set()

    def pids(self) -> list[int]:
        return []

    def memory(self) -> Used | None:
        return None

    def last_words(self) -> str:
        return ""
