"""Writes the canonical conversation as a Cohere v2 chat request.

Turns are arranged first (`turns.py`): a system turn in mid-conversation is hoisted, every call has its result. What
this dialect has its own place for leaves the messages:

- documents of users go to `documents` beside the messages, where the model can cite them;
- tool results are `tool` messages, with text and document blocks; images that came with them follow as a user's;
- thoughts are `thinking` blocks for a model that thinks (`traits.thinking`); for any other those before a tool call are
  its `tool_plan`, and the rest are lost.

A forced tool is `REQUIRED` with that tool alone, a choice among some is fewer tools. `strict_tools` speaks for all
tools and wants a required parameter of each, so it is set only where all are strict and have one. A schema goes in
`response_format`; beside tools or documents, where the API refuses it, in words.
"""

from typing import Any

import msgspec

from freehold.dialects.chat.compose import schema_in_words
from freehold.dialects.cohere.blocks import (
    add_opaque,
    report,
    shortest,
    text_block,
    write_block,
    write_call,
    write_document,
)
from freehold.dialects.cohere.citations import is_lost, write_citation
from freehold.dialects.cohere.content import DIALECT, is_plan
from freehold.dialects.cohere.options import report_rest, write_options
from freehold.dialects.conversation import (
    Conversation,
    Document,
    Image,
    Losses,
    Opaque,
    Part,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolResult,
)
from freehold.dialects.json_schema import EMPTY_OBJECT
from freehold.dialects.traits import PLAIN, Traits
from freehold.dialects.turns import OPENING, Side, arrange
from freehold.dialects.words import word
from freehold.errors import BadRequest

_ENCODER = msgspec.json.Encoder()


def write_request(conversation: Conversation, losses: Losses, traits: Traits = PLAIN) -> bytes:
    """The request body. What it cannot carry is appended to `losses`.

    Raises BadRequest where nothing is left to say, or where tool schemas are nested too deeply to be written.
    """
    own = conversation.dialect == DIALECT
    written = _Messages(conversation, losses, traits)
    messages = written.write()
    body: dict[str, Any] = {"model": conversation.model, "messages": messages}
    tools = _write_tools(conversation, losses)
    if tools:
        body["tools"] = tools
    _write_strict(conversation, body, losses)
    _write_choice(conversation, body, losses, traits)
    if written.documents:
        body["documents"] = written.documents
    _write_output(conversation, body, losses, traits)
    write_options(conversation, body, losses, traits)
    if conversation.stream:
        body["stream"] = True
    if own:
        _write_unknown(conversation, body)
    report_rest(conversation, losses, bool(tools))
    try:
        return _ENCODER.encode(body)
    except RecursionError:  # what could just be read at a shallow stack may be too deep to write at this one
        raise BadRequest("The JSON is nested too deeply.", code="invalid_json") from None


