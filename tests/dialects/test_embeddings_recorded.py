"""Recorded embedding calls: the requests we write for the same wish, the vectors we read from the same answer."""

import base64
import gzip
import json
import struct
from pathlib import Path
from typing import Any

import pytest
from openai.types import CreateEmbeddingResponse

from freehold.dialects import embeddings
from freehold.dialects.embeddings import EmbeddingReply, EmbeddingRequest
from freehold.errors import UpstreamRefused

RECORDED = Path(__file__).parents[3] / "shared" / "recorded" / "exchanges.jsonl.gz"


def load() -> list[dict[str, Any]]:
    if not RECORDED.exists():
        return []
    with gzip.open(RECORDED) as lines:
        found = [json.loads(line) for line in lines if b"test_embeddings" in line]
    return [one for one in found if isinstance(one["request"], dict) and "mbed" in one["uri"]]


ALL = load()
pytestmark = pytest.mark.skipif(not ALL, reason="the recorded exchanges are not beside the repository")


def of(host: str, model: str = "") -> dict[str, Any]:
    found = [one for one in ALL if host in one["host"] and model in one["uri"]]
    return {"argvalues": found, "ids": [one["source"].rsplit("/", 1)[-1] for one in found]}


def numbers(vector: Any) -> list[float]:
    if isinstance(vector, str):
        raw = base64.b64decode(vector)
        return list(struct.unpack(f"<{len(raw) // 4}f", raw))
    return vector


def check(reply: EmbeddingReply, vectors: list[Any], tokens: int | None) -> None:
    """The same numbers to 7 digits in both encodings, and the tokens."""
    assert [list(embeddings.to_floats(vector)) for vector in reply.vectors] == [numbers(one) for one in vectors]
    plain = CreateEmbeddingResponse.model_validate_json(embeddings.write_reply(reply))
    assert [one.embedding for one in plain.data] == [numbers(one) for one in vectors]
    packed = json.loads(embeddings.write_reply(reply, "base64"))
    for one, vector in zip(packed["data"], vectors, strict=True):
        assert numbers(one["embedding"]) == pytest.approx(numbers(vector), rel=1e-6)
    assert (reply.usage.input if reply.usage else None) == tokens


@pytest.mark.parametrize("one", **of("api.openai.com"))
def test_openai(one):
    sent = json.dumps(one["request"]).encode()
    assert embeddings.patch_request(sent, model=one["request"]["model"]) is sent
    assert json.loads(embeddings.write_request(embeddings.read_request(sent), base64=True)) == one["request"]
    answer = json.dumps(one["response"]).encode()
    if one["status"] != 200:
        error = embeddings.read_error(one["status"], {}, answer)
        assert isinstance(error, UpstreamRefused)
        return
    check(
        embeddings.read_reply(answer),
        [item["embedding"] for item in one["response"]["data"]],
        one["response"]["usage"]["prompt_tokens"],
    )
    receipt = embeddings.pass_reply(answer, "base64", len(one["request"]["input"]))
    assert receipt is not None
    assert receipt.usage == embeddings.read_reply(answer).usage


@pytest.mark.parametrize("one", **of("voyageai"))
def test_voyage(one):
    """The recorded client spells out its nulls; ours leaves them out."""
    request = EmbeddingRequest("m", one["request"]["input"], encoding_format="base64", task="query")
    request.truncate = "end" if one["request"]["truncation"] else "none"
    losses: list[str] = []
    written = json.loads(embeddings.write_voyage_request(one["request"]["model"], request, losses))
    assert written == {name: value for name, value in one["request"].items() if value is not None}
    assert losses == []
    answer = json.dumps(one["response"]).encode()
    if one["status"] != 200:
        error = embeddings.read_error(one["status"], {}, answer)
        assert isinstance(error, UpstreamRefused)
        assert error.message.startswith("Model nonexistent is not supported")
        return
    check(
        embeddings.read_voyage_reply(answer),
        [item["embedding"] for item in one["response"]["data"]],
        one["response"]["usage"]["total_tokens"],
    )


@pytest.mark.parametrize("one", **of("cohere"))
def test_cohere(one):
    request = EmbeddingRequest("m", one["request"]["texts"], task="query", truncate=one["request"]["truncate"].lower())
    losses: list[str] = []
    written = json.loads(embeddings.write_cohere_request(one["request"]["model"], request, losses))
    assert written == {name: value for name, value in one["request"].items() if value is not None}
    assert losses == []
    billed = one["response"]["meta"]["billed_units"]
    check(
        embeddings.read_cohere_reply(json.dumps(one["response"]).encode()),
        one["response"]["embeddings"]["float"],
        billed["input_tokens"] + billed["image_tokens"],
    )


@pytest.mark.parametrize("one", **of("googleapis"))
def test_gemini(one):
    response = one["response"]
    vectors = [item["values"] for item in response.get("embeddings") or [response["embedding"]]]
    tokens = response.get("usageMetadata", {}).get("promptTokenCount")
    check(embeddings.read_gemini_reply(json.dumps(response).encode()), vectors, tokens)
    if "requests" not in one["request"]:
        return
    asked = one["request"]["requests"]
    request = EmbeddingRequest(
        "m",
        [item["content"]["parts"][0]["text"] for item in asked],
        dimensions=asked[0].get("outputDimensionality"),
        task="query" if "taskType" in asked[0] else None,
    )
    written = embeddings.write_gemini_request(asked[0]["model"], request, [])
    assert json.loads(written) == one["request"]


@pytest.mark.parametrize("one", **of("bedrock", "cohere"))
def test_cohere_at_bedrock(one):
    found = one["response"]["embeddings"]
    vectors = found if isinstance(found, list) else found["float"]
    check(embeddings.read_cohere_reply(json.dumps(one["response"]).encode()), vectors, None)
