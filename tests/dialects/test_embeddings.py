"""Embeddings: one request form in, OpenAI and Gemini out, vectors in the encoding the client asked for."""

import base64
import json
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.types import CreateEmbeddingResponse

from freehold.dialects import embeddings
from freehold.dialects.conversation import Usage
from freehold.dialects.embeddings import EmbeddingReply, EmbeddingRequest
from freehold.errors import BadRequest, LossRefused, ProviderError, UpstreamBroken

NUMBERS = [0.5, -1.25, 3.0]
PACKED = struct.pack("<3f", *NUMBERS)
BASE64 = base64.b64encode(PACKED).decode()


def body(**fields) -> bytes:
    return json.dumps({"model": "m", "input": "hello", **fields}).encode()


def reply(*vectors, **fields) -> bytes:
    data = [{"object": "embedding", "index": index, "embedding": vector} for index, vector in enumerate(vectors)]
    usage = {"prompt_tokens": 4, "total_tokens": 4}
    return json.dumps({"object": "list", "model": "served", "data": data, "usage": usage, **fields}).encode()


def test_the_glance():
    seen = embeddings.peek(body(input=["a", "bc"]))
    assert (seen.model, seen.stream, seen.input_bytes) == ("m", False, len('["a", "bc"]'))


@pytest.mark.parametrize(
    ("given", "inputs"),
    [("a", ["a"]), (["a", "b"], ["a", "b"]), ([1, 2], [[1, 2]]), ([[1, 2], [3]], [[1, 2], [3]]), ("", [""])],
)
def test_forms_of_input(given, inputs):
    assert embeddings.read_request(body(input=given)).inputs == inputs


def test_the_other_fields():
    request = embeddings.read_request(
        body(dimensions=8, encoding_format="base64", user="u", input_type="query", truncate=True, other=None)
    )
    unknown = {"input_type": "query", "truncate": True}
    names = {"task": "input_type", "truncate": "truncate"}
    assert request == EmbeddingRequest(
        "m", ["hello"], 8, "base64", "u", "query", unknown, truncate="end", nulls=("other",), names=names
    )
    assert json.loads(embeddings.write_request(request)) == {
        "model": "m",
        "input": ["hello"],
        "dimensions": 8,
        "encoding_format": "float",
        "user": "u",
        "input_type": "query",
        "truncate": True,
    }


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"input": None}, "input"),
        ({"input": []}, "input"),
        ({"input": 1}, "input"),
        ({"input": ["a", 1]}, "input.1"),
        ({"input": [[1], []]}, "input.1"),
        ({"input": [[1], ["a"]]}, "input.1.0"),
        ({"input": [True]}, "input.0"),
        ({"model": 1}, "model"),
        ({"dimensions": "8"}, "dimensions"),
        ({"dimensions": 0}, "dimensions"),
        ({"encoding_format": "int8"}, "encoding_format"),
        ({"user": 1}, "user"),
    ],
)
def test_wrong_fields_are_named(fields, param):
    with pytest.raises(BadRequest) as caught:
        embeddings.read_request(body(**fields))
    assert caught.value.param == param


def test_pass_through():
    raw = body(encoding_format="base64", made_up=[1.50])
    assert embeddings.patch_request(raw, model="m") is raw
    assert json.loads(embeddings.patch_request(raw, model="m", base64=False))["encoding_format"] == "float"
    floats = body(encoding_format="float")
    assert embeddings.patch_request(floats, model="m", base64=False) is floats
    losses: list[str] = []
    patched = embeddings.patch_request(body(dimensions=3), model="x", dimensions=False, losses=losses)
    assert json.loads(patched) == {"model": "x", "input": "hello"}
    assert losses == ["dimensions"]


def test_numbers_and_base64_are_the_same_vectors():
    floats = embeddings.read_reply(reply(NUMBERS))
    packed = embeddings.read_reply(reply(BASE64))
    assert floats.vectors == [NUMBERS]
    assert packed.vectors == [PACKED]
    assert floats.usage == Usage(uncached=4)
    for one in (floats, packed):
        as_text = json.loads(embeddings.write_reply(one, "base64"))
        assert as_text["data"][0]["embedding"] == BASE64
        as_numbers = CreateEmbeddingResponse.model_validate(json.loads(embeddings.write_reply(one)))
        assert as_numbers.data[0].embedding == NUMBERS
        assert (as_numbers.model, as_numbers.usage.prompt_tokens) == ("served", 4)


