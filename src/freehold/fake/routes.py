"""Which operation a request target names, and whose words it is answered in.

Paths are matched by their end, so that base URLs with and without `/v1`, and those of compatible hosts (`/openai/v1`,
`/api/v1`, Azure's deployments, Vertex' long ones) all work. Mistral, Voyage and Jina ask on OpenAI's paths: they are
told apart by a segment in front, as in `/mistral/v1/chat/completions`.
"""

import re
from typing import Literal
from urllib.parse import parse_qs, unquote

from msgspec import Struct

from freehold.errors import NotFound

Operation = Literal[
    "chat", "completions", "embeddings", "responses", "messages", "count_tokens", "generate", "gemini_count",
    "gemini_embed", "gemini_embed_batch", "models", "model", "gemini_models", "gemini_model", "control",
    "converse", "invoke", "cohere_chat", "cohere_embed", "mistral_chat", "ollama_chat", "ollama_generate",
    "ollama_embed", "ollama_embed_old", "ollama_tags", "ollama_version", "voyage_embed", "voyage_multimodal",
    "jina_embed", "rerank", "moderations", "predict", "images", "image_edits", "image_variations", "speech",
    "transcriptions", "translations",
]  # fmt: skip
Family = Literal["openai", "responses", "anthropic", "gemini", "bedrock", "cohere", "mistral", "ollama"]
"""Whose errors are written, and whose header carries the key."""

FAMILY: dict[str, Family] = {
    "messages": "anthropic",
    "count_tokens": "anthropic",
    "responses": "responses",
    "generate": "gemini",
    "gemini_count": "gemini",
    "gemini_embed": "gemini",
    "gemini_embed_batch": "gemini",
    "gemini_models": "gemini",
    "gemini_model": "gemini",
    "predict": "gemini",
    "converse": "bedrock",
    "invoke": "bedrock",
    "cohere_chat": "cohere",
    "cohere_embed": "cohere",
    "mistral_chat": "mistral",
    "ollama_chat": "ollama",
    "ollama_generate": "ollama",
    "ollama_embed": "ollama",
    "ollama_embed_old": "ollama",
    "ollama_tags": "ollama",
    "ollama_version": "ollama",
}
"""What is not listed is OpenAI's, or a copy of it."""
DIALECT: dict[str, str] = {
    "count_tokens": "messages",
    "model": "models",
    "control": "",
    "cohere_chat": "cohere",
    "mistral_chat": "mistral",
    "ollama_chat": "ollama",
    "ollama_generate": "ollama",
    "voyage_embed": "embeddings",
    "voyage_multimodal": "embeddings",
    "jina_embed": "embeddings",
    "ollama_embed": "embeddings",
    "ollama_embed_old": "embeddings",
} | {name: "gemini" for name, family in FAMILY.items() if family == "gemini"}
"""The name of an operation in rules and in the bill, where it is not its own."""


class Route(Struct, frozen=True):
    operation: Operation
    model: str = ""
    """Where it stands in the path; "" where the body names it."""
    stream: bool = False
    sse: bool = True
    """Whether a stream is one of server-sent events."""
    key: str = ""
    """Gemini's `?key=`."""
    path: str = ""
    dialect: str = ""
    """The name of the operation in rules and in the bill."""
    cloud: Literal["", "azure", "vertex"] = ""
    """Whose rules for the request hold besides the dialect's."""


