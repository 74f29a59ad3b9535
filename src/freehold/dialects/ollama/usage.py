"""What Ollama counts and says at the end of an answer, and its times, to and from the canonical forms.

Counts (https://docs.ollama.com/api/usage): `prompt_eval_count` is the whole prompt, `prompt_eval_cached_count` the part
of it read from the cache, `eval_count` the output, thoughts included, which are not counted apart. Go leaves a zero
out, so an absent number is 0. Durations are nanoseconds; a gateway knows none of the engine's, and clients in typed
languages (ollama-rs) insist on the fields, so they are written as 0.

A `done_reason` is `stop` (after tool calls too), `length`, `load` or `unload`; a filtered answer is named
`content_filter`, since it must not look like a plain stop.
"""

from datetime import UTC, datetime
from typing import Any

from freehold.dialects.conversation import Finish, Usage

FINISH: dict[str, Finish] = {"stop": "stop", "length": "length", "content_filter": "content_filter"}

DONE_REASON: dict[Finish, str] = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "stop",
    "content_filter": "content_filter",
    "pause": "length",
}
"""`error` has no reason here: it is told as an error."""

_MOST = 1_000_000_000_000
_LAST_YEAR = 253_402_300_799
"""The end of the year 9999 in Unix seconds."""


def read_usage(prompt: Any, cached: Any, output: Any) -> Usage | None:
    """None where the provider counted nothing. Numbers that are negative or no numbers count as 0."""
    if prompt is None and output is None:
        return None
    total = _count(prompt)
    hit = min(_count(cached), total)
    return Usage(uncached=total - hit, cache_read=hit, output=_count(output))


def _count(value: Any) -> int:
    if type(value) is int and 0 <= value < _MOST:
        return value
    return int(value) if type(value) is float and 0 < value < _MOST else 0


def write_usage(usage: Usage | None) -> dict[str, int]:
    """The counts and durations of a last line, in Ollama's order."""
    usage = usage or Usage()
    counts = {"total_duration": 0, "load_duration": 0, "prompt_eval_count": usage.input}
    if usage.cache_read:
        counts["prompt_eval_cached_count"] = usage.cache_read
    return {**counts, "prompt_eval_duration": 0, "eval_count": usage.output, "eval_duration": 0}


def read_finish(reason: Any, called: bool) -> Finish:
    """`called`: whether the answer holds tool calls, after which Ollama says `stop`. An unknown reason is a stop."""
    finish = FINISH.get(reason, "stop") if isinstance(reason, str) else "stop"
    return "tool_calls" if finish == "stop" and called else finish


def write_time(seconds: int) -> str:
    """Unix seconds as RFC 3339 with nanoseconds, as Go writes a time."""
    moment = datetime.fromtimestamp(min(max(seconds, 0), _LAST_YEAR), UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.000000000Z") if moment.year > 999 else "1970-01-01T00:00:00.000000000Z"


def read_time(text: str) -> int:
    """Unix seconds of an RFC 3339 time; 0 where it is none."""
    try:
        moment = datetime.fromisoformat(text)
        return max(0, int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()))
    except (ValueError, OverflowError):
        return 0


# Log probabilities: OpenAI's entries, without the object around them.


def read_logprobs(raw: Any) -> dict[str, Any] | None:
    """OpenAI's form, which is the canonical one; None where there are none."""
    if not isinstance(raw, list) or not raw:
        return None
    content = []
    for item in raw:
        entry = _token(item)
        others = item.get("top_logprobs") if isinstance(item, dict) else None
        entry["top_logprobs"] = [_token(other) for other in others] if isinstance(others, list) else []
        content.append(entry)
    return {"content": content, "refusal": None}


def write_logprobs(value: Any) -> list[dict[str, Any]]:
    """Ollama's list for canonical log probabilities; empty where there are none."""
    content = value.get("content") if isinstance(value, dict) else None
    written = []
    for item in content if isinstance(content, list) else ():
        entry = _token(item)
        others = item.get("top_logprobs") if isinstance(item, dict) else None
        if isinstance(others, list) and others:
            entry["top_logprobs"] = [_token(other) for other in others]
        written.append(entry)
    return written


def _token(raw: Any) -> dict[str, Any]:
    item = raw if isinstance(raw, dict) else {}
    token, logprob, seen = item.get("token"), item.get("logprob"), item.get("bytes")
    text = token if isinstance(token, str) else ""
    return {
        "token": text,
        "logprob": logprob if type(logprob) in (int, float) else 0.0,
        "bytes": seen if isinstance(seen, list) else list(text.encode("utf-8", "replace")),
    }
