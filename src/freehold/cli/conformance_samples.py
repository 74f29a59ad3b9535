"""What `freehold conformance` needs in providers' own words: tools that they run, signed thoughts, and Converse, which
nobody but a provider speaks here, so that nothing in the product writes its answers or reads its requests.
"""

from collections.abc import Callable
from typing import Any

import msgspec

MARK = "zq-mark-417"
"""A text that nobody would write by accident."""

SERVER_TOOLS: dict[str, Any] = {
    "responses": {"type": "web_search"},
    "messages": {"type": "web_search_20250305", "name": "web_search"},
    "gemini": {"googleSearch": {}},
}
"""Web search, as each dialect that has it declares it."""
SERVER_ITEMS: dict[str, Any] = {
    "responses": {
        "id": "ws_1",
        "type": "web_search_call",
        "status": "completed",
        "action": {"type": "search", "query": MARK},
    },
    "messages": {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": MARK}},
    "gemini": {"executableCode": {"language": "PYTHON", "code": MARK}},
}
"""What each such dialect shows of a tool that the provider ran."""


def _converse(*content: Any, stop: str = "end_turn", **usage: int) -> bytes:
    counts = {"inputTokens": 500, "outputTokens": 90, "totalTokens": 590 + sum(usage.values()), **usage}
    return msgspec.json.encode(
        {
            "output": {"message": {"role": "assistant", "content": list(content) or [{"text": "Hello"}]}},
            "stopReason": stop,
            "usage": counts,
        }
    )


CONVERSE_ANSWERS = {
    "text": _converse({"text": MARK}),
    "thinking": _converse({"reasoningContent": {"reasoningText": {"text": MARK}}}, {"text": "Hello"}),
    "parallel tool calls": _converse(
        {"toolUse": {"toolUseId": "t1", "name": "look_up", "input": {"a": MARK}}},
        {"toolUse": {"toolUseId": "t2", "name": "other", "input": {}}},
        stop="tool_use",
    ),
    "citations": _converse(
        {
            "citationsContent": {
                "content": [{"text": "Hello"}],
                "citations": [{"title": "A page", "location": {"web": {"url": f"https://example.com/{MARK}.png"}}}],
            }
        }
    ),
    "server-side tool items": _converse(
        {"toolUse": {"toolUseId": "t1", "name": "web_search", "input": {"q": MARK}, "type": "server_tool_use"}},
        {"text": "Hello"},
    ),
    "finish: stop": _converse(),
    "finish: length": _converse(stop="max_tokens"),
    "finish: content filter": _converse(stop="guardrail_intervened"),
    "finish: paused turn": _converse(stop="pause_turn"),
    "usage: input": _converse(),
    "usage: output": _converse(),
    "usage: cache read": _converse(cacheReadInputTokens=300),
    "usage: cache write": _converse(cacheWriteInputTokens=117),
}
"""Converse answers, which nobody writes here, by feature."""


def _field(*path: str | int) -> Callable[[Any], Any]:
    """Returns what stands at a path of a decoded body, None where there is nothing."""

    def get(body: Any) -> Any:
        for step in path:
            try:
                body = body[step]
            except (KeyError, IndexError, TypeError):
                return None
        return body

    return get


_CONTENT = ("messages", 0, "content")
_MORE = "additionalModelRequestFields"

CONVERSE_SEES: dict[str, Callable[[Any], Any]] = {
    "text": _field(*_CONTENT, 0, "text"),
    "system prompt": _field("system", 0, "text"),
    "image inline": _field(*_CONTENT, 0, "image", "source", "bytes"),
    "document inline (PDF)": _field(*_CONTENT, 0, "document", "source", "bytes"),
    "document as text": _field(*_CONTENT, 0, "document", "source"),
    "citations wanted of a document": _field(*_CONTENT, 0, "document", "citations", "enabled"),
    "audio in": _field(*_CONTENT, 0, "audio", "source", "bytes"),
    "tools": _field("toolConfig", "tools", 1, "toolSpec", "inputSchema", "json"),
    "strict tool schema": _field("toolConfig", "tools", 0, "toolSpec", "strict"),
    "tool choice: any tool": lambda body: "any" in (_field("toolConfig", "toolChoice")(body) or ()),
    "tool choice: one tool": _field("toolConfig", "toolChoice", "tool", "name"),
    "one tool call at a time": _field(_MORE, "tool_choice", "disable_parallel_tool_use"),
    "parallel tool calls and results": _field("messages", 2, "content", 1, "toolResult", "content"),
    "tool result with an image": _field("messages", 2, "content", 0, "toolResult", "content", 1, "image"),
    "tool result that is an error": lambda body: (
        _field("messages", 2, "content", 0, "toolResult", "status")(body) == "error"
    ),
    "structured output": _field("outputConfig", "textFormat", "structure", "jsonSchema"),
    "thinking: budget": _field(_MORE, "thinking", "budget_tokens"),
    "thinking off": lambda body: _field(_MORE, "thinking", "type")(body) == "disabled",
    "prompt-cache breakpoint": _field(*_CONTENT, 1, "cachePoint"),
    "stop sequences": _field("inferenceConfig", "stopSequences", 0),
    "temperature": _field("inferenceConfig", "temperature"),
    "top_p": _field("inferenceConfig", "topP"),
    "top_k": _field(_MORE, "top_k"),
    "token limit": _field("inferenceConfig", "maxTokens"),
    "metadata": _field("requestMetadata"),
    "service tier": _field("serviceTier"),
    "continued answer (prefill)": _field("messages", 1, "content", 0, "text"),
}
"""Where a feature stands in a Converse request, whose form is
https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html; a feature that is not named has no
place there."""


CONVERSE_NEAR: dict[str, Callable[[Any], Any]] = {
    "tool choice: none": lambda body: "toolConfig" not in body,
    "thinking off": lambda body: _field(_MORE, "thinking")(body) is None,
}
"""What comes to the same as a feature there."""


SIGNED: dict[str, Any] = {
    "messages": {
        "id": "r1",
        "type": "message",
        "role": "assistant",
        "model": "m",
        "content": [
            {"type": "thinking", "thinking": "Hm.", "signature": MARK},
            {"type": "tool_use", "id": "toolu_1", "name": "look_up", "input": {}},
        ],
        "stop_reason": "tool_use",
        "usage": {"input_tokens": 20, "output_tokens": 10},
    },
    "responses": {
        "id": "resp_1",
        "object": "response",
        "status": "completed",
        "model": "m",
        "output": [
            {"id": "rs_1", "type": "reasoning", "summary": [], "encrypted_content": MARK},
            {"id": "fc_1", "type": "function_call", "call_id": "call_1", "name": "look_up", "arguments": "{}"},
        ],
        "usage": {"input_tokens": 20, "output_tokens": 10, "total_tokens": 30},
    },
    "gemini": {
        "responseId": "r1",
        "modelVersion": "m",
        "candidates": [
            {
                "content": {
                    "role": "model",
                    "parts": [{"functionCall": {"name": "look_up", "args": {}}, "thoughtSignature": MARK}],
                },
                "finishReason": "STOP",
            }
        ],
        "usageMetadata": {"promptTokenCount": 20, "candidatesTokenCount": 10, "totalTokenCount": 30},
    },
    "converse": {
        "output": {
            "message": {
                "role": "assistant",
                "content": [
                    {"reasoningContent": {"reasoningText": {"text": "Hm.", "signature": MARK}}},
                    {"toolUse": {"toolUseId": "t1", "name": "look_up", "input": {}}},
                ],
            }
        },
        "stopReason": "tool_use",
        "usage": {"inputTokens": 20, "outputTokens": 10, "totalTokens": 30},
    },
}
"""A signed thought before a tool call, as the providers that sign say it."""
