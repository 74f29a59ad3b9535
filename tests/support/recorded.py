"""Recorded provider exchanges: which of them can be replayed, what each says, and why the others are left out."""

import gzip
import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from readings import STREAM, WHOLE, Failure, Truth, events, parsed

__all__ = ["FILE", "Exchange", "Recording", "Truth", "events", "exchanges", "left_out", "parsed", "recordings", "rows"]

FILE = Path(__file__).parents[3] / "shared" / "recorded" / "exchanges.jsonl.gz"

HOSTS = {
    "api.openai.com": "openai",
    "pydantic-ai-realtime-dev.openai.azure.com": "openai",
    "pydanticai7521574644.openai.azure.com": "openai",
    "api.anthropic.com": "anthropic",
    "generativelanguage.googleapis.com": "gemini",
    "aiplatform.googleapis.com": "gemini",
    "europe-west4-aiplatform.googleapis.com": "gemini",
    "api.groq.com": "groq",
    "api.mistral.ai": "mistral",
    "api.deepseek.com": "deepseek",
    "api.z.ai": "zai",
    "api.cerebras.ai": "cerebras",
    "api.cohere.com": "cohere",
    "openrouter.ai": "openrouter",
    "router.huggingface.co": "huggingface",
    "ollama.com": "ollama",
    "bedrock-runtime.us-east-1.amazonaws.com": "bedrock",
    "api.voyageai.com": "voyage",
}
"""Host: the provider's name in providers.toml, or one of our own."""
COMPATIBLE = "compatible"
"""A provider without a row of its own: somebody's copy of OpenAI's chat."""


def provider_at(host: str) -> str:
    """The provider of a host, one that stands in no list included: clouds have hosts for every region and customer."""
    if host in HOSTS:
        return HOSTS[host]
    if host.startswith("bedrock-runtime"):
        return "bedrock"
    if host.endswith(".azure.com"):
        return "openai"
    return "gemini" if host.endswith("aiplatform.googleapis.com") else COMPATIBLE


class Recording(NamedTuple):
    """One recorded answer to a conversation. `truth` is None where it is an error, its status then 400 or more, or
    200 for one inside a stream."""

    number: int
    name: str
    host: str
    provider: str
    dialect: str
    streamed: bool
    status: int
    body: str
    truth: Truth | None
    request: dict[str, Any] | None
    uri: str

    @property
    def content_type(self) -> str:
        return "text/event-stream" if self.streamed else "application/json"


class LeftOut(NamedTuple):
    number: int
    what: str
    reason: str


@cache
def rows() -> tuple[dict[str, Any], ...]:
    """Every recorded exchange, as it stands in the file; none where the file is absent."""
    if not FILE.exists():
        return ()
    with gzip.open(FILE, "rt") as lines:
        return tuple(json.loads(line) for line in lines)


@cache
def recordings() -> tuple[Recording, ...]:
    """Every answer to a conversation that can be replayed."""
    return _sorted_out()[0]


@cache
def left_out() -> tuple[LeftOut, ...]:
    """Every other exchange, with its reason."""
    return _sorted_out()[1]


@cache
def _sorted_out() -> tuple[tuple[Recording, ...], tuple[LeftOut, ...]]:
    kept, left = [], []
    for number, row in enumerate(rows()):
        found = _recording(number, row)
        if isinstance(found, str):
            left.append(LeftOut(number, f"{row['method'].upper()} {row['host']}{_general(row['uri'])}", found))
        else:
            kept.append(found)
    return tuple(kept), tuple(left)


def dialect_of(row: dict[str, Any]) -> str | None:
    """In which dialect an exchange asks and answers; None: it is no conversation."""
    path = urlsplit(row["uri"]).path
    if path.endswith("/chat/completions"):
        return "chat"
    if path.endswith("/responses") or "/responses/resp_" in path:
        return "responses"
    if path.endswith("/v1/messages"):
        return "messages"
    if path.endswith(("generateContent", "streamGenerateContent")):
        return "gemini"
    if path.endswith(("/converse", "/converse-stream")):
        return "converse"
    if path.endswith("/v2/chat"):
        return "cohere"
    if path.endswith("/invoke") and "anthropic." in path:
        return "messages"
    return None


def _recording(number: int, row: dict[str, Any]) -> Recording | str:
    """The recording, or why it is none."""
    dialect = dialect_of(row)
    if dialect is None:
        return "no conversation: " + _operation(row)
    streamed = bool(row.get("response_text"))
    if not streamed and row.get("response") is None:
        return "the recording has no body (binary frames were not kept)"
    reply = row.get("response")
    if (
        row["status"] == 200
        and dialect == "responses"
        and not streamed
        and reply["status"] in ("queued", "in_progress")
    ):
        return "a background response that has not been answered yet"
    if streamed and row["method"] == "GET":
        return "a stream resumed in its middle"
    body = row["response_text"] if streamed else json.dumps(reply, ensure_ascii=False)
    truth = None
    if row["status"] == 200:
        try:
            truth = (STREAM if streamed else WHOLE)[dialect](body)
        except Failure:
            truth = None
    name = f"{number}-{row['source'].split('/')[-1].removesuffix('.yaml')}"
    provider = provider_at(row["host"])
    return Recording(
        number, name, row["host"], provider, dialect, streamed, row["status"], body, truth, row["request"], row["uri"]
    )


def _general(uri: str) -> str:
    path = urlsplit(uri).path
    return "/".join("*" if any(c.isdigit() for c in part) and len(part) > 12 else part for part in path.split("/"))


def _operation(row: dict[str, Any]) -> str:
    path = urlsplit(row["uri"]).path.lower()
    for word, name in _OPERATIONS.items():
        if word in path:
            return name
    return "another operation"


_OPERATIONS = {
    "embed": "embeddings",
    "count": "token counts",
    "input_tokens": "token counts",
    "realtime": "realtime sessions",
    "filesearchstore": "file search stores",
    "files": "files",
    "conversations": "stored conversations",
    "compact": "compaction of a response",
    "models": "lists of models",
    "invoke": "embeddings",
}


# What tests of single dialects use: the answers of three providers, without what those tests do not look at


class Exchange(NamedTuple):
    name: str
    provider: str
    content_type: str
    body: bytes
    truth: Truth


_THREE = {("openai", "chat"), ("anthropic", "messages"), ("gemini", "gemini")}


def exchanges() -> Iterator[Exchange]:
    """Every complete chat answer of OpenAI, Anthropic and Gemini, whole and streamed."""
    for one in recordings():
        truth = one.truth
        if truth is None or (one.provider, one.dialect) not in _THREE or truth.finish not in _PLAIN:
            continue
        if one.host.startswith("generativelanguage") or one.provider != "gemini":
            yield Exchange(one.name, one.provider, one.content_type, one.body.encode(), truth)


_PLAIN = ("stop", "length", "tool_calls")
