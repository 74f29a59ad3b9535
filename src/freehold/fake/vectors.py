"""Embeddings as Cohere, Bedrock's makers, Voyage, Jina and Ollama answer them.

Each refuses more inputs than the provider takes in one call (Cohere 96, Voyage 1,000, Jina 2,048, Titan and Nova one),
so a client that does not split is found out.
"""

import base64
import struct
from typing import Any

from freehold.errors import BadRequest
from freehold.fake.answer import ID, tokens
from freehold.fake.ask import Ask
from freehold.fake.made import Made, need
from freehold.fake.openai import DIMENSIONS, vector
from freehold.fake.speak import JSON_TYPE, encode

TOKENS_HEADER = b"x-amzn-bedrock-input-token-count"


def _billed(texts: list[str]) -> int:
    return sum(max(1, tokens(text)) for text in texts)


def _width(given: dict[str, Any], name: str) -> int:
    width = given.get(name) or DIMENSIONS
    if type(width) is not int or not 0 < width <= 4096:
        raise BadRequest(f"{name} must be 1 to 4096", param=name)
    return width


def _limited(texts: list[Any], most: int, name: str) -> None:
    if not 0 < len(texts) <= most:
        raise BadRequest(f"{name} must hold 1 to {most} inputs, not {len(texts)}", param=name)


# Cohere


def cohere(ask: Ask, given: dict[str, Any]) -> Made:
    texts = _cohere_texts(given)
    made = [vector(text, _width(given, "output_dimension")) for text in texts]
    billed = _billed(texts)
    meta = {
        "api_version": {"version": "2" if "/v2/" in ask.route.path else "1"},
        "billed_units": {"input_tokens": billed},
    }
    body: dict[str, Any] = {"id": ID, "texts": texts, "meta": meta}
    return Made([encode(body | _cohere_form(given, made, "/v2/" in ask.route.path))], input_tokens=billed)


def _cohere_texts(given: dict[str, Any]) -> list[str]:
    texts = given.get("texts") or [
        part.get("text", "image") for one in given.get("inputs") or () for part in one.get("content", ())
    ]
    _limited(texts, 96, "texts")
    return [str(text) for text in texts]


def _cohere_form(given: dict[str, Any], made: list[list[float]], by_type: bool) -> dict[str, Any]:
    if given.get("embedding_types") or by_type:
        return {"response_type": "embeddings_by_type", "embeddings": {"float": made}}
    return {"response_type": "embeddings_floats", "embeddings": made}


# Bedrock


def invoke(ask: Ask, given: dict[str, Any]) -> Made:
    """InvokeModel for embeddings. Only Titan tells its tokens in the body, all do in a header."""
    if "model" in given:
        raise BadRequest("Malformed input request: extraneous key [model] is not permitted")
    if "texts" in given or "inputs" in given:
        texts = _cohere_texts(given)
        need(given, "input_type")
        body = {"id": ID, "texts": texts} | _cohere_form(given, [vector(text) for text in texts], False)
    elif "singleEmbeddingParams" in given:
        if given.get("taskType") != "SINGLE_EMBEDDING":
            raise BadRequest("Malformed input request: taskType is missing")
        params = need(given, "singleEmbeddingParams", dict)
        texts = [str((params.get("text") or {}).get("value", "image"))]
        made = vector(texts[0], _width(params, "embeddingDimension"))
        body = {"embeddings": [{"embeddingType": "TEXT", "embedding": made}]}
    else:
        texts = [need(given, "inputText")]
        body = {"embedding": vector(texts[0], _width(given, "dimensions")), "inputTextTokenCount": _billed(texts)}
    billed = _billed(texts)
    return Made([encode(body)], JSON_TYPE, input_tokens=billed, headers=[(TOKENS_HEADER, b"%d" % billed)])


# Voyage and Jina


def voyage(ask: Ask, given: dict[str, Any]) -> Made:
    texts = given.get("input")
    texts = [texts] if isinstance(texts, str) else texts if isinstance(texts, list) else []
    return _openai_like(ask, given, [str(text) for text in texts], 1000, "output_dimension")


def voyage_multimodal(ask: Ask, given: dict[str, Any]) -> Made:
    inputs = need(given, "inputs", list)
    texts = [" ".join(str(part.get("text", "image")) for part in one.get("content", ())) for one in inputs]
    return _openai_like(ask, given, texts, 1000, "output_dimension")


def jina(ask: Ask, given: dict[str, Any]) -> Made:
    given_texts = given.get("input")
    texts = given_texts if isinstance(given_texts, list) else [given_texts] if given_texts else []
    words = [one if isinstance(one, str) else str(one.get("text", "image")) for one in texts]
    return _openai_like(ask, given, words, 2048, "dimensions")


def _openai_like(ask: Ask, given: dict[str, Any], texts: list[str], most: int, width: str) -> Made:
    _limited(texts, most, "input")
    shown: list[Any] = [vector(text, _width(given, width)) for text in texts]
    if "base64" in (given.get("encoding_format"), given.get("output_encoding"), given.get("embedding_type")):
        shown = [base64.b64encode(struct.pack(f"<{len(one)}f", *one)).decode() for one in shown]
    billed = _billed(texts)
    rows = [{"object": "embedding", "index": i, "embedding": one} for i, one in enumerate(shown)]
    body = {"object": "list", "data": rows, "model": ask.model, "usage": {"total_tokens": billed}}
    return Made([encode(body)], input_tokens=billed)


# Ollama


def ollama(ask: Ask, given: dict[str, Any]) -> Made:
    if ask.operation == "ollama_embed_old":
        text = need(given, "prompt")
        return Made([encode({"embedding": vector(text)})], input_tokens=tokens(text))
    texts = given.get("input")
    texts = [texts] if isinstance(texts, str) else need(given, "input", list)
    made = [vector(text, _width(given, "dimensions")) for text in texts]
    billed = _billed(texts)
    times = {"total_duration": 2_000_000, "load_duration": 1_000_000}
    body = {"model": ask.model, "embeddings": made, **times, "prompt_eval_count": billed}
    return Made([encode(body)], input_tokens=billed)
