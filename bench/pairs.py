"""A row for each pair of client and provider dialect: CPU per request, whole and per event of a stream.

Relays of the same dialect stand among the translations, so that the table shows what a translation adds.
"""

import json
from collections.abc import Callable

from bench.load import PROMPT

EVENTS = 64
CLIENTS = ("chat", "responses", "messages", "gemini")
PROVIDERS = ("openai", "anthropic", "gemini")

Cost = Callable[[str, str], tuple[float, float]]
"""(path, body) -> CPU microseconds per request, requests per second."""


def request(client: str, model: str, *, stream: bool) -> tuple[str, str]:
    """Path and body of a request of about 1 KB."""
    text = PROMPT[:800]
    if client == "gemini":
        method = "streamGenerateContent?alt=sse" if stream else "generateContent"
        return f"/v1beta/models/{model}:{method}", json.dumps(
            {"contents": [{"role": "user", "parts": [{"text": text}]}]}
        )
    if client == "responses":
        return "/v1/responses", json.dumps({"model": model, "input": text, "stream": stream, "store": False})
    path = "/v1/messages" if client == "messages" else "/v1/chat/completions"
    body = {"model": model, "max_tokens": 200, "stream": stream, "messages": [{"role": "user", "content": text}]}
    return path, json.dumps(body)


def table(cost: Cost, row: Callable[[str, str, str], None]) -> dict[str, float]:
    """Prints the rows; returns the figures by name. A stream's cost is all of the request's, over its events."""
    figures: dict[str, float] = {}
    for provider in PROVIDERS:
        for client in CLIENTS:
            whole = cost(*request(client, f"{provider}/fake", stream=False))[0]
            event = cost(*request(client, f"{provider}/fake-events-{EVENTS}", stream=True))[0] / EVENTS
            same = (client, provider) in _RELAYED
            goal = "relay, at most 20" if same else "at most 40 more than the relay"
            row(f"{client} client, {provider} upstream", f"{whole:.0f} us, {event:.1f} us/event", goal)
            figures |= {f"{client}_{provider}_us": whole, f"{client}_{provider}_event_us": event}
    return figures


_RELAYED = {("chat", "openai"), ("responses", "openai"), ("messages", "anthropic"), ("gemini", "gemini")}
