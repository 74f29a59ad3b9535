"""Writes the turns of a canonical conversation as OpenAI chat messages.

A turn is a message, with three exceptions the dialect forces:

- tool results leave their turn: one `tool` message each, right after the calls they answer;
- `tool` messages hold text. Images and files of a foreign dialect's tool result follow in a user message, an error
  result says so in its text;
- hosts refuse a call without a result and a result without a call. A missing result is written as saying so, a stray
  one becomes user text; both are reported.

Thoughts go back in the field that `traits.replay_reasoning` names: as text, or, to OpenRouter, as the entries in which
their signatures survive. Where a call without its thoughts is refused and they are gone, a space stands for them:
DeepSeek's V4 refuses an empty string too (https://github.com/NousResearch/hermes-agent/pull/17341).

Parts the dialect has no form for are reported as `messages.INDEX.KIND`, INDEX counting the turns; what concerns many
messages alike (`cache_control`, `thinking`) is reported once, by name.
"""

import hashlib
from typing import Any

import msgspec

from freehold.dialects.chat.citations import write_annotation
from freehold.dialects.chat.content import DIALECT, merge_fields
from freehold.dialects.chat.made import image_url, write_image
from freehold.dialects.chat.thoughts import is_signed, write_details
from freehold.dialects.conversation import (
    Audio,
    Conversation,
    Document,
    Image,
    Losses,
    Opaque,
    Part,
    Refusal,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
    Turn,
)
from freehold.dialects.media import sniff
from freehold.dialects.tool_calls import split_signature
from freehold.dialects.traits import Traits
from freehold.dialects.turns import NO_RESULT

_ID_MAX = 40
"""OpenAI's limit on tool call ids, in characters."""

_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def write_messages(conversation: Conversation, losses: Losses, traits: Traits) -> list[dict[str, Any]]:
    """The `messages` array, system first."""
    return _Messages(conversation, losses, traits).write()


def report(losses: Losses, name: str) -> None:
    """Adds `name` once."""
    if name not in losses:
        losses.append(name)


def write_tool_id(identity: str, traits: Traits) -> str:
    """The id as the host accepts it: the same for the same id, so that call and result still fit, and caches hit.

    A Gemini signature that an id carries is for Gemini alone.
    """
    identity = split_signature(identity)[0]
    if traits.tool_id == "alnum9":
        if len(identity) == 9 and identity.isascii() and identity.isalnum():
            return identity
        number = int.from_bytes(hashlib.blake2b(identity.encode(), digest_size=16).digest())
        digits = []
        for _ in range(9):
            number, digit = divmod(number, 62)
            digits.append(_ALPHABET[digit])
        return "".join(digits)
    if len(identity) > _ID_MAX:
        return "call_" + hashlib.blake2b(identity.encode(), digest_size=16).hexdigest()
    return identity


