"""Writes the turns of a canonical conversation as input items.

A part that is an item of its own (thoughts, a call, its output, a server tool's item) stands where it stood; the parts
between them become messages. For a conversation of another dialect the calls are paired as OpenAI insists on: a call
without output gets one that says so, an output without its call becomes text; both are reported.

A reasoning item with an id must be followed by the very item that followed it, with that one's id (recorded: "was
provided without its required following item"). Other dialects keep no ids, and without any nothing is missed; the SDK's
types demand them, the API does not (https://github.com/vercel/ai/pull/12869).
"""

from typing import Any

from freehold.dialects.chat.compose_messages import report
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
from freehold.dialects.responses.annotations import DIALECT, marked, write_annotation
from freehold.dialects.responses.content import write_cache
from freehold.dialects.responses.ids import provider_call_id
from freehold.dialects.responses.names import Names
from freehold.dialects.responses.reasoning import summary
from freehold.dialects.thinking import OPENAI_TAG
from freehold.dialects.traits import Traits
from freehold.dialects.turns import NO_RESULT
from freehold.dialects.words import opaque_name, word

Wire = dict[str, Any]

_SUMMARY_ID = "rs_"
"""How the ids of reasoning items begin whose text is a summary; other hosts' items hold the thoughts themselves."""


def write_items(conversation: Conversation, losses: Losses, traits: Traits, names: Names) -> list[Any]:
    """The `input` array. `names` undoes what the reader did to custom tools and namespaces."""
    return _Items(conversation, losses, traits, names).write()


