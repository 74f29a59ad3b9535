"""Hosts and paths that depend on account, region and deployment.

Azure has two APIs: the classic one names the deployment in the path and its version in the query, the v1 API is
OpenAI's own below `/openai/v1`, the deployment being the model
(https://learn.microsoft.com/azure/ai-foundry/openai/api-version-lifecycle). Vertex names project, location, publisher
and model (https://cloud.google.com/vertex-ai/generative-ai/docs/learn/locations), Bedrock only its region.
"""

from urllib.parse import quote

OPERATIONS = {
    "chat": "chat/completions",
    "completions": "completions",
    "embeddings": "embeddings",
    "responses": "responses",
    "images": "images/generations",
    "images.edits": "images/edits",
    "audio.speech": "audio/speech",
    "audio.transcriptions": "audio/transcriptions",
    "audio.translations": "audio/translations",
    "models": "models",
}
"""Our names of the operations, and the paths that Azure has for them."""

_WITHOUT_DEPLOYMENT = {"responses", "models"}


def azure_path(operation: str, deployment: str, api_version: str | None = None) -> str:
    """Path and query of an operation (a key of OPERATIONS, or a path of its own).

    With an `api_version` like 2024-10-21 it is the classic API; without one, or with v1 or preview, the v1 API, which
    finds the deployment in the body's `model`.
    """
    tail = OPERATIONS.get(operation, operation)
    if api_version in (None, "", "v1", "latest"):
        return f"/openai/v1/{tail}"
    version = quote(api_version or "", safe="-._~")
    if version == "preview":
        return f"/openai/v1/{tail}?api-version=preview"
    if operation in _WITHOUT_DEPLOYMENT:
        return f"/openai/{tail}?api-version={version}"
    return f"/openai/deployments/{_segment(deployment)}/{tail}?api-version={version}"


def vertex_host(location: str) -> str:
    """`global` and the multi-regions have hosts of their own, as the SDKs know."""
    if location in ("", "global"):
        return "aiplatform.googleapis.com"
    if location in ("us", "eu"):
        return f"aiplatform.{location}.rep.googleapis.com"
    return f"{quote(location, safe='-')}-aiplatform.googleapis.com"


def vertex_path(project: str, location: str, publisher: str, model: str, method: str) -> str:
    """The path of a model's method; `streamGenerateContent` is asked for SSE.

    `method`: generateContent, streamGenerateContent, countTokens, predict, embedContent (publisher google), rawPredict,
    streamRawPredict (publisher anthropic).
    """
    place = f"/v1/projects/{_segment(project)}/locations/{_segment(location or 'global')}"
    query = "?alt=sse" if method == "streamGenerateContent" else ""
    return f"{place}/publishers/{_segment(publisher)}/models/{_segment(model)}:{method}{query}"


def bedrock_host(region: str, service: str = "bedrock-runtime") -> str:
    domain = "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"
    return f"{service}.{region}.{domain}"


def _segment(name: str) -> str:
    """One segment of a path; `.` and `..` would be another path."""
    return quote(name, safe="-._~@") if name.strip(".") else name.replace(".", "%2E")
