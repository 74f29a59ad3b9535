"""Speech: requests, and what comes back, as sound or as events, on its way through.

Sound is streamed as it comes: nobody wants to wait for the end of a sentence to hear its beginning. Raw sound has no
place for an error, so a stream of it that breaks is cut off (`raw`), never finished; nor has it one for usage, so that
is estimated: text at four bytes a token, and 20 tokens a second of sound, from its size where the format tells it, else
from the length of the text.
"""

import binascii
from typing import Any, ClassVar

import msgspec
from msgspec import Struct, field

from freehold.dialects.audio.wav import RATE
from freehold.dialects.chat.errors import read_failure
from freehold.dialects.chat.patch import patch_model
from freehold.dialects.chat.usage import read_usage
from freehold.dialects.conversation import Failed, Usage
from freehold.dialects.peek import Peek
from freehold.dialects.sse import sse
from freehold.dialects.typed_events import EventRelay, Typed
from freehold.dialects.wire import MALFORMED, check_number, check_str, decode_request, refuse
from freehold.errors import BadRequest, FreeholdError

MEDIA_TYPES = {
    "mp3": b"audio/mpeg",
    "opus": b"audio/opus",
    "aac": b"audio/aac",
    "flac": b"audio/flac",
    "wav": b"audio/wav",
    "pcm": b"audio/pcm",
}
"""By `response_format`."""
DEFAULT_FORMAT = "mp3"

TOKENS_A_SECOND = 20
_BYTES_A_SECOND = {"wav": RATE * 2, "pcm": RATE * 2}
_CHARACTERS_A_SECOND = 14
"""Of English, read aloud at 150 words a minute."""


class SpeechRequest(Struct):
    """`response_format` and `stream_format` are None where the client named none. `voice` may be OpenAI's `{id}`."""

    model: str
    input: str
    voice: str | dict[str, Any]
    instructions: str | None = None
    response_format: str | None = None
    speed: float | None = None
    stream_format: str | None = None
    unknown: dict[str, Any] = field(default_factory=dict)

    @property
    def format(self) -> str:
        return self.response_format or DEFAULT_FORMAT

    @property
    def events(self) -> bool:
        """Whether the client wants events instead of sound."""
        return self.stream_format == "sse"

    def spoken(self, size: int = 0) -> int:
        """Tokens of sound, by our count; `size` is the number of bytes of sound that came."""
        rate = _BYTES_A_SECOND.get(self.format)
        seconds = size / rate if rate and size else len(self.input) / _CHARACTERS_A_SECOND
        return round(seconds * TOKENS_A_SECOND)

    def estimate(self, size: int = 0) -> Usage:
        """What it used, by our count."""
        spoken = self.spoken(size)
        text = len(self.input.encode()) + len((self.instructions or "").encode())
        return Usage(
            uncached=text // 4 + 1, output=spoken, audio_output=spoken, characters=len(self.input), estimated=True
        )


_OBJECT = msgspec.json.Decoder(dict[str, Any])
_FIELDS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_ENCODER = msgspec.json.Encoder()


def peek_speech(body: bytes) -> Peek:
    """Always a stream. Raises BadRequest as `read_speech` does."""
    request = read_speech(body)
    usage = request.estimate()
    size = len(request.input.encode()) + len((request.instructions or "").encode())
    return Peek(request.model, True, max(1, usage.output), input_bytes=size)


def read_speech(body: bytes) -> SpeechRequest:
    """The whole request. Raises BadRequest with the field as `param`."""
    fields = decode_request(_OBJECT, body)
    for name in ("model", "input"):
        if fields.get(name) in (None, ""):
            raise BadRequest(f"The request has no '{name}'.", param=name, code="missing_required_parameter")
    voice = fields.pop("voice", None)
    request = SpeechRequest(check_str(fields.pop("model"), "model"), check_str(fields.pop("input"), "input"), "")
    if isinstance(voice, str | dict):
        request.voice = voice
    elif voice is not None:
        refuse("voice", "a string or an object", voice)
    for name in ("instructions", "response_format", "stream_format"):
        if (value := fields.pop(name, None)) is not None:
            setattr(request, name, check_str(value, name))
    if (speed := fields.pop("speed", None)) is not None:
        request.speed = check_number(speed, "speed")
    request.unknown = {name: value for name, value in fields.items() if value is not None}
    return request


def patch_speech(body: bytes, *, model: str) -> bytes:
    """For a provider of the same dialect: only the model's name changes. Raises BadRequest."""
    fields = decode_request(_FIELDS, body)
    return _ENCODER.encode(fields) if patch_model(fields, model) else body


