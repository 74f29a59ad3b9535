"""How much memory the engines of this machine may use, and how much each has been seen to use. Bytes.

RAM for all engines together is what is free plus what they have already, or what `engines.memory` says if that is less.
An adapter estimates what an engine will need; what it was seen to use corrects the estimate, for this run and, through
a small file, for the next ones. A larger figure always counts. A smaller one counts down to half of the estimate: much
of a key-value cache is only touched when long prompts come.
"""

import contextlib
from collections.abc import Iterable
from pathlib import Path

import msgspec
from msgspec import structs

from freehold.home import write_private
from freehold.own.engine import EngineSpec, Gpu
from freehold.own.lives import Prepared, Run
from freehold.own.processes import Used
from freehold.own.schedule import Capacity, Need

FILE = "engines-memory.json"
MARGIN = 1.1
LEAST = 0.5
MOST_KEPT = 500


class Budget:
    """`ram` and `gpu` are limits that a person has set; None: what the machine has."""

    def __init__(self, folder: Path, ram: int | None = None, gpu: int | None = None) -> None:
        self._file = folder / FILE
        self._ram, self._gpu = ram, gpu
        self.gpus: tuple[Gpu, ...] = ()
        """As they were seen last."""
        try:
            self._seen = msgspec.json.decode(self._file.read_bytes(), type=dict[str, int])
        except (OSError, msgspec.DecodeError):
            self._seen = {}

    def limit(self, ram: int | None, gpu: int | None) -> None:
        self._ram, self._gpu = ram, gpu

    def need(self, spec: EngineSpec, prepared: Prepared) -> Need:
        """Returns what is reckoned with. What the owner declares is not corrected."""
        seen = self._seen.get(key(spec))
        if seen is None or spec.memory is not None or not prepared.need.ram:
            return prepared.need
        corrected = max(int(seen * MARGIN), int(prepared.need.ram * LEAST))
        return structs.replace(prepared.need, ram=corrected)

    def saw(self, spec: EngineSpec, used: Used) -> None:
        """Remembers the most that an engine was seen to use."""
        name, total = key(spec), used.private + used.mapped
        if total <= self._seen.get(name, 0):
            return
        self._seen.pop(name, None)
        self._seen[name] = total
        while len(self._seen) > MOST_KEPT:
            self._seen.pop(next(iter(self._seen)))
        with contextlib.suppress(OSError):
            write_private(self._file, msgspec.json.encode(self._seen))

    def capacity(self, free: int | None, runs: Iterable[Run]) -> Capacity:
        """`free` is what the machine has left now; what `runs` use is theirs already."""
        runs = list(runs)
        ram = None
        if free is not None:
            ram = free + sum(run.used.private for run in runs if run.used is not None)
        if self._ram is not None:
            ram = self._ram if ram is None else min(ram, self._ram)
        return Capacity(ram, self._capacity_gpu(runs))

    def _capacity_gpu(self, runs: list[Run]) -> tuple[int, ...] | None:
        if not self.gpus:
            return None
        pids = {pid for run in runs if run.life is not None for pid in run.life.pids()}
        ours = [sum(used for pid, used in gpu.processes.items() if pid in pids) for gpu in self.gpus]
        total = [gpu.free + mine for gpu, mine in zip(self.gpus, ours, strict=True)]
        return tuple(one if self._gpu is None else min(one, self._gpu) for one in total)


def key(spec: EngineSpec) -> str:
    """What decides how much an engine uses."""
    parts = (
        spec.engine, spec.weights or spec.path, spec.stamp, spec.context, spec.parallel, spec.gpu_layers,
        spec.projector, spec.args, spec.command,
    )  # fmt: skip
    return "|".join(map(str, parts))
