"""Transcriptions and translations: the form, and what an answer says it used.

An answer is JSON (`json`, `verbose_json`, `diarized_json`) or text (`text`, `srt`, `vtt`). Usage is in tokens for
models that are billed so, in seconds for others (`type: duration`); Mistral names both. Text says nothing: subtitles
tell by their last cue how long they are, the rest is estimated at four bytes a token.
"""

import math
import re
from collections.abc import Callable
from typing import Any, Literal

import msgspec
from msgspec import Struct, field

from freehold.dialects.audio.wav import seconds as wav_seconds
from freehold.dialects.chat.errors import read_failure
from freehold.dialects.chat.usage import read_usage as read_tokens
from freehold.dialects.conversation import Usage
from freehold.dialects.multipart import Field, Form, parse
from freehold.dialects.peek import MEDIA_BYTES, Peek
from freehold.dialects.receipt import Receipt
from freehold.dialects.wire import MALFORMED
from freehold.errors import BadRequest, UpstreamBroken

Task = Literal["transcriptions", "translations"]

FORMATS = ("json", "text", "srt", "verbose_json", "vtt", "diarized_json")
JSON_FORMATS = ("json", "verbose_json", "diarized_json")
TOKENS_A_SECOND = 10
"""Of heard sound, as OpenAI's models count it."""

_CUE = re.compile(r"(?:(\d{1,4}):)?(\d{1,2}):(\d{1,2})[.,](\d{1,3})")
_MOST_SECONDS = 1e9


class TranscriptionRequest(Struct):
    """`file` lies in `form.body`. `settings` holds every other field that was given, by name without `[]`."""

    task: Task
    model: str
    form: Form
    file: Field
    prompt: str | None = None
    language: str | None = None
    response_format: str = "json"
    temperature: float | None = None
    stream: bool = False
    settings: dict[str, list[str]] = field(default_factory=dict)

    @property
    def seconds(self) -> float | None:
        """How long the sound is, where its beginning tells."""
        return wav_seconds(bytes(self.form.data(self.file)[:4096]))


class Transcript(Struct):
    text: str
    usage: Usage | None = None
    model: str = ""
    id: str = ""


class _Body(Struct):
    text: Any = None
    usage: Any = None
    duration: Any = None
    model: Any = None
    id: Any = None
    x_groq: Any = None
    error: Any = None


_BODY = msgspec.json.Decoder(_Body)
_ENCODER = msgspec.json.Encoder()


def peek_transcription(task: Task, body: bytes, content_type: str) -> Peek:
    """Raises BadRequest as `read_transcription` does."""
    request = read_transcription(task, body, content_type)
    prompt = len((request.prompt or "").encode())
    seconds = request.seconds
    heard = min(1 << 30, int(seconds * TOKENS_A_SECOND) * 4) if seconds is not None else MEDIA_BYTES
    return Peek(request.model, request.stream, input_bytes=prompt + heard, audio=True)


def read_transcription(task: Task, body: bytes, content_type: str) -> TranscriptionRequest:
    """The whole request; the file is not copied. Raises BadRequest with the field as `param`."""
    form = parse(body, content_type)
    model = form.text("model")
    if not model:
        raise BadRequest("The request has no 'model'.", param="model", code="missing_required_parameter")
    file = form.one("file")
    if file is None:
        raise BadRequest("The request has no 'file'.", param="file", code="missing_required_parameter")
    if file.filename is None:
        raise BadRequest("'file': expected a file, got text.", param="file", code="invalid_type")
    request = TranscriptionRequest(task, model, form, file)
    request.prompt = form.text("prompt") or None
    request.language = form.text("language") or None
    request.stream = (form.text("stream") or "").strip().lower() in ("true", "1")
    if chosen := form.text("response_format"):
        if chosen not in FORMATS:
            why = f"'response_format': expected one of {', '.join(FORMATS)}."
            raise BadRequest(why, param="response_format", code="invalid_value")
        request.response_format = chosen
    if temperature := form.text("temperature"):
        request.temperature = _number("temperature", temperature)
    known = ("model", "file", "prompt", "language", "stream", "response_format", "temperature")
    for part in form.fields:
        name = part.name.removesuffix("[]")
        if name not in known:
            request.settings.setdefault(name, []).append(form.read(part) if part.filename is None else "(file)")
    return request


def patch_transcription(body: bytes, content_type: str, *, model: str) -> bytes:
    """For a provider of the same dialect: only the model's name changes. Raises BadRequest."""
    return parse(body, content_type).replaced("model", model)


def content_type(response_format: str) -> bytes:
    """Of an answer in that format."""
    if response_format in JSON_FORMATS:
        return b"application/json"
    return {"srt": b"application/x-subrip", "vtt": b"text/vtt; charset=utf-8"}.get(
        response_format, b"text/plain; charset=utf-8"
    )


