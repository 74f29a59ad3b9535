"""One life of one engine: looked at before it is launched, launched, warmed, watched until it ends.

`live` runs as a task of its own and changes nothing: it tells the steward, who alone makes the transitions of a `Run`.
"""

import asyncio
import re
import secrets
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct, structs

from freehold.errors import EngineError, FreeholdError
from freehold.own.engine import TRANSITIONS, Adapter, EngineSpec, Gpu, Host, LaunchPlan, Missing, State
from freehold.own.engines.describe import describe as describe_model
from freehold.own.gguf import ModelFile
from freehold.own.life import BoundedLog, Life, describe, launch
from freehold.own.processes import Used
from freehold.own.schedule import Need


class Prepared(Struct, frozen=True):
    """What is known of an engine before it starts. `stamp` is that of the file when it was read."""

    model: ModelFile
    plan: LaunchPlan
    need: Need
    stamp: tuple[int, int]


class Run:
    """One life as the steward keeps it. Times are `time.monotonic()` but for `since`, which is Unix time."""

    def __init__(self, name: str, number: int, spec: EngineSpec, prepared: Prepared, on: tuple[int, ...]) -> None:
        self.name = name
        self.number = number
        self.spec = spec
        self.prepared = prepared
        self.need = prepared.need
        self.on = on
        self.state = State.ABSENT
        self.since = time.time()
        self.started = time.monotonic()
        self.ready_at = 0.0
        self.error: str | None = None
        self.plan: LaunchPlan | None = None
        self.life: Life | None = None
        self.task: asyncio.Task[tuple[str, bool]] | None = None
        self.used: Used | None = None
        self.level: int | None = None
        """How deep it sleeps, or is about to."""
        self.sequence: int | None = None
        """Of the first table that says that it takes no more requests."""
        self.notice = 0.0
        """Until when workers that are not linked may still send it requests."""
        self.ending = False
        self.adapting = False
        """LoRA weights are being loaded or forgotten."""

    def to(self, state: State, error: str | None = None) -> None:
        assert state in TRANSITIONS[self.state], f"{self.state} to {state}"
        self.state, self.error, self.since = state, error, time.time()

    @property
    def serves(self) -> bool:
        return self.state is State.READY


# What a life tells the steward.


class Spawned(Struct):
    run: Run
    life: Life
    plan: LaunchPlan


class Answering(Struct):
    run: Run


class Warm(Struct):
    run: Run
    capabilities: list[str]
    fields: dict[str, dict[str, Any]]
    used: Used | None


class Ended(Struct):
    """`lasting`: the next life would end the same way."""

    run: Run
    reason: str
    lasting: bool


News = Spawned | Answering | Warm | Ended


def prepare(spec: EngineSpec, adapter: Adapter, gpus: Sequence[Gpu], before: Prepared | None = None) -> Prepared:
    """Looks before it leaps: engine installed, weights unchanged and sound, need known. Blocking: reads files.

    `before` saves reading a header again that has not changed. Raises EngineError or OSError.
    """
    found = adapter.probe()
    if isinstance(found, Missing):
        raise EngineError(found.reason, code="engine_missing", hint=found.hint, retry="no")
    if spec.weights:
        _check_weights(spec)
    stamp = _stamp(spec.path)
    model = before.model if before is not None and before.stamp == stamp else describe_model(spec)
    plan = adapter.plan(spec, model, secrets.token_urlsafe(32), Host(tuple(gpus)))
    visible = dict(spec.env).get("CUDA_VISIBLE_DEVICES")
    on = tuple(int(one) for one in visible.split(",") if one.strip().isdigit()) if visible is not None else None
    need = Need(plan.memory if spec.memory is None else spec.memory, plan.gpu_memory, plan.gpus, on)
    return Prepared(model, plan, need, stamp)