class _Messages:
    """One walk over the sides of the conversation."""

    def __init__(self, conversation: Conversation, losses: Losses, traits: Traits) -> None:
        self.conversation = conversation
        self.losses = losses
        self.traits = traits
        self.own = conversation.dialect == DIALECT
        self.messages: list[dict[str, Any]] = []
        self.documents: list[Any] = []

    def write(self) -> list[dict[str, Any]]:
        """Raises BadRequest where the conversation holds nothing that can be sent."""
        arranged = arrange(self.conversation.turns, self.losses, hoist=not self.own, opening=False)
        system = [(part, "system") for part in self.conversation.system]
        system += [(part, f"messages.{place}") for place, part in arranged.system]
        self._plain("system", system)
        before = len(self.messages)
        for side in arranged.sides:
            if side.role == "assistant":
                self._assistant(side)
            elif side.role == "user":
                self._user(side)
            else:
                self._plain("system", _placed(side))
        if len(self.messages) == before:
            if not self.documents:
                raise BadRequest("The conversation has no content that can be sent.", param="messages")
            self.messages.append({"role": "user", "content": OPENING})
        if self.messages[-1]["role"] == "assistant" and not self.traits.prefill:
            self.messages.append({"role": "user", "content": OPENING})
            self.losses.append(f"messages.{len(self.conversation.turns) - 1}.prefill")
        return self.messages

    def _plain(self, role: str, parts: list[tuple[Part, str]]) -> None:
        message: dict[str, Any] = {"role": role}
        blocks: list[dict[str, Any]] = []
        for part, where in parts:
            if isinstance(part, Document) and role == "user":
                if (document := write_document(part, where, self.losses)) is not None:
                    self.documents.append(document)
            elif isinstance(part, Image) and role == "system":
                report(self.losses, f"{where}.image")
            elif not add_opaque(part, blocks, message) and (block := write_block(part, where, self.losses)) is not None:
                blocks.append(block)
                if isinstance(part, Text) and part.citations:
                    report(self.losses, f"{where}.citations")
        if blocks:
            self.messages.append({**message, "content": shortest(blocks)})

    def _user(self, side: Side) -> None:
        rest: list[tuple[Part, str]] = []
        for part, where in _placed(side):
            if isinstance(part, ToolResult):
                self._result(part, where, rest)
            else:
                rest.append((part, where))
        self._plain("user", rest)

    def _result(self, result: ToolResult, where: str, rest: list[tuple[Part, str]]) -> None:
        message: dict[str, Any] = {"role": "tool", "tool_call_id": result.id}
        blocks: list[dict[str, Any]] = []
        media: list[tuple[Part, str]] = []
        for part in result.parts:
            if isinstance(part, Document):
                if (document := write_document(part, where, self.losses)) is not None:
                    blocks.append({"type": "document", "document": _as_object(document)})
            elif isinstance(part, Image) and not self.own:
                media.append((part, where))
            elif not add_opaque(part, blocks, message) and (block := write_block(part, where, self.losses)) is not None:
                blocks.append(block)
        if media:
            rest += [(Text(f"Returned by the tool call {result.id}:"), where), *media]
        if result.is_error:
            blocks = [text_block("Error:"), *blocks]
            if len(blocks) == 2 and blocks[1]["type"] == "text":
                blocks = [text_block(f"Error: {blocks[1]['text']}")]
        content = shortest(blocks)
        self.messages.append({**message, "content": content if content else ""})

    def _assistant(self, side: Side) -> None:
        message: dict[str, Any] = {"role": "assistant"}
        blocks: list[dict[str, Any]] = []
        calls: list[dict[str, Any]] = []
        citations: list[Any] = []
        plan: list[str] = []
        called = any(isinstance(part, ToolCall) for part in side.parts)
        for part, where in _placed(side):
            if isinstance(part, ToolCall):
                calls.append(write_call(part, where, self.losses, self.own))
            elif isinstance(part, Thinking):
                self._thinking(part, where, blocks, plan if called else None)
            elif isinstance(part, Image | Document):
                report(self.losses, f"{where}.{type(part).__name__.lower()}")
            elif isinstance(part, Opaque) and part.dialect == DIALECT and "$tool_call" in part.value:
                calls.append(part.value["$tool_call"])
            elif isinstance(part, Opaque) and part.dialect == DIALECT and "$citations" in part.value:
                citations += part.value["$citations"]
            elif not add_opaque(part, blocks, message) and (block := write_block(part, where, self.losses)) is not None:
                self._cite(part, where, len(blocks), citations)
                blocks.append(block)
        if blocks:
            message["content"] = shortest(blocks)
        if plan:
            message["tool_plan"] = "".join(plan)
        if calls:
            message["tool_calls"] = calls
        if citations:
            message["citations"] = citations
        if len(message) > 1:
            self.messages.append(message)

    def _thinking(self, part: Thinking, where: str, blocks: list[dict[str, Any]], plan: list[str] | None) -> None:
        """`plan` gathers what is thought before tool calls; None where none follow."""
        if part.signature is not None:
            report(self.losses, f"{where}.thinking.signature")
        if part.redacted is not None or not part.text:
            if part.redacted is not None:
                report(self.losses, f"{where}.{word(self.conversation.dialect, 'thinking')}")
        elif plan is not None and is_plan(part):
            plan.append(part.text)
        elif self.own or self.traits.thinking != "none":
            blocks.append({"type": "thinking", "thinking": part.text})
        elif plan is not None:
            plan.append(part.text)
        else:
            report(self.losses, f"{where}.{word(self.conversation.dialect, 'thinking')}")

    def _cite(self, part: Part, where: str, index: int, citations: list[Any]) -> None:
        if not isinstance(part, Text):
            return
        for citation in part.citations or ():
            if is_lost(citation):
                report(self.losses, f"{where}.citations")
            elif (raw := write_citation(citation, part.text, index)) is not None:
                citations.append(raw)


