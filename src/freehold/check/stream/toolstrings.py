"""The arguments of a tool's call, taken apart: when they are whole, which strings they hold, what is wrong with one."""

import ipaddress
import json
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from msgspec import Struct

from freehold.check.detect.tools import internal_address, outside, shell_metacharacters
from freehold.config.schema_tools import ToolAction

MOST = 1 << 20
"""Characters of arguments that are judged; longer ones are blocked."""
_PATH_NAME = re.compile(r"(?:^|[_\-. ])(?:path|file|filename|filepath|dir|directory|folder|cwd|workdir|root)s?$")
_HOST_NAME = re.compile(r"(?:^|[_\-. ])(?:url|uri|host|hostname|domain|server|endpoint|href|link|src|address|ip)s?$")
_PATH = re.compile(r"(?:/(?!/)|~|\.\.(?:[/\\]|$)|file:|[A-Za-z]:[/\\]|\\\\)", re.IGNORECASE)
_URL = re.compile(r"(?:[a-z][a-z0-9+.\-]*:)?[/\\]{2}[^\s\"'<>|`]+", re.IGNORECASE)
_NUMERIC = re.compile(r"(?<![\w.])(?:\d{1,3}\.){3}\d{1,3}(?![\w.])|\[[0-9a-f:.%]+\]|(?<![\w.])localhost(?=[:/])", re.I)
_MARKS = re.compile(r'["\\{}\[\]]')


class Rule(Struct, frozen=True):
    """What the file says of one tool, `action` filled in."""

    hosts: tuple[str, ...] | None
    inner: bool
    roots: tuple[str, ...] | None
    shell: bool
    longest: int | None
    action: ToolAction


class _Name:
    """Stands in a place for the name of a field itself."""


KEY: Any = _Name()


def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        raise ValueError("a name stands twice")
    return made


def strings(value: Any, at: tuple[Any, ...] = (), key: str = "") -> Iterator[tuple[tuple[Any, ...], str, str]]:
    """Yields where each string of a JSON value stands, the name it stands under, and the string. Numbers count."""
    if isinstance(value, dict):
        for name, one in value.items():
            yield (*at, name, KEY), "", name
            yield from strings(one, (*at, name), name)
    elif isinstance(value, list):
        for number, one in enumerate(value):
            yield from strings(one, (*at, number), key)
    elif isinstance(value, str):
        yield at, key, value
        inner = _inner(value)
        if inner is not None:
            for _, name, text in strings(inner, (), key):
                yield at, name, text
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield at, key, json.dumps(value)


def _inner(text: str) -> Any:
    """JSON within a string."""
    if text.lstrip()[:1] not in ("{", "["):
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def replaced(value: Any, out: Mapping[tuple[Any, ...], str], at: tuple[Any, ...] = ()) -> Any:
    if at in out:
        return out[at]
    if isinstance(value, dict):
        return {name: replaced(one, out, (*at, name)) for name, one in value.items()}
    if isinstance(value, list):
        return [replaced(one, out, (*at, number)) for number, one in enumerate(value)]
    return value


def wrong(rule: Rule, name: str, text: str) -> Iterator[str]:
    """Yields what is wrong with one string that stands under `name`."""
    plain = unicodedata.normalize("NFKC", text)
    if rule.hosts is not None or not rule.inner:
        targets = _targets(name, plain)
        if rule.hosts is not None and any(not _listed(target, rule.hosts) for target in targets):
            yield "tool_host"
        if not rule.inner:
            targets += [found.group() for found in _NUMERIC.finditer(plain)]
            if any(internal_address(_web(target)) is not None for target in targets):
                yield "tool_address"
    paths = rule.roots is not None and text and (_PATH.match(plain) or _PATH_NAME.search(name))
    if paths and outside(plain, rule.roots or ()) is not None:
        yield "tool_path"
    if not rule.shell and text and shell_metacharacters(plain) is not None:
        yield "tool_shell"


def _targets(name: str, text: str) -> list[str]:
    """The URLs in a text; the text itself where its name says that it is a host."""
    found = [one.group() for one in _URL.finditer(text) if not one.group().lower().startswith("file:")]
    if not found and text.strip() and _HOST_NAME.search(name):
        found = [text.strip()]
    return found


def _web(target: str) -> str:
    """What an address means to a program that forgives its spelling: backslashes are slashes."""
    return target.replace("\\", "/")


def _listed(target: str, hosts: Sequence[str]) -> bool:
    """Whether a URL or host leads to one of the hosts, however it is read: what could be read in two ways does not."""
    target = _web(target)
    if "//" not in target:
        target = "//" + target
    elif target.startswith("//"):
        pass
    try:
        parts = urlsplit(target)
        host = (parts.hostname or "").rstrip(".").lower()
    except ValueError:
        return False
    if not host or "%" in host or parts.username is not None or not host.isascii():
        return False
    for allowed in hosts:
        if host == allowed or (allowed.startswith("*.") and host.endswith(allowed[1:]) and not _numeric(host)):
            return True
    return False


def _numeric(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


class Whole:
    """The arguments of a call as they come; `complete` once their outermost value has ended. Free text never does."""

    __slots__ = ("_custom", "_depth", "_escaped", "_inside", "_pieces", "complete", "size")

    def __init__(self, *, custom: bool) -> None:
        self._custom = custom
        self._pieces: list[str] = []
        self._depth = 0
        self._inside = self._escaped = False
        self.complete = False
        self.size = 0

    def add(self, piece: str) -> None:
        self._pieces.append(piece)
        self.size += len(piece)
        if not self._custom:
            self._read(piece)
        if self.size > MOST:
            self.complete = True

    def _read(self, piece: str) -> None:
        place = 0
        if self._escaped and piece:
            self._escaped, place = False, 1
        while (found := _MARKS.search(piece, place)) is not None:
            mark, place = found.group(), found.end()
            if mark == '"':
                self._inside = not self._inside
            elif mark == "\\":
                if self._inside:
                    self._escaped = place == len(piece)
                    place += 1
            elif not self._inside:
                self._depth += 1 if mark in "{[" else -1
                self.complete = self.complete or self._depth <= 0

    @property
    def text(self) -> str:
        return "".join(self._pieces)
