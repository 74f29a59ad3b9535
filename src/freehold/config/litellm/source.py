"""A LiteLLM configuration as a tree in which every value knows its place and what became of it.

LiteLLM reads its file with PyYAML, so with YAML 1.1: `yes` and `off` are truth values, and merge keys (`<<`) are in
use. Both are read here as they are meant there, on the nodes that our own loader composes (tree.py, with its limits).
Nothing is expanded and nothing is run: `os.environ/NAME` is text to this module.

`include` is followed through a function that the caller gives; lists of the same name are joined, as LiteLLM does.
"""

import math
from collections.abc import Callable, Iterator
from typing import Any, Literal

from msgspec import Struct

from freehold.config import tree
from freehold.config.problems import KeyPath, Problems, Sources, dotted, file_error
from freehold.errors import redact

Fate = Literal["mapped", "approximated", "dropped"]
"""mapped: means the same here. approximated: nearly the same, `why` says how it differs. dropped: has no effect."""

_TRUE = {"yes", "on", "y"}
_FALSE = {"no", "off", "n"}
_TAGS = {None, *(f"tag:yaml.org,2002:{name}" for name in ("str", "int", "float", "bool", "null", "map", "seq"))}


class Finding(Struct, frozen=True):
    """What became of one field of the source. Holds no value of it: values may be secret."""

    key: str
    """Where it stands in the source: `model_list[0].litellm_params.api_key`."""
    where: str
    """`file:line:column`."""
    fate: Fate
    to: str
    """The place in freehold.yaml, or in words where it goes; empty for what is dropped."""
    why: str
    decided_at: str
    """The key for which this was decided: itself, or a section that holds it."""


class Value(Struct, eq=False):
    """A scalar, a list of Values or a mapping of names to Values."""

    content: Any
    path: KeyPath
    where: str
    finding: Finding | None = None
    """Set on leaves only."""

    def get(self, *names: str) -> "Value | None":
        """Returns what stands under `names`, None where there is no such thing or it is null."""
        here: Value | None = self
        for name in names:
            if here is None or not isinstance(here.content, dict):
                return None
            here = here.content.get(name)
        return None if here is None or here.content is None else here

    def items(self) -> "Iterator[tuple[str, Value]]":
        """Yields the entries of a mapping, nothing for another value."""
        if isinstance(self.content, dict):
            yield from self.content.items()

    def elements(self) -> "list[Value]":
        """Returns the items of a list, the value itself where LiteLLM takes one for a list of one."""
        return self.content if isinstance(self.content, list) else [self]

    def leaves(self) -> "Iterator[Value]":
        """Yields every scalar and everything empty below, or the value itself if it is one."""
        below = self.content.values() if isinstance(self.content, dict) else self.content
        if isinstance(self.content, dict | list) and self.content:
            for value in below:
                yield from value.leaves()
        else:
            yield self

    @property
    def key(self) -> str:
        return dotted(self.path)

    def mapped(self, to: str, why: str = "") -> None:
        self._settle("mapped", to, why)

    def approximated(self, to: str, why: str) -> None:
        self._settle("approximated", to, why)

    def dropped(self, why: str) -> None:
        self._settle("dropped", "", why)

    def _settle(self, fate: Fate, to: str, why: str) -> None:
        """Decides on every leaf below that is not decided yet: the first decision, the more specific one, stands."""
        decided_at = self.key
        for leaf in self.leaves():
            if leaf.finding is None:
                leaf.finding = Finding(leaf.key, leaf.where, fate, to, why, decided_at)

    def text(self) -> str | None:
        """Returns a scalar as text, None for anything that is no text or number."""
        if isinstance(self.content, str):
            return self.content.strip() or None
        if isinstance(self.content, int | float) and not isinstance(self.content, bool):
            return str(self.content)
        return None

    def number(self) -> float | None:
        """Returns a finite number, also one written as text; None where it is none."""
        if isinstance(self.content, bool) or not isinstance(self.content, int | float | str):
            return None
        try:
            found = float(self.content)
        except ValueError:
            return None
        return found if math.isfinite(found) else None

    def flag(self) -> bool | None:
        """Returns a truth value, also one written as text; None where it is none."""
        if isinstance(self.content, bool):
            return self.content
        text = self.content.strip().lower() if isinstance(self.content, str) else ""
        return True if text in ("true", "1", *_TRUE) else False if text in ("false", "0", *_FALSE) else None