def _placed(side: Side) -> list[tuple[Part, str]]:
    return [(part, f"messages.{place}") for part, place in zip(side.parts, side.places, strict=True)]


def _as_object(document: Any) -> Any:
    """In a tool result a document is always an object."""
    return {"data": {"text": document}} if isinstance(document, str) else document


# Tools and the form of the answer


def _write_tools(conversation: Conversation, losses: Losses) -> list[dict[str, Any]]:
    written: list[dict[str, Any]] = []
    for index, tool in enumerate(conversation.tools):
        if tool.opaque is not None:
            if tool.opaque.dialect == DIALECT:
                written.append(tool.opaque.value)
            else:
                report(losses, f"tools.{index}.{tool.name}")
        elif _is_allowed(conversation, tool):
            written.append(_write_tool(conversation, tool, index))
    return written


def _is_allowed(conversation: Conversation, tool: Tool) -> bool:
    choice = conversation.tool_choice
    if choice is None:
        return True
    if choice.mode == "tool":
        return tool.name == choice.name
    return choice.names is None or tool.name in choice.names


def _write_tool(conversation: Conversation, tool: Tool, index: int) -> dict[str, Any]:
    function: dict[str, Any] = {"name": tool.name}
    if tool.description is not None:
        function["description"] = tool.description
    if tool.schema is not None or conversation.dialect != DIALECT:
        function["parameters"] = tool.schema or EMPTY_OBJECT
    if conversation.dialect == DIALECT:
        prefix = f"tools.{index}."
        for name, value in conversation.unknown.items():
            if name.startswith(prefix):
                function[name[len(prefix) :]] = value
    return {"type": "function", "function": function}


def _write_strict(conversation: Conversation, body: dict[str, Any], losses: Losses) -> None:
    functions = [(index, tool) for index, tool in enumerate(conversation.tools) if tool.opaque is None]
    if not functions or "tools" not in body:
        return
    own = conversation.dialect == DIALECT
    if all(tool.strict is True and (own or (tool.schema or {}).get("required")) for _, tool in functions):
        body["strict_tools"] = True
    elif own and all(tool.strict is False for _, tool in functions):
        body["strict_tools"] = False
    else:
        for index, tool in functions:
            if tool.strict:
                report(losses, f"tools.{index}.strict")


def _write_choice(conversation: Conversation, body: dict[str, Any], losses: Losses, traits: Traits) -> None:
    choice = conversation.tool_choice
    if choice is None or choice.mode == "auto":
        return
    if choice.mode == "none":
        if "tools" in body or conversation.dialect == DIALECT:
            body["tool_choice"] = "NONE"
    elif "tools" in body and traits.force_tool:
        body["tool_choice"] = "REQUIRED"
    else:
        report(losses, "tool_choice")


def _write_output(conversation: Conversation, body: dict[str, Any], losses: Losses, traits: Traits) -> None:
    output = conversation.output
    if output is None:
        return
    own = conversation.dialect == DIALECT
    if output.kind == "text":
        if own:
            body["response_format"] = {"type": "text"}
        return
    free = own or ("tools" not in body and "documents" not in body)
    if free and traits.json_schema != "prompt":
        body["response_format"] = {"type": "json_object"}
        if output.schema is None:
            return
        if own or traits.json_schema == "native":
            body["response_format"]["json_schema"] = output.schema
            return
    report(losses, word(conversation.dialect, "output"))
    _add_instruction(body["messages"], schema_in_words(output))


def _add_instruction(messages: list[dict[str, Any]], text: str) -> None:
    """At the end of the leading system message, or as one."""
    if messages[0]["role"] != "system":
        messages.insert(0, {"role": "system", "content": text})
    elif isinstance(content := messages[0]["content"], str):
        messages[0]["content"] = f"{content}\n\n{text}"
    else:
        messages[0]["content"] = [*content, text_block(text)]


def _write_unknown(conversation: Conversation, body: dict[str, Any]) -> None:
    for name, value in conversation.unknown.items():
        head, _, tail = name.partition(".")
        if head == "tools" and tail:
            continue
        if tail and isinstance(body.get(head), dict):
            body[head] = {**body[head], tail: value}
        else:
            body[name] = value
