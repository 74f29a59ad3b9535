"""What an answer says, read directly from its bytes: one reader per dialect, none of them the code under test.

The same readers serve both ends of a replay: what the provider's recording says, and what the client got. They follow
the providers' own descriptions of their fields (sources in the docstrings of freehold.dialects.*.usage) and believe
every field that is there; hosts' peculiarities stand in `Algebra` below.
"""

import json
from collections.abc import Callable
from typing import Any, NamedTuple


class Truth(NamedTuple):
    """What one answer says. `calls` are (name, parsed arguments), in order; tokens by class, `input` the total of its
    classes. `finish` is one of stop, length, tool_calls, content_filter, pause, error."""

    text: str
    calls: list[tuple[str, Any]]
    finish: str
    input: int
    output: int
    cached: int
    reasoning: str = ""
    written: int = 0
    thought: int = 0
    """Output tokens that were reasoning."""
    refusal: str = ""


class Failure(Exception):
    """The provider reported an error inside its answer."""


def events(text: str) -> list[dict[str, Any]]:
    data = [line[5:].strip() for line in text.splitlines() if line.startswith("data:")]
    return [json.loads(item) for item in data if item and item != "[DONE]"]


def parsed(arguments: Any) -> Any:
    """Arguments as an object: hosts send JSON text, objects, empty text or null for none."""
    return json.loads(arguments) if isinstance(arguments, str) and arguments else arguments or {}


# Chat completions, of OpenAI and of everybody who copied them

_CHAT_FINISH = {"stop": "stop", "length": "length", "tool_calls": "tool_calls", "content_filter": "content_filter"}
_CHAT_FINISH |= {"eos": "stop", "model_length": "length", "error": "error", "function_call": "tool_calls"}


def chat_whole(body: str) -> Truth:
    """The first choice. Azure leaves out the message of an answer that its filter took."""
    reply = json.loads(body)
    if reply.get("error") and not reply.get("choices"):
        raise Failure(json.dumps(reply["error"]))
    choice = reply["choices"][0]
    message = choice.get("message") or {}
    said = _Said()
    said.take(message)
    for call in message.get("tool_calls") or []:
        said.calls.append(list(_called(call)))
    if message.get("function_call"):
        said.calls.append(list(_called({"function": message["function_call"]})))
    return said.truth(choice["finish_reason"], reply.get("usage"))


def _called(call: dict[str, Any]) -> tuple[str, Any]:
    """Name and arguments of a call, or of a piece of one; what a custom tool gets is free text under `input`."""
    if custom := call.get("custom"):
        return custom.get("name") or "", {"input": custom.get("input") or ""}
    function = call["function"]
    return function.get("name") or "", function.get("arguments")


def chat_stream(body: str) -> Truth:
    said, finish, usage = _Said(), None, None
    calls: dict[int, list[Any]] = {}
    for chunk in events(body):
        if chunk.get("error"):
            raise Failure(json.dumps(chunk["error"]))
        usage = chunk.get("usage") or (chunk.get("x_groq") or {}).get("usage") or usage
        for choice in chunk.get("choices") or []:
            if choice.get("index"):
                continue  # another choice than the first
            delta = choice.get("delta") or {}
            said.take(delta)
            finish = choice.get("finish_reason") or finish
            pieces = delta.get("tool_calls") or []
            if delta.get("function_call"):
                pieces = [{"index": 0, "function": delta["function_call"]}]
            for call in pieces:
                # Without an index (Mistral, Gemini's OpenAI path, Ollama) a piece is a whole call.
                entry = calls.setdefault(call.get("index", len(calls)), ["", ""])
                name, arguments = _called(call)
                entry[0] += name
                if isinstance(arguments, dict):
                    entry[1] = {"input": (entry[1] or {"input": ""})["input"] + arguments["input"]}
                else:
                    entry[1] += arguments or ""
    said.calls = list(calls.values())
    if finish is None:
        raise ValueError("the stream has no finish reason")
    return said.truth(finish, usage)


