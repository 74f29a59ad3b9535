"""What a request holds that came out of tools, and how sensitive that makes it. Asked only where it is configured.

A result is known by its tool's name: it stands in the result, or in the call that the result answers. Results of tools
that the provider runs itself (web search, MCP) are blocks that only their dialect knows; they are told by their type,
and named by it as well: `web_search_tool_result` is of `web_search`.
"""

from collections.abc import Iterator
from typing import Any

from freehold.dialects.conversation import Conversation, Opaque, Part, ToolCall, ToolResult
from freehold.labels.lattice import Label
from freehold.labels.sources import Sources

_ENDS = ("_tool_result", "_result", "_call_output", "_output", "_call")
"""How the types of blocks end that hold what a tool has answered."""
_ROLES = ("tool", "function")


def carried(conversation: Conversation, sources: Sources) -> Label:
    """Returns the join of the labels of all results of tools in a request."""
    names: dict[str, str] = {}
    label = Label()
    for part in _parts(conversation):
        if isinstance(part, ToolCall):
            names[part.id] = part.name
        elif isinstance(part, ToolResult):
            label |= sources.of(part.name or names.get(part.id))
        elif isinstance(part, Opaque):
            for block in _blocks(part.value):
                label |= _of_block(block, names, sources)
    return label


def _parts(conversation: Conversation) -> Iterator[Part]:
    yield from conversation.system
    for turn in conversation.turns:
        yield from turn.parts


def _blocks(value: Any) -> Iterator[dict[str, Any]]:
    """The block that an opaque part holds, out of the reader's marker (`$item`, `$message`) where it stands in one."""
    if isinstance(value, dict):
        yield value
        for name, inner in value.items():
            if name.startswith("$") and isinstance(inner, dict):
                yield inner


def _of_block(block: dict[str, Any], names: dict[str, str], sources: Sources) -> Label:
    kind, name = block.get("type"), block.get("name")
    identity = block.get("id")
    if isinstance(name, str) and isinstance(identity, str):
        names[identity] = name
    end = next((end for end in _ENDS if kind.endswith(end)), None) if isinstance(kind, str) else None
    if end is None and block.get("role") not in _ROLES:
        return Label()
    answers = next((block[key] for key in ("tool_use_id", "tool_call_id", "call_id") if key in block), None)
    known = [name, names.get(answers) if isinstance(answers, str) else None]
    if end is not None and isinstance(kind, str):
        known.append(kind.removesuffix(end))
    label = Label()
    found = [one for one in known if isinstance(one, str) and one]
    for one in found:
        label |= sources.of(one)
    return label if found else sources.unknown
