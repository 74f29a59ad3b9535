"""URLs in a conversation replaced by what they point at, for providers whose dialect carries bytes only.

Which parts of a conversation that is, by the provider's dialect, stands in `FETCHED`. A URL that the dialect carries
itself is left to the provider, who fetches it from its own network and not from ours. Each URL is fetched once, through
the egress guard (fetch_url.py), however often it occurs. The conversation that was read is never changed: another
provider may be tried with it. Audio has no URL in any dialect.
"""

import asyncio
from base64 import b64encode
from collections.abc import Awaitable, Callable, Iterator, Mapping
from copy import copy
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from freehold.call.fetch_through import fetch_through
from freehold.call.fetch_url import Fetched, UrlLimits, fetch_url, parse_url, system_resolver
from freehold.dialects.conversation import Conversation, Document, Image, Part, ToolResult
from freehold.errors import BadRequest, InternalError

if TYPE_CHECKING:
    from freehold.call.target import Target

MOST = 16
"""URLs of one request."""
TOTAL = 50 * 1024 * 1024
"""Bytes of one request's files together, before base64."""
AT_A_TIME = 4

Media = type[Image] | type[Document]
Key = tuple[Media, str]
"""A URL, and what it is wanted as."""

FETCHED: Mapping[str, frozenset[Media]] = {
    "converse": frozenset({Image, Document}),  # bytes, or a bucket of Amazon's
    "ollama": frozenset({Image, Document}),
    "chat": frozenset({Document}),  # `file_data` is base64
    "cohere": frozenset({Document}),  # `documents` are texts
}
"""What a provider's dialect cannot point at by URL."""

BYTES_ONLY = frozenset(dialect for dialect, kinds in FETCHED.items() if Image in kinds)
"""Whoever has one of these as its own takes no URL in the other languages it knows either (Ollama's `/v1`)."""


class Fetch(Protocol):
    def __call__(self, url: str, *, limits: UrlLimits) -> Awaitable[Fetched]: ...


Note = Callable[[str, str], None]
May = Callable[[str], None]
"""Raises PolicyError where a URL may not be fetched, because of what its request is labelled."""


class Noted(UrlLimits, frozen=True, kw_only=True):
    """Limits under which `note` is told of each server before it is asked: its name, with the port where that is not
    the usual one, and the URL; empty for a server that the one before it has named."""

    note: Note
    may: May
    known: Any = None
    """The request's facts, its label among them, which the egress process asks for in strict mode."""

    def fetch(self, url: str, *, limits: UrlLimits) -> Awaitable[Fetched]:
        """As `fetch_url`, which asks for a host's addresses once, just before it goes there. Raises PolicyError before
        that, where the URL may not leave: a name server learns of the host alone."""
        self.may(url)
        told = [url]
        through = self.through
        if through is not None:

            async def hop(url: str) -> Fetched:
                origin, _ = parse_url(url, limits)
                self.note(origin.authority, told.pop() if told else "")
                return await fetch_through(url, limits, through, self.known)

            return fetch_url(url, limits=limits, hop=hop)

        async def resolve(host: str, port: int) -> list[str]:
            addresses = await system_resolver(host, port)
            if addresses and all(limits.allowed(address) for address in addresses):
                self.note(host if port in (80, 443) else f"{host}:{port}", told.pop() if told else "")
            return addresses

        return fetch_url(url, limits=limits, resolver=resolve)


def watched(target: "Target", note: Note, may: May, known: Any = None) -> "Target":
    """Returns `target` with limits that ask `may` and tell `note` of all that is fetched for it; `known` is of its
    request."""
    if target.fetch is None:
        return target
    made = copy(target)
    fields = {name: getattr(target.fetch, name) for name in UrlLimits.__struct_fields__}
    made.fetch = Noted(**fields, note=note, may=may, known=known)
    return made


