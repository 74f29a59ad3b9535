"""Embeddings at Cohere, Voyage, Jina, Mistral and Gemini: their own words out, one reply form in."""

import base64
import json
import struct

import pytest
from cohere import EmbedByTypeResponse, EmbedInput
from hypothesis import given, settings
from hypothesis import strategies as st
from mistralai.client.models import EmbeddingRequest as MistralRequest

from freehold.dialects import embeddings
from freehold.dialects.conversation import Image, Text, Usage
from freehold.dialects.embeddings import Content, EmbeddingReply, EmbeddingRequest, Limit
from freehold.errors import BadRequest, LossRefused, ProviderError, UpstreamBroken

PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n1234").decode()
DATA_URL = f"data:image/png;base64,{PNG}"
WRITERS = {
    "cohere": embeddings.write_cohere_request,
    "voyage": embeddings.write_voyage_request,
    "jina": embeddings.write_jina_request,
    "mistral": embeddings.write_mistral_request,
    "gemini": embeddings.write_gemini_request,
}


def read(**fields) -> EmbeddingRequest:
    return embeddings.read_request(json.dumps({"model": "asked", "input": ["a", "b"], **fields}).encode())


def written(provider: str, request: EmbeddingRequest) -> tuple[dict, list[str]]:
    losses: list[str] = []
    return json.loads(WRITERS[provider]("served", request, losses)), losses


# Requests


def test_the_fields_of_each_provider():
    request = read(
        dimensions=256, encoding_format="base64", user="u", input_type="query", truncation=False, max_tokens=9
    )
    assert written("cohere", request) == (
        {
            "model": "served",
            "texts": ["a", "b"],
            "input_type": "search_query",
            "embedding_types": ["float"],
            "output_dimension": 256,
            "truncate": "NONE",
            "max_tokens": 9,
        },
        ["user"],
    )
    assert written("voyage", request) == (
        {
            "model": "served",
            "input": ["a", "b"],
            "input_type": "query",
            "output_dimension": 256,
            "truncation": False,
            "encoding_format": "base64",
        },
        ["user", "max_tokens"],
    )
    assert written("jina", request) == (
        {
            "model": "served",
            "input": ["a", "b"],
            "task": "retrieval.query",
            "dimensions": 256,
            "truncate": False,
        },
        ["user", "max_tokens"],
    )
    assert written("mistral", request) == (
        {"model": "served", "input": ["a", "b"], "output_dimension": 256},
        ["user", "input_type", "truncation", "max_tokens"],
    )
    body, losses = written("gemini", request)
    assert body["requests"][1] == {
        "model": "models/served",
        "content": {"parts": [{"text": "b"}]},
        "taskType": "RETRIEVAL_QUERY",
        "outputDimensionality": 256,
    }
    assert losses == ["user", "truncation", "max_tokens"]


def test_mistral_takes_what_is_written():
    body, _ = written("mistral", read(output_dimension=8, output_dtype="int8", metadata={"a": 1}))
    assert body == {
        "model": "served",
        "input": ["a", "b"],
        "output_dimension": 8,
        "output_dtype": "int8",
        "metadata": {"a": 1},
    }
    MistralRequest.model_validate(body)


@pytest.mark.parametrize("word", ["query", "search_query", "RETRIEVAL_QUERY", "retrieval.query"])
@pytest.mark.parametrize("name", ["input_type", "task_type", "task"])
def test_a_task_in_any_words(word, name):
    request = read(**{name: word})
    assert request.task == "query"
    assert written("cohere", request)[0]["input_type"] == "search_query"
    assert written("voyage", request) == ({"model": "served", "input": ["a", "b"], "input_type": "query"}, [])
    assert written("jina", request)[0]["task"] == "retrieval.query"
    assert written("gemini", request)[0]["requests"][0]["taskType"] == "RETRIEVAL_QUERY"
    assert written("mistral", request)[1] == [name]


def test_a_task_a_provider_does_not_know_is_reported():
    request = read(task="similarity")
    assert written("voyage", request) == ({"model": "served", "input": ["a", "b"]}, ["task"])
    body, losses = written("cohere", request)
    assert (body["input_type"], losses) == ("search_document", ["task"])
    assert written("jina", request)[0]["task"] == "text-matching"
    assert written("gemini", request)[0]["requests"][0]["taskType"] == "SEMANTIC_SIMILARITY"


def test_cohere_needs_a_task():
    assert written("cohere", read())[0]["input_type"] == "search_document"
    assert written("cohere", read(input_type="image"))[0]["input_type"] == "image"


