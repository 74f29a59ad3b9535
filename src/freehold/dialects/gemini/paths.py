"""Gemini's paths, where the model and the method stand: read from clients, written for providers.

`/v1beta/models/{model}:{method}` at Google AI (https://ai.google.dev/api), and
`/v1/projects/{project}/locations/{location}/publishers/{publisher}/models/{model}:{method}` at Vertex AI
(https://cloud.google.com/vertex-ai/generative-ai/docs/model-reference/inference; without project and location where an
API key says them).
"""

import re
from typing import NamedTuple
from urllib.parse import quote, unquote_to_bytes

METHODS = frozenset(
    {
        "generateContent",
        "streamGenerateContent",
        "countTokens",
        "embedContent",
        "batchEmbedContents",
    }
)
"""The methods this package speaks."""

_PATH = re.compile(
    r"/(?:v1|v1beta|v1beta1|v1alpha)"
    r"(?:/projects/[^/]+/locations/[^/]+)?(?:/publishers/[^/]+)?"
    r"/(?:(?P<kind>models|tunedModels|endpoints)/|(?!models/|tunedModels/|endpoints/))(?P<model>[^?#]+):(?P<method>[A-Za-z]+)"
)


class Call(NamedTuple):
    """`model` as the client names it: without `models/`, with `tunedModels/` and `endpoints/`, escapes undone."""

    model: str
    method: str


def parse_path(path: str) -> Call | None:
    """What a client calls by `path` (without the query, percent-escapes as sent); None for any other path.

    A model may hold slashes and colons (`ollama/qwen3:8b`): the method is what follows the last colon.
    """
    if path.startswith("/v") and "%3A" in path[-40:].upper():  # some clients escape the colon
        head, _, tail = path.replace("%3a", "%3A").rpartition("%3A")
        if tail in METHODS:
            path = f"{head}:{tail}"
    found = _PATH.fullmatch(path)
    if found is None or found["method"] not in METHODS:
        return None
    try:
        model = unquote_to_bytes(found["model"]).decode()
    except UnicodeDecodeError:
        return None
    if not model.strip("/") or (found["kind"] is None and model in ("models/", "tunedModels/", "endpoints/")):
        return None
    # `@ai-sdk/google` leaves `models/` out where a name holds a slash.
    return Call(model if found["kind"] in ("models", None) else f"{found['kind']}/{model}", found["method"])


def path(model: str, stream: bool) -> str:
    """Path and query for `model`, with or without its `models/` prefix."""
    return f"/v1beta/{_resource(model)}:{'streamGenerateContent?alt=sse' if stream else 'generateContent'}"


def count_path(model: str) -> str:
    return f"/v1beta/{_resource(model)}:countTokens"


def _resource(model: str) -> str:
    name = model if model.startswith(("models/", "tunedModels/")) else f"models/{model}"
    return quote(name, safe="/-._~@").replace("..", "%2E%2E")
