"""Writes a canonical reply as a Gemini client's GenerateContentResponse.

Source of the format: https://ai.google.dev/api/generate-content#generatecontentresponse and the `google-genai` SDK's
types. A tool call's thought signature leaves the id that may carry it and takes its own field. Signatures of other
providers go as `signatures.py` says, their sources as `grounding.py` says. A refusal is text: Gemini has no other form
for it, but for a prompt that was blocked, which has a `promptFeedback` and no candidate.
"""

from typing import Any

import msgspec

from freehold.dialects.conversation import (
    Audio,
    Choice,
    Document,
    Image,
    Losses,
    Opaque,
    Part,
    Refusal,
    Reply,
    Text,
    Thinking,
    ToolCall,
)
from freehold.dialects.gemini.grounding import METADATA, Sources
from freehold.dialects.gemini.logprobs import write_logprobs
from freehold.dialects.gemini.parts import WirePart, call_arguments, write_part
from freehold.dialects.gemini.proto import DIALECT
from freehold.dialects.gemini.signatures import write_signature
from freehold.dialects.gemini.usage import FINISH_WORD, write_usage
from freehold.dialects.tool_calls import split_signature
from freehold.dialects.words import opaque_name
from freehold.errors import UpstreamBroken

_ENCODER = msgspec.json.Encoder()


def write_reply(reply: Reply, losses: Losses, created: int = 0) -> bytes:
    """The answer for a Gemini client; `created` has no field here. What it cannot carry is appended to `losses`."""
    body: dict[str, Any] = {}
    if (reason := blocked(reply.choices)) is not None:
        body["promptFeedback"] = write_feedback(reason)
    else:
        body["candidates"] = [_write_choice(choice, losses) for choice in reply.choices or [Choice()]]
    if reply.usage is not None:
        body["usageMetadata"] = write_usage(reply.usage, reply.service_tier)
    body["modelVersion"] = reply.model
    body["responseId"] = reply.id
    return encode(body)


def encode(body: dict[str, Any]) -> bytes:
    """Raises UpstreamBroken for what is nested too deeply."""
    try:
        return _ENCODER.encode(body)
    except RecursionError:
        raise UpstreamBroken("The provider's answer is nested too deeply.") from None


def blocked(choices: list[Choice]) -> str | None:
    """Why the prompt was blocked, where nothing else was answered; None for any other answer."""
    if len(choices) != 1 or choices[0].finish != "content_filter" or not choices[0].parts:
        return None
    texts = [part.text for part in choices[0].parts if isinstance(part, Refusal)]
    return "".join(texts) if len(texts) == len(choices[0].parts) else None


def write_feedback(reason: str) -> dict[str, Any]:
    return {"blockReason": "SAFETY", "blockReasonMessage": reason}


def _write_choice(choice: Choice, losses: Losses) -> dict[str, Any]:
    sources = Sources()
    whole = "".join(part.text for part in choice.parts if isinstance(part, Text))
    parts: list[WirePart] = []
    metadata: dict[str, Any] = {}
    before = 0
    for part in choice.parts:
        if isinstance(part, Text):
            _cite(part, before, whole, sources)
            before += len(part.text)
            if part.text or part.signature is not None:
                parts.append(write_text(part.text, part.signature))
        elif isinstance(part, Opaque):
            if (found := write_opaque(part, metadata, losses)) is not None:
                parts.append(found)
        else:
            parts += write_answer_part(part, losses)
    candidate: dict[str, Any] = {
        "content": {"parts": parts or [{"text": ""}], "role": "model"},
        "finishReason": FINISH_WORD[choice.finish],
        "index": choice.index,
    }
    join_metadata(candidate, sources, metadata)
    if (logprobs := write_logprobs(choice.logprobs)) is not None:
        candidate["logprobsResult"] = logprobs
    return candidate


def _cite(text: Text, before: int, whole: str, sources: Sources) -> None:
    """Offsets of a `Reply` count within the part; those written, within all text."""
    for citation in text.citations or ():
        start = before + (citation.start or 0)
        end = before + (len(text.text) if citation.end is None else citation.end)
        sources.add(msgspec.structs.replace(citation, start=start, end=end), whole)


def write_text(text: str, signature: str | None) -> WirePart:
    return {"text": text} if signature is None else {"text": text, "thoughtSignature": signature}


def write_thought(thought: Thinking) -> WirePart | None:
    """None for a thought that says nothing."""
    signature = write_signature(thought.signature, thought.redacted, thought.id)
    if not thought.text and signature is None:
        return None
    part: WirePart = {"text": thought.text, "thought": True}
    if signature is not None:
        part["thoughtSignature"] = signature
    return part


def write_call(call: ToolCall, losses: Losses) -> WirePart:
    base, carried = split_signature(call.id)
    arguments = call_arguments(call.arguments, call.custom, "content", losses)
    part: WirePart = {"functionCall": {"id": base, "name": call.name, "args": arguments}}
    if signature := call.signature or carried:
        part["thoughtSignature"] = signature
    return part


def write_answer_part(part: Part, losses: Losses) -> list[WirePart]:
    """Any part of an answer but text and opaque ones."""
    match part:
        case Thinking():
            found = write_thought(part)
            return [found] if found is not None else []
        case ToolCall():
            return [write_call(part, losses)]
        case Audio(data=str(), transcript=str(spoken)) if spoken:
            return [*write_part(part, "content", losses, DIALECT), {"text": spoken}]
        case Image() | Document() | Audio() | Refusal():
            return write_part(part, "content", losses, DIALECT)
    losses.append(f"content.{type(part).__name__.lower()}")
    return []


def write_opaque(part: Opaque, metadata: dict[str, Any], losses: Losses) -> WirePart | None:
    """The part, or None where it went into the candidate's `metadata` or belongs to another dialect."""
    if part.dialect != DIALECT or not isinstance(part.value, dict):
        losses.append(f"content.{opaque_name(part.value)}")
        return None
    if len(part.value) == 1 and next(iter(part.value)) in METADATA:
        metadata.update(part.value)
        return None
    return part.value


def join_metadata(candidate: dict[str, Any], sources: Sources, metadata: dict[str, Any]) -> None:
    """Puts the sources and what else was said of them into a candidate."""
    for name, value in sources.write().items():
        more = metadata.get(name)
        candidate[name] = {**value, **more} if isinstance(more, dict) else value
    for name, value in metadata.items():
        candidate.setdefault(name, value)
