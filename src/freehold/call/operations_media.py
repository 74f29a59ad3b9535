"""Images, speech and transcripts: what is asked of an upstream where something else than text goes in or comes out.

Two things are not as in a conversation. The request may be a form, whose Content-Type names its boundary: the client's
header goes upstream with the client's bytes. The answer may be anything (a sound, subtitles), so an attempt says what
its Content-Type is for the client (`MediaPrepared.answer_type`), and raw sound has no place for an error: its relay is
`raw`, and a stream of it that breaks is cut off.

Same dialect on both sides: bytes pass through but for the model's name. Gemini gets its own form and its answers are
written in the client's.
"""

import re
import time
from collections.abc import Callable, Mapping
from typing import ClassVar

from freehold.call.operation import Prepared, Relay, refuse_losses
from freehold.call.retries import Effects
from freehold.call.target import Target
from freehold.dialects import audio, gemini, images
from freehold.dialects.audio import Transcript
from freehold.dialects.audio.transcription import Task, TranscriptionRequest
from freehold.dialects.conversation import Losses, Usage
from freehold.dialects.images import ImageReply, ImageRequest, Kind
from freehold.dialects.multipart import is_form
from freehold.dialects.peek import Peek
from freehold.dialects.receipt import Receipt
from freehold.dialects.typed_events import WholeRelay
from freehold.errors import BadRequest, InternalError, ProviderError

AnswerType = Callable[[Mapping[bytes, bytes]], bytes]

IMAGE_PATHS: dict[Kind, str] = {
    "generations": "images",
    "edits": "image_edits",
    "variations": "image_variations",
}
"""Operation names of providers.toml."""
_OPENAI_FORM = frozenset({"chat", "responses"})
_HEARS_OPENAI_FORM = _OPENAI_FORM | {"mistral"}
"""Dialects whose hosts speak OpenAI's form here. Mistral copied it for transcripts, not for speech."""
_WITHOUT_STYLE = re.compile(r"gemini-(?:2\.5|3\.1)-")
"""Gemini's speech models before `speechMetadata`."""
_JSON_LINE = b"\r\ncontent-type: application/json\r\n"


class MediaPrepared(Prepared):
    """An attempt whose answer need not be JSON.

    `answer_type` takes the upstream's header fields (lower-case names) and returns the client's Content-Type. None:
    application/json for a whole answer, text/event-stream for a stream.
    """

    __slots__ = ("answer_type",)

    def __init__(
        self,
        head: bytes,
        body: bytes,
        losses: Losses,
        read: Callable[[bytes], tuple[bytes, Receipt]],
        relay: Callable[[], Relay],
        read_error: Callable[[int, Mapping[bytes, bytes], bytes], ProviderError],
        answer_type: AnswerType | None = None,
    ) -> None:
        super().__init__(head, body, losses, read, relay, read_error)
        self.answer_type = answer_type


class Images:
    """Generations, edits and variations."""

    __slots__ = ("_body", "_content_type", "_kind", "_request", "_strict", "peek")
    effects: ClassVar[Effects] = "keeps"

    def __init__(
        self, kind: Kind, body: bytes, content_type: str, peek: Peek | None = None, *, strict: bool = False
    ) -> None:
        """Raises BadRequest as `images.peek` does, which is asked where `peek` is None."""
        self._kind = kind
        self._body = body
        self._content_type = content_type
        self._strict = strict
        self._request: ImageRequest | None = None
        self.peek = images.peek(kind, body, content_type) if peek is None else peek

    @property
    def request(self) -> ImageRequest:
        """The request, read whole; BadRequest when it cannot be."""
        if self._request is None:
            self._request = images.read_request(self._kind, self._body, self._content_type)
        return self._request

    def prepare(self, target: Target) -> MediaPrepared:
        if target.dialect in _OPENAI_FORM:
            return self._pass_through(target)
        if target.dialect == "gemini":
            return self._translate(target)
        raise _missing(target, "images")

    def _pass_through(self, target: Target) -> MediaPrepared:
        kind, peek = self._kind, self.peek
        body = images.patch_request(kind, self._body, self._content_type, model=target.model)
        head = target.head(IMAGE_PATHS[kind], peek.stream)

        def read(answer: bytes) -> tuple[bytes, Receipt]:
            return answer, images.read_receipt(answer)

        return MediaPrepared(
            _retyped(head, self._content_type),
            body,
            [],
            read,
            lambda: images.StreamRelay(kind, peek.n),
            images.read_error,
        )

    def _translate(self, target: Target) -> MediaPrepared:
        request, created = self.request, int(time.time())
        losses: Losses = []
        imagen = target.model.rpartition("/")[2].startswith("imagen")
        write = images.write_imagen_request if imagen else images.write_gemini_request
        read_reply = images.read_imagen_reply if imagen else images.read_gemini_reply
        body = write(request, losses)
        refuse_losses(losses, target, self._strict)

        def receive(answer: bytes) -> ImageReply:
            return read_reply(answer, target.model)

        def read(answer: bytes) -> tuple[bytes, Receipt]:
            reply = receive(answer)
            return images.write_reply(reply, created), Receipt(reply.id, reply.model, reply.usage, "stop", None)

        def convert(answer: bytes) -> tuple[bytes, Usage | None]:
            reply = receive(answer)
            return images.write_events(request.kind, reply, request.settings, created), reply.usage

        return MediaPrepared(
            target.head("predict" if imagen else "gemini", False),
            body,
            losses,
            read,
            lambda: WholeRelay(convert, target.model),
            gemini.read_error,
        )


