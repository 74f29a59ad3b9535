"""YAML text to plain values, keeping the place of each: the part of the loader that knows YAML.

We read PyYAML's events (libyaml's where it is built in), compose nodes ourselves, since libyaml's own composer
overflows the C stack on deep nesting, and resolve scalars by the core schema of YAML 1.2
(https://yaml.org/spec/1.2.2/#103-core-schema): `no`, `on` and `2026-12-31` stay text, and 12:30 is not a number in
base sixty. Refused, each with its place: duplicate keys, keys that are not text, tags, merge keys, NaN and
infinity, more than one document, text that is not UTF-8, and anything over the limits below (an alias counts each
time it is used, so a bomb of aliases is stopped by the count).

`${NAME}` and `${NAME:-default}` are expanded in text values only, after parsing: a variable's content can never add
YAML. `$${` stands for a literal `${`.
"""

import re
from collections.abc import Mapping
from typing import Any, Literal

import yaml
from msgspec import Struct, field

from freehold.config.problems import ConfigErrors, KeyPath, Problems, file_error
from freehold.errors import redact

MAX_BYTES = 1 << 20
MAX_NODES = 50_000
MAX_DEPTH = 32

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

_NULL = {"", "~", "null", "Null", "NULL"}
_TRUE = {"true", "True", "TRUE"}
_FALSE = {"false", "False", "FALSE"}
_INT = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_LARGEST = 1 << 53
_UNPRINTABLE = re.compile(r"[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
ENGINE_WORDS = frozenset({"PORT", "MODEL", "NAME", "API_KEY"})
"""Filled in when an engine is started: in its command line they are no variables of the environment."""
_VARIABLE = re.compile(r"\$\$\{|\$\{(?:([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}|)")
_TEXT = "tag:yaml.org,2002:str"
_TAGS = {"map": "tag:yaml.org,2002:map", "list": "tag:yaml.org,2002:seq"}


class _Node(Struct):
    """One value of the file: the text of a scalar, or the nodes of a list or (flattened) of a mapping."""

    kind: Literal["scalar", "list", "map"]
    line: int
    column: int
    text: str = ""
    plain: bool = False
    tag: str | None = None
    items: "list[_Node]" = field(default_factory=list)


def parse(data: bytes, file: str, env: Mapping[str, str], problems: Problems) -> Any:
    """Returns the document as plain values with variables expanded, `{}` for a file with nothing in it.

    Places go to `problems.sources`, mistakes inside the document to `problems`. Raises ConfigErrors where the text
    is no readable YAML at all.
    """
    node = _compose(_decode(data, file), file)
    value = None if node is None else _Builder(env, problems, file).build(node, (), 0)
    return {} if value is None else value


def _decode(data: bytes, file: str) -> str:
    if len(data) > MAX_BYTES:
        raise file_error(file, f"the file is larger than {MAX_BYTES >> 20} MiB")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = data[: error.start].decode("utf-8-sig", "replace")
        line, column = _place(before, len(before))
        raise file_error(
            file, "the file is not UTF-8 text", line=line, column=column, hint="save it with the encoding UTF-8"
        ) from None
    if found := _UNPRINTABLE.search(text):
        line, column = _place(text, found.start())
        name = f"U+{ord(found.group()):04X}"
        raise file_error(file, f"the character {name} is not allowed in YAML", line=line, column=column)
    return text


def _place(text: str, index: int) -> tuple[int, int]:
    return text.count("\n", 0, index) + 1, index - (text.rfind("\n", 0, index) + 1) + 1


def _compose(text: str, file: str) -> _Node | None:
    loader = _Loader(text)
    try:
        return _Composer(loader, file).document()
    except yaml.MarkedYAMLError as error:
        raise _syntax_error(error, text, file) from None
    except yaml.YAMLError:
        raise file_error(file, "the file is not readable as YAML") from None
    finally:
        loader.dispose()


class _Composer:
    """Makes nodes of events; depth is limited here, so nothing below can recurse far."""

    def __init__(self, loader: Any, file: str) -> None:
        self.next = loader.get_event
        self.file = file
        self.anchors: dict[str, _Node] = {}

    def document(self) -> _Node | None:
        self.next()  # stream start
        event = self.next()
        if isinstance(event, yaml.StreamEndEvent):
            return None
        node = self.node(self.next(), 0)
        self.next()  # document end
        event = self.next()
        if not isinstance(event, yaml.StreamEndEvent):
            raise self._error(event, "there is more than one document in the file", "remove the line ---")
        return node

    def node(self, event: Any, depth: int) -> _Node:
        if depth > MAX_DEPTH:
            raise self._error(event, f"the file holds more than {MAX_DEPTH} levels")
        mark = event.start_mark
        if isinstance(event, yaml.AliasEvent):
            if event.anchor not in self.anchors:
                raise self._error(event, "not valid YAML: an alias (*) for which there is no anchor (&)", "quote it")
            return self.anchors[event.anchor]
        if isinstance(event, yaml.ScalarEvent):
            # The style of a plain scalar is None or empty; a tag that only says "not plain" is "!".
            node = _Node("scalar", mark.line + 1, mark.column + 1, event.value, not event.style)
        else:
            kind: Literal["list", "map"] = "list" if isinstance(event, yaml.SequenceStartEvent) else "map"
            node = _Node(kind, mark.line + 1, mark.column + 1)
        node.tag = None if event.tag == "!" else event.tag
        if event.anchor is not None:
            self.anchors[event.anchor] = node
        if node.kind != "scalar":
            while not isinstance(event := self.next(), yaml.CollectionEndEvent):
                node.items.append(self.node(event, depth + 1))
        return node

    def _error(self, event: Any, message: str, hint: str | None = None) -> ConfigErrors:
        mark = event.start_mark
        return file_error(self.file, message, line=mark.line + 1, column=mark.column + 1, hint=hint)


def _syntax_error(error: yaml.MarkedYAMLError, text: str, file: str) -> ConfigErrors:
    mark = error.problem_mark or error.context_mark
    line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
    lines = text.splitlines() or [""]
    if line > len(lines):  # libyaml places an early end on a line of its own
        line, column = len(lines), len(lines[-1]) + 1
    near = lines[line - 1]
    if "\t" in near[: len(near) - len(near.lstrip())] or "\\t" in str(error.problem):
        message, hint = "a tab is used for indentation, which YAML does not allow", "use spaces instead"
    else:
        # The parser quotes what it found, which may be a secret: only quoted single characters stay.
        told = " ".join(filter(None, (error.context, error.problem)))
        message = "not valid YAML: " + redact(re.sub(r"(['\"])[^'\"\s]{2,}\1", "a word", told), 200)
        hint = "values that hold : # [ ] { } or begin with * & ! % @ need quotes"
        if "${" in near:
            hint = 'inside { } and [ ] a variable needs quotes: "${NAME}"'
    return file_error(file, message, line=line, column=column, hint=hint)


class _Builder:
    """Walks the node tree once, building values and noting places."""

    def __init__(self, env: Mapping[str, str], problems: Problems, file: str) -> None:
        self.env = env
        self.problems = problems
        self.file = file
        self.count = 0

    def build(self, node: _Node, path: KeyPath, depth: int) -> Any:
        self.problems.sources.values[path] = (node.line, node.column)
        self.count += 1
        if self.count > MAX_NODES or depth > MAX_DEPTH:
            limit = f"{MAX_NODES} values" if depth <= MAX_DEPTH else f"{MAX_DEPTH} levels"
            raise file_error(self.file, f"the file holds more than {limit}", line=node.line, column=node.column)
        if node.tag not in (None, _TEXT if node.kind == "scalar" else _TAGS[node.kind]):
            self.problems.add(path, "YAML tags (!) are not supported", "write the plain value, or quote it")
            return None
        if node.kind == "map":
            return self._mapping(node, path, depth)
        if node.kind == "list":
            return [self.build(item, (*path, index), depth + 1) for index, item in enumerate(node.items)]
        return self._scalar(node, path)

    def _mapping(self, node: _Node, path: KeyPath, depth: int) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key, value in zip(node.items[::2], node.items[1::2], strict=True):
            name = key.text
            inner = (*path, name)
            first = self.problems.sources.keys.setdefault(inner, (key.line, key.column))
            if key.plain and name == "<<":
                self._refuse(key, path, "merge keys are not supported", "write the values out")
            elif key.kind != "scalar" or key.tag not in (None, _TEXT) or not isinstance(_plain(key), str):
                self._refuse(key, path, "a key must be text", "put it in quotes")
            elif name in result:
                message = f"the key {redact(name, 60)} stands here twice: first in line {first[0]}"
                self._refuse(key, path, message, "keep one of them")
            else:
                result[name] = self.build(value, inner, depth + 1)
        return result

    def _refuse(self, node: _Node, path: KeyPath, message: str, hint: str) -> None:
        """Notes a mistake about a key that has no place of its own in the result."""
        self.problems.at(f"{self.file}:{node.line}:{node.column}", path, message, hint)

    def _scalar(self, node: _Node, path: KeyPath) -> Any:
        value = _plain(node)
        if isinstance(value, str):
            return self._expand(value, path) if "${" in value else value
        if isinstance(value, float) and not -_LARGEST <= value <= _LARGEST:
            self.problems.add(path, "a number must be finite and below 2^53", "if it is text, put it in quotes")
            return None
        return value

    def _expand(self, text: str, path: KeyPath) -> str:
        names: list[str] = []

        def value_of(match: re.Match[str]) -> str:
            name, default = match.groups()
            if match.group() == "$${":
                return "${"
            if name is None:
                self.problems.add(path, "${ is not followed by NAME} or NAME:-default}", "write $${ for a literal ${")
                return ""
            if name in ENGINE_WORDS and path[:1] == ("own",) and path[2:3] == ("command",):
                return match.group()
            names.append(name)
            if found := self.env.get(name):
                return found
            if default is None:
                state = "empty" if name in self.env else "not set"
                hint = f"set it, or give a default: ${{{name}:-...}}"
                self.problems.add(path, f"the environment variable {name} is {state}", hint)
            return default or ""

        result = _VARIABLE.sub(value_of, text)
        if names:
            self.problems.sources.variables[path] = names
        return result


def _plain(node: _Node) -> str | int | float | bool | None:
    """Resolves a scalar by the core schema; out-of-range and non-finite numbers come back as infinity."""
    text = node.text
    if not node.plain or node.tag == _TEXT:
        return text
    if text in _NULL:
        return None
    if text in _TRUE or text in _FALSE:
        return text in _TRUE
    if _INT.fullmatch(text):
        number = int(text, 0 if text[:2] in ("0o", "0x") else 10) if len(text) < 24 else _LARGEST * 2
        return number if abs(number) <= _LARGEST else float("inf")
    if _FLOAT.fullmatch(text):
        return float(text)
    if _NOT_FINITE.fullmatch(text):
        return float("inf")
    return text