def read_receipt(request: TranscriptionRequest, body: bytes) -> Receipt:
    """What a passed-through answer used. Raises UpstreamBroken for JSON that is none where JSON was asked for."""
    if request.response_format not in JSON_FORMATS and body.lstrip()[:1] != b"{":
        return Receipt(usage=estimate(request, body), finish="stop")
    try:
        wire = _BODY.decode(body)
    except MALFORMED:
        if request.response_format not in JSON_FORMATS:
            return Receipt(usage=estimate(request, body), finish="stop")
        raise UpstreamBroken("The provider's answer is not a transcript.") from None
    receipt = Receipt(_text(wire.id), _text(wire.model), finish="stop")
    if isinstance(wire.x_groq, dict):
        receipt.id = receipt.id or _text(wire.x_groq.get("id"))
    if wire.error is not None:
        receipt.failed = read_failure(wire.error)
    elif not isinstance(wire.text, str):
        raise UpstreamBroken("The provider's answer has no text.")
    else:
        receipt.usage = read_usage(wire.usage) or estimate(request, wire.text.encode("utf-8", "replace"))
        receipt.usage.seconds = receipt.usage.seconds or read_seconds(wire.duration)
    return receipt


def read_text(body: bytes) -> str:
    """The text of a JSON answer that `read_receipt` has accepted."""
    return _text(_BODY.decode(body).text)


def read_usage(raw: Any) -> Usage | None:
    """The usage object: tokens, seconds, or both. None where it holds neither."""
    if not isinstance(raw, dict):
        return None
    usage = read_tokens(raw) or Usage()
    usage.seconds = read_seconds(raw.get("seconds")) or read_seconds(raw.get("prompt_audio_seconds"))
    details = raw.get("input_token_details")  # token, not tokens, in this API
    heard = details.get("audio_tokens") if isinstance(details, dict) else None
    if type(heard) is int and heard > 0:
        usage.audio_input = min(heard, usage.uncached)
    return usage if usage.input or usage.output or usage.seconds else None


def read_seconds(value: Any) -> float:
    """A duration, 0 for anything that is none."""
    if isinstance(value, str):
        try:
            value = float(value[:30])  # whisper's verbose_json had a string once
        except ValueError:
            return 0.0
    usable = isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < _MOST_SECONDS
    return float(value) if usable else 0.0


def estimate(request: TranscriptionRequest, text: bytes) -> Usage:
    """Our count: what was said, and how long it took where the file or the subtitles tell."""
    length = request.seconds or _last_cue(text) or 0.0
    heard = math.ceil(length * TOKENS_A_SECOND)
    prompt = len((request.prompt or "").encode()) // 4
    return Usage(uncached=heard + prompt, output=len(text) // 4 + 1, audio_input=heard, seconds=length, estimated=True)


def _last_cue(text: bytes) -> float | None:
    """When the last subtitle ends, in seconds."""
    arrow = text.rfind(b"-->")
    match = _CUE.match(text[arrow + 3 : arrow + 40].decode("ascii", "replace").lstrip()) if arrow >= 0 else None
    if match is None:
        return None
    hours, minutes, whole, fraction = match.groups()
    return int(hours or 0) * 3600 + int(minutes) * 60 + float(f"{whole}.{fraction}")


_WRITERS: dict[str, Callable[[Transcript], bytes]] = {
    "json": lambda transcript: _ENCODER.encode(_object(transcript)),
    "text": lambda transcript: transcript.text.encode() + b"\n",
}


def write_transcript(transcript: Transcript, response_format: str) -> bytes:
    """The answer in `json` or `text`; the other formats hold times, which we cannot make up. Raises KeyError."""
    return _WRITERS[response_format](transcript)


def _object(transcript: Transcript) -> dict[str, Any]:
    body: dict[str, Any] = {"text": transcript.text}
    if transcript.usage is not None:
        body["usage"] = write_usage(transcript.usage)
    return body


def write_usage(usage: Usage) -> dict[str, Any]:
    """The usage object in tokens."""
    return {
        "type": "tokens",
        "input_tokens": usage.input,
        "input_token_details": {
            "audio_tokens": usage.audio_input,
            "text_tokens": max(0, usage.input - usage.audio_input),
        },
        "output_tokens": usage.output,
        "total_tokens": usage.input + usage.output,
    }


def _number(name: str, value: str) -> float:
    try:
        number = float(value[:40])
    except ValueError:
        number = math.nan
    if math.isfinite(number):
        return number
    raise BadRequest(f"'{name}': expected a number, got {value[:40]!r}.", param=name, code="invalid_type")


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
