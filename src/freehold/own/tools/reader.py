"""Reads calls out of what a model writes: `{"name": "route", "arguments": {"intent": "refund"}}`.

The text may come in any pieces; the same text gives the same calls, and arguments are passed on as they come. Text is
held back only while it may still become the head of a call. A call may stand in a code fence: llama.cpp lets models
write one around JSON, and shows it when the answer is cut off. Where calls are not forced they may stand in a list,
one after the other, and say `parameters` for `arguments` (Llama's word); what else is written after a call is dropped,
as it mostly makes up the result.
"""

import re
from collections.abc import Collection
from typing import Literal, NamedTuple

import msgspec
from msgspec import Struct

MAX_HEAD = 4096
"""Characters in which the arguments of a call must have begun."""
_SPACE = re.compile(r"[ \t\r\n]*")
_BETWEEN = re.compile(r"[ \t\r\n,;`\]]*")
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)
_FENCE = re.compile(r"```[\w-]*[ \t\r\n]*")


class Text(Struct, frozen=True):
    text: str


class Begun(Struct, frozen=True):
    """A call begins; what follows belongs to it."""

    name: str


class Arguments(Struct, frozen=True):
    """JSON, or a piece of it."""

    text: str


Piece = Text | Begun | Arguments
_NAME: tuple[tuple[str, ...], ...] = (("{",), ('"name"',), (":",))
_ARGUMENTS: tuple[tuple[str, ...], ...] = ((",",), ('"arguments"',), (":",))
_LOOSE: tuple[tuple[str, ...], ...] = ((",",), ('"arguments"', '"parameters"'), (":",))


class Head(NamedTuple):
    name: str
    end: int
    """Where the arguments begin."""


class CallReader:
    """`feed` returns what the text so far has become, `close` what was held back at the end of the answer."""

    __slots__ = ("_depth", "_escaped", "_forced", "_held", "_names", "_quoted", "_several", "_state", "called", "whole")

    def __init__(self, names: Collection[str], *, forced: bool, several: bool) -> None:
        """`names` are the tools that may be called. `forced`: the engine writes nothing but one call. `several`: more
        than one call is wanted where the model makes them."""
        self._names = names
        self._forced = forced
        self._several = several and not forced
        self._state: Literal["head", "arguments", "tail", "next", "text", "over"] = "head"
        self._held = ""
        self._depth = 0
        self._quoted = self._escaped = False
        self.called = 0
        self.whole = True
        """Whether the arguments of the last call have come to their end."""

    @property
    def plain(self) -> bool:
        """Whether all that comes is text."""
        return self._state == "text"

    def feed(self, text: str) -> list[Piece]:
        pieces: list[Piece] = []
        while text:
            text = self._step(text, pieces)
        return pieces

    def close(self) -> list[Piece]:
        """A forced call that was cut off before it had a name is nothing; other text that was held is text."""
        held, self._held = self._held, ""
        if self._state != "head" or self._forced or not held:
            return []
        self._state = "text"
        return [Text(held)]

    def _step(self, text: str, pieces: list[Piece]) -> str:
        """Takes some of `text`; returns what is left of it."""
        if self._state == "arguments":
            return self._take_arguments(text, pieces)
        if self._state == "head":
            return self._take_head(self._held + text, pieces)
        if self._state == "next":
            return self._take_next(self._held + text, pieces)
        if self._state == "tail":
            _, brace, text = text.partition("}")
            if brace:
                self._state = "next" if self._several else "over"
            return text
        if self._state == "text":
            pieces.append(Text(text))
        return ""

    def _take_head(self, text: str, pieces: list[Piece]) -> str:
        self._held = ""
        head = read_head(text, strict=self._forced)
        if head is None and len(text) <= MAX_HEAD:
            self._held = text
            return ""
        if head and head.end <= MAX_HEAD and head.name in self._names:
            return self._begin(head, text, pieces)
        self._state = "text"
        pieces.append(Text(text))
        return ""

    def _take_next(self, text: str, pieces: list[Piece]) -> str:
        self._held = ""
        text = text[_end(_BETWEEN, text, 0) :]
        head = read_head(text, strict=True)
        if head is None and len(text) <= MAX_HEAD:
            self._held = text
            return ""
        if head and head.end <= MAX_HEAD and head.name in self._names:
            return self._begin(head, text, pieces)
        self._state = "over"
        return ""

    def _begin(self, head: Head, text: str, pieces: list[Piece]) -> str:
        self._state = "arguments"
        self._depth = 0
        self.called += 1
        self.whole = False
        pieces.append(Begun(head.name))
        return text[head.end :]

    def _take_arguments(self, text: str, pieces: list[Piece]) -> str:
        end = self._end_of_object(text)
        pieces.append(Arguments(text[:end]))
        if self.whole:
            self._state = "tail"
        return text[end:]

    def _end_of_object(self, text: str) -> int:
        """Returns where the arguments end in this piece of them; all of it, unless `whole` says so."""
        for place, sign in enumerate(text):
            if self._escaped:
                self._escaped = False
            elif self._quoted:
                if sign == "\\":
                    self._escaped = True
                elif sign == '"':
                    self._quoted = False
            elif sign == '"':
                self._quoted = True
            elif sign in "{[":
                self._depth += 1
            elif sign in "}]":
                self._depth -= 1
                if self._depth == 0:
                    self.whole = True
                    return place + 1
        return len(text)


def read_head(text: str, *, strict: bool) -> Head | Literal[False] | None:
    """Reads a call up to its arguments. None: it may become one; False: it never will.

    `strict` knows one form only, in a code fence or not; else it may stand in a list, too.
    """
    at = _end(_SPACE, text, 0)
    if text.startswith("`", at):
        fence = _FENCE.match(text, at)
        if fence is None:
            return None if text[at:] in ("`", "``") else False
        at = fence.end()
    if not strict and text.startswith("[", at):
        at = _end(_SPACE, text, at + 1)
    for words in _NAME:
        found = _word(text, at, words)
        if found is None or found is False:
            return found
        at = found
    name = _STRING.match(text, at)
    if name is None:
        return None if text[at : at + 1] in ("", '"') else False
    at = _end(_SPACE, text, name.end())
    for words in _ARGUMENTS if strict else _LOOSE:
        found = _word(text, at, words)
        if found is None or found is False:
            return found
        at = found
    if at == len(text):
        return None
    try:
        return Head(msgspec.json.decode(name[0], type=str), at) if text[at] == "{" else False
    except (msgspec.DecodeError, UnicodeError):
        return False


def _word(text: str, at: int, words: tuple[str, ...]) -> int | Literal[False] | None:
    """Where what follows one of `words` begins; None where the text ends too early to tell."""
    for word in words:
        if text.startswith(word, at):
            return _end(_SPACE, text, at + len(word))
    rest = text[at:]
    return None if any(word.startswith(rest) for word in words) else False


def _end(pattern: "re.Pattern[str]", text: str, at: int) -> int:
    found = pattern.match(text, at)
    return found.end() if found else at
