"""Anthropic's own language inside other clouds' envelopes: Bedrock's InvokeModel and Vertex's rawPredict.

The body is a Messages request without the model, which the path names, and with `anthropic_version` in place of the
header. Bedrock takes the stream flag from the path too, the betas in `anthropic_beta`, and answers a stream with event
frames whose `bytes` are the JSON of Anthropic's events; Vertex streams as Anthropic does. Sources: `lib/bedrock` and
`lib/vertex` of the `anthropic` SDK,
https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-anthropic-claude-messages.html and
https://cloud.google.com/vertex-ai/generative-ai/docs/partner-models/claude/use-claude.
"""

from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Sequence

import msgspec
from msgspec import Raw, Struct

from freehold.dialects.converse.errors import failed
from freehold.dialects.eventstream import Frame, FrameParser
from freehold.dialects.sse import sse
from freehold.dialects.wire import MALFORMED, decode_request
from freehold.errors import UpstreamBroken

BEDROCK_VERSION = "bedrock-2023-05-31"
VERTEX_VERSION = "vertex-2023-10-16"

_FIELDS = msgspec.json.Decoder(dict[str, Raw])
_ENCODER = msgspec.json.Encoder()


class _Chunk(Struct):
    bytes: str = ""


class _Typed(Struct):
    type: str = ""


_CHUNK = msgspec.json.Decoder(_Chunk)
_TYPED = msgspec.json.Decoder(_Typed)


def messages_on_vertex(body: bytes, *, count: bool = False) -> bytes:
    """A Messages request for Vertex; every other field keeps its bytes. To be counted, it goes on naming its model.

    Raises BadRequest for what is no object.
    """
    return _enveloped(body, VERTEX_VERSION, () if count else ("model",), ())


def messages_on_bedrock(body: bytes, betas: Sequence[str] = ()) -> bytes:
    """A Messages request for InvokeModel; `betas` are the names of the `anthropic-beta` header. As above."""
    return _enveloped(body, BEDROCK_VERSION, ("model", "stream"), betas)


def _enveloped(body: bytes, version: str, dropped: tuple[str, ...], betas: Sequence[str]) -> bytes:
    fields = decode_request(_FIELDS, body)
    for name in dropped:
        fields.pop(name, None)
    fields.setdefault("anthropic_version", Raw(_ENCODER.encode(version)))
    if betas and "anthropic_beta" not in fields:
        fields["anthropic_beta"] = Raw(_ENCODER.encode(list(betas)))
    return _ENCODER.encode(fields)


class InvokeStream:
    """Event frames of a streamed InvokeModel in, the SSE that Anthropic itself would have sent out.

    An exception frame becomes an `error` event. What comes out is read or relayed as Anthropic's.
    """

    __slots__ = ("_failed", "_parser")

    def __init__(self) -> None:
        self._parser = FrameParser()
        self._failed = False

    def feed(self, chunk: bytes) -> bytes:
        """Raises UpstreamBroken for a broken frame."""
        if self._failed:
            return b""
        return b"".join(self._read(frame) for frame in self._parser.feed(chunk))

    def _read(self, frame: Frame) -> bytes:
        headers, payload = frame
        if self._failed:
            return b""
        if headers.get(":message-type") != "event":
            self._failed = True
            kind = str(headers.get(":exception-type") or headers.get(":error-code") or "")
            error = failed(kind, payload)
            known = {429: "rate_limit_error", 503: "overloaded_error", 400: "invalid_request_error"}
            told = {"type": known.get(error.status or 500, "api_error"), "message": error.message}
            return sse(_ENCODER.encode({"type": "error", "error": told}), b"error")
        try:
            data = b64decode(_CHUNK.decode(payload).bytes, validate=True)
            kind = _TYPED.decode(data).type if data else ""
        except (Base64Error, *MALFORMED):
            raise UpstreamBroken("An event of the provider's stream could not be read.") from None
        # A name or data with a line break would forge events.
        return sse(data.replace(b"\n", b" ").replace(b"\r", b" "), kind.encode()) if kind.isidentifier() else b""
