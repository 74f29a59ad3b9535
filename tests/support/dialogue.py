"""Conversations in every client dialect: what is asked, and what an answer says, streamed or not."""

import json
from typing import Any

CLIENTS = ("chat", "completions", "responses", "messages", "gemini", "ollama", "ollama_generate", "cohere", "mistral")
PROVIDERS = ("openai", "anthropic", "gemini", "cohere", "mistral")


def body_of(client: str, *texts: str) -> dict[str, Any]:
    """A request whose turns say these texts, the user's first."""
    roles = ["user", "assistant"] * len(texts)
    turns = list(zip(roles, texts, strict=False))
    if client == "gemini":
        return {"contents": [{"role": {"user": "user"}.get(r, "model"), "parts": [{"text": t}]} for r, t in turns]}
    if client in ("completions", "ollama_generate"):
        return {"prompt": "\n".join(texts)}
    messages = [{"role": role, "content": text} for role, text in turns]
    if client == "responses":
        return {"input": messages}
    return {"messages": messages, **({"max_tokens": 999} if client == "messages" else {})}


def said(body: bytes) -> str:
    """All that an answer says: the strings of its events joined by the field they stand in, which is how pieces of one
    text come together again."""
    texts: dict[tuple[str, ...], list[str]] = {}

    def walk(value: Any, here: tuple[str, ...]) -> None:
        if isinstance(value, str):
            texts.setdefault(here, []).append(value)
        elif isinstance(value, dict):
            for key, inner in value.items():
                walk(inner, (*here, key))
        elif isinstance(value, list):
            for inner in value:
                walk(inner, here)

    try:
        walk(json.loads(body), ())
    except ValueError:
        for line in body.decode().splitlines():
            data = line.removeprefix("data:").strip()
            if data.startswith(("{", "[{")):
                event = json.loads(data)
                walk(event, (str(event.get("type", "")),))
    return "\n".join("".join(pieces) for pieces in texts.values())
