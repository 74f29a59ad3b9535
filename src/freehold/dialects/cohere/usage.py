"""Token usage, finish reasons and log-probabilities of Cohere's chat, to and from the canonical forms.

Source: https://docs.cohere.com/reference/chat and the `cohere` SDK's `Usage`, `ChatFinishReason` and `LogprobItem`.

Two counts come with every answer. `tokens` is what the model read and wrote, Cohere's own preamble and the tool
definitions included: the canonical counts. `billed_units` is the part of it that is charged (1 input token billed of
496 read in a recorded "hello"); it counts only where `tokens` is missing, and for its `search_units`. `cached_tokens`
are inside `tokens.input_tokens`. Numbers may be written as floats; those that are negative or no numbers count as 0.
"""

from typing import Any

from freehold.dialects.conversation import Finish, Usage

FINISH: dict[str, Finish] = {
    "COMPLETE": "stop",
    "STOP_SEQUENCE": "stop",
    "MAX_TOKENS": "length",
    "TOOL_CALL": "tool_calls",
    "ERROR": "error",
    "TIMEOUT": "error",
    "ERROR_LIMIT": "length",
    "ERROR_TOXIC": "content_filter",
    "USER_CANCEL": "error",
}
"""The last three are the older API's, which private deployments may still say."""

_FINISH_WORD: dict[Finish, str] = {
    "stop": "COMPLETE",
    "length": "MAX_TOKENS",
    "tool_calls": "TOOL_CALL",
    "content_filter": "ERROR",
    "pause": "MAX_TOKENS",
    "error": "ERROR",
}
"""An answer that a filter ended must not look complete, and there is no better word. A paused turn is unfinished."""

_MOST = 1_000_000_000_000


def read_finish(reason: Any) -> Finish | None:
    """None for no reason yet; an unknown word is a `stop`."""
    return FINISH.get(reason, "stop") if isinstance(reason, str) and reason else None


def write_finish(finish: Finish, stop_sequence: str | None) -> str:
    return "STOP_SEQUENCE" if finish == "stop" and stop_sequence is not None else _FINISH_WORD[finish]


def read_usage(raw: Any) -> Usage | None:
    """Reads a decoded `usage` object; None where it counts nothing."""
    if not isinstance(raw, dict):
        return None
    billed, tokens = raw.get("billed_units"), raw.get("tokens")
    billed = billed if isinstance(billed, dict) else {}
    counts = tokens if isinstance(tokens, dict) and tokens else billed
    if not counts:
        return None
    read = _count(counts.get("input_tokens"))
    cached = _count(raw.get("cached_tokens"))
    if counts is billed:
        read = max(read, cached)  # what was cached may not be billed
    cached = min(cached, read)
    return Usage(
        uncached=read - cached,
        cache_read=cached,
        output=_count(counts.get("output_tokens")),
        search_units=_count(billed.get("search_units")),
    )


def write_usage(usage: Usage) -> dict[str, Any]:
    """The `usage` object. Nobody else bills less than it counts, so both counts are the same."""
    counts = {"input_tokens": usage.input, "output_tokens": usage.output}
    billed = {**counts, "search_units": usage.search_units} if usage.search_units else counts
    written: dict[str, Any] = {"billed_units": billed, "tokens": counts}
    if usage.cache_read:
        written["cached_tokens"] = usage.cache_read
    return written


def _count(value: Any) -> int:
    if type(value) is int and 0 <= value < _MOST:
        return value
    return int(value) if type(value) is float and 0 < value < _MOST else 0


def read_logprobs(raw: Any) -> dict[str, Any] | None:
    """Chat's `{"content": [...], "refusal": null}` for items `{text, token_ids, logprobs}`; None where there are none.

    An item is a piece of text of one or more tokens; what several tokens have in common is their joint probability.
    """
    items = raw if isinstance(raw, list) else [raw]
    content = []
    for item in items:
        if not isinstance(item, dict):
            continue
        text, values = item.get("text"), item.get("logprobs")
        numbers = [value for value in values if type(value) in (int, float)] if isinstance(values, list) else []
        if numbers and (isinstance(text, str) or text is None):
            token = text or ""
            content.append(
                {
                    "token": token,
                    "logprob": numbers[0] if len(numbers) == 1 else sum(numbers),
                    "bytes": list(token.encode("utf-8", "surrogatepass")),
                    "top_logprobs": [],
                }
            )
    return {"content": content, "refusal": None} if content else None


def write_logprobs(value: Any) -> list[dict[str, Any]]:
    """Items for chat's log-probabilities. Nobody else names token ids, which the SDK's type requires."""
    content = value.get("content") if isinstance(value, dict) else None
    return [
        {"text": item["token"], "token_ids": [], "logprobs": [item["logprob"]]}
        for item in (content if isinstance(content, list) else [])
        if isinstance(item, dict) and isinstance(item.get("token"), str) and type(item.get("logprob")) in (int, float)
    ]
