"""What an engine will need, and what this machine has left. Bytes everywhere.

The need is weights + key-value cache + working buffers. What is left is the kernel's own estimate (MemAvailable), or
less where a control group limits this process; file pages of the group count as free, because the kernel drops them.
"""

import os
from collections.abc import Iterator
from pathlib import Path

from freehold.errors import EngineError
from freehold.own.engine import EngineSpec
from freehold.own.gguf import ModelFile

PROCESS = 80 << 20
"""A worker before any model: Python, llama.cpp and its thread stacks."""
ELEMENT = 4


def working_buffers(model: ModelFile, batch: int) -> int:
    """Returns bytes of scratch space for a batch: logits, and a handful of activations as wide as the model."""
    wide = (model.vocabulary or 0) + 16 * (model.embedding or 0)
    return batch * wide * ELEMENT


def needed(model: ModelFile, tokens: int, batch: int, extra: int = 0) -> int:
    """Returns bytes for a model with a cache of `tokens` in all, working on `batch` tokens at a time."""
    return model.weights + model.kv_cache(tokens) + working_buffers(model, batch) + PROCESS + extra


def available() -> int | None:
    """Returns bytes that can still be used, None where the system does not say."""
    found = [value for value in (_system(), *_groups()) if value is not None]
    return min(found, default=None)


def refuse_too_large(model: ModelFile, *, need: int, free: int | None, context: int, parallel: int) -> None:
    """Raises EngineError (code out_of_memory) when `need` is more than `free`, saying what would fit."""
    if free is None or need <= free:
        return
    free = max(0, free)
    fixed = need - model.kv_cache(context * parallel)
    fits = (free - fixed) // max(1, model.kv_cache(1))
    if fits >= 512:
        one = fits // parallel
        hint = (
            f"context: {one} with parallel: {parallel} would fit" if one >= 512 else f"context: {fits} with parallel: 1"
        )
    else:
        hint = (
            f"use a smaller model or quantisation: about {shown(max(0, free - fixed + model.weights))} of weights fit"
        )
    raise EngineError(
        f"{model.path.name} needs about {shown(need)} of memory "
        f"({shown(model.weights)} of weights, {shown(model.kv_cache(context * parallel))} of cache "
        f"for {parallel} requests of {context} tokens), {shown(free)} are free",
        code="out_of_memory",
        hint=hint,
    )


def explain_refusal(spec: EngineSpec, model: ModelFile, need: int, free: int | None) -> str:
    """Returns why there is no room for an engine, and what there would be room for."""
    try:
        refuse_too_large(model, need=need, free=free, context=spec.context, parallel=spec.parallel)
    except EngineError as error:
        return error.text
    return f"{spec.name} needs about {shown(need)} of memory"


def shown(value: int) -> str:
    """Returns bytes in the unit people use for them."""
    for unit, size in (("GiB", 1 << 30), ("MiB", 1 << 20)):
        if value >= size:
            return f"{value / size:.1f} {unit}"
    return f"{value / 1024:.0f} KiB"


def _system() -> int | None:
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        pass
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") * 3 // 4
    except (OSError, ValueError):
        return None


def _groups(root: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")) -> Iterator[int]:
    """Yields what each control group above this process leaves free (version 2, and version 1's memory controller)."""
    try:
        lines = own.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        controllers, _, path = line.partition(":")[2].partition(":")
        if controllers == "":
            base, limit, usage, inactive = root, "memory.max", "memory.current", "inactive_file"
        elif "memory" in controllers.split(","):
            base, inactive = root / "memory", "total_inactive_file"
            limit, usage = "memory.limit_in_bytes", "memory.usage_in_bytes"
        else:
            continue
        folder = base / path.lstrip("/")
        for group in (folder, *folder.parents):
            if not group.is_relative_to(base):
                break
            free = _free_in(group, limit, usage, inactive)
            if free is not None:
                yield free


def _free_in(group: Path, limit: str, usage: str, inactive: str) -> int | None:
    try:
        most, used = int((group / limit).read_text()), int((group / usage).read_text())
        counters = dict(line.split(maxsplit=1) for line in (group / "memory.stat").read_text().splitlines())
        return max(0, most - used + int(counters.get(inactive, 0)))
    except (OSError, ValueError):
        return None