class Speak:
    """Text to speech. Always streamed: `peek.stream` is True."""

    __slots__ = ("_body", "_request", "_strict", "peek")
    effects: ClassVar[Effects] = "keeps"

    def __init__(self, body: bytes, peek: Peek | None = None, *, strict: bool = False) -> None:
        """Raises BadRequest as `audio.read_speech` does."""
        self._body = body
        self._strict = strict
        self._request = audio.read_speech(body)
        self.peek = audio.peek_speech(body) if peek is None else peek

    def prepare(self, target: Target) -> MediaPrepared:
        if target.dialect in _OPENAI_FORM:
            return self._pass_through(target)
        if target.dialect == "gemini":
            return self._translate(target)
        raise _missing(target, "speech")

    def _pass_through(self, target: Target) -> MediaPrepared:
        request = self._request
        default = audio.MEDIA_TYPES.get(request.format, b"application/octet-stream")
        return MediaPrepared(
            target.head("speech", True),
            audio.patch_speech(self._body, model=target.model),
            [],
            _never_whole,
            lambda: audio.SpeechEventRelay(request) if request.events else audio.SoundRelay(request),
            audio.read_error,
            None if request.events else _upstreams(default),
        )

    def _translate(self, target: Target) -> MediaPrepared:
        request = self._request
        losses: Losses = []
        format = audio.check_speech(request, losses)
        body = audio.write_gemini_speech(request, losses, not _WITHOUT_STYLE.search(target.model))
        refuse_losses(losses, target, self._strict)
        kind = audio.MEDIA_TYPES[format]
        return MediaPrepared(
            target.head("gemini", True),
            body,
            losses,
            _never_whole,
            lambda: audio.GeminiSpeechRelay(request, format, target.model),
            gemini.read_error,
            None if request.events else lambda _fields: kind,
        )


class Transcribe:
    """Speech to text, in its own language or in English."""

    __slots__ = ("_body", "_content_type", "_request", "_strict", "peek")
    effects: ClassVar[Effects] = "keeps"

    def __init__(
        self, task: Task, body: bytes, content_type: str, peek: Peek | None = None, *, strict: bool = False
    ) -> None:
        """Raises BadRequest as `audio.read_transcription` does."""
        self._body = body
        self._content_type = content_type
        self._strict = strict
        self._request: TranscriptionRequest = audio.read_transcription(task, body, content_type)
        self.peek = audio.peek_transcription(task, body, content_type) if peek is None else peek

    def prepare(self, target: Target) -> MediaPrepared:
        if target.dialect in _HEARS_OPENAI_FORM:
            return self._pass_through(target)
        if target.dialect == "gemini":
            return self._translate(target)
        raise _missing(target, self._request.task)

    def _pass_through(self, target: Target) -> MediaPrepared:
        request = self._request

        def read(answer: bytes) -> tuple[bytes, Receipt]:
            return answer, audio.read_receipt(request, answer)

        return MediaPrepared(
            _retyped(target.head(request.task, self.peek.stream), self._content_type),
            request.form.replaced("model", target.model),
            [],
            read,
            lambda: audio.TranscriptRelay(request),
            audio.read_error,
            None if self.peek.stream else _upstreams(audio.content_type(request.response_format)),
        )

    def _translate(self, target: Target) -> MediaPrepared:
        request = self._request
        losses: Losses = []
        body = audio.write_gemini_transcription(request, losses)
        refuse_losses(losses, target, self._strict)
        kind = audio.content_type(request.response_format)

        def read(answer: bytes) -> tuple[bytes, Receipt]:
            transcript: Transcript = audio.read_gemini_transcript(answer, target.model)
            receipt = Receipt(transcript.id, transcript.model, transcript.usage, "stop", None)
            return audio.write_transcript(transcript, request.response_format), receipt

        return MediaPrepared(
            target.head("gemini", self.peek.stream),
            body,
            losses,
            read,
            lambda: audio.GeminiTranscriptRelay(request, target.model),
            gemini.read_error,
            None if self.peek.stream else lambda _fields: kind,
        )


def _retyped(head: bytes, content_type: str) -> bytes:
    """`head` with the client's own Content-Type where the body is a form."""
    if not is_form(content_type):
        return head
    line = content_type.encode("latin-1", "replace")
    if any(byte < 32 or byte == 127 for byte in line):
        raise BadRequest("The Content-Type holds control characters.", code="invalid_content_type")
    before, found, after = head.partition(_JSON_LINE)
    if not found:
        raise InternalError("a request head without a content type")
    return b"%b\r\ncontent-type: %b\r\n%b" % (before, line, after)


def _upstreams(default: bytes) -> AnswerType:
    """The upstream's own Content-Type, `default` where it names none."""

    def answer_type(fields: Mapping[bytes, bytes]) -> bytes:
        return fields.get(b"content-type") or default

    return answer_type


def _missing(target: Target, operation: str) -> BadRequest:
    return BadRequest(f"{target.name} has no {operation}", hint="ask a model that can: GET /v1/models", param="model")


def _never_whole(_answer: bytes) -> tuple[bytes, Receipt]:
    raise InternalError("speech is always streamed")
