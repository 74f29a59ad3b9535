"""Speech from Gemini: `generateContent` with an audio answer, written as OpenAI's speech.

Sources: https://ai.google.dev/gemini-api/docs/speech-generation and the `google-genai` SDK. A stream brings pieces of
raw PCM (16 bit, mono, 24 kHz), which is exactly OpenAI's `pcm`; with a header before it, it is `wav`. Whole answers of
Gemini 3.8 are WAV files, those of earlier models PCM, so a piece is looked at before it is believed. Other formats
would need an encoder: one asked for by name is refused, and the default (mp3) is answered with WAV and a loss.

How to speak stands in a field of its own since Gemini 3.8 (`speechMetadata.style`); earlier models read everything
aloud, and take the instruction as words before the text. OpenAI's voices have counterparts here that sound alike, not
the same: a loss.
"""

import binascii
import re
from typing import Any, ClassVar

import msgspec

from freehold.dialects.audio.speech import SpeechRequest, write_done, write_sound
from freehold.dialects.audio.wav import RATE, header, unwrap
from freehold.dialects.conversation import Failed, Losses, Usage
from freehold.dialects.gemini.usage import FINISH
from freehold.dialects.gemini_media import Blob, read_generated
from freehold.dialects.sse import SseParser
from freehold.dialects.typed_events import MAX_MEDIA_EVENT, write_failure
from freehold.errors import BadRequest, FreeholdError, LossRefused, UpstreamBroken

VOICES = {
    "alloy": "Kore",
    "ash": "Charon",
    "ballad": "Enceladus",
    "cedar": "Orus",
    "coral": "Leda",
    "echo": "Puck",
    "fable": "Fenrir",
    "marin": "Aoede",
    "nova": "Autonoe",
    "onyx": "Algenib",
    "sage": "Callirrhoe",
    "shimmer": "Despina",
    "verse": "Zephyr",
}
"""OpenAI's voices to Google's nearest in pitch and manner. Any other name is taken as one of Google's own."""
_OPTIONS_RATE = re.compile(r"rate=(\d{4,6})")


def check_speech(request: SpeechRequest, losses: Losses) -> str:
    """Returns the format of the answer, wav or pcm. Raises LossRefused for one that was asked for and is neither."""
    if request.response_format in ("wav", "pcm"):
        return request.response_format
    if request.response_format is None:
        losses.append("response_format")
        return "wav"
    raise LossRefused(
        f"Gemini speaks wav and pcm, not {request.response_format[:20]}.",
        hint="ask for wav or pcm, or ask another model",
        param="response_format",
    )


def write_gemini_speech(request: SpeechRequest, losses: Losses, styled: bool = True) -> bytes:
    """The body of `models/{model}:streamGenerateContent`. `styled`: the model knows `speechMetadata` (3.8 and later).

    Raises BadRequest for an empty text, LossRefused for a custom voice.
    """
    if not request.input.strip():
        raise BadRequest("'input' is empty.", param="input", code="invalid_value")
    if isinstance(request.voice, dict):
        raise LossRefused("Gemini has no custom voices of OpenAI.", hint="name one of Google's voices", param="voice")
    part: dict[str, Any] = {"text": request.input}
    if request.instructions:
        if styled:
            part["speechMetadata"] = {"style": request.instructions}
        else:
            part["text"] = f"{request.instructions}:\n{request.input}"
    if request.speed not in (None, 1.0):
        losses.append("speed")
    voice = VOICES.get(request.voice)
    if voice is not None:
        losses.append("voice")
    losses.extend(request.unknown)
    name = voice or request.voice or "Kore"
    config = {
        "responseModalities": ["AUDIO"],
        "speechConfig": {"voiceConfig": {"prebuiltVoiceConfig": {"voiceName": name}}},
    }
    return msgspec.json.encode({"contents": [{"role": "user", "parts": [part]}], "generationConfig": config})


