"""The fake's small tasks: moderation as OpenAI and Mistral answer it, reranking as Cohere, Jina and Voyage do."""

import re
from typing import Any

from freehold.errors import BadRequest
from freehold.fake.answer import ID, tokens
from freehold.fake.ask import Ask
from freehold.fake.made import Made, need
from freehold.fake.openai import vector
from freehold.fake.speak import encode

_CATEGORIES = (
    "harassment", "harassment/threatening", "hate", "hate/threatening", "illicit", "illicit/violent", "self-harm",
    "self-harm/instructions", "self-harm/intent", "sexual", "sexual/minors", "violence", "violence/graphic",
)  # fmt: skip


_MISTRAL_CATEGORIES = (
    "sexual", "hate_and_discrimination", "violence_and_threats", "dangerous_and_criminal_content", "selfharm", "health",
    "financial", "law", "pii",
)  # fmt: skip


def moderations(ask: Ask, given: dict[str, Any]) -> Made:
    inputs = given.get("input")
    texts = inputs if isinstance(inputs, list) and all(isinstance(one, str) for one in inputs) else [inputs]
    if not inputs:
        raise BadRequest("Missing required parameter: 'input'.", param="input")
    if ask.route.path.startswith("/mistral/"):
        return _mistral(ask, inputs if isinstance(inputs, list) else [inputs])
    results = [_verdict(one if isinstance(one, str) else encode(one).decode()) for one in texts]
    return Made([encode({"id": f"modr-{ID}", "model": ask.model, "results": results})])


def _mistral(ask: Ask, inputs: list[Any]) -> Made:
    """A category is met where its first word stands in the text, or the talk."""
    results = []
    for one in inputs:
        text = (one if isinstance(one, str) else encode(one).decode()).lower()
        found = {name: name.partition("_")[0] in text for name in _MISTRAL_CATEGORIES}
        scores = {name: 0.99 if met else 0.001 for name, met in found.items()}
        results.append({"categories": found, "category_scores": scores})
    return Made([encode({"id": f"{ID}{ID}", "model": ask.model, "results": results})])


def _verdict(text: str) -> dict[str, Any]:
    """A category is met where its first word stands in the text."""
    found = {name: name.partition("/")[0] in text.lower() and "/" not in name for name in _CATEGORIES}
    return {
        "flagged": any(found.values()),
        "categories": found,
        "category_scores": {name: 0.99 if met else 0.001 for name, met in found.items()},
        "category_applied_input_types": {name: ["text"] for name in _CATEGORIES},
    }


def rerank(ask: Ask, given: dict[str, Any]) -> Made:
    query, documents = need(given, "query"), need(given, "documents", list)
    texts = [one if isinstance(one, str) else str(one.get("text", "")) for one in documents]
    wanted = vector(query)
    scores = [max(0.0, sum(a * b for a, b in zip(wanted, vector(text), strict=True))) for text in texts]
    order = sorted(range(len(texts)), key=lambda index: -scores[index])
    most = given.get("top_n") or given.get("top_k") or len(order)
    billed = tokens(query) + sum(map(tokens, texts))
    results: list[dict[str, Any]] = [{"index": i, "relevance_score": round(scores[i], 6)} for i in order[:most]]
    if given.get("return_documents"):
        for result in results:
            result["document"] = {"text": texts[result["index"]]}
    if "/v2/" in ask.route.path:
        meta = {"api_version": {"version": "2"}, "billed_units": {"search_units": 1}}
        return Made([encode({"id": ID, "results": results, "meta": meta})], input_tokens=billed)
    usage = {"total_tokens": billed}
    if "top_k" in given or re.match(r"rerank-(?:\d|lite)", ask.model):
        for result in results:
            if "document" in result:
                result["document"] = result["document"]["text"]
        body = {"object": "list", "data": results, "model": ask.model, "usage": usage}
    else:
        body = {"model": ask.model, "object": "list", "usage": usage, "results": results}
    return Made([encode(body)], input_tokens=billed)