class _Said:
    """What the messages or deltas of a chat answer add up to."""

    def __init__(self) -> None:
        self.text = self.reasoning = self.details = self.refusal = ""
        self.calls: list[list[Any]] = []

    def take(self, message: dict[str, Any]) -> None:
        content = message.get("content") or ""
        if isinstance(content, list):  # Mistral: a list of chunks, thoughts among them
            for part in content:
                if part["type"] == "thinking":
                    self.reasoning += "".join(piece["text"] for piece in part["thinking"] if piece["type"] == "text")
                elif part["type"] == "text":
                    self.text += part["text"]
        elif isinstance(content, dict):  # Cloudflare: the object that was asked for
            self.text += json.dumps(content, ensure_ascii=False, separators=(",", ":"))
        else:
            self.text += content
        thoughts = message.get("reasoning_content") or message.get("reasoning") or ""
        self.reasoning += thoughts
        # OpenRouter's entries say it again, for replay; some hosts give nothing else.
        for entry in message.get("reasoning_details") or []:
            self.details += entry.get("text") or entry.get("summary") or ""
        self.refusal += message.get("refusal") or ""

    def truth(self, finish: str, usage: dict[str, Any] | None) -> Truth:
        calls = [(name, parsed(arguments)) for name, arguments in self.calls]
        usage = usage or {}
        read, made = usage.get("prompt_tokens_details") or {}, usage.get("completion_tokens_details") or {}
        asked, output = usage.get("prompt_tokens") or 0, usage.get("completion_tokens") or 0
        thought = made.get("reasoning_tokens") or usage.get("reasoning_tokens") or 0
        # xAI and Gemini's OpenAI path count reasoning beside completion_tokens; the total shows it.
        beside = (usage.get("total_tokens") or 0) - asked - output
        if beside > 0 and thought in (0, beside):
            output, thought = output + beside, beside
        cached = (
            read.get("cached_tokens") or usage.get("prompt_cache_hit_tokens") or usage.get("num_cached_tokens") or 0
        )
        written = read.get("cache_write_tokens") or 0
        word, thoughts = _CHAT_FINISH[finish], self.reasoning or self.details
        return Truth(self.text, calls, word, asked, output, cached, thoughts, written, thought, self.refusal)


# OpenAI's Responses


def responses_whole(body: str) -> Truth:
    return responses_object(json.loads(body))


def responses_stream(body: str) -> Truth:
    """The response of the last event; what the deltas add up to must be the same."""
    text = arguments = ""
    found: Truth | None = None
    for event in events(body):
        match event["type"]:
            case "response.output_text.delta":
                text += event["delta"]
            case "response.function_call_arguments.delta":
                arguments += event["delta"]
            case "response.completed" | "response.incomplete":
                found = responses_object(event["response"])
            case "response.failed":
                raise Failure(json.dumps(event["response"]["error"]))
            case "error":
                raise Failure(json.dumps(event))
    if found is None:
        raise ValueError("the stream has no last event")
    if text != found.text:
        raise ValueError("the deltas add up to another text than the response has")
    return found


_INCOMPLETE = {"max_output_tokens": "length", "content_filter": "content_filter"}


def responses_object(reply: dict[str, Any]) -> Truth:
    text = reasoning = refusal = ""
    calls: list[tuple[str, Any]] = []
    for item in reply["output"]:
        match item["type"]:
            case "message":
                text += "".join(part["text"] for part in item["content"] if part["type"] == "output_text")
                refusal += "".join(part["refusal"] for part in item["content"] if part["type"] == "refusal")
            case "reasoning":
                # A host that shows the thoughts themselves has them in `content`; a summary is shown otherwise. Its
                # parts are paragraphs.
                parts = item.get("content") or item.get("summary") or []
                reasoning += "\n\n".join(part["text"] for part in parts)
            case "function_call":
                calls.append((item["name"], parsed(item["arguments"])))
            case "custom_tool_call":
                calls.append((item["name"], {"input": item["input"]}))
    match reply["status"]:
        case "completed" | "complete":
            finish = "tool_calls" if calls else "stop"
        case "incomplete":
            finish = _INCOMPLETE.get(reply["incomplete_details"]["reason"], "pause")
        case "failed":
            raise Failure(json.dumps(reply.get("error")))
        case _:
            finish = "pause"
    usage = reply.get("usage") or {}
    read, made = usage.get("input_tokens_details") or {}, usage.get("output_tokens_details") or {}
    return Truth(
        text,
        calls,
        finish,
        usage.get("input_tokens") or 0,
        usage.get("output_tokens") or 0,
        read.get("cached_tokens") or 0,
        reasoning,
        read.get("cache_write_tokens") or 0,
        made.get("reasoning_tokens") or 0,
        refusal,
    )