async def inline(
    conversation: Conversation,
    limits: UrlLimits,
    *,
    kinds: frozenset[Media] = frozenset({Image, Document}),
    most: int = MOST,
    total: int = TOTAL,
    fetch: Fetch | None = None,
) -> Conversation | None:
    """A copy of `conversation` with the http(s) URLs of `kinds` fetched; None where there are none. `limits` are those
    of `watched`, or `fetch` is given.

    Raises BadRequest that names the part (`messages.2.image`): more than `most` URLs, one that the egress guard
    refuses, files of more than `total` bytes together.
    """
    wanted = urls(conversation, kinds)
    if not wanted:
        return None
    if len(wanted) > most:
        where = list(wanted.values())[most]
        raise BadRequest(
            f"The request has {len(wanted)} URLs to fetch; {most} are allowed.",
            hint="send the data itself",
            code="url_not_fetched",
            param=where,
        )
    if fetch is None:
        if not isinstance(limits, Noted):
            raise InternalError("a URL was to be fetched of which nobody has asked whether it may be")
        fetch = limits.fetch
    files = await _fetch_all(wanted, limits, total, fetch)
    return _replaced(conversation, kinds, files)


def urls(conversation: Conversation, kinds: frozenset[Media]) -> dict[Key, str]:
    """Each URL that would be fetched, with the name of the first part that has it."""
    found: dict[Key, str] = {}
    for where, parts in _places(conversation):
        for part in parts:
            if (kind := _wanted(part, kinds)) is not None:
                found.setdefault((kind, part.url or ""), f"{where}.{kind.__name__.lower()}")  # type: ignore[union-attr]
    return found


def _places(conversation: Conversation) -> Iterator[tuple[str, list[Part]]]:
    """All lists of parts, with the name that losses give them."""
    yield from _inside("system", conversation.system)
    for place, turn in enumerate(conversation.turns):
        yield from _inside(f"messages.{place}", turn.parts)


def _inside(where: str, parts: list[Part]) -> Iterator[tuple[str, list[Part]]]:
    yield where, parts
    for part in parts:
        if type(part) is ToolResult:
            yield from _inside(where, part.parts)


def _wanted(part: Part, kinds: frozenset[Media]) -> Media | None:
    kind = type(part)
    if (kind is Image or kind is Document) and kind in kinds:
        url = part.url  # type: ignore[union-attr]
        if url is not None and url[:8].lower().startswith(("http://", "https://")):
            return kind
    return None


async def _fetch_all(wanted: dict[Key, str], limits: UrlLimits, total: int, fetch: Fetch) -> dict[Key, Fetched]:
    """All of them, a few at a time; the first that fails ends the others."""
    files: dict[Key, Fetched] = {}
    gate = asyncio.Semaphore(AT_A_TIME)
    size = 0

    async def one(key: Key, where: str) -> None:
        nonlocal size
        kind, url = key
        async with gate:
            try:
                file = await fetch(url, limits=_only_images(limits) if kind is Image else limits)
            except BadRequest as error:
                error.param = where
                raise
            size += len(file.data)
            if size > total:
                raise BadRequest(
                    f"The request's URLs lead to more than {total:,} bytes together.",
                    hint="send less, or fewer files at a time",
                    code="url_not_fetched",
                    param=where,
                )
            files[key] = file

    tasks = [asyncio.ensure_future(one(key, where)) for key, where in wanted.items()]
    try:
        await asyncio.gather(*tasks)
    except BaseException:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        raise
    return files


def _only_images(limits: UrlLimits) -> UrlLimits:
    types = tuple(entry for entry in limits.types if entry.startswith("image/"))
    return msgspec.structs.replace(limits, types=types)


def _replaced(conversation: Conversation, kinds: frozenset[Media], files: Mapping[Key, Fetched]) -> Conversation:
    def parts(given: list[Part]) -> list[Part]:
        return [one(part) for part in given]

    def one(part: Part) -> Part:
        if isinstance(part, ToolResult):
            return msgspec.structs.replace(part, parts=parts(part.parts))
        kind = _wanted(part, kinds)
        if kind is None or not isinstance(part, Image | Document):
            return part
        return _with_data(part, files[kind, part.url or ""])

    return msgspec.structs.replace(
        conversation,
        system=parts(conversation.system),
        turns=[msgspec.structs.replace(turn, parts=parts(turn.parts)) for turn in conversation.turns],
    )


def _with_data(part: Image | Document, file: Fetched) -> Image | Document:
    data = b64encode(file.data).decode("ascii")
    return msgspec.structs.replace(part, url=None, data=data, media_type=file.media_type)
