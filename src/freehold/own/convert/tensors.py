"""Which tensor of the repository becomes which tensor of the GGUF file, checked before a byte is written.

Names come from the family's rules first, then from the gguf package's table. Every tensor of the result has a shape
that the configuration tells; one that is missing, left over or of another shape is named. The result is a list of
`Planned`: sizes and types are known, the data is read part by part when it is written.
"""

import math
import re
from collections.abc import Callable, Iterator
from typing import Any

from msgspec import Struct

from freehold.own.convert.checkpoint import FLOATS, numbers
from freehold.own.convert.config import listed
from freehold.own.convert.encode import kind_of, size_of
from freehold.own.convert.family import Change, Model, Rule
from freehold.own.convert.problems import refuse

PART = 1 << 20
"""Bytes of source that are worked on at a time, so that they stay in a core's cache; twice as fast as with 16 MiB. A
tensor that has to be changed is worked on whole, or per expert."""
DROPPED = re.compile(r"(^|\.)(rotary_emb\.inv_freq|rope\.freqs|attention\.(bias|masked_bias)|attn\.masked_bias)$")
"""Buffers that old checkpoints carry; they follow from the configuration."""
Parts = Iterator[tuple[Any, str]]


class Planned(Struct, frozen=True):
    """A tensor of the result: `shape` in numpy's order, `kind` its GGUF type, `bytes` its size, `parts` its data."""

    name: str
    shape: tuple[int, ...]
    kind: str
    bytes: int
    parts: Callable[[], Parts]


class _Job(Struct):
    """The sources of one tensor, by expert where it is stacked (else under -1)."""

    sources: dict[int, tuple[str, ...]]
    change: Change | None
    kind: str | None
    stacked: bool


def plan(model: Model, kind: str) -> list[Planned]:
    """Returns the tensors of the result in the order in which they are written. Raises EngineError."""
    jobs, left_over = _jobs(model)
    planned: list[Planned] = []
    missing: list[str] = []
    for name, words in _expected(model, "output.weight" in jobs):
        optional = name.endswith("?")
        name = name.removesuffix("?")
        job = jobs.pop(name, None)
        if job is not None:
            planned.append(_planned(model, name, model.shape(words), job, kind))
        elif not optional:
            missing.append(name)
    left_over += [source for job in jobs.values() for sources in job.sources.values() for source in sources]
    if missing:
        raise refuse(f"tensors are missing: {listed([_origin(model, name) for name in missing])}")
    if left_over:
        raise refuse(
            f"tensors that a {model.family.title} model does not have: {listed(left_over)}",
            "this repository holds another architecture than its config.json says, or an adapter",
        )
    for extra in model.family.extras(model):
        shape = tuple(extra.values.shape)
        planned.append(Planned(extra.name, shape, "F32", size_of(shape, "F32"), _given(extra.values)))
    return planned


def _expected(model: Model, has_output: bool) -> Iterator[tuple[str, str]]:
    """Yields the tensors of the result and their shapes. Output weights that equal the embedding are not written."""
    family, config = model.family, model.config
    yield from ((name, words) for name, words in family.outer.items() if name.startswith("token_embd"))
    for layer in range(config.layers):
        yield from ((f"blk.{layer}.{name}", words) for name, words in family.layer(model, layer).items())
    yield from ((name, words) for name, words in family.outer.items() if not name.startswith("token_embd"))
    if not is_tied(model, has_output):
        yield "output.weight", "vocab embd"


def is_tied(model: Model, has_output: bool) -> bool:
    """Whether the output uses the embedding. A file that says nothing and holds no output weights must mean it."""
    tied = model.config.tied
    if tied is None:
        return model.family.tied or not has_output
    return tied


def _jobs(model: Model) -> tuple[dict[str, _Job], list[str]]:
    """Returns what goes into each tensor of the result, and the sources that nothing takes."""
    from gguf import MODEL_ARCH, get_tensor_name_map
    from gguf.constants import MODEL_ARCH_NAMES

    arch = next(one for one in MODEL_ARCH if MODEL_ARCH_NAMES.get(one) == model.family.arch)
    table = get_tensor_name_map(arch, model.config.layers)
    rules = [(_pattern(rule.source), rule) for rule in model.family.rules(model)]
    helpers = [_pattern(one) for _, rule in rules for one in rule.also]
    jobs: dict[str, _Job] = {}
    left_over: list[str] = []
    ignored: dict[str, int] = {}
    names = {_renamed(model, name): name for name in model.checkpoint.names}
    for name, original in names.items():
        prefix = next((one for one in model.family.ignore if name.startswith(one)), None)
        if prefix is not None:
            ignored[prefix] = ignored.get(prefix, 0) + 1
            continue
        if DROPPED.search(name) or any(pattern.fullmatch(name) for pattern in helpers):
            continue
        matches = [(match, rule) for pattern, rule in rules if (match := pattern.fullmatch(name))]
        for match, rule in matches:
            _take(jobs, rule, match, original, names)
        if not matches:
            target = table.get_name(name, (".weight", ".bias"))
            if target is None:
                left_over.append(name)
            else:
                _put(jobs, target, _Job({-1: (original,)}, None, None, False))
    if is_tied(model, "output.weight" in jobs):
        jobs.pop("output.weight", None)
    for prefix, count in ignored.items():
        model.note(
            f"{count} tensors under {prefix.rstrip('.')} are left out: the GGUF file holds the language model only"
        )
    return jobs, left_over