# Anthropic's Messages

_STOP_REASON = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
    "pause_turn": "pause",
    "compaction": "pause",
}


def messages_whole(body: str) -> Truth:
    reply = json.loads(body)
    return _messages_truth(reply["content"], reply["stop_reason"], reply["usage"])


def messages_stream(body: str) -> Truth:
    blocks: dict[int, dict[str, Any]] = {}
    stop, usage = None, {}
    for event in events(body):
        match event["type"]:
            case "message_start":
                usage = usage or dict(event["message"]["usage"])
            case "content_block_start":
                block = blocks[event["index"]] = dict(event["content_block"])
                if block["type"] == "tool_use":
                    block["whole"], block["input"] = block["input"], ""
            case "content_block_delta":
                block, delta = blocks[event["index"]], event["delta"]
                match delta["type"]:
                    case "text_delta":
                        block["text"] += delta["text"]
                    case "thinking_delta":
                        block["thinking"] += delta["thinking"]
                    case "input_json_delta" if block["type"] == "tool_use":
                        block["input"] += delta["partial_json"]
            case "message_delta":
                stop = event["delta"]["stop_reason"] or stop
                usage.update({key: value for key, value in event["usage"].items() if value is not None})
            case "error":
                raise Failure(json.dumps(event["error"]))
    if stop is None:
        raise ValueError("the stream has no stop reason")
    for block in blocks.values():
        if block["type"] == "tool_use":
            block["input"] = block["input"] or block["whole"]  # a call from code comes whole, without deltas
    return _messages_truth(list(blocks.values()), stop, usage)


def _messages_truth(blocks: list[dict[str, Any]], stop: str, usage: dict[str, Any]) -> Truth:
    cached = usage.get("cache_read_input_tokens") or 0
    written = usage.get("cache_creation_input_tokens") or 0
    return Truth(
        "".join(block["text"] for block in blocks if block["type"] == "text"),
        [(block["name"], parsed(block["input"])) for block in blocks if block["type"] == "tool_use"],
        _STOP_REASON[stop],
        usage["input_tokens"] + cached + written,
        usage["output_tokens"],
        cached,
        "".join(block["thinking"] for block in blocks if block["type"] == "thinking"),
        written,
        (usage.get("output_tokens_details") or {}).get("thinking_tokens") or 0,
    )


# Gemini's generateContent

_GEMINI_FINISH = {"STOP": "stop", "MAX_TOKENS": "length"}
_GEMINI_ERRORS = {"UNEXPECTED_TOOL_CALL", "MALFORMED_FUNCTION_CALL", "OTHER"}


def gemini_whole(body: str) -> Truth:
    return _gemini_truth([json.loads(body)])


def gemini_stream(body: str) -> Truth:
    return _gemini_truth(events(body))


def _gemini_truth(chunks: list[dict[str, Any]]) -> Truth:
    text = reasoning = refusal = finish = ""
    usage: dict[str, Any] = {}
    calls: list[tuple[str, Any]] = []
    for chunk in chunks:
        if chunk.get("error"):
            raise Failure(json.dumps(chunk["error"]))
        usage = chunk.get("usageMetadata") or usage
        feedback = chunk.get("promptFeedback") or {}
        if feedback.get("blockReason"):
            finish, refusal = "SAFETY", feedback.get("blockReasonMessage") or ""
        for candidate in chunk.get("candidates") or []:
            if candidate.get("index"):
                continue  # another candidate than the first
            finish = candidate.get("finishReason") or finish
            for part in (candidate.get("content") or {}).get("parts") or []:
                if "functionCall" in part:
                    calls.append((part["functionCall"]["name"], part["functionCall"].get("args") or {}))
                elif part.get("thought"):
                    reasoning += part.get("text") or ""
                else:
                    text += part.get("text") or ""
    if not finish:
        raise ValueError("the answer has no finish reason")
    word = "error" if finish in _GEMINI_ERRORS else _GEMINI_FINISH.get(finish, "content_filter")
    thought = usage.get("thoughtsTokenCount") or 0
    return Truth(
        text,
        calls,
        "tool_calls" if word == "stop" and calls else word,
        (usage.get("promptTokenCount") or 0) + (usage.get("toolUsePromptTokenCount") or 0),
        (usage.get("candidatesTokenCount") or 0) + thought,
        usage.get("cachedContentTokenCount") or 0,
        reasoning,
        0,
        thought,
        refusal,
    )


