"""Transcripts from Gemini: `generateContent` with sound in the prompt, written as OpenAI's transcript.

Source of the format: https://ai.google.dev/gemini-api/docs/audio. A general model is told to write down what it hears
and nothing else; `prompt`, `language`, `languages` and `keywords` become part of that instruction. It knows no times
and no speakers it could be held to, so formats that are made of them are refused.
"""

import binascii
from pathlib import PurePosixPath
from typing import Any, ClassVar

import msgspec

from freehold.dialects.audio.transcript import write, write_done
from freehold.dialects.audio.transcription import Transcript, TranscriptionRequest, estimate
from freehold.dialects.conversation import Failed, Losses, Usage
from freehold.dialects.gemini.usage import FINISH
from freehold.dialects.gemini_media import Generated, read_generated
from freehold.dialects.sse import SseParser
from freehold.dialects.typed_events import write_failure
from freehold.errors import FreeholdError, LossRefused, UpstreamBroken

_KINDS = {
    ".mp3": "audio/mp3",
    ".mpga": "audio/mp3",
    ".mpeg": "audio/mpeg",
    ".wav": "audio/wav",
    ".flac": "audio/flac",
    ".ogg": "audio/ogg",
    ".oga": "audio/ogg",
    ".aac": "audio/aac",
    ".aiff": "audio/aiff",
    ".m4a": "audio/m4a",
    ".mp4": "audio/mp4",
    ".webm": "audio/webm",
}
_MAGIC = (
    (b"RIFF", "audio/wav"),
    (b"ID3", "audio/mp3"),
    (b"\xff\xfb", "audio/mp3"),
    (b"\xff\xf3", "audio/mp3"),
    (b"fLaC", "audio/flac"),
    (b"OggS", "audio/ogg"),
    (b"\x1aE\xdf\xa3", "audio/webm"),
)
_TASKS = {
    "transcriptions": "Transcribe the speech in this recording word for word, in the language it is spoken in.",
    "translations": "Translate the speech in this recording into English.",
}
_ONLY = "Answer with the text alone, without comments, times, speaker names or markup."


def write_gemini_transcription(request: TranscriptionRequest, losses: Losses) -> bytes:
    """The body of `:generateContent` or its stream. Raises LossRefused for formats with times or speakers."""
    if request.response_format not in ("json", "text"):
        raise LossRefused(
            f"Gemini gives no times or speakers, which {request.response_format} is made of.",
            hint="ask for json or text, or ask another model",
            param="response_format",
        )
    words = [_TASKS[request.task]]
    settings = dict(request.settings)
    if request.language:
        words.append(f"The language is {request.language}.")
    if languages := settings.pop("languages", None):
        words.append(f"Possible languages: {', '.join(languages)}.")
    if keywords := settings.pop("keywords", None):
        words.append(f"Words that may occur: {', '.join(keywords)}.")
    if request.prompt:
        words.append(f"Context for spelling and style: {request.prompt}")
    losses.extend(name for name, value in settings.items() if not (name == "chunking_strategy" and value == ["auto"]))
    words.append(_ONLY)
    sound = {"mimeType": media_type(request), "data": _base64(request)}
    body: dict[str, Any] = {
        "contents": [{"role": "user", "parts": [{"text": " ".join(words)}, {"inlineData": sound}]}],
    }
    if request.temperature is not None:
        body["generationConfig"] = {"temperature": request.temperature}
    return msgspec.json.encode(body)


def read_gemini_transcript(body: bytes, model: str = "") -> Transcript:
    """Raises UpstreamRefused where the provider withheld the answer, UpstreamBroken where it is no whole one."""
    made = read_generated(body)
    if made.refusal is not None:
        raise made.refusal
    _check_finish(made)
    return Transcript(made.text.strip(), made.usage, made.model or model, made.id)


def media_type(request: TranscriptionRequest) -> str:
    """By what the form says, the file's name, its first bytes, in this order."""
    said = (request.file.content_type or "").partition(";")[0].strip().lower()
    if said.startswith(("audio/", "video/")):
        return said
    by_name = _KINDS.get(PurePosixPath(request.file.filename or "").suffix.lower())
    if by_name is not None:
        return by_name
    begun = bytes(request.form.data(request.file)[:8])
    return next((kind for magic, kind in _MAGIC if begun.startswith(magic)), "audio/wav")


def _base64(request: TranscriptionRequest) -> str:
    return binascii.b2a_base64(request.form.data(request.file), newline=False).decode("ascii")


def _check_finish(made: Generated) -> None:
    if made.finish and FINISH.get(made.finish) != "stop":
        raise UpstreamBroken(f"The provider stopped before the end of the transcript: {made.finish[:40]}.")


class GeminiTranscriptRelay:
    """Gemini's stream of text as OpenAI's transcript events."""

    __slots__ = (
        "_finish",
        "_parser",
        "_request",
        "_said",
        "complete",
        "failed",
        "id",
        "model",
        "output_bytes",
        "started",
        "usage",
    )
    raw: ClassVar[bool] = False
    told: ClassVar[bool] = False

    def __init__(self, request: TranscriptionRequest, model: str = "") -> None:
        self._parser = SseParser()
        self._request = request
        self._finish = ""
        self._said: list[str] = []
        self.usage: Usage | None = None
        self.id = ""
        self.model = model
        self.failed: Failed | None = None
        self.complete = False
        self.started = False
        self.output_bytes = 0

    def feed(self, chunk: bytes) -> bytes:
        """Raises UpstreamBroken for events that are none."""
        return b"".join([self._read(data) for _, data in self._parser.feed(chunk)])

    def close(self) -> bytes:
        """At the proper end of the upstream body. A second time nothing happens."""
        if self.complete:
            return b""
        out = b"".join([self._read(data) for _, data in self._parser.close()])
        if self.failed is not None or not self._finish:
            return out
        if FINISH.get(self._finish) != "stop":
            why = f"The provider stopped before the end of the transcript: {self._finish[:40]}."
            self.failed = Failed(why, self._finish[:40].lower())
            return out
        self.complete = self.started = True
        text = "".join(self._said)
        if self.usage is None:
            self.usage = estimate(self._request, text.encode("utf-8", "replace"))
        return out + write_done(text, self.usage)

    def fail(self, error: FreeholdError, request_id: str) -> bytes:
        return write_failure(error, request_id)

    def _read(self, data: bytes) -> bytes:
        if self.failed is not None:
            return b""
        made = read_generated(data)
        self.id, self.model = made.id or self.id, made.model or self.model
        self._finish = made.finish or self._finish
        self.usage = made.usage or self.usage
        if made.refusal is not None:
            self.failed = Failed(made.refusal.message, made.refusal.code, made.refusal.status)
            return b""
        if not made.text:
            return b""
        self.started = True
        self._said.append(made.text)
        self.output_bytes += len(made.text.encode("utf-8", "replace"))
        return write({"type": "transcript.text.delta", "delta": made.text})
