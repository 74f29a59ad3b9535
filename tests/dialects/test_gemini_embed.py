"""Gemini's embedding requests read for other providers, and vectors written for Gemini clients."""

import json
from typing import Any

import pytest
from google.genai import types
from hypothesis import given
from hypothesis import strategies as st

from freehold.dialects.conversation import Image, Text, Usage
from freehold.dialects.embeddings.types import Content, EmbeddingReply, EmbeddingRequest
from freehold.dialects.gemini import embed
from freehold.errors import BadRequest, FreeholdError, UpstreamBroken


def one(text: str = "hi", **fields: Any) -> dict[str, Any]:
    return {"content": {"parts": [{"text": text}]}, **fields}


def read(body: dict[str, Any], method: str = embed.BATCH) -> EmbeddingRequest:
    return embed.read_request(json.dumps(body).encode(), model="m", method=method)


def test_one_content() -> None:
    found = read(one(taskType="RETRIEVAL_QUERY", output_dimensionality=64, model="models/other"), "embedContent")
    assert (found.model, found.inputs, found.task, found.dimensions, found.unknown) == ("m", ["hi"], "query", 64, {})


def test_vertex_settings() -> None:
    config = {"taskType": "CLUSTERING", "title": "T", "autoTruncate": True}
    found = read(one(embedContentConfig=config), "embedContent")
    assert (found.task, found.title, found.truncate) == ("clustering", "T", "end")


def test_a_batch_with_one_mind() -> None:
    found = read({"requests": [one("a", taskType="CLASSIFICATION"), one("b", taskType="CLASSIFICATION")]})
    assert (found.inputs, found.task, found.unknown) == (["a", "b"], "classification", {})


def test_settings_that_differ_are_not_lost_in_silence() -> None:
    found = read({"requests": [one("a", title="A"), one("b", title="B", new=1)], "more": 2})
    assert (found.title, found.unknown) == ("A", {"requests.1.title": "B", "requests.1.new": 1, "more": 2})


def test_texts_and_images_together() -> None:
    parts = [{"text": "look"}, {"inlineData": {"mimeType": "image/png", "data": "QUJD"}}]
    found = read({"content": {"parts": parts}}, "embedContent")
    assert found.inputs == [Content([Text("look"), Image("image/png", "QUJD")])]


@pytest.mark.parametrize(
    ("body", "method", "param"),
    [
        ({}, "embedContent", "content"),
        ({"requests": []}, embed.BATCH, "requests"),
        ({"requests": {}}, embed.BATCH, "requests"),
        ({"requests": [1]}, embed.BATCH, "requests.0"),
        ({"requests": [one(), {}]}, embed.BATCH, "requests.1.content"),
        ({"content": {"parts": []}}, "embedContent", "content.parts"),
        (one(taskType=1), "embedContent", "taskType"),
        (one(outputDimensionality=0), "embedContent", "outputDimensionality"),
        ({"content": {"parts": [{"inlineData": {"mimeType": "video/mp4", "data": "QQ=="}}]}}, "embedContent",
         "content.parts.0"),
    ],
)  # fmt: skip
def test_wrong_input_names_its_field(body: dict[str, Any], method: str, param: str) -> None:
    with pytest.raises(BadRequest) as caught:
        read(body, method)
    assert caught.value.param == param


def test_nothing_to_embed_is_seen_at_once() -> None:
    for body in (b"{}", b'{"requests":null}', b"[]", b"{"):
        with pytest.raises(BadRequest):
            embed.peek(body, model="m")
    assert embed.peek(json.dumps({"requests": [one()]}).encode(), model="m").input_bytes > 20


def test_a_pass_through_renames_every_request() -> None:
    body = json.dumps({"requests": [one(model="models/a"), one(model="models/a")]}).encode()
    patched = embed.patch_request(body, model="b")
    assert [request["model"] for request in json.loads(patched)["requests"]] == ["models/b", "models/b"]
    assert embed.patch_request(patched, model="b") is patched


def test_vectors_are_numbers() -> None:
    reply = EmbeddingReply("m", [[0.5, 1.0], b"\x00\x00\x80\x3f"], Usage(7))
    body = json.loads(embed.write_reply(reply))
    assert [vector["values"] for vector in body["embeddings"]] == [[0.5, 1.0], [1.0]]
    assert body["usageMetadata"]["promptTokenCount"] == 7
    assert embed.read_receipt(json.dumps(body).encode()).usage == Usage(7)
    alone = json.loads(embed.write_reply(EmbeddingReply("m", [[0.5]]), method="embedContent"))
    assert alone == {"embedding": {"values": [0.5]}}
    types.ContentEmbedding.model_validate(alone["embedding"])
    with pytest.raises(UpstreamBroken):
        embed.write_reply(EmbeddingReply("m", []), method="embedContent")


@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode), st.sampled_from([embed.BATCH, "embedContent"]))
def test_any_bytes_are_read_or_refused(body: bytes, method: str) -> None:
    for verb in (
        lambda: embed.peek(body, method=method),
        lambda: embed.read_request(body, method=method),
        lambda: embed.patch_request(body, model="m"),
        lambda: embed.read_receipt(body),
    ):
        try:
            verb()
        except FreeholdError:
            continue