@pytest.mark.parametrize(
    ("task", "title", "text"),
    [
        ("question_answering", None, "task: question answering | query: a"),
        ("document", None, "title: none | text: a"),
        ("document", "Greeting", "title: Greeting | text: a"),
        ("clustering", None, "task: clustering | query: a"),
        ("similarity", None, "task: sentence similarity | query: a"),
    ],
)
def test_gemini_embedding_2_takes_the_task_in_words(task, title, text):
    losses: list[str] = []
    request = EmbeddingRequest("m", ["a"], task=task, title=title)
    body = json.loads(embeddings.write_gemini_request("gemini-embedding-2", request, losses))
    assert body["requests"] == [{"model": "models/gemini-embedding-2", "content": {"parts": [{"text": text}]}}]
    assert losses == []


def test_gemini_embedding_2_and_a_task_it_has_no_words_for():
    losses: list[str] = []
    embeddings.write_gemini_request("gemini-embedding-2", EmbeddingRequest("m", ["a"], task="odd"), losses)
    assert losses == ["task"]


@pytest.mark.parametrize("dtype", ["int8", "uint8", "binary", "ubinary"])
@pytest.mark.parametrize("name", ["output_dtype", "embedding_type"])
def test_types_of_numbers(dtype, name):
    request = read(**{name: dtype})
    assert written("cohere", request)[0]["embedding_types"] == [dtype]
    assert written("voyage", request)[0]["output_dtype"] == dtype
    assert written("mistral", request)[0]["output_dtype"] == dtype
    assert written("gemini", request)[1] == [name]
    body, losses = written("jina", request)
    assert (body.get("embedding_type"), losses) == ((dtype, []) if "binary" in dtype else (None, [name]))


def test_jina_s_own_fields():
    body, losses = written("jina", read(late_chunking=True, normalized=False, embedding_type=["float"]))
    assert body == {"model": "served", "input": ["a", "b"], "late_chunking": True, "normalized": False}
    assert losses == []
    assert written("voyage", read(late_chunking=True, normalized=False))[1] == ["normalized", "late_chunking"]


def test_where_to_cut_is_told_as_far_as_a_provider_can_hear_it():
    request = read(truncate="START")
    assert written("cohere", request)[0]["truncate"] == "START"
    body, losses = written("voyage", request)
    assert (body["truncation"], losses) == (True, ["truncate"])
    assert written("gemini", request)[1] == ["truncate"]


def test_the_base64_of_jina_s_words():
    assert read(embedding_type="base64").encoding_format == "base64"


@pytest.mark.parametrize("provider", WRITERS)
def test_token_ids_are_for_openai_alone(provider):
    with pytest.raises(LossRefused) as caught:
        written(provider, read(input=[[1, 2], [3]]))
    assert caught.value.param == "input.0"


def images() -> EmbeddingRequest:
    parts = [{"type": "text", "text": "x"}, {"type": "image_url", "image_url": {"url": DATA_URL}}]
    return read(input=["a", {"text": "b"}, {"image": DATA_URL}, {"image": PNG}, {"content": parts}])


def test_images_are_read():
    picture = Image(media_type="image/png", data=PNG)
    assert images().inputs == ["a", "b", Content([picture]), Content([picture]), Content([Text("x"), picture])]
    assert read(input=[{"image": "https://example.org/a.png"}]).inputs == [
        Content([Image(url="https://example.org/a.png")])
    ]
    assert embeddings.has_images(images())
    assert not embeddings.has_images(read())


def test_images_at_providers():
    body, losses = written("cohere", images())
    assert [EmbedInput.model_validate(one).content[-1].type for one in body["inputs"]] == [
        "text",
        "text",
        "image_url",
        "image_url",
        "image_url",
    ]
    assert body["inputs"][4]["content"][1] == {"type": "image_url", "image_url": {"url": DATA_URL}}
    body, losses = written("voyage", images())
    assert body["inputs"][4]["content"] == [
        {"type": "text", "text": "x"},
        {"type": "image_base64", "image_base64": DATA_URL},
    ]
    body, losses = written("gemini", images())
    assert body["requests"][4]["content"]["parts"] == [
        {"text": "x"},
        {"inlineData": {"mimeType": "image/png", "data": PNG}},
    ]
    assert losses == []
    with pytest.raises(LossRefused, match="Mistral"):
        written("mistral", images())
    with pytest.raises(LossRefused, match="not both"):
        written("jina", images())
    body, _ = written("jina", read(input=["a", {"image": PNG}]))
    assert body["input"] == [{"text": "a"}, {"image": PNG}]