_ENDS: tuple[tuple[str, Operation], ...] = (
    ("/chat/completions", "chat"),
    ("/completions", "completions"),
    ("/multimodalembeddings", "voyage_multimodal"),
    ("/api/embeddings", "ollama_embed_old"),
    ("/embeddings", "embeddings"),
    ("/responses", "responses"),
    ("/messages/count_tokens", "count_tokens"),
    ("/messages", "messages"),
    ("/images/generations", "images"),
    ("/images/edits", "image_edits"),
    ("/images/variations", "image_variations"),
    ("/audio/speech", "speech"),
    ("/audio/transcriptions", "transcriptions"),
    ("/audio/translations", "translations"),
    ("/moderations", "moderations"),
    ("/rerank", "rerank"),
    ("/v1/embed", "cohere_embed"),
    ("/v2/embed", "cohere_embed"),
    ("/v2/chat", "cohere_chat"),
    ("/api/chat", "ollama_chat"),
    ("/api/generate", "ollama_generate"),
    ("/api/embed", "ollama_embed"),
    ("/api/tags", "ollama_tags"),
    ("/api/version", "ollama_version"),
)
_PREFIXED: dict[tuple[str, str], Operation] = {
    ("mistral", "chat"): "mistral_chat",
    ("voyage", "embeddings"): "voyage_embed",
    ("jina", "embeddings"): "jina_embed",
}
"""The first segment of the path, and what would be asked without it."""
_NO_SSE = frozenset({"ollama_chat", "ollama_generate", "converse"})
_GEMINI: dict[str, tuple[Operation, bool]] = {
    "generateContent": ("generate", False),
    "streamGenerateContent": ("generate", True),
    "countTokens": ("gemini_count", False),
    "embedContent": ("gemini_embed", False),
    "batchEmbedContents": ("gemini_embed_batch", False),
    "predict": ("predict", False),
}
_VERTEX_CLAUDE = {"rawPredict": False, "streamRawPredict": True}
_BEDROCK: dict[str, tuple[Operation, bool]] = {
    "converse": ("converse", False),
    "converse-stream": ("converse", True),
    "invoke": ("invoke", False),
}
_MODEL_PATH = re.compile(r"/models/([^:]+)(?::(\w+))?$")
_BEDROCK_PATH = re.compile(r"/model/([^/]+)/([a-z-]+)$")
_DEPLOYMENT = re.compile(r"/openai/deployments/([^/]+)/")


def route(url: bytes) -> Route:
    """Finds the operation of a request target. Raises NotFound for paths no provider here has."""
    path, _, query = url.decode("latin-1").partition("?")
    path = "/" + path.strip("/")
    if path.startswith("/__fake__"):
        return Route("control", path=path)
    options = {name: values[0] for name, values in parse_qs(query).items()}
    found = _by_end(path, options) or _by_model(path, options)
    if found is None:
        raise NotFound(
            f"no such path: {path}",
            hint="try /v1/chat/completions, /v1/messages or /v1beta/models/MODEL:generateContent",
        )
    return found


def made(operation: Operation, path: str = "", **fields: object) -> Route:
    """A route with the operation's name in the bill."""
    return Route(operation, path=path, dialect=DIALECT.get(operation, operation), **fields)  # type: ignore[arg-type]


def _by_end(path: str, options: dict[str, str]) -> Route | None:
    for end, operation in _ENDS:
        if path.endswith(end):
            operation = _PREFIXED.get((path.split("/", 2)[1], operation), operation)
            deployment = _DEPLOYMENT.search(path)
            if deployment is None:
                return made(operation, path, sse=operation not in _NO_SSE)
            if "api-version" not in options:
                raise NotFound("Resource not found", hint="Azure's deployments need ?api-version=")
            return made(operation, path, model=unquote(deployment[1]), cloud="azure")
    return None


def _by_model(path: str, options: dict[str, str]) -> Route | None:
    key = options.get("key", "")
    google = "/v1beta" in path or "/v1alpha" in path or bool(key)
    if path.endswith("/models"):
        return made("gemini_models" if google else "models", path, key=key)
    if found := _BEDROCK_PATH.search(path):
        if found[2] not in _BEDROCK:
            return None
        operation, stream = _BEDROCK[found[2]]
        return made(operation, path, model=unquote(found[1]), stream=stream, sse=False)
    if not (found := _MODEL_PATH.search(path)):
        return None
    model, verb = unquote(found[1]), found[2]
    cloud = "vertex" if "/publishers/" in path else ""
    if verb in _GEMINI:
        operation, stream = _GEMINI[verb]
        sse = options.get("alt") == "sse" or not stream
        return made(operation, path, model=model, stream=stream, sse=sse, key=key, cloud=cloud)
    if verb in _VERTEX_CLAUDE and cloud:
        if model == "count-tokens":
            return made("count_tokens", path, cloud=cloud)
        return made("messages", path, model=model, stream=_VERTEX_CLAUDE[verb], cloud=cloud)
    if verb is None:
        return made("gemini_model" if google else "model", path, model=model, key=key)
    return None
