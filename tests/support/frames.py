"""ConverseStream answers made of events: a list of (event type, payload) as frames, or made of a whole answer."""

import json
from typing import Any

from freehold.dialects.eventstream import write_event

Events = list[tuple[str, dict[str, Any]]]


def frames(events: Events) -> bytes:
    return b"".join(write_event(kind, json.dumps(payload).encode()) for kind, payload in events)


def streamed(reply: dict[str, Any], size: int = 7) -> Events:
    """The events that say what a whole Converse answer says, texts in pieces of `size`."""
    events: Events = [("messageStart", {"role": "assistant", "p": "abcd"})]
    for index, block in enumerate(reply["output"]["message"]["content"]):
        place = {"contentBlockIndex": index}
        start, deltas = _pieces(block, size)
        if start is not None:
            events.append(("contentBlockStart", {**place, "start": start}))
        events += [("contentBlockDelta", {**place, "delta": delta, "p": "abc"}) for delta in deltas]
        events.append(("contentBlockStop", place))
    stop = {"stopReason": reply["stopReason"]}
    if "additionalModelResponseFields" in reply:
        stop["additionalModelResponseFields"] = reply["additionalModelResponseFields"]
    events.append(("messageStop", stop))
    events.append(("metadata", {"usage": reply["usage"], "metrics": {"latencyMs": 1}}))
    return events


def _pieces(block: dict[str, Any], size: int) -> tuple[dict[str, Any] | None, list[dict[str, Any]]]:
    if "text" in block:
        return None, [{"text": piece} for piece in _cut(block["text"], size)]
    if "toolUse" in block:
        use = block["toolUse"]
        start = {"toolUse": {name: use[name] for name in ("toolUseId", "name", "type") if name in use}}
        text = "" if use["input"] == {} else json.dumps(use["input"])
        return start, [{"toolUse": {"input": piece}} for piece in _cut(text, size)]
    if "reasoningContent" in block:
        thought = block["reasoningContent"]
        if "redactedContent" in thought:
            return None, [{"reasoningContent": {"redactedContent": thought["redactedContent"]}}]
        inner = thought["reasoningText"]
        deltas = [{"reasoningContent": {"text": piece}} for piece in _cut(inner.get("text", ""), size)]
        if "signature" in inner:
            deltas.append({"reasoningContent": {"signature": inner["signature"]}})
        return None, deltas
    if "citationsContent" in block:
        cited = block["citationsContent"]
        deltas = [{"text": piece["text"]} for piece in cited["content"]]
        return None, [*deltas, *({"citation": item} for item in cited.get("citations", []))]
    result = block["toolResult"]
    start = {"toolResult": {name: value for name, value in result.items() if name != "content"}}
    return start, [{"toolResult": [item]} for item in result["content"]]


def _cut(text: str, size: int) -> list[str]:
    return [text[at : at + size] for at in range(0, len(text), size)]