def test_an_image_that_must_be_fetched():
    request = read(input=[{"image": "https://example.org/a.png"}])
    assert written("jina", request)[0]["input"] == [{"image": "https://example.org/a.png"}]
    assert written("voyage", request)[0]["inputs"][0]["content"][0]["type"] == "image_url"
    for provider in ("cohere", "gemini"):
        with pytest.raises(LossRefused) as caught:
            written(provider, request)
        assert caught.value.param == "input.0"


@pytest.mark.parametrize(
    ("given", "param"),
    [
        ([{"text": 1}], "input.0.image"),
        ([{}], "input.0.image"),
        (["a", {"content": 1}], "input.1.content"),
        ([{"content": [{"type": "video"}]}], "input.0.content.0.type"),
        ([{"content": [{"type": "image_url", "image_url": {}}]}], "input.0.content.0.image_url"),
        ([{"content": [{"type": "text"}]}], "input.0.content.0.text"),
        ([{"content": ["a"]}], "input.0.content.0"),
    ],
)
def test_wrong_inputs_are_named(given, param):
    with pytest.raises(BadRequest) as caught:
        read(input=given)
    assert caught.value.param == param


def test_what_others_understand_goes_back_to_a_host_of_the_same_dialect():
    request = read(output_dimension=8, input_type="query", truncate="NONE", made_up=1)
    assert json.loads(embeddings.write_request(request)) == {
        "model": "asked",
        "input": ["a", "b"],
        "encoding_format": "float",
        "output_dimension": 8,
        "input_type": "query",
        "truncate": "NONE",
        "made_up": 1,
    }


# Replies


def test_cohere_by_type():
    body = {
        "id": "i",
        "embeddings": {"float": [[0.5, 1], [2.0, 3.0]]},
        "texts": ["a", "b"],
        "meta": {"api_version": {"version": "2"}, "billed_units": {"input_tokens": 4.0, "image_tokens": 2}},
        "response_type": "embeddings_by_type",
    }
    EmbedByTypeResponse.model_validate(body)
    reply = embeddings.read_cohere_reply(json.dumps(body).encode())
    assert reply == EmbeddingReply("", [[0.5, 1], [2.0, 3.0]], Usage(uncached=6), id="i")


def test_cohere_integers_bare_lists_and_tokens():
    reply = embeddings.read_cohere_reply(b'{"embeddings":{"int8":[[-3,4]]},"meta":{"tokens":{"input_tokens":7}}}')
    assert reply == EmbeddingReply("", [[-3, 4]], Usage(uncached=7), "int8")
    assert json.loads(embeddings.write_reply(reply))["data"][0]["embedding"] == [-3, 4]
    packed = json.loads(embeddings.write_reply(reply, "base64"))["data"][0]["embedding"]
    assert base64.b64decode(packed) == struct.pack("2b", -3, 4)
    assert embeddings.read_cohere_reply(b'{"embeddings":[[0.5]]}') == EmbeddingReply("", [[0.5]])


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{}",
        b'{"embeddings":{}}',
        b'{"embeddings":1}',
        b'{"embeddings":{"float":[1]}}',
        b'{"embeddings":{"float":[["a"]]}}',
        b'{"embeddings":{"int8":[[0.5]]}}',
    ],
)
def test_garbage_from_cohere(raw):
    with pytest.raises(UpstreamBroken):
        embeddings.read_cohere_reply(raw)


def test_errors_sent_as_answers():
    with pytest.raises(ProviderError, match="no such model"):
        embeddings.read_cohere_reply(b'{"message":"no such model"}')
    with pytest.raises(ProviderError, match="no such model"):
        embeddings.read_gemini_reply(b'{"error":{"code":404,"message":"no such model","status":"NOT_FOUND"}}')


def test_a_number_that_its_type_cannot_hold():
    with pytest.raises(UpstreamBroken):
        embeddings.write_reply(EmbeddingReply("m", [[300]], dtype="int8"), "base64")


def test_bytes_that_json_cannot_say():
    nan = struct.pack("<2f", 1.0, float("nan"))
    with pytest.raises(UpstreamBroken):
        embeddings.write_reply(EmbeddingReply("m", [nan]))


