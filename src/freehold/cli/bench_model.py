"""`freehold bench NAME`: what an owned model does on this machine, by concurrency and prompt length.

Asked is the gateway that runs from this FREEHOLD_HOME, so that what is measured is what clients get; where none runs,
the engine is started by itself and asked directly. The result is kept (own/measure.py) for routing and planning.
"""

import asyncio
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from freehold.cli import output
from freehold.errors import EngineError

if TYPE_CHECKING:
    from freehold.cli.client import Running
    from freehold.own.engine import EngineSpec
    from freehold.own.measure import Cell, Measure, Percentiles
    from freehold.own.measuring import Target

PLOT = 40
"""Characters of the longest bar."""
BAR = "#"


class Bounds(Struct, frozen=True):
    """When a measurement ends: after this many requests or seconds. `output` is tokens of each answer."""

    requests: int = 240
    seconds: float = 120.0
    output: int = 32


def bench(name: str, bounds: Bounds, *, config: Path | None = None, as_json: bool = False) -> None:
    """Measures `own/NAME`, keeps the result and prints it. Raises EngineError where it is not there or fails."""
    from freehold.own.measure import save

    measure = asyncio.run(_measure(name.removeprefix("own/"), bounds, config))
    path = save(measure)
    if as_json:
        output.emit(measure)
        return
    show(measure)
    output.say(f"kept in {path}")


async def _measure(name: str, bounds: Bounds, config: Path | None) -> "Measure":
    from freehold.cli import client

    gateway = client.running() if config is None else None
    spec = _spec(name, config)
    if gateway is not None:
        return await _through(gateway, spec, bounds)
    return await _alone(spec, bounds)


def _spec(name: str, config: Path | None) -> "EngineSpec":
    from freehold.call.providers import load_config
    from freehold.cli import client
    from freehold.own.catalog import engine_specs

    path = client.configuration(config)
    specs = engine_specs(load_config(path, os.environ).config, path)
    found = next((spec for spec in specs if spec.name == name), None)
    if found is None:
        known = ", ".join(f"own/{spec.name}" for spec in specs)
        raise EngineError(
            f"own/{name} is not among the owned models",
            code="no_such_model",
            retry="no",
            hint=f"there are {known}" if known else "freehold pull ORG/NAME brings one",
        )
    return found


async def _through(gateway: "Running", spec: "EngineSpec", bounds: Bounds) -> "Measure":
    from freehold.own.engines import adapter
    from freehold.own.measuring import Target

    target = Target(gateway.url, gateway.key or "", f"own/{spec.name}")
    found = adapter(spec.engine).probe()
    version = getattr(found, "version", "")
    return await _asked(target, spec, bounds, "gateway", version, lambda: _pids(spec.name))


async def _alone(spec: "EngineSpec", bounds: Bounds) -> "Measure":
    from freehold.home import log_dir
    from freehold.own.alone import running
    from freehold.own.measuring import Target

    output.say(f"no gateway runs here: {spec.engine} is started by itself")
    async with running(spec, log_dir() / "bench.log") as engine:
        model = engine.fields[spec.name].get("model", spec.name)
        target = Target(engine.origin, engine.life.api_key, str(model))
        return await _asked(target, spec, bounds, "engine", engine.version, engine.life.pids)


async def _asked(
    target: "Target", spec: "EngineSpec", bounds: Bounds, through: str, version: str, pids: "Callable[[], list[int]]"
) -> "Measure":
    from freehold.own.engines.describe import describe
    from freehold.own.measure import Measure, grid, machine, memory
    from freehold.own.measuring import run

    model = describe(spec)
    wanted = grid(spec.context, spec.parallel, requests=bounds.requests, seconds=bounds.seconds, output=bounds.output)
    total = sum(requests for _, _, requests in wanted.cells())
    with output.progress(f"{total} requests to {target.model}", total) as advance:
        cells = await run(target, wanted, advance)
    living = list(pids())
    gpu, names = _gpu(living)
    return Measure(
        name=spec.name,
        at=time.time(),
        engine=spec.engine,
        version=version,
        quantisation=model.quantisation or None,
        parameters=model.parameters or None,
        context=spec.context,
        parallel=spec.parallel,
        through=through,
        machine=machine(names),
        memory=memory(living, gpu),
        cells=cells,
        output=bounds.output,
        digest="-".join(map(str, spec.stamp)),
    )


