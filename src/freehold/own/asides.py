"""What takes its time: to look at a model before it is loaded, and what is asked of an engine that runs: to sleep, to
wake, to load and forget LoRA weights.

Each function is a task beside the steward's: it changes nothing and tells how it went.
"""

import asyncio
from collections.abc import Callable

from msgspec import structs

from freehold.errors import EngineError, FreeholdError
from freehold.own.budget import Budget
from freehold.own.engine import Adapter, EngineSpec, Probe
from freehold.own.events import Adapted, Planned, Slept
from freehold.own.gpu import gpus
from freehold.own.lives import Run, Warm, prepare, relaunches, spoken
from freehold.own.slots import Slot


async def look_at(
    slot: Slot, spec: EngineSpec, adapter: Adapter, budget: Budget, tell: Callable[[Planned], None]
) -> None:
    """Finds out what an engine needs, or why it cannot run."""
    try:
        budget.gpus = await asyncio.to_thread(gpus)
        tell(Planned(slot, spec, await asyncio.to_thread(prepare, spec, adapter, budget.gpus)))
    except FreeholdError as error:
        tell(Planned(slot, spec, None, error.text, error.retry == "no"))
    except OSError as error:
        tell(Planned(slot, spec, None, f"{spec.path}: {error.strerror or error}", True))
    except Exception as error:
        tell(Planned(slot, spec, None, f"{type(error).__name__}: {error}", True))


async def put_to_sleep(run: Run, adapter: Adapter, tell: Callable[[Slept], None]) -> None:
    error = await _ask(run, list(adapter.sleep(run.level or 1)))
    tell(Slept(run, error))


async def waken(run: Run, adapter: Adapter, capabilities: list[str], tell: Callable[[Warm], None]) -> None:
    """One that does not wake is killed, and its task tells of its end."""
    spec, life = run.spec, run.life
    error = await _ask(run, [*adapter.wake(spec, run.level or 1), adapter.warm_up(spec, run.prepared.model)])
    if error is None and life is not None:
        tell(Warm(run, capabilities, spoken(spec, adapter), await asyncio.to_thread(life.memory)))
    elif life is not None:
        run.error = f"it did not wake: {error}"
        life.kill()


def lora_changes(run: Run, spec: EngineSpec, adapter: Adapter) -> list[Probe] | None:
    """Returns the requests that turn the running engine into `spec`; None where only another launch can."""
    if adapter.loras != "runtime" or relaunches(structs.replace(run.spec, adapters=spec.adapters), spec):
        return None
    old, new = set(run.spec.adapters), set(spec.adapters)
    probes = [adapter.unload_lora(spec, lora) for lora in run.spec.adapters if lora not in new]
    probes += [adapter.load_lora(spec, lora) for lora in spec.adapters if lora not in old]
    known = [probe for probe in probes if probe is not None]
    return known if len(known) == len(probes) else None


async def adapt(run: Run, spec: EngineSpec, probes: list[Probe], tell: Callable[[Adapted], None]) -> None:
    tell(Adapted(run, spec, await _ask(run, probes)))


async def _ask(run: Run, probes: list[Probe]) -> str | None:
    """Sends them in order; returns what went wrong."""
    try:
        for probe in probes:
            if run.life is None:
                return "its process has ended"
            await run.life.ask(probe)
    except EngineError as error:
        return error.message
    return None


async def kill_soon(kill: Callable[[], None]) -> None:
    """After the workers were told: they should know why before the connections break."""
    await asyncio.sleep(0.01)
    kill()