class _Items:
    """One walk over the turns; `open` are the ids of calls that still want their output."""

    def __init__(self, conversation: Conversation, losses: Losses, traits: Traits, names: Names) -> None:
        self.turns = conversation.turns
        self.dialect = conversation.dialect
        self.own = conversation.dialect == DIALECT
        self.losses = losses
        self.traits = traits
        self.names = names
        self.items: list[Any] = []
        self.open: list[str] = []
        self.custom: set[str] = set()
        self.role = ""
        self.content: list[Wire] = []
        self.message_id: str | None = None
        self.late: list[Part] = []
        """What a tool's output cannot hold, said by the user once all outputs are there."""

    def write(self) -> list[Any]:
        for index, turn in enumerate(self.turns):
            path = f"{'input' if self.own else 'messages'}.{index}"
            self._turn(turn, path)
        if not self.own:
            self._close_calls(f"messages.{max(len(self.turns) - 1, 0)}")
        return self.items

    def system(self, parts: list[Part]) -> list[Any]:
        """Instructions that are more than text, as a message."""
        self.role = self.traits.system_role
        for part in parts:
            self._part(part, "system")
        self._flush()
        return self.items

    def _turn(self, turn: Turn, path: str) -> None:
        self.role = self.traits.system_role if turn.role == "system" else turn.role
        if turn.name is not None:
            report(self.losses, f"{path}.name")
        parts = turn.parts
        if turn.role == "user" and not self.own:  # results first: they answer the turn before
            results = [part for part in parts if isinstance(part, ToolResult)]
            for result in results:
                self._part(result, path)
            self._close_calls(path)
            parts = self.late + [part for part in parts if not isinstance(part, ToolResult)]
            self.late = []
        elif not self.own:
            self._close_calls(path)
        for part in parts:
            self._part(part, path)
        self._flush()

    def _flush(self) -> None:
        """Ends the open message."""
        content, identity = self.content, self.message_id
        self.content, self.message_id = [], None
        if not content:
            return
        if self.role != "assistant":
            plain = len(content) == 1 and content[0].keys() == {"type", "text"}
            self.items.append({"role": self.role, "content": content[0]["text"] if plain else content})
        elif identity is not None:
            item = {
                "type": "message",
                "id": identity,
                "role": "assistant",
                "status": "completed",
                "content": content,
            }
            self.items.append(item)
        elif len(content) == 1 and content[0]["type"] == "output_text" and not content[0]["annotations"]:
            self.items.append({"role": "assistant", "content": content[0]["text"]})
        else:
            self.items.append({"type": "message", "role": "assistant", "content": content})

    def _item(self, item: Any) -> None:
        self._flush()
        self.items.append(item)

    def _part(self, part: Part, path: str) -> None:
        match part:
            case Text() | Refusal() if self.role == "assistant":
                self._say(part, path)
            case Text():
                self.content.append(self._text(part))
            case Refusal():
                self.content.append({"type": "input_text", "text": part.text})
            case Thinking():
                self._thinking(part, path)
            case ToolCall():
                self._call(part)
            case ToolResult():
                self._result(part, path)
            case Opaque():
                self._opaque(part, path)
            case Image() | Document() | Audio() if self.role == "assistant":
                report(self.losses, f"{path}.{type(part).__name__.lower()}")
                if isinstance(part, Audio) and part.transcript:
                    self._say(Text(part.transcript), path)
            case _:
                self.content += self._media(part, path)

    # Messages

    def _say(self, part: Text | Refusal, path: str) -> None:
        identity = part.item_id if self.own else None
        if self.content and identity != self.message_id:
            self._flush()
        self.message_id = identity
        if isinstance(part, Refusal):
            self.content.append({"type": "refusal", "refusal": part.text})
            return
        annotations = []
        for citation in part.citations or []:
            if (annotation := write_annotation(citation, len(part.text))) is not None:
                annotations.append(annotation)
            else:
                report(self.losses, f"{path}.citations")
        if part.text or annotations or self.own:
            self.content.append({"type": "output_text", "text": part.text, "annotations": annotations})
        if part.cache is not None:
            report(self.losses, "cache_control")

    def _text(self, part: Text) -> Wire:
        return self._cached({"type": "input_text", "text": part.text}, part)

    def _cached(self, written: Wire, part: Text | Image | Document) -> Wire:
        if part.cache is not None and self.own:
            write_cache(written, part.cache)
        elif part.cache is not None:
            report(self.losses, "cache_control")
        return written

    def _media(self, part: Part, path: str) -> list[Wire]:
        """The content parts of what a user or a tool may show; none, with a report, where there is no form."""
        match part:
            case Text():
                return [self._text(part)]
            case Image():
                return self._image(part, path)
            case Document():
                return self._document(part, path)
            case Refusal():
                return [{"type": "input_text", "text": part.text}]
            case Audio():
                if self.own and part.data is not None:
                    return [{"type": "input_audio", "input_audio": {"data": part.data, "format": part.format}}]
                report(self.losses, f"{path}.audio")
                return [{"type": "input_text", "text": part.transcript}] if part.transcript else []
        report(self.losses, f"{path}.{type(part).__name__.lower()}")
        return []

    def _image(self, part: Image, path: str) -> list[Wire]:
        image: Wire = {"type": "input_image"}
        if part.data is not None:
            image["image_url"] = f"data:{part.media_type or sniff(part.data) or 'image/png'};base64,{part.data}"
        elif part.url is not None:
            image["image_url"] = part.url
        elif part.file_id is not None and self.own:
            image["file_id"] = part.file_id
        else:  # a foreign file id means nothing here
            report(self.losses, f"{path}.image")
            return []
        if part.detail is not None or not self.own:
            image["detail"] = part.detail or "auto"
        return [self._cached(image, part)]

    def _document(self, part: Document, path: str) -> list[Wire]:
        if part.context is not None or part.citations:
            report(self.losses, f"{path}.document.{'citations' if part.citations else 'context'}")
        if part.text is not None:
            text = f"{part.title}\n\n{part.text}" if part.title else part.text
            return [self._cached({"type": "input_text", "text": text}, part)]
        file: Wire = {"type": "input_file"}
        if part.title is not None:
            file["filename"] = part.title
        if part.data is not None:
            media_type = part.media_type or (None if self.own else sniff(part.data) or "application/pdf")
            if not self.own:
                file.setdefault("filename", "document." + (media_type or "pdf").rpartition("/")[2])
            file["file_data"] = f"data:{media_type};base64,{part.data}" if media_type else part.data
        elif part.url is not None:
            file["file_url"] = part.url
            if not self.own:  # named by the URL itself: a name beside it is refused
                file.pop("filename", None)
        elif part.file_id is not None and self.own:
            file["file_id"] = part.file_id
        else:
            report(self.losses, f"{path}.document")
            return []
        return [self._cached(file, part)]

    # Items

    def _thinking(self, part: Thinking, path: str) -> None:
        signature = part.signature
        item: Wire = {"type": "reasoning", "summary": []}
        if part.id is not None:
            item["id"] = part.id
        if signature is not None and signature.startswith(OPENAI_TAG) and part.redacted is None:
            item |= {"summary": summary(part.text), "encrypted_content": signature[len(OPENAI_TAG) :]}
        elif signature is not None or part.redacted is not None or not (self.own or self._replays):
            report(self.losses, f"{path}.{word(self.dialect, 'thinking')}")
            return
        elif (part.id or "").startswith(_SUMMARY_ID) and self.own:
            item["summary"] = summary(part.text)
        else:
            item["content"] = [{"type": "reasoning_text", "text": part.text}]
        self._item(item)

    @property
    def _replays(self) -> bool:
        return self.traits.replay_reasoning != "drop"

    def _call(self, call: ToolCall) -> None:
        identity = provider_call_id(call.id) or f"call_{len(self.items)}"
        self.open.append(identity)
        if call.cache is not None:
            report(self.losses, "cache_control")
        namespace, name = self.names.members.get(call.name, (None, call.name))
        item: Wire
        if call.custom:
            self.custom.add(identity)
            item = {"type": "custom_tool_call", "call_id": identity, "name": name, "input": call.arguments}
        else:
            item = {"type": "function_call", "call_id": identity, "name": name, "arguments": call.arguments}
        if namespace is not None:
            item["namespace"] = namespace
        if call.item_id is not None and self.own:
            item["id"] = call.item_id
        self._item(item)

    def _result(self, result: ToolResult, path: str) -> None:
        identity = provider_call_id(result.id) or (self.open[0] if self.open else "")
        if identity not in self.open and not self.own:
            report(self.losses, f"{path}.tool_result")
            self.late += [Text(f"Result of the tool call {result.id}:"), *result.parts]
            return
        if identity in self.open:
            self.open.remove(identity)
        if result.cache is not None:
            report(self.losses, "cache_control")
        parts = self._shown(result, path)
        if result.is_error:
            said = parts.pop(0)["text"] if parts and parts[0]["type"] == "input_text" else ""
            parts.insert(0, {"type": "input_text", "text": f"Error: {said}".rstrip()})
        plain = len(parts) == 1 and parts[0].keys() == {"type", "text"}
        output: Any = parts[0]["text"] if plain else parts or ""
        kind = "custom_tool_call_output" if identity in self.custom else "function_call_output"
        self._item({"type": kind, "call_id": identity, "output": output})

    def _shown(self, result: ToolResult, path: str) -> list[Wire]:
        """The content parts of a tool's output."""
        parts: list[Wire] = []
        for part in result.parts:
            mark: str
            value: Any
            mark, value = marked(part.value) if isinstance(part, Opaque) and part.dialect == DIALECT else ("", None)
            if mark == "$part":
                if parts:
                    parts[-1] = {**parts[-1], **value}
            elif mark == "$content":
                parts.append(value)
            elif isinstance(part, Opaque):
                report(self.losses, f"{path}.{opaque_name(part.value)}")
            else:
                parts += self._media(part, path)
        return parts

    def _opaque(self, part: Opaque, path: str) -> None:
        if part.dialect != DIALECT:
            report(self.losses, f"{path}.{opaque_name(part.value)}")
            return
        mark, value = marked(part.value)
        if mark == "$item":
            self._flush()
            if self.items and isinstance(self.items[-1], dict):
                self.items[-1] = {**self.items[-1], **value}
        elif mark == "$part":
            if self.content:
                self.content[-1] = {**self.content[-1], **value}
        elif mark == "$content":
            self.content.append(value)
        else:
            self._item(value)

    def _close_calls(self, path: str) -> None:
        """Before anything but an output may follow, every call gets one."""
        for identity in self.open:
            report(self.losses, f"{path}.tool_calls")
            kind = "custom_tool_call_output" if identity in self.custom else "function_call_output"
            self._item({"type": kind, "call_id": identity, "output": NO_RESULT})
        self.open.clear()


def write_system(conversation: Conversation, losses: Losses, traits: Traits) -> str | list[Any] | None:
    """The system prompt: text for `instructions`, or items where it is more than text; None where there is none."""
    parts = conversation.system
    if not parts:
        return None
    texts = [part for part in parts if isinstance(part, Text)]
    if len(texts) == len(parts):
        if any(text.cache is not None for text in texts):
            report(losses, "cache_control")
        return "\n\n".join(text.text for text in texts)
    return _Items(conversation, losses, traits, Names()).system(parts)