def _pids(name: str) -> list[int]:
    """The engine's processes, where the steward says that it runs."""
    from freehold.home import run_dir
    from freehold.own.engine import Published
    from freehold.own.processes import descendants

    try:
        engines = msgspec.json.decode((run_dir() / "engines.json").read_bytes(), type=dict[str, Published])
    except (OSError, msgspec.DecodeError):
        return []
    pid = engines[name].pid if name in engines else None
    return [pid, *descendants(pid)] if pid else []


def _gpu(pids: list[int]) -> tuple[int | None, tuple[str, ...]]:
    """Bytes that these processes hold on all GPUs, None where nothing says so; and the GPUs' names."""
    from freehold.own.gpu import gpus

    found = gpus()
    held = [gpu.processes[pid] for gpu in found for pid in pids if pid in gpu.processes]
    return sum(held) if held else None, tuple(gpu.name for gpu in found)


def show(measure: "Measure") -> None:
    """Prints the facts on stderr, the table on stdout, and on a terminal a plot of it."""
    output.say(_facts(measure))
    titles = ["at once", "prompt", "tok/s", "ttft p50", "p95", "p99", "gap p50", "p95", "p99", "failed"]
    columns = [output.Column(title, right=True, spare=title == "p95") for title in titles]
    output.table(columns, [_row(cell) for cell in measure.cells])
    output.say(f"ttft, gap: milliseconds to the first token and between two; answers of {measure.output} tokens")
    for error in dict.fromkeys(cell.error for cell in measure.cells if cell.error):
        output.warn(f"requests failed: {error}")
    if sys.stdout.isatty():
        sys.stdout.write("\n".join(["", *plot(measure.cells), ""]))
        sys.stdout.flush()


def _facts(measure: "Measure") -> str:
    from freehold.own.memory import shown

    held, machine = measure.memory, measure.machine
    sizes = {"memory": held.pss if held.pss is not None else held.rss, "GPU memory": held.gpu}
    facts = [
        f"{measure.engine} {measure.version}".strip(),
        measure.quantisation,
        *(f"{what} {shown(size)}" for what, size in sizes.items() if size is not None),
        f"asked through the {measure.through}",
        f"{machine.cpu}, {machine.cores} cores",
        *machine.gpus,
    ]
    return f"own/{measure.name}: " + ", ".join(fact for fact in facts if fact)


def _row(cell: "Cell") -> list[object]:
    def shown(found: "Percentiles | None") -> list[str | None]:
        return [None] * 3 if found is None else [f"{value:.1f}" for value in (found.p50, found.p95, found.p99)]

    return [
        cell.concurrency,
        cell.prompt,
        f"{cell.tokens_per_second:,.1f}",
        *shown(cell.first),
        *shown(cell.between),
        cell.failed,
    ]


def plot(cells: "Sequence[Cell]") -> list[str]:
    """Returns tokens a second as bars of plain characters, the longest PLOT wide, one group for each prompt length."""
    most = max((cell.tokens_per_second for cell in cells), default=0.0)
    lines = []
    before = None
    for cell in cells:
        if cell.wanted != before:
            lines.append(f"prompts of about {cell.wanted} tokens")
            before = cell.wanted
        bar = BAR * max(1, round(PLOT * cell.tokens_per_second / most)) if most and cell.tokens_per_second else ""
        lines.append(f"{cell.concurrency:>5} at a time |{bar.ljust(PLOT)}| {cell.tokens_per_second:,.0f} tokens/s")
    return lines