def test_a_reply_that_may_pass():
    def body(*vectors, **fields):
        data = [{"embedding": vector, "index": index} for index, vector in enumerate(vectors)]
        return json.dumps({"data": data, "model": "s", "usage": {"prompt_tokens": 2}, **fields}).encode()

    receipt = embeddings.pass_reply(body([0.5], [1]), "float", 2)
    assert receipt is not None
    assert (receipt.model, receipt.usage) == ("s", Usage(uncached=2))
    assert embeddings.pass_reply(body("AAAAAA=="), "base64", 1) is not None
    assert embeddings.pass_reply(body([0.5]), "base64", 1) is None
    assert embeddings.pass_reply(body("AAAAAA=="), "float", 1) is None
    assert embeddings.pass_reply(body([0.5]), "float", 2) is None
    assert embeddings.pass_reply(body([0.5], error={"message": "no"}), "float", 1) is None
    assert embeddings.pass_reply(b"<html>", "float", 1) is None


# Batches


@settings(deadline=None)
@given(st.lists(st.text(max_size=12), min_size=1, max_size=40), st.integers(1, 9), st.integers(0, 30))
def test_batches_keep_order_and_limits(texts, most, size):
    request = EmbeddingRequest("m", texts)
    parts = embeddings.split_request(request, most, size)
    assert [text for part in parts for text in part.inputs] == texts
    for part in parts:
        assert 1 <= len(part.inputs) <= most
        if size and len(part.inputs) > 1:
            assert sum(len(text.encode()) for text in part.inputs) <= size


def test_late_chunking_is_one_text():
    request = read(input=["a"] * 30, late_chunking=True)
    assert embeddings.split_request(request, 10) == [request]
    assert len(embeddings.split_request(read(input=["a"] * 30), 10)) == 3


def test_tokens_and_parts_have_a_size():
    tokens = EmbeddingRequest("m", [[1] * 10, [2] * 10])
    assert len(embeddings.split_request(tokens, 9, 30)) == 2
    parts = EmbeddingRequest("m", [Content([Text("abc"), Image(data=PNG)])] * 2)
    assert len(embeddings.split_request(parts, 9, 4)) == 2
    assert len(embeddings.split_request(parts, *Limit(9))) == 1


# Anything


VALID = {
    "data": [{"embedding": [0.5], "index": 0}],
    "embeddings": {"float": [[0.5]]},
    "model": "m",
    "usage": {"prompt_tokens": 1, "total_tokens": 1},
    "meta": {"billed_units": {"input_tokens": 1}, "tokens": {"input_tokens": 1}},
    "usageMetadata": {"promptTokenCount": 1},
}
ODD = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["float", "values", "a"]), inner),
    max_leaves=4,
)


@st.composite
def mutated(draw, valid):
    """A valid value with one of its places replaced or removed."""
    value = json.loads(json.dumps(valid))
    place = value
    while True:
        if isinstance(place, dict) and place:
            key = draw(st.sampled_from(sorted(place)))
        elif isinstance(place, list) and place:
            key = draw(st.integers(0, len(place) - 1))
        else:
            return value
        if draw(st.booleans()) or not isinstance(place[key], dict | list):
            if draw(st.booleans()):
                place[key] = draw(ODD)
            else:
                del place[key]
            return value
        place = place[key]


@settings(deadline=None)
@given(mutated(VALID))
def test_lies_are_read_or_broken(value):
    raw = json.dumps(value).encode()
    for verb in (embeddings.read_reply, embeddings.read_receipt, embeddings.read_cohere_reply, read_and_write):
        try:
            verb(raw)
        except ProviderError as error:
            assert error.message  # noqa: PT017


def read_and_write(raw: bytes) -> None:
    embeddings.pass_reply(raw, "float", 1)
    reply = embeddings.read_reply(raw)
    embeddings.write_reply(reply)
    embeddings.write_reply(reply, "base64")


ASKED = {
    "model": "m",
    "input": ["a", {"text": "b"}, {"image": PNG}, {"content": [{"type": "text", "text": "c"}]}],
    "dimensions": 3,
    "encoding_format": "base64",
    "user": "u",
    "task": "query",
    "truncate": "END",
    "output_dtype": "int8",
    "embedding_types": ["float"],
    "normalized": True,
    "late_chunking": False,
    "metadata": {"a": 1},
    "max_tokens": 4,
}


@settings(deadline=None)
@given(mutated(ASKED))
def test_any_request_is_written_or_refused(value):
    raw = json.dumps(value).encode()
    try:
        request = embeddings.read_request(raw)
    except BadRequest as error:
        assert error.message  # noqa: PT017
        return
    for write in (*WRITERS.values(), lambda _model, one, _losses: embeddings.write_request(one)):
        try:
            json.loads(write("served", request, []))
        except LossRefused as error:
            assert error.param  # noqa: PT017
