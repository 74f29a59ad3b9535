"""Requests that would crash, exhaust or stall llama.cpp, refused before they reach it.

Tried against the pinned engine (xllamacpp 2026.10.11549) with a tiny model. It answers a clean 400 to malformed JSON,
wrong types, tokens outside the vocabulary, a prompt longer than its context (`exceed_context_size_error`), `n` over the
number of parallel slots and most impossible numbers; a huge `max_tokens` ends at the context; a client that leaves
frees its slot. What it does not survive, or not well:

    a JSON schema nested 10,000 deep          SIGSEGV: the recursion has no limit (3,000 deep: 2 s)
    a grammar of 100,000 brackets             SIGSEGV
    `enum` of 10,000 / 20,000 strings         7 s / 21 s on one core, for one request
    1,000 optional properties                 3 s, growing with the square
    `repeat_last_n`, `dry_penalty_last_n`     allocated as given: 1e9 takes 4 GB per slot, the kernel kills the process
    `top_logprobs`, `n_probs`                 no limit: the whole vocabulary for every token

The worker's own memory limit (llamacpp_worker.py) makes the allocations fail cleanly should anything like them remain.
A slow sender holds one of the engine's HTTP threads; the gateway sends whole bodies, so only a local process could.

It answers 500 to some mistakes that are the caller's (tools it cannot parse, images for a model without eyes, an input
to embed that is longer than a batch): `callers_fault` tells these from real failures, so that they neither count
against the engine nor are tried elsewhere in vain.
"""

from typing import Any

import msgspec
from msgspec import Struct

from freehold.errors import BadRequest

MAX_DEPTH = 100
MAX_VALUES = 4000
"""Of one schema, counting every member of an object and every element of an array."""
MAX_TOOL_VALUES = 20_000
"""Of all tools together: a coding agent brings a hundred."""
MAX_MEMBERS = 2000
"""Of one object or array."""
MAX_GRAMMAR = 16 << 10
MAX_WINDOW = 1 << 16
"""Tokens that a repetition penalty may look back."""
MAX_LOGPROBS = 100


class _Risky(Struct):
    """The fields that can do harm; msgspec steps over the others."""

    response_format: Any = None
    json_schema: Any = None
    tools: Any = None
    functions: Any = None
    grammar: Any = None
    chat_template_kwargs: Any = None
    repeat_last_n: Any = None
    dry_penalty_last_n: Any = None
    top_logprobs: Any = None
    logprobs: Any = None
    n_probs: Any = None


_DECODER = msgspec.json.Decoder(_Risky)
_NESTED = {
    "response_format": MAX_VALUES,
    "json_schema": MAX_VALUES,
    "chat_template_kwargs": MAX_VALUES,
    "tools": MAX_TOOL_VALUES,
    "functions": MAX_TOOL_VALUES,
}
_CALLERS_FAULT = (
    b"input is not supported",
    b"Failed to parse tools",
    b"Failed to parse messages",
    b"is too large to process",
    b"Unknown reasoning format",
)
_NUMBERS = {
    "repeat_last_n": MAX_WINDOW,
    "dry_penalty_last_n": MAX_WINDOW,
    "top_logprobs": MAX_LOGPROBS,
    "logprobs": MAX_LOGPROBS,
    "n_probs": MAX_LOGPROBS,
}


def guard(body: bytes) -> None:
    """Raises BadRequest, naming the field, for a JSON body that must not reach llama.cpp.

    Anything else that is wrong with the body is left to the engine, which answers it properly.
    """
    try:
        risky = _DECODER.decode(body)
    except RecursionError:
        raise BadRequest("the request is nested too deeply") from None
    except msgspec.DecodeError:
        return
    for name, most in _NESTED.items():
        value = getattr(risky, name)
        if value is not None:
            _check_nesting(name, value, most)
    grammar = risky.grammar
    if isinstance(grammar, str) and len(grammar) > MAX_GRAMMAR:
        raise BadRequest(f"grammar has {len(grammar)} characters, at most {MAX_GRAMMAR} are taken", param="grammar")
    for name, most in _NUMBERS.items():
        value = getattr(risky, name)
        if isinstance(value, int | float) and value > most:
            raise BadRequest(f"{name} is {value:g}, at most {most} is taken", param=name)


def callers_fault(body: bytes) -> bool:
    """Whether a 500 answer of llama.cpp with this body means that the request was wrong."""
    return any(words in body for words in _CALLERS_FAULT)


def _check_nesting(name: str, value: Any, most: int) -> None:
    layer = [value]
    seen = depth = widest = 0
    while layer:
        depth += 1
        containers = [one.values() if isinstance(one, dict) else one for one in layer if isinstance(one, dict | list)]
        layer = [member for container in containers for member in container]
        seen += len(layer)
        widest = max(widest, max(map(len, containers), default=0))
        if depth > MAX_DEPTH:
            raise BadRequest(f"{name} is nested more than {MAX_DEPTH} levels deep", param=name)
        if seen > most or widest > MAX_MEMBERS:
            many = (
                f"more than {most} values" if seen > most else f"an object or list of more than {MAX_MEMBERS} members"
            )
            raise BadRequest(
                f"{name} holds {many}, too much for an owned engine",
                param=name,
                hint="use a smaller schema, fewer tools, or a rented model",
            )