def _renamed(model: Model, name: str) -> str:
    for old, new in model.family.rename:
        if name.startswith(old):
            return new + name[len(old) :]
    return name


def _pattern(source: str) -> re.Pattern[str]:
    text = re.escape(source)
    return re.compile(text.replace(r"\{l\}", r"(?P<l>\d{1,5})").replace(r"\{e\}", r"(?P<e>\d{1,5})"))


def _take(jobs: dict[str, _Job], rule: Rule, match: re.Match[str], original: str, names: dict[str, str]) -> None:
    groups = match.groupdict()
    sources = [original]
    for other in rule.also:
        name = other.replace("{l}", groups.get("l") or "").replace("{e}", groups.get("e") or "")
        if name not in names:
            raise refuse(f"tensors are missing: {name[:100]}, which belongs to {original[:100]}")
        sources.append(names[name])
    stacked = "{e}" in rule.source
    expert = int(groups["e"]) if stacked else -1
    target = rule.to.replace("{l}", str(int(groups["l"]))) if "l" in groups else rule.to
    job = _Job({expert: tuple(sources)}, rule.change, rule.kind, stacked)
    if stacked and target in jobs and expert not in jobs[target].sources:
        jobs[target].sources.update(job.sources)
    else:
        _put(jobs, target, job)


def _put(jobs: dict[str, _Job], target: str, job: _Job) -> None:
    if target in jobs:
        first = next(iter(jobs[target].sources.values()))[0]
        raise refuse(
            f"tensors {first[:100]} and {next(iter(job.sources.values()))[0][:100]} are the same one, {target}"
        )
    jobs[target] = job


def _planned(model: Model, name: str, shape: tuple[int, ...], job: _Job, kind: str) -> Planned:
    short = name.split(".", 2)[2] if name.startswith("blk.") else name
    common = model.family.changes.get(short)
    changes = [one for one in (job.change, common) if one is not None]
    if job.stacked:
        wanted = set(range(shape[0]))
        lost = sorted(wanted - set(job.sources))
        if lost:
            raise refuse(f"tensors are missing: {name} needs {shape[0]} experts, number {lost[0]} is not there")
        if set(job.sources) - wanted:
            raise refuse(f"{name} has {len(job.sources)} experts, config.json tells {shape[0]}")
    for sources in job.sources.values():
        for source in sources:
            _check_source(model, source, name, shape[1:] if job.stacked else shape, bool(changes), job.kind)
    final = job.kind or kind_of(name, shape, kind, model.family.exact)
    return Planned(name, shape, final, size_of(shape, final), _parts(model, name, shape, job, changes))


def _check_source(
    model: Model, source: str, name: str, shape: tuple[int, ...], changed: bool, kind: str | None
) -> None:
    found, dtype = model.checkpoint.shape(source), model.checkpoint.dtype(source)
    if kind is None and dtype not in FLOATS:
        raise refuse(f"tensor {source[:100]} is of type {dtype}, expected a float type")
    if not changed and _squeezed(found) != _squeezed(shape):
        raise refuse(f"tensor {source[:100]} has the shape {list(found)}, config.json tells {list(shape)}")
    if math.prod(found) > 1 << 40:
        raise refuse(f"tensor {source[:100]} claims {math.prod(found)} elements")


def _squeezed(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(one for one in shape if one != 1) or (1,)


def _parts(model: Model, name: str, shape: tuple[int, ...], job: _Job, changes: list[Change]) -> Callable[[], Parts]:
    def parts() -> Parts:
        for expert in sorted(job.sources):
            sources = job.sources[expert]
            arrays = [model.checkpoint.read(source) for source in sources]
            dtypes = [model.checkpoint.dtype(source) for source in sources]
            value: Any = arrays if len(arrays) > 1 else arrays[0]
            dtype = "raw" if job.kind else dtypes[0]
            for change in changes:
                if change.numbers and dtype not in ("F32", "raw"):
                    value, dtype = numbers(value, dtype), "F32"
                value = _changed(model, name, change, value)
            wanted = shape[1:] if job.stacked else shape
            if dtype != "raw" and tuple(value.shape) != wanted:
                if _squeezed(tuple(value.shape)) != _squeezed(wanted):
                    raise refuse(
                        f"{sources[0][:100]} gives the shape {list(value.shape)}, config.json tells {list(wanted)}"
                    )
                value = value.reshape(wanted)
            for part in rows_of(value):
                yield part, dtype
            del arrays, value
            for source in sources:
                model.checkpoint.release(source)

    return parts


def _changed(model: Model, name: str, change: Change, value: Any) -> Any:
    try:
        return change.apply(model, value)
    except (ValueError, IndexError, AttributeError) as error:
        shapes = [list(one.shape) for one in value] if isinstance(value, list) else list(value.shape)
        raise refuse(f"the source of {name} has the shape {shapes}, which does not fit config.json: {error}") from None


def rows_of(array: Any) -> Iterator[Any]:
    """Yields `array` in runs of rows of about PART bytes."""
    rows = array.shape[0]
    step = max(1, PART * rows // max(1, array.nbytes))
    for start in range(0, rows, step):
        yield array[start : start + step]


def _given(values: Any) -> Callable[[], Parts]:
    return lambda: iter([(values, "F32")])


def _origin(model: Model, name: str) -> str:
    """Returns what a missing tensor would be called in the repository, as far as a person can be helped."""
    if name == "output.weight":
        return "lm_head.weight"
    return {"token_embd.weight": "model.embed_tokens.weight", "output_norm.weight": "model.norm.weight"}.get(name, name)
