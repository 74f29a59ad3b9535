"""Coding tools that `freehold launch` sets to the gateway: one small file per tool.

A tool says what it is called, which environment and arguments lead it here (`child`), and which places of its own
configuration file do so for good (`file`, `edit`, `undo`). Tools never see a key in their files or arguments: they
are told the name of an environment variable, or a file that only its owner can read.
"""

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from msgspec import Struct, field

Names = tuple[str, ...]
"""A place in a configuration: the names that lead there."""


class Site(Struct, frozen=True):
    """The gateway as a tool needs it. `models` are the names the gateway lists; `model` is the one asked for."""

    url: str
    """Without `/v1`."""
    key: str
    key_file: Path
    """Holds the key and nothing else, readable by its owner only."""
    models: Sequence[str] = ()
    model: str | None = None


class Setup(Struct):
    """How a tool is started: variables to set and to take away, and arguments before the person's own."""

    environment: dict[str, str] = field(default_factory=dict)
    without: list[str] = field(default_factory=list)
    arguments: list[str] = field(default_factory=list)


class Change(Struct):
    """One place of a tool's file, and what stands there afterwards."""

    path: list[str]
    value: Any


class Tool(Struct, frozen=True):
    """`changes` says what a file has to hold; `edit` and `undo` do it to the file's text, whatever else is in it."""

    name: str
    title: str
    program: str
    install: str
    child: Callable[[Site], Setup]
    file: Callable[[], Path]
    changes: Callable[[Site], list[Change]]
    edit: Callable[[str, list[Change]], str]
    undo: Callable[[str, str, list[Change]], str]
    """From the text now, the text before, and the changes: the text without what is ours."""
    overruled: Callable[[], str | None] = lambda: None
    """What on this machine wins over `child`'s environment, in words."""


def tools() -> dict[str, Tool]:
    """Returns every tool by name."""
    from freehold.cli.tools import claude, codex, opencode

    return {tool.name: tool for tool in (claude.TOOL, codex.TOOL, opencode.TOOL)}


def newest(names: Sequence[str], *words: str) -> str | None:
    """Returns the name that holds all `words` and has the highest version in it, None where there is none."""
    found = [name for name in names if all(word in name.lower() for word in words)]
    return max(found, key=_version, default=None)


def _version(name: str) -> list[int]:
    return [int(number) for number in re.findall(r"(?<!\d)\d{1,2}(?!\d)", name)]
