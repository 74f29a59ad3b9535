"""One request for each path that a model answers at, with a canary in every place that can hold one.

The paths are read from the gateway, so a new one without a row is an error. Places are all strings of a request that
uses nearly everything its dialect has (tests/support/whole_requests.py), fields that nobody knows, and parts of the
request around the body: headers, query, file names. Which of them can be filled without the request being refused is
tried out first (tests/noninterference/fill.py), not written down.
"""

import base64
import copy
import json
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from canaries import Place, places
from whole_requests import PDF, PIXEL, REQUESTS, WAV

from freehold.serve import endpoints

PREFIXES = ("/v1/v1", "/mistral/v1", "/v1", "")
_NAMED: dict[str, str] = {
    "/chat/completions": "chat",
    "/completions": "completions",
    "/responses": "responses",
    "/responses/input_tokens": "input_tokens",
    "/messages": "messages",
    "/messages/count_tokens": "count_tokens",
    "/embeddings": "embeddings",
    "/rerank": "rerank",
    "/moderations": "moderations",
    "/chat/moderations": "moderations",
    "/images/generations": "images",
    "/images/edits": "edits",
    "/images/variations": "variations",
    "/audio/speech": "speech",
    "/audio/transcriptions": "transcriptions",
    "/audio/translations": "translations",
    "/v2/chat": "cohere",
    "/mistral/v1/chat/completions": "mistral",
    "/v2/rerank": "rerank",
    "/api/chat": "ollama",
    "/api/generate": "ollama_generate",
    "/api/embed": "ollama_embed",
    "/api/embeddings": "ollama_embed_old",
}
GEMINI: dict[str, str] = {
    "generateContent": "gemini",
    "streamGenerateContent": "gemini",
    "countTokens": "gemini_count",
    "embedContent": "gemini_embed",
    "batchEmbedContents": "gemini_embed_batch",
}
_FILE = b"\x89PNG\r\n\x1a\n" + bytes(8)
_SOUND = b"RIFF\x24\0\0\0WAVEfmt "
_MORE: dict[str, dict[str, Any]] = {
    "input_tokens": {
        name: REQUESTS["responses"][name] for name in ("model", "instructions", "input", "tools", "tool_choice")
    },
    "ollama_embed_old": {"prompt": "hello", "options": {}, "keep_alive": "5m"},
    "moderations": {"input": [{"type": "text", "text": "hello"}, {"type": "text", "text": "you"}]},
    "edits": {"prompt": "more", "user": "u", "image": _FILE, "mask": _FILE},
    "variations": {"user": "u", "image": _FILE},
    "transcriptions": {"prompt": "names", "file": _SOUND, "temperature": "0"},
    "translations": {"prompt": "names", "file": _SOUND, "temperature": "0"},
}
FORMS = frozenset({"edits", "variations", "transcriptions", "translations"})
TALKS = frozenset(
    {"chat", "completions", "responses", "messages", "gemini", "cohere", "mistral", "ollama", "ollama_generate"}
)


class Row(NamedTuple):
    """One path. `{model}` in it stands for the model, elsewhere the body names it."""

    path: str
    name: str
    streams: str = ""
    """The path of its streams, "" where it has none."""

    @property
    def body(self) -> dict[str, Any]:
        return copy.deepcopy(_MORE.get(self.name) or REQUESTS[self.name])

    @property
    def talks(self) -> bool:
        return self.name in TALKS


def rows() -> list[Row]:
    """Every path that a model answers at. Raises AssertionError for one of which nothing is known here."""
    found = []
    for path in endpoints._PATHS:
        ends = (path.removeprefix(prefix) for prefix in PREFIXES if path.startswith(prefix))
        name = _NAMED.get(path) or next((_NAMED[end] for end in ends if end in _NAMED), None)
        assert name is not None, f"{path} is an endpoint without a row in tests/support/rows.py"
        found.append(Row(path, name, path if name in TALKS else ""))
    for version in ("v1beta", "v1"):
        for method, name in GEMINI.items():
            path = f"/{version}/models/{{model}}:{method}"
            if endpoints.find(path.format(model="a/b"), b"") is not None:
                streams = path + "?alt=sse" if method.startswith("stream") else ""
                found.append(Row(path, name, streams))
    return found


def usual(found: list[Row]) -> list[Row]:
    """One row for each endpoint: the same endpoint on other paths is left out."""
    seen: dict[str, Row] = {}
    for row in sorted(found, key=lambda row: (not row.path.startswith(("/v1/", "/v1beta")), "/v1/v1" in row.path)):
        key = row.path.rpartition(":")[2] if "{model}" in row.path else row.name
        seen.setdefault(key, row)
    return list(seen.values())


Writer = Callable[[], str]
"""Returns a new canary."""


def filled(body: dict[str, Any], where: list[Place], new: Writer) -> dict[str, Any]:
    """A copy of `body` with a canary at each of the places."""
    made = copy.deepcopy(body)
    for place in where:
        holder: Any = made
        for part in place[:-1]:
            holder = holder[part]
        holder[place[-1]] = _with(holder[place[-1]], new())
    return made


def _with(value: Any, canary: str) -> Any:
    if isinstance(value, bytes):
        return value + canary.encode()
    if value in (PIXEL, PDF, WAV):
        return _coded(value, canary)
    if value.startswith("data:") and ";base64," in value:
        head, _, data = value.partition(";base64,")
        return f"{head};base64,{_coded(data, canary)}"
    if value.startswith("{"):
        return json.dumps({**json.loads(value), "note": f"it is {canary}"})
    return f"{value} {canary}" if value else canary


def _coded(data: str, canary: str) -> str:
    return base64.b64encode(base64.b64decode(data + "=" * (-len(data) % 4)) + canary.encode()).decode()


def free(body: dict[str, Any]) -> list[Place]:
    """Every place of a body where a canary could stand: strings, and files of a form."""
    return [*places(body), *((name,) for name, value in body.items() if isinstance(value, bytes))]


def unknown(new: Writer) -> Iterator[tuple[str, Any]]:
    """Fields that no API has."""
    yield "x_nobody_knows", {"deep": [new(), {new(): new()}]}
    yield new(), True
