"""Streams of images on their way through: partial images, then a completed one for each image asked for.

A host that knows no streams answers with the whole list; its images become completed events, so the client sees the
stream it asked for.
"""

from typing import Any, ClassVar

import msgspec
from msgspec import Struct

from freehold.dialects.chat.errors import read_failure
from freehold.dialects.conversation import Usage
from freehold.dialects.images.reply import read_receipt, read_usage, write_usage
from freehold.dialects.images.request import PLAIN_TOKENS, Kind
from freehold.dialects.sse import sse
from freehold.dialects.typed_events import EventRelay, Typed
from freehold.dialects.wire import MALFORMED
from freehold.errors import UpstreamBroken


class _Event(Typed):
    usage: Any = None
    model: Any = None


class _List(Struct):
    created: Any = None
    data: list[dict[str, Any]] | None = None
    output_format: Any = None
    size: Any = None
    quality: Any = None
    background: Any = None
    usage: Any = None
    error: Any = None


_LIST = msgspec.json.Decoder(_List)
_ESTIMATE = PLAIN_TOKENS * 4
_NOTHING = write_usage(Usage())


class StreamRelay(EventRelay):
    """`n` is how many images were asked for: the stream is whole when as many are completed, or when it ends properly
    after at least one."""

    __slots__ = ("_completed", "_kind", "_n")
    DECODER: ClassVar["msgspec.json.Decoder[Any]"] = msgspec.json.Decoder(_Event)

    def __init__(self, kind: Kind = "generations", n: int = 1) -> None:
        super().__init__()
        self._kind = kind
        self._n = n
        self._completed = 0

    def meter(self, event: Any, raw: bytes, data: bytes) -> bytes:
        kind = event.type if isinstance(event.type, str) else ""
        if kind.endswith(".partial_image"):
            self.started = True
            self.output_bytes = max(self.output_bytes, (self._completed + 1) * _ESTIMATE)
        elif kind.endswith(".completed"):
            self.started = True
            self._completed += 1
            self.output_bytes = max(self.output_bytes, self._completed * _ESTIMATE)
            self._count(event.usage)
            self.complete = self._completed >= self._n
        if isinstance(event.model, str):
            self.model = event.model
        return raw

    def _count(self, raw: Any) -> None:
        """Each completed event says what its image used."""
        new, old = read_usage(raw, 1), self.usage
        if old is not None:
            for name in ("uncached", "cache_read", "output", "image_input", "image_output", "images"):
                setattr(new, name, getattr(new, name) + getattr(old, name))
            new.estimated = new.estimated or old.estimated
        self.usage = new

    def settle(self) -> None:
        self.complete = self.complete or self._completed > 0

    def from_whole(self, body: bytes) -> bytes:
        try:
            wire = _LIST.decode(body)
        except MALFORMED:
            raise UpstreamBroken("The provider's answer is neither an event stream nor a list of images.") from None
        if wire.error is not None:
            self.failed = read_failure(wire.error)
            return sse(msgspec.json.encode({"type": "error", "error": wire.error}), b"error")
        receipt = read_receipt(body)
        self.usage, self.model, self.id = receipt.usage, receipt.model, receipt.id
        name = "image_edit.completed" if self._kind == "edits" else "image_generation.completed"
        events = []
        last = len(wire.data or ()) - 1
        for index, image in enumerate(wire.data or ()):
            event = {
                "type": name,
                **image,
                "created_at": wire.created,
                "size": wire.size or "auto",
                "quality": wire.quality or "auto",
                "background": wire.background or "auto",
                "output_format": wire.output_format or "png",
                "usage": (index == last and wire.usage) or _NOTHING,
            }
            events.append(sse(msgspec.json.encode(event), name.encode()))
        self.complete = self.started = bool(events)
        return b"".join(events)