class Params:
    """litellm_params of one entry, with the credential it names behind it."""

    def __init__(self, own: Value, credential: Value | None) -> None:
        self.own = own
        self.credential = credential

    def get(self, *names: str) -> Value | None:
        """Returns the first field there is, under any of its names."""
        for holder in (self.own, self.credential):
            for name in names:
                if holder is not None and (found := holder.get(name)) is not None:
                    return found
        return None


def read(data: bytes, file: str, include: Callable[[str], bytes] | None = None) -> Value:
    """Returns the whole configuration. `include` returns the bytes of a file that the configuration names.

    Raises ConfigErrors with every mistake of the YAML; what `include` raises passes through.
    """
    root = _parse(data, file)
    named = root.get("include")
    for one in named.elements() if named is not None else []:
        name = one.text()
        if name is None or include is None:
            one.dropped("names no file that can be read here")
            continue
        _join(root, _parse(include(name), name))
        one.mapped("the same freehold.yaml", "the file was read and is part of this import")
    return root


def _parse(data: bytes, file: str) -> Value:
    problems = Problems(Sources(file))
    node = tree._compose(tree._decode(data, file), file)
    root = Value({}, (), f"{file}:1:1") if node is None else _Builder(problems, file).build(node, (), 0)
    problems.done()
    if root.content is None:
        root.content = {}
    if not isinstance(root.content, dict):
        raise file_error(file, "not a LiteLLM configuration: expected a mapping", hint="it begins with model_list:")
    return root


def _join(root: Value, part: Value) -> None:
    """Adds an included file: lists are joined, anything else of the same name is replaced."""
    for name, value in part.items():
        known = root.content.get(name)
        if known is not None and isinstance(known.content, list) and isinstance(value.content, list):
            known.content.extend(value.content)
            continue
        if known is not None:
            known.dropped(f"replaced by the included file, {value.where}")
            root.content[f"{name} (replaced)"] = known
        root.content[name] = value


class _Builder:
    """Makes Values of nodes."""

    def __init__(self, problems: Problems, file: str) -> None:
        self.problems = problems
        self.file = file
        self.count = 0

    def build(self, node: tree._Node, path: KeyPath, depth: int) -> Value:
        self.count += 1
        where = f"{self.file}:{node.line}:{node.column}"
        if self.count > tree.MAX_NODES or depth > tree.MAX_DEPTH:
            limit = f"{tree.MAX_NODES} values" if depth <= tree.MAX_DEPTH else f"{tree.MAX_DEPTH} levels"
            raise file_error(self.file, f"the file holds more than {limit}", line=node.line, column=node.column)
        if node.tag not in _TAGS:
            self.problems.at(where, path, "YAML tags (!) are not supported", "write the plain value, or quote it")
        if node.kind == "map":
            return Value(self._mapping(node, path, depth), path, where)
        if node.kind == "list":
            items = [self.build(item, (*path, index), depth + 1) for index, item in enumerate(node.items)]
            return Value(items, path, where)
        return Value(_scalar(node), path, where)

    def _mapping(self, node: tree._Node, path: KeyPath, depth: int) -> dict[str, Value]:
        result: dict[str, Value] = {}
        merged: list[tree._Node] = []
        for key, value in zip(node.items[::2], node.items[1::2], strict=True):
            where = f"{self.file}:{key.line}:{key.column}"
            if key.kind != "scalar":
                self.problems.at(where, path, "a key must be text", "put it in quotes")
            elif key.plain and key.text == "<<":
                merged += value.items if value.kind == "list" else [value]
            elif key.text in result:
                message = f"the key {redact(key.text, 60)} stands here twice"
                self.problems.at(where, path, message, "keep one of them")
            else:
                result[key.text] = self.build(value, (*path, key.text), depth + 1)
        for other in merged:
            if other.kind != "map":
                where = f"{self.file}:{other.line}:{other.column}"
                self.problems.at(where, path, "<< takes a mapping or a list of mappings", "write the values out")
                continue
            for name, inherited in self._mapping(other, path, depth + 1).items():
                result.setdefault(name, inherited)
        return result


def _scalar(node: tree._Node) -> Any:
    value = tree._plain(node)
    if node.plain and isinstance(value, str) and value.lower() in _TRUE | _FALSE:
        return value.lower() in _TRUE if len(value) > 1 else value
    return value
