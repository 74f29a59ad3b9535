"""Whole answers of Mistral's chat completions, read and written through the chat dialect.

Content is a string, or a list of chunks where a model thinks or cites. The chat reader takes both; the chunks it does
not know become this dialect's, and thoughts get their signatures. Written is a list only where there is a thought or a
chunk to show, in the order they came.
"""

from typing import Any

import msgspec

from freehold.dialects import chat
from freehold.dialects.chat.content import DIALECT as CHAT
from freehold.dialects.chat.reply import decode_completion
from freehold.dialects.conversation import Choice, Losses, Opaque, Part, Reply, Text, Thinking
from freehold.dialects.mistral.content import DIALECT, MISTRAL_TAG, is_chunk, read_thinking, relabel, write_thinking

_DECODER = msgspec.json.Decoder(dict[str, Any])


def read_reply(body: bytes) -> Reply:
    """Raises UpstreamBroken for what is no chat completion, and the error that an error object in it stands for."""
    reply = chat.read_reply(body)
    signed = b'"signature"' in body
    raws = decode_completion(body)["choices"] if signed else []
    for index, choice in enumerate(reply.choices):
        choice.parts = [relabel(part) for part in choice.parts]
        if signed:
            _sign(choice, raws[index].get("message"))
    return reply


def _sign(choice: Choice, message: Any) -> None:
    """The chat reader makes one thought of each thinking chunk, in order."""
    content = message.get("content") if isinstance(message, dict) else None
    chunks = [
        chunk
        for chunk in (content if isinstance(content, list) else [])
        if isinstance(chunk, dict) and chunk.get("type") == "thinking"
    ]
    thoughts = [part for part in choice.parts if isinstance(part, Thinking)]
    if len(thoughts) == len(chunks):
        for thought, chunk in zip(thoughts, chunks, strict=True):
            thought.signature = read_thinking(chunk).signature


def write_reply(reply: Reply, losses: Losses, created: int = 0) -> bytes:
    """The answer for a Mistral client. `created` (Unix seconds) counts where the reply has no time of its own."""
    plain = Reply(reply.id, reply.model, [], reply.usage, reply.created)
    contents: list[list[dict[str, Any]] | None] = []
    for choice in reply.choices:
        chunks, rest = _split(choice.parts, losses)
        contents.append(chunks)
        plain.choices.append(Choice(rest, choice.finish, choice.stop_sequence, False, choice.logprobs, choice.index))
    fields = _DECODER.decode(chat.write_reply(plain, losses, created))
    for wire, chunks in zip(fields["choices"], contents, strict=True):
        message = wire["message"]
        refusal = message.pop("refusal", None)
        if chunks is not None:
            message["content"] = chunks
        if refusal:
            message["content"] = _with_text(message["content"], refusal)
        message.setdefault("tool_calls", None)
    fields.setdefault("usage", {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0})
    return msgspec.json.encode(fields)


def _split(parts: list[Part], losses: Losses) -> tuple[list[dict[str, Any]] | None, list[Part]]:
    """The chunks of a list content, None where a string does; and the parts the chat writer is to write."""
    chunks: list[dict[str, Any]] = []
    rest: list[Part] = []
    listed = False
    for part in parts:
        if isinstance(part, Thinking):
            if part.redacted is not None or (part.signature is not None and not part.signature.startswith(MISTRAL_TAG)):
                losses.append("thinking.redacted" if part.redacted is not None else "thinking.signature")
            if part.text:
                listed = True
                chunks.append(write_thinking(part.text, part.signature))
        elif isinstance(part, Text):
            if part.text:
                chunks.append({"type": "text", "text": part.text})
            rest.append(Text(part.text))
            if part.citations:
                losses.append("citations")
        elif isinstance(part, Opaque) and part.dialect == DIALECT and isinstance(part.value, dict):
            if is_chunk(part.value):
                listed = True
                chunks.append(part.value)
            else:
                rest.append(Opaque(CHAT, part.value))
        else:
            rest.append(part)
    return (chunks if listed else None), rest


def _with_text(content: Any, text: str) -> Any:
    if isinstance(content, list):
        return [*content, {"type": "text", "text": text}]
    return (content or "") + text
