"""Who speaks what: the dialects by name, as clients use them and as providers do."""

from collections.abc import Mapping
from types import ModuleType

from freehold.dialects import (
    audio,
    chat,
    cohere,
    completions,
    converse,
    gemini,
    images,
    messages,
    mistral,
    moderations,
    ollama,
    rerank,
    responses,
)
from freehold.dialects.ollama import generate

CLIENT: Mapping[str, ModuleType] = {
    "chat": chat,
    "completions": completions,
    "responses": responses,
    "messages": messages,
    "gemini": gemini,
    "cohere": cohere,
    "mistral": mistral,
    "ollama": ollama,
    "ollama_generate": generate,
}
"""Conversations, as clients hold them."""

PROVIDER: Mapping[str, ModuleType] = {
    "chat": chat,
    "responses": responses,
    "messages": messages,
    "gemini": gemini,
    "converse": converse,
    "cohere": cohere,
    "mistral": mistral,
    "ollama": ollama,
}
"""Conversations, as providers hold them."""

ERRORS: Mapping[str, ModuleType] = {
    **CLIENT,
    "embeddings": chat,
    "rerank": rerank,
    "moderations": moderations,
    "images": images,
    "audio": audio,
}
"""Who renders an error for which client."""
