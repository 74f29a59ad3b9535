"""Recorded provider exchanges, read directly: what a client must end up with, without the code under test."""

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

FILE = Path(__file__).parents[3] / "shared" / "recorded" / "exchanges.jsonl.gz"


class Truth(NamedTuple):
    """What one recorded answer says. `calls` are (name, parsed arguments)."""

    text: str
    calls: list[tuple[str, Any]]
    finish: str
    input: int
    output: int
    cached: int


class Exchange(NamedTuple):
    name: str
    provider: str
    content_type: str
    body: bytes
    truth: Truth


def exchanges() -> Iterator[Exchange]:
    """Every usable chat answer of OpenAI, Anthropic and Gemini, whole and streamed."""
    if not FILE.exists():
        return
    with gzip.open(FILE, "rt") as lines:
        for number, line in enumerate(lines):
            row = json.loads(line)
            path = urlsplit(row["uri"]).path
            if row["status"] != 200 or row["method"] != "POST":
                continue
            streamed = bool(row.get("response_text"))
            if row["host"] == "api.openai.com" and path == "/v1/chat/completions":
                provider, read = "openai", openai_stream if streamed else openai_whole
            elif row["host"] == "api.anthropic.com" and path == "/v1/messages":
                provider, read = "anthropic", anthropic_stream if streamed else anthropic_whole
            elif row["host"] == "generativelanguage.googleapis.com" and "enerateContent" in path:
                provider, read = "gemini", gemini_stream if streamed else gemini_whole
            else:
                continue
            body = row["response_text"] if streamed else json.dumps(row["response"])
            truth = read(body if streamed else row["response"])
            if truth is not None:
                kind = "text/event-stream" if streamed else "application/json"
                yield Exchange(f"{number}-{row['source'].split('/')[-1]}", provider, kind, body.encode(), truth)


def events(text: str) -> list[dict[str, Any]]:
    data = [line[5:].strip() for line in text.splitlines() if line.startswith("data:")]
    return [json.loads(item) for item in data if item and item != "[DONE]"]


def parsed(arguments: Any) -> Any:
    return json.loads(arguments) if isinstance(arguments, str) and arguments else arguments or {}


# OpenAI chat completions


def openai_whole(reply: dict[str, Any]) -> Truth | None:
    if len(reply["choices"]) != 1 or not reply.get("usage"):
        return None
    choice = reply["choices"][0]
    message = choice["message"]
    if message.get("audio"):
        return None
    calls = [
        (call["function"]["name"], parsed(call["function"]["arguments"]))
        for call in message.get("tool_calls") or []
        if call["type"] == "function"
    ]
    if len(calls) != len(message.get("tool_calls") or []):
        return None
    return openai_truth(message.get("content") or "", calls, choice["finish_reason"], reply["usage"])


def openai_truth(text: str, calls: list[tuple[str, Any]], finish: str, usage: dict[str, Any]) -> Truth:
    cached = (usage.get("prompt_tokens_details") or {}).get("cached_tokens") or 0
    return Truth(text, calls, finish, usage["prompt_tokens"], usage["completion_tokens"], cached)


def openai_stream(text: str) -> Truth | None:
    said, finish, usage = "", None, None
    calls: dict[int, list[str]] = {}
    for chunk in events(text):
        if chunk.get("error"):
            return None
        usage = chunk.get("usage") or usage
        for choice in chunk["choices"]:
            if choice["index"]:
                return None
            delta = choice["delta"]
            said += delta.get("content") or ""
            finish = choice.get("finish_reason") or finish
            for call in delta.get("tool_calls") or []:
                entry = calls.setdefault(call["index"], ["", ""])
                entry[0] += call["function"].get("name") or ""
                entry[1] += call["function"].get("arguments") or ""
    if finish is None or usage is None:
        return None
    return openai_truth(said, [(name, parsed(arguments)) for name, arguments in calls.values()], finish, usage)


# Anthropic messages

_STOP = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
    "pause_turn": "length",
}


def anthropic_whole(reply: dict[str, Any]) -> Truth | None:
    text = "".join(block["text"] for block in reply["content"] if block["type"] == "text")
    calls = [(block["name"], block["input"]) for block in reply["content"] if block["type"] == "tool_use"]
    return anthropic_truth(text, calls, reply["stop_reason"], reply["usage"])


def anthropic_truth(text: str, calls: list[tuple[str, Any]], stop: str, usage: dict[str, Any]) -> Truth | None:
    if stop not in _STOP:
        return None
    cached = usage.get("cache_read_input_tokens") or 0
    total = usage["input_tokens"] + cached + (usage.get("cache_creation_input_tokens") or 0)
    return Truth(text, calls, _STOP[stop], total, usage["output_tokens"], cached)


def anthropic_stream(text: str) -> Truth | None:
    said, stop = "", ""
    usage: dict[str, Any] = {}
    blocks: dict[int, list[str]] = {}
    for event in events(text):
        match event["type"]:
            case "message_start":
                usage = usage or dict(event["message"]["usage"])
            case "content_block_start" if event["content_block"]["type"] == "tool_use":
                blocks[event["index"]] = [event["content_block"]["name"], ""]
            case "content_block_start" if event["content_block"]["type"] == "text":
                said += event["content_block"]["text"]
            case "content_block_delta" if event["delta"]["type"] == "text_delta":
                said += event["delta"]["text"]
            case "content_block_delta" if event["delta"]["type"] == "input_json_delta" and event["index"] in blocks:
                blocks[event["index"]][1] += event["delta"]["partial_json"]
            case "message_delta":
                stop = event["delta"]["stop_reason"] or stop
                usage.update({key: value for key, value in event["usage"].items() if value is not None})
    return anthropic_truth(said, [(name, parsed(arguments)) for name, arguments in blocks.values()], stop, usage)


# Gemini generateContent


def gemini_whole(reply: dict[str, Any]) -> Truth | None:
    return gemini_stream_of([reply])


def gemini_stream(text: str) -> Truth | None:
    return gemini_stream_of(events(text))


def gemini_stream_of(chunks: list[dict[str, Any]]) -> Truth | None:
    text, finish = "", ""
    usage: dict[str, Any] = {}
    calls: list[tuple[str, Any]] = []
    for chunk in chunks:
        usage = chunk.get("usageMetadata") or usage
        for candidate in chunk.get("candidates") or []:
            finish = candidate.get("finishReason") or finish
            for part in candidate.get("content", {}).get("parts") or []:
                if set(part) & {"inlineData", "executableCode", "codeExecutionResult", "fileData", "toolCall"}:
                    return None
                if "functionCall" in part:
                    calls.append((part["functionCall"]["name"], part["functionCall"].get("args") or {}))
                elif not part.get("thought"):
                    text += part.get("text") or ""
    if finish not in ("STOP", "MAX_TOKENS") or not usage.get("promptTokenCount"):
        return None
    said = (usage.get("candidatesTokenCount") or 0) + (usage.get("thoughtsTokenCount") or 0)
    asked = usage["promptTokenCount"] + (usage.get("toolUsePromptTokenCount") or 0)
    name = "length" if finish == "MAX_TOKENS" else "tool_calls" if calls else "stop"
    return Truth(text, calls, name, asked, said, usage.get("cachedContentTokenCount") or 0)
