"""What an owned model does on this machine: tokens a second, time to the first token, pauses between tokens, memory.

A measurement is a grid of cells, each some requests of one prompt length at one concurrency. Results are lines of JSON
in FREEHOLD_HOME/measures/NAME.jsonl, newest last, with what they were measured on; `latest` is kept for routing
and planning. measuring.py sends the requests.
"""

import os
import platform
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from urllib.parse import quote

import msgspec
from msgspec import Struct, field

from freehold.home import home, write_private

KEPT = 100
"""Measures of one model that are kept."""
OUTPUT = 32
"""Tokens asked for in each answer."""


class Percentiles(Struct, frozen=True):
    """Milliseconds."""

    p50: float
    p95: float
    p99: float


class Cell(Struct, frozen=True):
    """`wanted` is the prompt length aimed at, `prompt` the median of what came of it, in tokens. `tokens_per_second` is
    output of all requests together. `error` is the first of what failed requests were told."""

    concurrency: int
    wanted: int
    prompt: int
    requests: int
    failed: int
    seconds: float
    tokens_per_second: float
    first: Percentiles | None
    between: Percentiles | None
    error: str | None = None


class Memory(Struct, frozen=True):
    """Bytes. `rss` counts shared pages whole, `pss` in part; None where the system does not say."""

    rss: int | None = None
    pss: int | None = None
    gpu: int | None = None


class Machine(Struct, frozen=True):
    """`memory` is bytes, `cores` those this process may use."""

    cpu: str
    cores: int
    memory: int | None
    gpus: tuple[str, ...] = ()


class Measure(Struct, frozen=True):
    """`at` is Unix time. `through` says what was asked: the gateway, or the engine itself. `digest` changes with the
    weights' file."""

    name: str
    at: float
    engine: str
    version: str
    quantisation: str | None
    parameters: int | None
    context: int
    parallel: int
    through: str
    machine: Machine
    memory: Memory
    cells: tuple[Cell, ...]
    output: int = OUTPUT
    digest: str = ""

    @property
    def best(self) -> float:
        """Most tokens a second of all cells."""
        return max((cell.tokens_per_second for cell in self.cells), default=0.0)


class Grid(Struct, frozen=True):
    """What to measure, and when to stop. `prompts` are tokens."""

    concurrencies: tuple[int, ...]
    prompts: tuple[int, ...]
    requests: int = 240
    seconds: float = 120.0
    output: int = OUTPUT

    def cells(self) -> list[tuple[int, int, int]]:
        """Returns (concurrency, prompt, requests) for each cell; every cell gets its share of `requests`, at least 3,
        and one for each at a time."""
        pairs = [(many, prompt) for prompt in self.prompts for many in self.concurrencies]
        whole = sum(many for many, _ in pairs)
        return [(many, prompt, max(3, many, self.requests * many // whole)) for many, prompt in pairs]


class Sample(Struct):
    """One request. Seconds; `pauses` between contents. `error` is None for an answer that was whole."""

    first: float | None = None
    pauses: list[float] = field(default_factory=list)
    prompt: int = 0
    output: int = 0
    error: str | None = None


def grid(context: int, parallel: int, *, requests: int = 240, seconds: float = 120.0, output: int = OUTPUT) -> Grid:
    """Returns a grid that fits the model: 1, half of, all of and twice its slots; up to three prompt lengths.

    Words do not all have as many tokens as those that were counted first, so the longest prompt leaves a quarter free.
    """
    room = max(8, (context - output) * 3 // 4)
    lengths = tuple(dict.fromkeys(min(length, room) for length in (32, 256, 1024)))
    many = sorted({1, max(1, parallel // 2), parallel, 2 * parallel})
    return Grid(tuple(many), lengths, requests=requests, seconds=seconds, output=output)


def summary(samples: Sequence[Sample], concurrency: int, wanted: int, seconds: float) -> Cell:
    """Returns what a cell's requests come to. Failed ones count as failed and for nothing else."""
    good = [sample for sample in samples if sample.error is None]
    prompts = sorted(sample.prompt for sample in good)
    return Cell(
        concurrency=concurrency,
        wanted=wanted,
        prompt=prompts[len(prompts) // 2] if prompts else 0,
        requests=len(samples),
        failed=len(samples) - len(good),
        seconds=round(seconds, 4),
        tokens_per_second=round(sum(sample.output for sample in good) / seconds, 2) if seconds > 0 else 0.0,
        first=percentiles(sample.first for sample in good if sample.first is not None),
        between=percentiles(pause for sample in good for pause in sample.pauses),
        error=next((sample.error for sample in samples if sample.error is not None), None),
    )


def percentiles(values: Iterable[float]) -> Percentiles | None:
    """Returns percentiles of seconds, in milliseconds, by nearest rank; None without values."""
    ordered = sorted(values)
    if not ordered:
        return None
    p50, p95, p99 = (ordered[min(len(ordered) - 1, int(share * len(ordered)))] * 1000 for share in (0.5, 0.95, 0.99))
    return Percentiles(round(p50, 3), round(p95, 3), round(p99, 3))


# what it was measured on


def machine(gpus: tuple[str, ...] = ()) -> Machine:
    """Returns what this machine is, as far as it says."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return Machine(_cpu(), cores, _total_memory(), gpus)


def memory(pids: Iterable[int], gpu: int | None = None) -> Memory:
    """Returns the memory of some processes together, as the kernel counts it (Linux)."""
    totals: dict[str, int] = {}
    for pid in pids:
        for key, value in _rollup(pid):
            totals[key] = totals.get(key, 0) + value
    return Memory(totals.get("Rss"), totals.get("Pss"), gpu)


def _rollup(pid: int) -> Iterator[tuple[str, int]]:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    except OSError:
        return
    for line in lines:
        key, _, value = line.partition(":")
        if key in ("Rss", "Pss"):
            yield key, int(value.split()[0]) << 10


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def _total_memory() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError):
        return None


# results


def save(measure: Measure) -> Path:
    """Adds a measure to those of its name; the oldest go. Raises OSError for a disk that will not."""
    path = _file(measure.name)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    kept = [*history(measure.name), measure][-KEPT:]
    write_private(path, b"".join(msgspec.json.encode(one) + b"\n" for one in kept))
    return path


def history(name: str) -> list[Measure]:
    """Returns the measures of a model, oldest first. Lines that cannot be read are passed over."""
    try:
        lines = _file(name).read_bytes().splitlines()
    except OSError:
        return []
    found = []
    for line in lines:
        try:
            found.append(_measure.decode(line))
        except msgspec.DecodeError:
            continue
    return found


def latest(name: str) -> Measure | None:
    """Returns the newest measure of `own/NAME` or NAME; None where it was never measured."""
    held = history(name)
    return held[-1] if held else None


_measure = msgspec.json.Decoder(Measure)


def _file(name: str) -> Path:
    return home() / "measures" / f"{quote(name.removeprefix('own/'), safe='')}.jsonl"
