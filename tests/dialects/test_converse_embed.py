"""Embeddings through InvokeModel: Titan, Nova, Cohere."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freehold.dialects.conversation import Image, Text, Usage
from freehold.dialects.converse import embed
from freehold.dialects.embeddings import Content, EmbeddingRequest, write_reply
from freehold.errors import BadRequest, FreeholdError, LossRefused, UpstreamBroken

TITAN = "amazon.titan-embed-text-v2:0"
NOVA = "amazon.nova-2-multimodal-embeddings-v1:0"
COHERE = "us.cohere.embed-v4:0"


def write(model: str, *inputs: Any, maker: str = "", **fields: Any) -> tuple[dict[str, Any], list[str]]:
    losses: list[str] = []
    request = EmbeddingRequest("m", list(inputs) or ["hi"], **fields)
    return json.loads(embed.write_request(model, request, losses, maker)), losses


def test_titan() -> None:
    assert write(TITAN, dimensions=256, normalize=False) == (
        {"inputText": "hi", "dimensions": 256, "normalize": False},
        [],
    )
    assert write(TITAN, dtype="binary", task="query", user="u") == (
        {"inputText": "hi", "embeddingTypes": ["binary"]},
        ["user", "task"],
    )
    assert write("amazon.titan-embed-text-v1", dimensions=256) == ({"inputText": "hi"}, ["dimensions"])


def test_titans_image_model() -> None:
    both = Content([Text("a cat"), Image("image/png", "QUJD")])
    assert write("amazon.titan-embed-image-v1", both, dimensions=384) == (
        {"inputText": "a cat", "inputImage": "QUJD", "embeddingConfig": {"outputEmbeddingLength": 384}},
        [],
    )


def test_nova() -> None:
    body, losses = write(NOVA, task="document", truncate="end", dimensions=1024)
    assert body == {
        "taskType": "SINGLE_EMBEDDING",
        "singleEmbeddingParams": {
            "embeddingPurpose": "GENERIC_INDEX",
            "embeddingDimension": 1024,
            "text": {"truncationMode": "END", "value": "hi"},
        },
    }
    assert losses == []
    body, losses = write(NOVA, Content([Image("image/jpeg", "QUJD")]), task="code_query")
    assert body["singleEmbeddingParams"]["image"] == {"format": "jpeg", "source": {"bytes": "QUJD"}}
    assert losses == ["task"]


def test_cohere_without_a_model() -> None:
    body, losses = write(COHERE, "a", "b", task="query", truncate="start")
    assert body["texts"] == ["a", "b"]
    assert (body["input_type"], body["truncate"]) == ("search_query", "START")
    assert "model" not in body
    assert losses == []


def test_how_many_inputs() -> None:
    assert [embed.most_inputs(model) for model in (TITAN, NOVA, COHERE)] == [1, 1, 96]
    with pytest.raises(BadRequest, match="one input a call"):
        write(TITAN, "a", "b")


def test_an_arn_does_not_tell_and_may_be_told() -> None:
    arn = "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc"
    with pytest.raises(LossRefused, match="no embedding model"):
        write(arn)
    assert write(arn, normalize=True, maker="amazon")[0] == {"inputText": "hi", "normalize": True}


@pytest.mark.parametrize(
    ("model", "given"),
    [
        (TITAN, [1, 2]),
        (NOVA, [1, 2]),
        (COHERE, [1, 2]),
        (TITAN, Content([Image("image/png", "QUJD")])),
        (NOVA, Content([Image(url="https://example.com/a.png")])),
        (NOVA, Content([Text("x"), Image("image/png", "QUJD")])),
        (NOVA, Content([Image("image/png", "QUJD"), Image("image/png", "QUJD")])),
        ("amazon.titan-embed-image-v1", Content([Image(url="https://example.com/a.png")])),
    ],
)
def test_what_cannot_be_read_is_refused(model: str, given: Any) -> None:
    with pytest.raises(LossRefused):
        write(model, given)


def test_replies() -> None:
    reply = embed.read_reply(b'{"embedding": [0.5, 1], "inputTextTokenCount": 4}')
    assert (reply.vectors, reply.usage) == ([[0.5, 1]], Usage(uncached=4))
    reply = embed.read_reply(b'{"embeddingsByType": {"binary": [1, 0]}, "inputTextTokenCount": 1}')
    assert (reply.vectors, reply.dtype) == ([[1, 0]], "binary")
    count = {b"x-amzn-bedrock-input-token-count": b"7"}
    reply = embed.read_reply(b'{"embeddings": [{"embeddingType": "TEXT", "embedding": [1.5]}]}', count)
    assert (reply.vectors, reply.usage) == ([[1.5]], Usage(uncached=7))
    for body in (
        b'{"embeddings": [[1.5], [2.5]], "id": "x", "response_type": "embeddings_floats", "texts": ["a", "b"]}',
        b'{"embeddings": {"float": [[1.5], [2.5]]}, "response_type": "embeddings_by_type"}',
    ):
        reply = embed.read_reply(body, {b"x-amzn-bedrock-input-token-count": b"-7"})
        assert (list(reply.vectors), reply.usage) == ([[1.5], [2.5]], None)
        assert json.loads(write_reply(reply, "float"))["data"][1]["embedding"] == [2.5]


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{}", b'{"message": "no"}', b'{"embedding": ["a"]}', b'{"embeddings": 1}']
)
def test_what_is_no_embedding(body: bytes) -> None:
    with pytest.raises(UpstreamBroken):
        embed.read_reply(body)


@given(st.binary(max_size=60), st.sampled_from([b"", b'{"embedding"', b'{"embeddings"', b'{"embeddings": [']))
def test_garbage(body: bytes, head: bytes) -> None:
    try:
        embed.read_reply(head + body)
    except FreeholdError:
        return