def test_vectors_come_back_in_the_order_of_the_inputs():
    data = [{"index": 1, "embedding": [2.0]}, {"index": 0, "embedding": [1.0]}]
    assert embeddings.read_reply(json.dumps({"data": data}).encode()).vectors == [[1.0], [2.0]]


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"[]",
        b"{}",
        b'{"data":[1]}',
        b'{"data":[{"embedding":null}]}',
        b'{"data":[{"embedding":["a"]}]}',
        b'{"data":[{"embedding":"not base64!"}]}',
        b'{"data":[{"embedding":"AAAA"}]}',
        b'{"data":[{"index":3,"embedding":[1.0]}]}',
        b'{"data":[{"index":0,"embedding":[1.0]},{"index":0,"embedding":[1.0]}]}',
    ],
)
def test_garbage_is_the_providers_fault(raw):
    with pytest.raises(UpstreamBroken):
        embeddings.read_reply(raw)


def test_an_error_sent_as_success():
    with pytest.raises(ProviderError, match="no such model"):
        embeddings.read_reply(b'{"error":{"message":"no such model","code":404}}')


def test_a_receipt():
    receipt = embeddings.read_receipt(reply(NUMBERS))
    assert (receipt.model, receipt.usage) == ("served", Usage(uncached=4))
    voyage = embeddings.read_receipt(b'{"data":[],"usage":{"total_tokens":3}}')
    assert voyage.usage == Usage(uncached=3)
    assert embeddings.read_receipt(b"{}").usage is None
    with pytest.raises(UpstreamBroken):
        embeddings.read_receipt(b"<html>")


def test_batches_split_and_join_in_order():
    request = EmbeddingRequest("m", [str(number) for number in range(250)], user="u")
    parts = embeddings.split_request(request, embeddings.GEMINI_BATCH)
    assert [len(part.inputs) for part in parts] == [100, 100, 50]
    assert [text for part in parts for text in part.inputs] == request.inputs
    assert embeddings.split_request(parts[2], 100) == [parts[2]]
    joined = embeddings.join_replies(
        [EmbeddingReply("m", [[1.0]], Usage(uncached=2)), EmbeddingReply("m", [[2.0]], Usage(uncached=3))]
    )
    assert joined == EmbeddingReply("m", [[1.0], [2.0]], Usage(uncached=5))
    assert embeddings.join_replies([joined, EmbeddingReply("m", [[3.0]])]).usage is None


def test_gemini():
    losses: list[str] = []
    request = EmbeddingRequest("ours", ["a", "b"], 8, user="u", task="query")
    request.unknown, request.names = {"input_type": "query", "x": 1}, {"task": "input_type"}
    written = json.loads(embeddings.write_gemini_request("gemini-embedding-001", request, losses))
    assert written["requests"][1] == {
        "model": "models/gemini-embedding-001",
        "content": {"parts": [{"text": "b"}]},
        "taskType": "RETRIEVAL_QUERY",
        "outputDimensionality": 8,
    }
    assert losses == ["user", "x"]
    raw = b'{"embeddings":[{"values":[0.5]},{"values":[1]}],"usageMetadata":{"promptTokenCount":3}}'
    assert embeddings.read_gemini_reply(raw, "g") == EmbeddingReply("g", [[0.5], [1]], Usage(uncached=3))
    assert embeddings.read_gemini_reply(b'{"embedding":{"values":[0.5]}}').vectors == [[0.5]]
    with pytest.raises(LossRefused) as caught:
        embeddings.write_gemini_request("g", EmbeddingRequest("m", [[1, 2]]), losses)
    assert caught.value.param == "input.0"
    with pytest.raises(UpstreamBroken):
        embeddings.read_gemini_reply(b'{"embeddings":[{"values":"x"}]}')


@settings(deadline=None)
@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), max_size=20))
def test_float32_survives_both_ways(numbers):
    packed = embeddings.to_base64(numbers)
    assert base64.b64decode(packed) == struct.pack(f"<{len(numbers)}f", *numbers)
    assert embeddings.to_floats(base64.b64decode(packed)) == numbers


def test_a_number_beyond_float32_does_not_become_infinity():
    with pytest.raises(UpstreamBroken):
        embeddings.to_base64([1e300])


ODD = (
    st.none()
    | st.integers()
    | st.text(max_size=3)
    | st.lists(st.none() | st.integers() | st.text(max_size=3), max_size=3)
)


@settings(deadline=None)
@given(
    st.binary(max_size=40)
    | st.dictionaries(st.sampled_from(["model", "input", "dimensions"]), ODD).map(
        lambda fields: json.dumps(fields).encode()
    )
)
def test_anything_is_read_or_refused(raw):
    for verb in (embeddings.peek, embeddings.read_request, lambda one: embeddings.patch_request(one, model="x")):
        try:
            verb(raw)
        except BadRequest as error:
            assert error.message  # noqa: PT017


@settings(deadline=None)
@given(st.binary(max_size=60))
def test_any_reply_is_read_or_broken(raw):
    for verb in (embeddings.read_reply, embeddings.read_receipt, embeddings.read_gemini_reply):
        try:
            verb(raw)
        except ProviderError as error:
            assert error.message  # noqa: PT017
