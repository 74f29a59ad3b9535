"""Streams of transcripts on their way through: `transcript.text.delta`, `transcript.text.done`.

Two hosts of the dialect name their events otherwise, and are translated: Mistral (`transcription.text.delta`,
`.segment`, `.done`, `.language`) and vLLM (chunks as of a chat completion, then `[DONE]`). A host that answers at once,
as OpenAI does for whisper-1, becomes one delta and the end.
"""

from typing import Any, ClassVar

import msgspec

from freehold.dialects.audio.transcription import (
    JSON_FORMATS,
    TranscriptionRequest,
    estimate,
    read_receipt,
    read_text,
    read_usage,
    write_usage,
)
from freehold.dialects.conversation import Usage
from freehold.dialects.sse import sse
from freehold.dialects.typed_events import EventRelay, Typed
from freehold.errors import UpstreamBroken


class _Event(Typed):
    delta: Any = None
    text: Any = None
    usage: Any = None
    model: Any = None
    object: Any = None
    choices: Any = None
    start: Any = None
    end: Any = None
    speaker_id: Any = None


_ENCODER = msgspec.json.Encoder()


class TranscriptRelay(EventRelay):
    """A relay for one request."""

    __slots__ = ("_foreign", "_request", "_said", "_segments")
    DECODER: ClassVar["msgspec.json.Decoder[Any]"] = msgspec.json.Decoder(_Event)

    def __init__(self, request: TranscriptionRequest) -> None:
        super().__init__()
        self._request = request
        self._foreign = False
        self._said: list[str] = []
        self._segments = 0

    def meter(self, event: Any, raw: bytes, data: bytes) -> bytes:
        kind = event.type if isinstance(event.type, str) else ""
        if isinstance(event.model, str):
            self.model = event.model
        if kind == "transcript.text.delta":
            self._hear(event.delta)
            return raw
        if kind == "transcript.text.done":
            self._done(event.text, event.usage)
            return raw
        if kind == "transcript.text.segment":
            self.started = True
            return raw
        if kind.startswith("transcription.") or event.object == "transcription.chunk":
            return self._translate(kind, event)
        return raw

    def done(self, raw: bytes) -> bytes:
        """vLLM ends with `[DONE]` and no last event of its own."""
        if not self._foreign or self.complete:
            return raw
        text = "".join(self._said)
        self.usage = self.usage or estimate(self._request, text.encode("utf-8", "replace"))
        self.started = self.complete = True
        return write_done(text, self.usage) + raw

    def _translate(self, kind: str, event: Any) -> bytes:
        if kind == "transcription.text.delta":
            return self._delta(event.text)
        if kind == "transcription.segment":
            self._segments += 1
            segment = {
                "type": "transcript.text.segment",
                "id": f"seg_{self._segments}",
                "start": event.start or 0.0,
                "end": event.end or 0.0,
                "text": event.text or "",
                "speaker": event.speaker_id or "",
            }
            return write(segment)
        if kind == "transcription.done":
            text = event.text if isinstance(event.text, str) else "".join(self._said)
            self._done(text, event.usage)
            return write_done(text, self.usage)
        if kind:
            return b""  # transcription.language: OpenAI's event has no place for it
        return self._chunk(event)

    def _chunk(self, event: Any) -> bytes:
        """One of vLLM's chunks."""
        self._foreign = True
        self.usage = read_usage(event.usage) or self.usage
        choice = event.choices[0] if isinstance(event.choices, list) and event.choices else None
        delta = choice.get("delta") if isinstance(choice, dict) else None
        text = delta.get("content") if isinstance(delta, dict) else None
        return self._delta(text) if isinstance(text, str) and text else b""

    def _delta(self, text: Any) -> bytes:
        self._hear(text)
        return write({"type": "transcript.text.delta", "delta": text if isinstance(text, str) else ""})

    def _hear(self, text: Any) -> None:
        self.started = True
        if isinstance(text, str):
            self._said.append(text)
            self.output_bytes += len(text) if text.isascii() else len(text.encode("utf-8", "replace"))

    def _done(self, text: Any, usage: Any) -> None:
        said = text if isinstance(text, str) else "".join(self._said)
        self.usage = read_usage(usage) or estimate(self._request, said.encode("utf-8", "replace"))
        self.started = self.complete = True

    def from_whole(self, body: bytes) -> bytes:
        receipt = read_receipt(self._request, body)
        if receipt.failed is not None:
            self.failed = receipt.failed
            return write({"type": "error", "error": {"message": receipt.failed.message, "code": receipt.failed.code}})
        if self._request.response_format in JSON_FORMATS:
            text = read_text(body)
        else:
            try:
                text = body.decode().rstrip("\n")
            except UnicodeDecodeError:
                raise UpstreamBroken("The provider's transcript is not valid UTF-8.") from None
        self.usage, self.model, self.id = receipt.usage, receipt.model, receipt.id
        self.started = self.complete = True
        return write({"type": "transcript.text.delta", "delta": text}) + write_done(text, self.usage)


def write(event: dict[str, Any]) -> bytes:
    return sse(_ENCODER.encode(event))


def write_done(text: str, usage: Usage | None) -> bytes:
    """The last event: the whole text, and its tokens."""
    event: dict[str, Any] = {"type": "transcript.text.done", "text": text}
    if usage is not None and (usage.input or usage.output) and not usage.estimated:
        event["usage"] = write_usage(usage)
    return write(event)