# Bedrock's Converse, Cohere's chat: providers only


def converse_whole(body: str) -> Truth:
    reply = json.loads(body)
    blocks, usage = reply["output"]["message"]["content"], reply["usage"]
    used = [block["toolUse"] for block in blocks if "toolUse" in block]
    thoughts = [block["reasoningContent"] for block in blocks if "reasoningContent" in block]
    cached, written = usage.get("cacheReadInputTokens") or 0, usage.get("cacheWriteInputTokens") or 0
    return Truth(
        "".join(block.get("text", "") for block in blocks),
        [(use["name"], use["input"]) for use in used if use.get("type") != "server_tool_use"],
        {**_STOP_REASON, "guardrail_intervened": "content_filter"}[reply["stopReason"]],
        usage["inputTokens"] + cached + written,
        usage["outputTokens"],
        cached,
        "".join(thought["reasoningText"]["text"] for thought in thoughts if "reasoningText" in thought),
        written,
    )


def cohere_whole(body: str) -> Truth:
    """The plan Cohere makes before it calls tools is a thought."""
    reply = json.loads(body)
    message, usage = reply["message"], reply["usage"]
    content = message.get("content") or []
    return Truth(
        "".join(block["text"] for block in content if block["type"] == "text"),
        [(call["function"]["name"], parsed(call["function"]["arguments"])) for call in message.get("tool_calls") or []],
        {"COMPLETE": "stop", "MAX_TOKENS": "length", "TOOL_CALL": "tool_calls"}[reply["finish_reason"]],
        int(usage["tokens"]["input_tokens"]),
        int(usage["tokens"]["output_tokens"]),
        int(usage.get("cached_tokens") or 0),
        "".join(block["thinking"] for block in content if block["type"] == "thinking")
        + (message.get("tool_plan") or ""),
    )


def cohere_stream(body: str) -> Truth:
    """The events put together as the whole answer would stand."""
    blocks: dict[int, dict[str, Any]] = {}
    calls: dict[int, dict[str, Any]] = {}
    plan, end = "", None
    for event in events(body):
        said = ((event.get("delta") or {}).get("message") or {}) if "delta" in event else {}
        match event.get("type"):
            case "content-start":
                blocks[event["index"]] = dict(said["content"])
            case "content-delta":
                for name, piece in said["content"].items():
                    blocks[event["index"]][name] += piece
            case "tool-plan-delta":
                plan += said["tool_plan"]
            case "tool-call-start":
                calls[event["index"]] = said["tool_calls"]
            case "tool-call-delta":
                calls[event["index"]]["function"]["arguments"] += said["tool_calls"]["function"]["arguments"]
            case "message-end":
                end = event["delta"]
    if end is None:
        raise ValueError("the stream has no end")
    message = {"content": list(blocks.values()), "tool_calls": list(calls.values()), "tool_plan": plan}
    return cohere_whole(json.dumps({"message": message, **end}))


WHOLE: dict[str, Callable[[str], Truth]] = {
    "chat": chat_whole,
    "responses": responses_whole,
    "messages": messages_whole,
    "gemini": gemini_whole,
    "converse": converse_whole,
    "cohere": cohere_whole,
}
STREAM: dict[str, Callable[[str], Truth]] = {
    "chat": chat_stream,
    "responses": responses_stream,
    "messages": messages_stream,
    "gemini": gemini_stream,
    "cohere": cohere_stream,
}