async def live(
    run: Run, adapter: Adapter, gpus: Sequence[Gpu], logs: Path, tell: Callable[[News], None]
) -> tuple[str, bool]:
    """Returns why the life ended, once the process is gone, and whether the next would end the same way."""
    spec = run.spec
    life: Life | None = None
    kept = None
    try:
        prepared = await asyncio.to_thread(prepare, spec, adapter, gpus, run.prepared)
        kept = await asyncio.to_thread(_keep_weights, spec)
        plan = _placed(prepared.plan, run.on, spec)
        life = await launch(plan, BoundedLog(logs / f"engine-{file_name(spec.name)}.log"))
        tell(Spawned(run, life, plan))
        await life.answering()
        tell(Answering(run))
        for probe in (adapter.health, adapter.warm_up(spec, prepared.model)):
            await life.ask(probe)
        facts = _object(await life.ask(adapter.facts)) if adapter.facts is not None else {}
        capabilities = adapter.capabilities(spec, prepared.model, facts)
        tell(Warm(run, capabilities, spoken(spec, adapter), await asyncio.to_thread(life.memory)))
        return f"it ended ({describe(await life.exited())})" + life.last_words(), False
    except FreeholdError as error:
        return error.text, error.retry == "no"
    except OSError as error:
        return f"{spec.path}: {error.strerror or error}", True
    finally:
        if life is not None:
            await life.end()
        if kept is not None:
            await asyncio.to_thread(kept.close)


def end_of(task: "asyncio.Task[tuple[str, bool]]", run: Run) -> Ended:
    """Also for a task that was cancelled before it began, or failed as nobody foresaw."""
    if task.cancelled():
        return Ended(run, "it was stopped", lasting=False)
    if error := task.exception():
        return Ended(run, f"{type(error).__name__}: {error}", lasting=False)
    return Ended(run, *task.result())


def spoken(spec: EngineSpec, adapter: Adapter) -> dict[str, dict[str, Any]]:
    """Returns what requests must hold for each name that this engine serves."""
    return {
        spec.name: adapter.fields(spec),
        **{lora.name: adapter.fields(spec, lora) for lora in spec.adapters},
    }


def relaunches(old: EngineSpec, new: EngineSpec) -> bool:
    """Whether a running engine must be launched again to be what `new` says."""
    return _settled(old) != _settled(new)


def _settled(spec: EngineSpec) -> EngineSpec:
    return structs.replace(spec, load="", idle=None, memory=None)


def file_name(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]", "_", name)[:100]


def _placed(plan: LaunchPlan, on: tuple[int, ...], spec: EngineSpec) -> LaunchPlan:
    """Shows the engine the GPUs that it was given, unless a person has chosen."""
    if not on or not plan.gpu_memory or "CUDA_VISIBLE_DEVICES" in dict(spec.env):
        return plan
    return structs.replace(plan, env=plan.env | {"CUDA_VISIBLE_DEVICES": ",".join(map(str, on))})


def _stamp(path: Path | None) -> tuple[int, int]:
    if path is None:
        return (0, 0)
    state = path.stat()
    return (state.st_size, state.st_mtime_ns)


def _check_weights(spec: EngineSpec) -> None:
    """Raises EngineError for weights that are not what was verified when they came into the store."""
    from freehold.own.weights.store import open_store

    store = open_store()
    full, _, artefact = spec.weights.rpartition("/")
    version = store.find(full)
    chosen = version.artefact(artefact)
    store.check_unchanged(version, chosen)
    store.model_path(version, chosen)


def _keep_weights(spec: EngineSpec) -> Any:
    """Returns a hold on the weights in use, so that nobody clears them away; None where they are not the store's."""
    if not spec.weights:
        return None
    from freehold.own.weights.store import open_store

    store = open_store()
    full, _, artefact = spec.weights.rpartition("/")
    hold = store.hold(f"engine {spec.name}")
    try:
        version = store.find(full)
        store.use(hold, version, version.artefact(artefact))
    except BaseException:
        hold.close()
        raise
    return hold


def _object(body: bytes) -> dict[str, Any]:
    try:
        value = msgspec.json.decode(body)
    except msgspec.DecodeError:
        return {}
    return value if isinstance(value, dict) else {}
