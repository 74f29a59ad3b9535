"""What a pull is going to do, known before it does it: which files, how many bytes, whether disk and memory have room.

Sizes are bytes. Memory is an estimate from the size of the weights, made before any header is here: the weights, a
tenth of them for the cache and the buffers of a usual context, and the engine's process. `freehold weights show`
computes it from the header later.
"""

import contextlib
import hashlib
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from msgspec import Struct

from freehold.errors import EngineError
from freehold.own import memory
from freehold.own.quantisations import BITS
from freehold.own.weights.choose import by_quantisation
from freehold.own.weights.reference import Reference
from freehold.own.weights.remote import Remote
from freehold.own.weights.types import Format, Source

if TYPE_CHECKING:
    from freehold.own.weights.store import Store

Part = Literal["weights", "projector", "paper", "pickle"]
"""pickle: the weights, in a form that never gets into the store; see pickled.py."""
MARGIN = 256 << 20
"""Bytes left free on a disk: other programs need some too."""
SHOWN = ("Q4_K_M", "Q8_0", "F16")
"""Quantisations whose memory is told of a model that is to be converted."""


class Planned(Struct, frozen=True):
    """One file: on another machine (`remote`) or on this one (`path`)."""

    name: str
    part: Part
    size: int | None
    remote: Remote | None = None
    path: Path | None = None


class Plan(Struct, frozen=True):
    """One pull. `quantisation` is what the file's name says, "" where it is silent; `wanted` is to be made of
    safetensors. `others` are quantisations that are there too, with bytes. `notes` is what a person should know."""

    reference: Reference
    source: Source
    format: Format
    quantisation: str
    files: tuple[Planned, ...]
    wanted: str | None = None
    others: dict[str, int] = {}
    licence: str | None = None
    gated: str | None = None
    parameters: int | None = None
    remote_code: bool = False
    notes: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        """Bytes of all files whose size is known."""
        return sum(file.size or 0 for file in self.files)

    @property
    def weights(self) -> int:
        return sum(file.size or 0 for file in self.files if file.part in ("weights", "pickle"))

    @property
    def pickles(self) -> int:
        """Bytes of pickles that safetensors are to be made of."""
        return sum(file.size or 0 for file in self.files if file.part == "pickle")


class Row(Struct, frozen=True):
    """Memory that one quantisation would need. `there`: it can be pulled as it is; else it is made here. `fits` is None
    where this machine does not say what it has free."""

    quantisation: str
    weights: int
    memory: int
    there: bool
    chosen: bool
    fits: bool | None


class Estimate(Struct, frozen=True):
    """`missing` bytes have to be fetched, `disk` bytes written, files that are made of them included."""

    size: int
    missing: int
    disk: int
    disk_free: int
    memory_free: int | None
    rows: tuple[Row, ...]

    @property
    def chosen(self) -> Row | None:
        return next((row for row in self.rows if row.chosen), None)

    @property
    def warning(self) -> str | None:
        """What to say where the chosen weights would not load here, with what would."""
        row = self.chosen
        if row is None or row.fits is not False or self.memory_free is None:
            return None
        said = (
            f"needs about {memory.shown(row.memory)} of memory, {memory.shown(self.memory_free)} are free here: "
            "it would not load now"
        )
        fitting = [one for one in self.rows if one.fits]
        if fitting:
            best = max(fitting, key=lambda one: one.memory)
            return f"{said}; {best.quantisation} would fit ({memory.shown(best.memory)})"
        return f"{said}, and no quantisation of it would"


def estimate(plan: Plan, store: "Store", *, free: int | None = None) -> Estimate:
    """Returns what the pull costs. `free` is memory, found out where it is None."""
    free = memory.available() if free is None else free
    missing = sum(_missing(file, store) for file in plan.files)
    disk = missing + (_made(plan) if plan.format == "safetensors" else 0)
    return Estimate(plan.size, missing, disk, _disk_free(store.root), free, tuple(_rows(plan, free)))


def refuse_full_disk(plan: Plan, found: Estimate, root: Path) -> None:
    """Raises EngineError (disk_full) where the disk has no room for the pull."""
    if found.disk + MARGIN <= found.disk_free:
        return
    converted = (
        f" ({memory.shown(found.disk - found.missing)} of it for the conversion)" if found.disk > found.missing else ""
    )
    smaller = [label for label, size in plan.others.items() if label and size + MARGIN < found.disk_free]
    raise EngineError(
        f"{plan.reference.text} needs {memory.shown(found.disk)} of disk{converted}, "
        f"{memory.shown(found.disk_free)} are free at {root}",
        code="disk_full",
        retry="no",
        hint="freehold weights gc and freehold weights rm NAME make room, FREEHOLD_HOME names another disk"
        + (f"; {', '.join(sorted(smaller)[:5])} would fit" if smaller else ""),
    )


def partial_file(store: "Store", remote: Remote) -> Path:
    """Returns where the store keeps what has arrived of a file."""
    key = remote.sha256 or remote.key or remote.url
    return store.places.partial / hashlib.sha256(key.encode()).hexdigest()


def need(weights: int) -> int:
    """Returns about how much memory a model with so many bytes of weights takes."""
    return weights + weights // 10 + memory.PROCESS


def _missing(file: Planned, store: "Store") -> int:
    size = file.size or 0
    if file.remote is None:
        return size
    if file.remote.sha256 and (store.places.blobs / file.remote.sha256).is_file():
        return 0
    with contextlib.suppress(OSError):
        return max(0, size - partial_file(store, file.remote).stat().st_size)
    return size


def _made(plan: Plan) -> int:
    """Bytes of the files that a conversion writes: safetensors of pickles, 16 bits for each weight, and the
    quantisation that was asked for."""
    count = _parameters(plan)
    made = count * 2 + plan.pickles
    if plan.wanted in BITS and plan.wanted not in ("F16", "BF16", "F32"):
        made += by_quantisation(count, [plan.wanted])[plan.wanted]
    return made


def _parameters(plan: Plan) -> int:
    return plan.parameters or plan.weights // 2


def _rows(plan: Plan, free: int | None) -> list[Row]:
    def row(label: str, weights: int, *, there: bool, chosen: bool) -> Row:
        needed = need(weights)
        return Row(label or "?", weights, needed, there, chosen, None if free is None else needed <= free)

    projector = sum(file.size or 0 for file in plan.files if file.part == "projector")
    if plan.format == "gguf":
        rows = [row(plan.quantisation, plan.weights + projector, there=True, chosen=True)]
        rows += [row(label, size + projector, there=True, chosen=False) for label, size in plan.others.items()]
    else:
        target = plan.wanted or "F16"
        labels = [*SHOWN, *([target] if target in BITS and target not in SHOWN else [])]
        sizes = by_quantisation(_parameters(plan), labels)
        rows = [row(label, size, there=False, chosen=label == target) for label, size in sizes.items()]
        rows += [
            row(label, size, there=True, chosen=False) for label, size in plan.others.items() if label not in sizes
        ]
    return sorted(rows, key=lambda one: one.memory)


def _disk_free(root: Path) -> int:
    folder = root
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(os.fspath(folder)).free
