"""Llama Prompt Guard 2 (Meta): not a moderation but a score for prompt attacks, from a sequence classifier.

Source: https://huggingface.co/meta-llama/Llama-Prompt-Guard-2-86M. It has two classes, benign and malicious, and 512
tokens of context. It does not chat: engines serve it on a classification route, `POST /classify` at vLLM and
`POST /v1/classify` at SGLang, with the answer `{"data": [{"index", "label", "probs", "num_classes"}]}`
(https://docs.vllm.ai/en/stable/models/pooling_models/classify/). llama.cpp and Ollama have no such route: there it is
not served, and the heuristics of check/detect stand alone. Its score belongs to the finding `prompt_injection`.
"""

from collections.abc import Sequence

import msgspec
from msgspec import Struct

from freehold.dialects.wire import MALFORMED

WINDOW = 1_400
"""Characters of a piece, well within 512 tokens of prose."""
OVERLAP = 200
MOST_PIECES = 64
PATHS = ("/classify", "/v1/classify")


class _Class(Struct):
    index: int
    probs: list[float]


class _Reply(Struct):
    data: list[_Class]


_REPLY = msgspec.json.Decoder(_Reply)


def pieces(text: str) -> list[str]:
    """A text in pieces that overlap; of a very long one the head and the tail."""
    found = [text[at : at + WINDOW] for at in range(0, max(1, len(text) - OVERLAP), WINDOW - OVERLAP)]
    half = MOST_PIECES // 2
    return found if len(found) <= MOST_PIECES else found[:half] + found[-half:]


def request(model: str, texts: Sequence[str]) -> bytes:
    """The body."""
    return msgspec.json.encode({"model": model, "input": list(texts)})


def read(body: bytes, count: int) -> list[float] | None:
    """The probability that each of `count` pieces is an attack; None where the answer does not say: it failed."""
    try:
        reply = _REPLY.decode(body)
    except MALFORMED:
        return None
    scores = {one.index: one.probs[1] for one in reply.data if len(one.probs) == 2 and 0.0 <= one.probs[1] <= 1.0}
    return [scores[index] for index in range(count)] if set(scores) == set(range(count)) else None
