"""Writes the canonical conversation as a Mistral chat request, through the chat dialect's writer.

The conversation is rewritten into one that is the chat dialect's own and holds nothing Mistral would refuse; then the
chat writer writes it. What changes:

- parts become Mistral's chunks (content.py), each an `Opaque` where it stood; thoughts too, for a model whose traits
  ask for them (`replay_reasoning`), or that come from this dialect. A refusal is text; breakpoints and citations go;
- no user may speak right after a tool ("Unexpected role 'user' after role 'tool'", code 3230): an assistant's "OK" is
  put between, as the recorded requests of pydantic-ai have it;
- an answer the client has begun is marked with `prefix`;
- `seed` is `random_seed`, a forced call is `any`, a choice among some tools is fewer tools;
- settings without a word here are taken out and reported. Fields of other dialects go, Mistral's own come back, and a
  chat client may send them too.
"""

from typing import Any

import msgspec
from msgspec.structs import replace

from freehold.dialects import chat
from freehold.dialects.chat.content import DIALECT as CHAT
from freehold.dialects.conversation import (
    Audio,
    Conversation,
    Document,
    Image,
    Losses,
    Opaque,
    Part,
    Reasoning,
    Refusal,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
    Turn,
)
from freehold.dialects.mistral.content import DIALECT, MISTRAL_TAG, is_chunk, write_document, write_thinking
from freehold.dialects.thinking import effort_of
from freehold.dialects.traits import PLAIN, Traits
from freehold.dialects.words import opaque_name, word
from freehold.errors import BadRequest

FIELDS = frozenset(
    {
        "guardrails",
        "min_tokens",
        "prediction",
        "prompt_logprobs",
        "prompt_mode",
        "random_seed",
        "repetition_penalty",
        "safe_prompt",
        "top_prompt_logprobs",
    }
)
"""Mistral's own optional fields (the SDK's ChatCompletionRequest), which are unknown to the chat dialect."""

_TIERS = {"auto": "auto", "default": "standard_only", "standard_only": "standard_only"}
_BETWEEN = {"role": "assistant", "content": "OK"}
_EMPTY_SCHEMA: dict[str, Any] = {"type": "object", "properties": {}}


def write_request(conversation: Conversation, losses: Losses, traits: Traits = PLAIN) -> bytes:
    """The request body. What it cannot carry is appended to `losses`. Raises BadRequest."""
    lost: Losses = []
    native = _Rewriting(conversation, lost, traits).rewrite()
    body = chat.write_request(native, lost, replace(traits, tool_id="alnum9", stream_usage=False, thinking="effort"))
    names = {"stop": word(conversation.dialect, "stop"), "response_format": word(conversation.dialect, "output")}
    losses += dict.fromkeys(names.get(name, name) for name in lost)
    return body