class SoundRelay:
    """Raw sound, byte for byte. A provider that sends a JSON error as its answer has failed, not spoken."""

    __slots__ = (
        "_begun",
        "_request",
        "_sound",
        "complete",
        "failed",
        "id",
        "model",
        "output_bytes",
        "started",
        "usage",
    )
    raw: ClassVar[bool] = True
    """No error can be written into it: a broken one is cut off."""
    told: ClassVar[bool] = False

    def __init__(self, request: SpeechRequest) -> None:
        self._request = request
        self._begun = b""
        self._sound = 0
        self.usage: Usage | None = None
        self.id = ""
        self.model = ""
        self.failed: Failed | None = None
        self.complete = False
        self.started = False
        self.output_bytes = 0

    def feed(self, chunk: bytes) -> bytes:
        if self.started:
            self._sound += len(chunk)
            return chunk
        self._begun += chunk
        if self._begun.lstrip()[:1] in (b"{", b"") and len(self._begun) < 65536:
            return b""
        begun, self._begun = self._begun, b""
        self.started = True
        self._sound = len(begun)
        return begun

    def close(self) -> bytes:
        begun, self._begun = self._begun, b""
        if not self.started:
            self.failed = _no_sound(begun)
            if self.failed is not None:
                return b""
            self.started, self._sound = True, len(begun)
        self.usage = self._request.estimate(self._sound)
        self.output_bytes = self.usage.output * 4
        self.complete = True
        return begun

    def fail(self, error: FreeholdError, request_id: str) -> bytes:
        return b""


def _no_sound(body: bytes) -> Failed | None:
    """Why a body that may be JSON is no sound; None when it is sound after all."""
    if not body.strip():
        return Failed("The provider answered without any sound.", "no_audio")
    try:
        value = _OBJECT.decode(body)
    except MALFORMED:
        return None
    return read_failure(value.get("error") or value)


class _Event(Typed):
    usage: Any = None
    audio: Any = None
    audio_data: Any = None


class SpeechEventRelay(EventRelay):
    """`speech.audio.delta` and `speech.audio.done`. Raw sound from a host that knows no events becomes events, and
    Mistral's `audio_data` is written under OpenAI's name."""

    __slots__ = ("_request", "_sound")
    DECODER: ClassVar["msgspec.json.Decoder[Any]"] = msgspec.json.Decoder(_Event)

    def __init__(self, request: SpeechRequest) -> None:
        super().__init__()
        self._request = request
        self._sound = 0

    def meter(self, event: Any, raw: bytes, data: bytes) -> bytes:
        if event.type == "speech.audio.delta":
            self.started = True
            sound = event.audio if isinstance(event.audio, str) else event.audio_data
            if isinstance(sound, str):
                self._sound += len(sound) * 3 // 4
                self.output_bytes = self._request.spoken(self._sound) * 4
                if event.audio is None:
                    return write_sound(sound)
        elif event.type == "speech.audio.done":
            usage = read_usage(event.usage)
            if usage is None or not (usage.input or usage.output):
                usage = self._request.estimate(self._sound)
            else:
                usage.audio_output = usage.audio_output or usage.output
                usage.characters = len(self._request.input)
            self.usage = usage
            self.complete = True
        return raw

    def feed_plain(self, chunk: bytes) -> bytes:
        if not self.started and (self._begun or chunk.lstrip()[:1] in (b"{", b"")):
            self._begun += chunk
            if len(self._begun) < 65536:
                return b""
            chunk, self._begun = self._begun, b""
        self.started = True
        self._sound += len(chunk)
        self.output_bytes = self._request.spoken(self._sound) * 4
        return write_sound(binascii.b2a_base64(chunk, newline=False).decode("ascii"))

    def close_plain(self) -> bytes:
        begun, self._begun = self._begun, b""
        if not self.started:
            self.failed = _no_sound(begun)
            if self.failed is not None:
                return sse(_ENCODER.encode({"type": "error", "error": _error(self.failed)}), b"error")
        out = write_sound(binascii.b2a_base64(begun, newline=False).decode("ascii")) if begun else b""
        self._sound += len(begun)
        self.started = self.complete = True
        self.usage = self._request.estimate(self._sound)
        return out + write_done(self.usage)


def write_sound(base64: str) -> bytes:
    """One piece of sound as an event."""
    return sse(_ENCODER.encode({"type": "speech.audio.delta", "audio": base64}))


def write_done(usage: Usage) -> bytes:
    """The last event."""
    counts = {
        "input_tokens": usage.input,
        "output_tokens": usage.output,
        "total_tokens": usage.input + usage.output,
    }
    return sse(_ENCODER.encode({"type": "speech.audio.done", "usage": counts}))


def _error(failed: Failed) -> dict[str, Any]:
    return {"message": failed.message, "type": "server_error", "param": None, "code": failed.code}
