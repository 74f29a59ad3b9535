"""Log-probabilities: Google's `logprobsResult` and the canonical form, which is OpenAI chat's.

https://ai.google.dev/api/generate-content#LogprobsResult. Google names no bytes, OpenAI no token ids.
"""

from typing import Any


def read_logprobs(result: Any) -> Any:
    """The canonical form; None where there are none."""
    if not isinstance(result, dict) or not isinstance(chosen := result.get("chosenCandidates"), list):
        return None
    tops = result.get("topCandidates")
    tops = tops if isinstance(tops, list) else []
    content = []
    for index, token in enumerate(chosen):
        others = tops[index] if index < len(tops) and isinstance(tops[index], dict) else {}
        candidates = others.get("candidates")
        entry = _read_token(token)
        entry["top_logprobs"] = [_read_token(other) for other in candidates] if isinstance(candidates, list) else []
        content.append(entry)
    return {"content": content, "refusal": None}


def _read_token(token: Any) -> dict[str, Any]:
    token = token if isinstance(token, dict) else {}
    text = token.get("token")
    text = text if isinstance(text, str) else ""
    value = token.get("logProbability")
    value = value if isinstance(value, int | float) and not isinstance(value, bool) else 0.0
    return {"token": text, "logprob": value, "bytes": list(text.encode("utf-8", "replace"))}


def write_logprobs(value: Any) -> dict[str, Any] | None:
    """The `logprobsResult` of the canonical form; None where it holds none."""
    content = value.get("content") if isinstance(value, dict) else None
    if not isinstance(content, list) or not content:
        return None
    chosen, tops = [], []
    for entry in content:
        if not isinstance(entry, dict):
            return None
        chosen.append(_write_token(entry))
        others = entry.get("top_logprobs")
        others = others if isinstance(others, list) else []
        tops.append({"candidates": [_write_token(other) for other in others if isinstance(other, dict)]})
    return {"chosenCandidates": chosen, "topCandidates": tops}


def _write_token(entry: dict[str, Any]) -> dict[str, Any]:
    return {"token": entry.get("token", ""), "logProbability": entry.get("logprob", 0.0)}
