"""Generated images and sound in answers of Gemini's generateContent, and in the events of its stream.

Source of the format: https://ai.google.dev/api/generate-content and the `google-genai` SDK's types. A piece of media is
a part with `inlineData` (MIME type, base64); thoughts may hold drafts of an image, which are not the answer. A refusal
is a prompt that was blocked or a finish reason, with no media beside it.
"""

from typing import Any

import msgspec
from msgspec import Struct

from freehold.dialects.conversation import Usage
from freehold.dialects.gemini.errors import WireError, failed
from freehold.dialects.gemini.usage import FINISH, WireUsage, read_usage
from freehold.dialects.wire import MALFORMED
from freehold.errors import FreeholdError, UpstreamBroken, UpstreamRefused, redact


class Blob(Struct, rename="camel"):
    mime_type: str = ""
    data: str = ""


class _Part(Struct, rename="camel"):
    text: str | None = None
    thought: bool = False
    inline_data: Blob | None = None


class _Content(Struct):
    parts: list[_Part] = []


class _Candidate(Struct, rename="camel"):
    content: _Content | None = None
    finish_reason: str | None = None
    finish_message: Any = None


class _Feedback(Struct, rename="camel"):
    block_reason: str | None = None
    block_reason_message: str | None = None


class _Answer(Struct, rename="camel"):
    candidates: list[_Candidate] = []
    usage_metadata: WireUsage | None = None
    model_version: str = ""
    response_id: str = ""
    prompt_feedback: _Feedback | None = None
    error: WireError | None = None


_ANSWER = msgspec.json.Decoder(_Answer)


class Generated(Struct):
    """`finish` is Google's word, empty as long as there is none. `refusal`: why there is nothing, where it says so."""

    blobs: list[Blob]
    text: str = ""
    finish: str = ""
    usage: Usage | None = None
    model: str = ""
    id: str = ""
    refusal: FreeholdError | None = None


def read_generated(body: bytes) -> Generated:
    """Reads a whole answer or one event. Raises UpstreamBroken for what is neither, and for an error object."""
    try:
        wire = _ANSWER.decode(body)
    except MALFORMED as error:
        raise UpstreamBroken(f"The provider's answer could not be read: {redact(str(error), 300)}.") from None
    if wire.error is not None:
        report = failed(wire.error)
        raise UpstreamBroken(f"The provider answered with an error in a success: {report.message}", code=report.code)
    made = Generated([], model=wire.model_version, id=wire.response_id)
    texts = []
    for candidate in wire.candidates:
        made.finish = candidate.finish_reason or made.finish
        for part in candidate.content.parts if candidate.content is not None else ():
            if part.thought:
                continue
            if part.inline_data is not None and part.inline_data.data:
                made.blobs.append(part.inline_data)
            elif part.text:
                texts.append(part.text)
    made.text = "".join(texts)
    if wire.usage_metadata is not None:
        made.usage = read_usage(wire.usage_metadata)
    made.refusal = _refusal(wire, made)
    return made


def expect_media(made: Generated, kind: str) -> list[Blob]:
    """The pieces of media, at least one. Raises UpstreamRefused for a refusal, UpstreamBroken for none at all.

    `kind` is what was wanted, in words: an image, speech.
    """
    wanted = [blob for blob in made.blobs if blob.mime_type.startswith(kind)]
    if wanted:
        return wanted
    if made.refusal is not None:
        raise made.refusal
    said = f": {redact(made.text, 300)}" if made.text else f" (finish reason {made.finish[:40] or 'missing'})"
    raise UpstreamBroken(f"The model answered without {kind.rstrip('/')}{said}", code=f"no_{kind.rstrip('/')}")


def _refusal(wire: _Answer, made: Generated) -> FreeholdError | None:
    feedback = wire.prompt_feedback
    if feedback is not None and feedback.block_reason is not None and not made.blobs:
        why = feedback.block_reason_message or f"The provider blocked the prompt: {feedback.block_reason}."
        return UpstreamRefused(redact(why, 500), code="content_policy_violation")
    if not made.blobs and FINISH.get(made.finish) == "content_filter":
        said = f" {redact(made.text, 300)}" if made.text else ""
        return UpstreamRefused(
            f"The provider withheld the answer: {made.finish}.{said}", code="content_policy_violation"
        )
    return None