class _Messages:
    """One walk over the turns; `open` are the ids of calls that still want their result."""

    def __init__(self, conversation: Conversation, losses: Losses, traits: Traits) -> None:
        self.conversation = conversation
        self.losses = losses
        self.traits = traits
        self.own = conversation.dialect == DIALECT
        self.messages: list[dict[str, Any]] = []
        self.open: list[str] = []
        self.nameless = 0

    def write(self) -> list[dict[str, Any]]:
        if self.conversation.system:
            self._plain(self.traits.system_role, self.conversation.system, "system", None)
        for index, turn in enumerate(self.conversation.turns):
            path = f"messages.{index}"
            if turn.role == "assistant":
                self._assistant(turn, path)
            elif turn.role == "system":
                self._plain(self.traits.system_role, turn.parts, path, turn.name)
            else:
                self._user(turn, path)
        return self.messages

    def _plain(self, role: str, parts: list[Part], path: str, name: str | None) -> None:
        self._close_calls(path)
        message: dict[str, Any] = {"role": role}
        if name is not None:
            message["name"] = name
        message["content"] = self._content(parts, path, message, joined=role != "user")
        self.messages.append(message)

    def _user(self, turn: Turn, path: str) -> None:
        rest: list[Part] = []
        answered = False
        for part in turn.parts:
            if isinstance(part, ToolResult):
                answered = True
                self._tool_result(part, path, rest)
            elif isinstance(part, Opaque) and part.dialect == DIALECT and "$message" in part.value:
                self._close_calls(path)
                self.messages.append(part.value["$message"])
                answered = True
            elif answered and not rest and _is_fields(part):
                self.messages[-1].update(part.value["$fields"])  # type: ignore[union-attr]
            else:
                rest.append(part)
        if rest or not answered:
            self._plain("user", rest, path, turn.name)

    def _tool_result(self, result: ToolResult, path: str, rest: list[Part]) -> None:
        identity = write_tool_id(result.id or (self.open[0] if self.open else ""), self.traits)
        if identity not in self.open:
            report(self.losses, f"{path}.tool_result")
            rest.append(Text(f"Result of the tool call {result.id}:"))
            rest.extend(result.parts)
            return
        self.open.remove(identity)
        message: dict[str, Any] = {"role": "tool", "tool_call_id": identity}
        if result.name is not None and self.own:
            message["name"] = result.name
        inside = result.parts
        if not self.own:
            inside = [part for part in result.parts if not isinstance(part, Image | Audio | Document)]
            if media := [part for part in result.parts if isinstance(part, Image | Audio | Document)]:
                rest += [Text(f"Returned by the tool call {identity}:"), *media]
        content = self._content(inside, path, message, joined=True)
        if result.is_error:
            content = (
                f"Error: {content}" if isinstance(content, str) else [{"type": "text", "text": "Error:"}, *content]
            )
        if result.cache is not None:
            content = self._cached_content(content, result.cache)
        message["content"] = content
        self.messages.append(message)

    def _cached_content(self, content: Any, ttl: str) -> Any:
        if not self.own:
            report(self.losses, "cache_control")
            return content
        parts: list[dict[str, Any]] = [{"type": "text", "text": content}] if isinstance(content, str) else content
        if parts:
            parts[-1]["cache_control"] = {"type": "ephemeral", "ttl": ttl}
        return parts

    def _assistant(self, turn: Turn, path: str) -> None:
        self._close_calls(path)
        message: dict[str, Any] = {"role": "assistant"}
        if turn.name is not None:
            message["name"] = turn.name
        content: list[Part] = []
        calls: list[dict[str, Any]] = []
        thoughts: list[Thinking] = []
        for part in turn.parts:
            if isinstance(part, ToolCall):
                calls.append(self._call(part))
            elif isinstance(part, Thinking):
                thoughts.append(part)
            elif isinstance(part, Image) and self.own:
                if (image := write_image(part, len(message.get("images", ())))) is not None:
                    message.setdefault("images", []).append(image)
            elif isinstance(part, Refusal):
                message["refusal"] = message.get("refusal", "") + part.text
            elif isinstance(part, Audio):
                if part.id is not None:
                    message["audio"] = {"id": part.id}
                else:
                    report(self.losses, f"{path}.audio")
            elif isinstance(part, Opaque) and part.dialect == DIALECT and "$tool_call" in part.value:
                calls.append(part.value["$tool_call"])
                self.open.append(str(part.value["$tool_call"].get("id", "")))
            else:
                content.append(part)
        if self.own:
            self._annotations(content, message)
        written = self._content(content, path, message, joined=not self.own)
        message["content"] = written if written or any(isinstance(part, Text) for part in content) else None
        self._thoughts(thoughts, message, bool(calls))
        if calls:
            message["tool_calls"] = calls
        self.messages.append(message)

    def _annotations(self, content: list[Part], message: dict[str, Any]) -> None:
        offset = 0
        for part in content:
            if isinstance(part, Text):
                for citation in part.citations or ():
                    if (annotation := write_annotation(citation, offset, len(part.text))) is not None:
                        message.setdefault("annotations", []).append(annotation)
                offset += len(part.text)

    def _thoughts(self, thoughts: list[Thinking], message: dict[str, Any], calls: bool) -> None:
        field = self.traits.replay_reasoning
        if field == "drop":
            if thoughts:
                report(self.losses, "thinking")
            return
        if field == "reasoning_details":
            if any(is_signed(thought) for thought in thoughts):
                message[field] = write_details(thoughts)
                return
            field = "reasoning"
        if any(thought.redacted is not None for thought in thoughts):
            report(self.losses, "thinking")
        if any(thought.signature is not None for thought in thoughts):
            report(self.losses, "thinking.signature")
        if text := "".join(thought.text for thought in thoughts):
            message[field] = text
        elif calls and self.traits.demands_reasoning:
            message[field] = " "

    def _call(self, call: ToolCall) -> dict[str, Any]:
        identity = call.id
        if not identity:
            self.nameless += 1
            identity = f"call_{self.nameless}"
        identity = write_tool_id(identity, self.traits)
        self.open.append(identity)
        if call.custom and self.own:
            return {"id": identity, "type": "custom", "custom": {"name": call.name, "input": call.arguments}}
        arguments = call.arguments
        if call.custom:  # its tool came as a function with this one argument, see Tool.origin
            arguments = msgspec.json.encode({"input": arguments}).decode()
        written: dict[str, Any] = {
            "id": identity,
            "type": "function",
            "function": {"name": call.name, "arguments": arguments},
        }
        if call.signature is not None and self.own:
            written["extra_content"] = {"google": {"thought_signature": call.signature}}
        self._cache(written, call.cache)
        return written

    def _close_calls(self, path: str) -> None:
        """Before anything but a result may follow, every call gets one."""
        for identity in self.open:
            report(self.losses, f"{path}.tool_calls")
            self.messages.append({"role": "tool", "tool_call_id": identity, "content": NO_RESULT})
        self.open.clear()

    def _content(self, parts: list[Part], path: str, message: dict[str, Any], joined: bool) -> Any:
        """A string where the parts are one text (or, `joined`, several), else an array of parts."""
        written: list[dict[str, Any]] = []
        for part in parts:
            if isinstance(part, Opaque):
                self._opaque(part, written, message, path)
            elif (one := self._part(part, path)) is not None:
                written.append(one)
        plain = all(part.keys() == {"type", "text"} for part in written)
        if plain and (joined or len(written) <= 1):
            separator = "" if message["role"] == "assistant" else "\n\n"
            return separator.join(part["text"] for part in written)
        return written

    def _opaque(self, part: Opaque, written: list[dict[str, Any]], message: dict[str, Any], path: str) -> None:
        value = part.value
        if part.dialect != DIALECT or not isinstance(value, dict):
            kind = value.get("type") if isinstance(value, dict) else None
            report(self.losses, f"{path}.{kind or part.dialect}")
        elif "$part" in value:
            if written:
                written[-1].update(value["$part"])
        elif "$fields" in value:
            merge_fields(message, value["$fields"])
        else:
            written.append(value)

    def _part(self, part: Part, path: str) -> dict[str, Any] | None:
        if isinstance(part, Text):
            if part.citations and not self.own:
                report(self.losses, f"{path}.citations")
            return self._cache({"type": "text", "text": part.text}, part.cache)
        if isinstance(part, Image):
            return self._image(part, path)
        if isinstance(part, Document):
            return self._document(part, path)
        if isinstance(part, Audio) and part.data is not None:
            return {"type": "input_audio", "input_audio": {"data": part.data, "format": part.format or "wav"}}
        if isinstance(part, Refusal):
            return {"type": "refusal", "refusal": part.text}
        report(self.losses, f"{path}.{type(part).__name__.lower()}")
        return None

    def _image(self, part: Image, path: str) -> dict[str, Any] | None:
        if (url := image_url(part)) is None:
            report(self.losses, f"{path}.image")
            return None
        image: dict[str, Any] = {"url": url}
        if part.detail is not None:
            image["detail"] = part.detail
        return self._cache({"type": "image_url", "image_url": image}, part.cache)

    def _document(self, part: Document, path: str) -> dict[str, Any] | None:
        if part.context is not None or part.citations:
            report(self.losses, f"{path}.document.{'citations' if part.citations else 'context'}")
        if part.text is not None:
            text = f"{part.title}\n\n{part.text}" if part.title else part.text
            return self._cache({"type": "text", "text": text}, part.cache)
        file: dict[str, str] = {}
        if part.title is not None:
            file["filename"] = part.title
        if part.data is not None:
            media_type = part.media_type or sniff(part.data)
            if not self.own:
                file.setdefault("filename", "document." + (media_type or "pdf").rpartition("/")[2])
            bare = self.own and part.media_type is None
            file["file_data"] = part.data if bare or not media_type else f"data:{media_type};base64,{part.data}"
        elif self.own and (part.file_id or part.url):
            file.update({"file_id": part.file_id} if part.file_id else {"file_data": part.url or ""})
        else:  # a foreign file id means nothing here, and files are not fetched by URL
            report(self.losses, f"{path}.document")
            return None
        return self._cache({"type": "file", "file": file}, part.cache)

    def _cache(self, written: dict[str, Any], ttl: str | None) -> dict[str, Any]:
        if ttl is not None:
            if self.own:
                written["cache_control"] = {"type": "ephemeral", "ttl": ttl}
            else:
                report(self.losses, "cache_control")
        return written


def _is_fields(part: Part) -> bool:
    return (
        isinstance(part, Opaque)
        and part.dialect == DIALECT
        and isinstance(part.value, dict)
        and "$fields" in part.value
    )