class _Rewriting:
    """The conversation as one of the chat dialect; the original is left as it is."""

    def __init__(self, conversation: Conversation, losses: Losses, traits: Traits) -> None:
        self.source = conversation
        self.dialect = conversation.dialect
        self.own = conversation.dialect == DIALECT
        self.losses = losses
        self.traits = traits

    def rewrite(self) -> Conversation:
        source = self.source
        native = replace(
            source,
            dialect=CHAT,
            system=self._parts(source.system, "system"),
            turns=self._turns(),
            tools=self._tools(),
            tool_choice=None,
            reasoning=self._reasoning(),
            unknown=self._unknown(),
            include_usage=False,
            seed=None,
            logit_bias=None,
            user=None,
            safety_identifier=None,
            store=None,
            verbosity=None,
            modalities=None,
            voice=None,
            previous=None,
            service_tier=self._tier(),
        )
        self._report()
        if source.seed is not None:
            native.unknown["random_seed"] = source.seed
        self._choose(native)
        return native

    def _lose(self, name: str) -> None:
        self.losses.append(name)

    # Messages

    def _turns(self) -> list[Turn]:
        turns: list[Turn] = []
        last = len(self.source.turns) - 1
        for index, turn in enumerate(self.source.turns):
            where = f"messages.{index}"
            if turn.name is not None:
                self._lose(f"{where}.name")
            parts = self._parts(turn.parts, where)
            if turn.role == "assistant" and any(isinstance(part, Image) for part in parts):
                self._lose(f"{where}.image")
                parts = [part for part in parts if not isinstance(part, Image)]
            if not parts and not self.own:
                continue
            if turn.role == "user":
                parts = _with_answer(parts, follows=index < last and self.source.turns[index + 1].role == "user")
            elif turn.role == "assistant" and index == last and not self.own and _is_open(parts):
                parts.append(Opaque(CHAT, {"$fields": {"prefix": True}}))
            turns.append(Turn(turn.role, parts))
        if not turns and not self.own:
            raise BadRequest("The conversation has no content that can be sent.", param="messages")
        return turns

    def _parts(self, parts: list[Part], where: str) -> list[Part]:
        written: list[Part] = []
        moved: list[Part] = []
        for part in parts:
            if isinstance(part, ToolResult):
                written.append(self._result(part, where, moved))
            elif (one := self._part(part, where)) is not None:
                written.append(one)
        if moved:
            at = max(index for index, part in enumerate(written) if isinstance(part, ToolResult)) + 1
            written[at:at] = moved
        return written

    def _result(self, result: ToolResult, where: str, moved: list[Part]) -> ToolResult:
        """Images and files of another dialect's tool result follow in the user's message."""
        if result.cache is not None:
            self._lose("cache_control")
        inside = result.parts
        if not self.own:
            inside = [part for part in result.parts if not isinstance(part, Image | Audio | Document)]
            media = [part for part in result.parts if isinstance(part, Image | Audio | Document)]
            if media:
                moved.append(Text(f"Returned by the tool {result.name or 'call'}:"))
                moved += [one for part in media if (one := self._part(part, where)) is not None]
        parts = [one for part in inside if (one := self._part(part, where)) is not None]
        return ToolResult(result.id, parts, result.name, result.is_error)

    def _part(self, part: Part, where: str) -> Part | None:
        if getattr(part, "cache", None) is not None:
            self._lose("cache_control")
        match part:
            case Text():
                if part.citations:
                    self._lose(f"{where}.citations")
                return Text(part.text)
            case Image():
                return replace(part, cache=None)
            case Document():
                return write_document(part, self.own, where, self.losses)
            case Audio():
                return self._audio(part, where)
            case Thinking():
                return self._thinking(part, where)
            case Refusal():
                return Text(part.text)
            case ToolCall():
                return self._call(part)
            case Opaque():
                return self._opaque(part, where)
        return part

    def _audio(self, part: Audio, where: str) -> Part | None:
        if part.data is not None:
            return Opaque(CHAT, {"type": "input_audio", "input_audio": part.data})
        self._lose(f"{where}.audio")
        return Text(part.transcript) if part.transcript else None

    def _thinking(self, part: Thinking, where: str) -> Part | None:
        signed = part.signature is not None and not part.signature.startswith(MISTRAL_TAG)
        wanted = self.own or self.traits.replay_reasoning != "drop"
        if not wanted or part.redacted is not None or not part.text:
            self._lose(f"{where}.{word(self.dialect, 'thinking')}")
            return None
        if signed:
            self._lose("thinking.signature")
        return Opaque(CHAT, write_thinking(part.text, part.signature))

    def _call(self, call: ToolCall) -> ToolCall:
        arguments = call.arguments
        if call.custom:  # its tool came as a function with this one argument, see Tool.origin
            arguments = msgspec.json.encode({"input": arguments}).decode()
        return ToolCall(call.id, call.name, arguments)

    def _opaque(self, part: Opaque, where: str) -> Part | None:
        """Mistral's own come back; of a chat client's, chunks that Mistral knows."""
        value = part.value
        if part.dialect == DIALECT:
            return Opaque(CHAT, value)
        if part.dialect == CHAT and isinstance(value, dict):
            if is_chunk(value):
                return Opaque(CHAT, value)
            if (fields := value.get("$fields")) is not None and set(fields) == {"prefix"}:
                return Opaque(CHAT, value)
        self._lose(f"{where}.{opaque_name(value)}")
        return None

    # Beside the messages

    def _tools(self) -> list[Tool]:
        choice = self.source.tool_choice
        written: list[Tool] = []
        for index, tool in enumerate(self.source.tools):
            if tool.opaque is not None:
                if tool.opaque.dialect == DIALECT:
                    written.append(Tool(tool.name, opaque=Opaque(CHAT, tool.opaque.value)))
                else:
                    self._lose(f"tools.{index}.{tool.name}")
            elif choice is None or choice.names is None or tool.name in choice.names:
                if tool.cache is not None:
                    self._lose("cache_control")
                schema = tool.schema if self.own else tool.schema or _EMPTY_SCHEMA
                written.append(Tool(tool.name, tool.description, schema, tool.strict))
        return written

    def _choose(self, native: Conversation) -> None:
        choice = self.source.tool_choice
        if not native.tools and not self.own:
            native.parallel_tools = None
        if choice is None:
            return
        if choice.mode in ("required", "tool") and not (native.tools and self.traits.force_tool):
            self._lose("tool_choice")
        elif choice.mode == "required":
            native.unknown["tool_choice"] = "any"
        elif native.tools or self.own:
            native.tool_choice = ToolChoice(choice.mode, choice.name)

    def _reasoning(self) -> Reasoning | None:
        asked = self.source.reasoning
        if asked is None or self.own:
            return asked
        off = not asked.enabled or asked.effort == "none"
        if self.traits.thinking != "effort":
            if not off:
                self._lose(word(self.dialect, "reasoning"))
            return None
        effort = "none" if off else effort_of(asked)
        return None if effort is None else Reasoning(enabled=not off, effort=effort)

    def _tier(self) -> str | None:
        tier = self.source.service_tier
        if tier is None:
            return None
        if tier not in _TIERS and not self.own:
            self._lose(word(self.dialect, "service_tier"))
            return None
        return tier if self.own else _TIERS[tier]

    def _unknown(self) -> dict[str, Any]:
        kept: dict[str, Any] = {}
        for name, value in self.source.unknown.items():
            if self.own or (self.dialect == CHAT and name in FIELDS):
                kept[name] = value
            else:
                self._lose(name)
        return kept

    def _report(self) -> None:
        """What Mistral has no word for. A setting at its default is no loss."""
        source = self.source
        for name in ("logit_bias", "user", "safety_identifier", "voice", "previous"):
            if getattr(source, name):
                self._lose(word(self.dialect, name))
        if source.store:
            self._lose("store")
        if source.verbosity not in (None, "medium"):
            self._lose(word(self.dialect, "verbosity"))
        if source.modalities is not None and set(source.modalities) - {"text"}:
            self._lose(word(self.dialect, "modalities"))


def _with_answer(parts: list[Part], follows: bool) -> list[Part]:
    """An assistant's message after tool results, where the user speaks next: here, or in the turn that follows."""
    results = [index for index, part in enumerate(parts) if isinstance(part, ToolResult)]
    if not results:
        return parts
    after = results[-1] + 1
    while after < len(parts) and type(part := parts[after]) is Opaque and "$fields" in part.value:
        after += 1
    if after < len(parts) or follows:
        parts.insert(after, Opaque(CHAT, {"$message": dict(_BETWEEN)}))
    return parts


def _is_open(parts: list[Part]) -> bool:
    """Whether an assistant's last message is one to be continued."""
    said = any(isinstance(part, Text) and part.text for part in parts)
    marked = any(type(part) is Opaque and "$fields" in part.value for part in parts)
    return said and not marked and not any(isinstance(part, ToolCall) for part in parts)