class GeminiSpeechRelay:
    """Gemini's stream of sound as OpenAI's: raw (`format` wav or pcm), or as events."""

    __slots__ = (
        "_finish",
        "_format",
        "_parser",
        "_request",
        "_sound",
        "complete",
        "failed",
        "id",
        "model",
        "output_bytes",
        "raw",
        "started",
        "usage",
    )
    told: ClassVar[bool] = False

    def __init__(self, request: SpeechRequest, format: str, model: str = "") -> None:
        self._parser = SseParser(MAX_MEDIA_EVENT)
        self._request = request
        self._format = format
        self._finish = ""
        self._sound = 0
        self.raw = not request.events
        self.usage: Usage | None = None
        self.id = ""
        self.model = model
        self.failed: Failed | None = None
        self.complete = False
        self.started = False
        self.output_bytes = 0

    def feed(self, chunk: bytes) -> bytes:
        """Raises UpstreamBroken for events that are none, and for sound that cannot be what the client expects."""
        return b"".join([self._read(data) for _, data in self._parser.feed(chunk)])

    def close(self) -> bytes:
        """At the proper end of the upstream body. A second time nothing happens."""
        if self.complete:
            return b""
        out = b"".join([self._read(data) for _, data in self._parser.close()])
        if self.failed is not None:
            return out
        if self._finish and FINISH.get(self._finish) not in ("stop", "length"):
            self.failed = Failed(f"The provider stopped speaking: {self._finish[:40]}.", self._finish[:40].lower())
        elif not self.started:
            self.failed = Failed("The provider answered without any sound.", "no_audio")
        elif self._finish:
            self.complete = True
            counted = self.usage is not None and self.usage.output
            self.usage = self.usage if counted else self._request.estimate(self._sound)
            if not self.raw and self.usage is not None:
                out += write_done(self.usage)
        return out

    def fail(self, error: FreeholdError, request_id: str) -> bytes:
        return b"" if self.raw else write_failure(error, request_id)

    def _read(self, data: bytes) -> bytes:
        if self.failed is not None:
            return b""
        made = read_generated(data)
        self.id, self.model = made.id or self.id, made.model or self.model
        self._finish = made.finish or self._finish
        if made.usage is not None:
            self.usage = made.usage
            self.usage.audio_output = self.usage.audio_output or self.usage.output
            self.usage.characters = len(self._request.input)
        if made.refusal is not None and not self.started:
            self.failed = Failed(made.refusal.message, made.refusal.code, made.refusal.status)
            return b""
        return b"".join([self._sounded(blob) for blob in made.blobs])

    def _sounded(self, blob: Blob) -> bytes:
        if not blob.mime_type.startswith("audio/"):
            return b""
        try:
            samples = binascii.a2b_base64(blob.data, strict_mode=True)
        except (binascii.Error, ValueError):
            raise UpstreamBroken("The provider's sound is not valid base64.") from None
        rate = int(found[1]) if (found := _OPTIONS_RATE.search(blob.mime_type)) else RATE
        sound = unwrap(samples)
        if sound is not None:
            samples, rate = sound.samples, sound.rate
            if (sound.channels, sound.bits) != (1, 16):
                raise UpstreamBroken("The provider's sound is not 16 bit mono.")
        elif samples[:4] == b"RIFF" or not _is_pcm(blob.mime_type):
            raise UpstreamBroken(f"The provider's sound is {blob.mime_type[:60]}, not PCM.")
        if rate != RATE and self._format == "pcm":
            raise UpstreamBroken(f"The provider's PCM has {rate} samples a second, clients expect {RATE}.")
        first = header(rate) if not self.started and self._format == "wav" else b""
        self.started = True
        self._sound += len(samples)
        self.output_bytes = self._request.spoken(self._sound) * 4
        out = first + samples
        return out if self.raw else write_sound(binascii.b2a_base64(out, newline=False).decode("ascii"))


def _is_pcm(media_type: str) -> bool:
    kind = media_type.partition(";")[0].lower()
    return kind in ("audio/l16", "audio/pcm", "audio/raw", "audio/wav", "audio/x-wav")
