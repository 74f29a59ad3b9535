"""One engine by itself, without a steward: for a measurement, and for a replica that another system supervises."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from msgspec import Struct

from freehold.errors import EngineError
from freehold.own.engine import Adapter, EngineSpec, Host, Missing, Probe
from freehold.own.engines import adapter as adapter_of
from freehold.own.engines.describe import describe
from freehold.own.gguf import ModelFile
from freehold.own.gpu import gpus
from freehold.own.life import BoundedLog, Life, launch
from freehold.own.memory import available, refuse_too_large

DRAIN = 30.0
"""Seconds that requests may go on when it is told to end."""


class Alone(Struct, frozen=True):
    """A running engine. `fields` maps each served name to what its requests must hold; see `Adapter.fields`."""

    spec: EngineSpec
    model: ModelFile
    adapter: Adapter
    life: Life
    version: str
    origin: str
    fields: dict[str, dict[str, Any]]

    @property
    def token(self) -> Probe:
        """The request for one token."""
        return self.adapter.warm_up(self.spec, self.model)

    async def end(self) -> None:
        """Ends it once its requests are done, or after DRAIN seconds."""
        await self.life.stop(DRAIN)
        await self.life.end()


async def start(spec: EngineSpec, log: Path) -> Alone:
    """Launches the engine and returns when it has answered with a token. What it says goes to `log`.

    Raises EngineError when it is not installed, cannot run the model, has too little memory, or does not come up;
    OSError for files.
    """
    adapter = adapter_of(spec.engine, DRAIN)
    found = await asyncio.to_thread(adapter.probe)
    if isinstance(found, Missing):
        raise EngineError(found.reason, code="engine_missing", hint=found.hint, retry="no")
    model = await asyncio.to_thread(describe, spec)
    plan = adapter.plan(spec, model, secrets.token_urlsafe(32), Host(await asyncio.to_thread(gpus)))
    if not plan.gpu_memory:
        refuse_too_large(model, need=plan.memory, free=available(), context=spec.context, parallel=spec.parallel)
    life = await launch(plan, BoundedLog(log))
    try:
        origin = await life.answering()
        fields = {spec.name: adapter.fields(spec)}
        fields |= {lora.name: adapter.fields(spec, lora) for lora in spec.adapters}
        alone = Alone(spec, model, adapter, life, found.version, origin, fields)
        await life.ask(alone.token)
    except BaseException:
        await life.end()
        raise
    return alone


@asynccontextmanager
async def running(spec: EngineSpec, log: Path) -> AsyncIterator[Alone]:
    """`start` as a context: it has ended when the context ends. Raises what `start` raises."""
    alone = await start(spec, log)
    try:
        yield alone
    finally:
        await alone.end()
