"""What a fault is, the table of all of them, and the framing they share."""

import difflib
from collections.abc import Callable
from typing import Literal

from msgspec import Struct

from freehold.errors import ConfigError
from freehold.fake.ask import Ask
from freehold.fake.wire import Draft, Step, Steps, chunked_head, chunks, length_head, spaced, steps

Applies = Literal["any", "stream", "events", "sse", "whole"]
SOON = 0.01
"""Seconds that let written bytes leave before a reset, and keep two writes in two segments."""


class Fault(Struct, frozen=True):
    name: str
    applies: Applies
    summary: str
    frame: Callable[[Draft], Steps]


FAULTS: dict[str, Fault] = {}


def fault(applies: Applies) -> Callable[[Callable[[Draft], Steps]], Callable[[Draft], Steps]]:
    """Puts a function into the table."""

    def add(frame: Callable[[Draft], Steps]) -> Callable[[Draft], Steps]:
        name = frame.__name__
        FAULTS[name] = Fault(name, applies, " ".join((frame.__doc__ or "").split()).rstrip("."), frame)
        return frame

    return add


def find(name: str, where: str = "", key: str = "") -> Fault:
    """Returns a fault by name. Raises ConfigError with the nearest names."""
    found = FAULTS.get(name)
    if found is None:
        near = difflib.get_close_matches(name, FAULTS, 3)
        hint = f"did you mean {' or '.join(near)}?" if near else "freehold fake --list-faults shows them all"
        raise ConfigError(f"unknown fault {name!r}", where=where, key=key, hint=hint)
    return found


def fits(found: Fault, ask: Ask) -> bool:
    """Tells whether a fault can be done to the reply to `ask`."""
    if found.applies == "any":
        return True
    if found.applies == "whole":
        return not ask.stream
    if found.applies == "events":
        return ask.stream and (ask.route.sse or ask.operation != "generate")
    return ask.stream and (found.applies == "stream" or ask.route.sse)


def before(draft: Draft, count: int) -> list[Step]:
    """Headers and the first `count` parts as they should be, and nothing after."""
    if not draft.streamed:
        return [length_head(draft)]
    return [chunked_head(draft), *spaced(chunks(draft, draft.parts[:count]), draft.gap)]


def half(draft: Draft) -> list[Step]:
    """Everything up to the middle of the middle part."""
    part = draft.parts[draft.middle]
    cut = part[: len(part) // 2]
    return [*before(draft, draft.middle), *(chunks(draft, [cut]) if draft.streamed else [cut])]


def instead(draft: Draft, status: int, kind: bytes, body: bytes) -> Steps:
    """A whole response of another kind."""
    draft.status, draft.streamed, draft.parts = status, False, [body]
    retype(draft, kind)
    return steps(draft)


def retype(draft: Draft, kind: bytes) -> None:
    draft.headers = [(name, kind if name == b"content-type" else value) for name, value in draft.headers]
