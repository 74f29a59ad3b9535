"""Reranking: whose dialect a body is in, what each provider is sent, and one ranking back in the client's form."""

import json

import cohere
import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freehold.dialects import rerank
from freehold.dialects.conversation import Usage
from freehold.dialects.rerank import Ranked, RerankReply
from freehold.errors import (
    BadRequest,
    LossRefused,
    ProviderError,
    RateLimited,
    UpstreamBroken,
    UpstreamLimited,
)

DOCUMENTS = ["red", "green", "blue"]
WRITERS = {
    "cohere": rerank.write_cohere_request,
    "jina": rerank.write_jina_request,
    "host": rerank.write_host_request,
    "voyage": rerank.write_voyage_request,
    "tei": rerank.write_tei_request,
}


def body(**fields) -> bytes:
    return json.dumps({"model": "asked", "query": "colour", "documents": DOCUMENTS, **fields}).encode()


def read(dialect=None, **fields):
    return rerank.read_request(body(**fields), dialect)


def written(provider, request):
    losses: list[str] = []
    return json.loads(WRITERS[provider]("served", request, losses)), losses


# Requests


def test_the_glance():
    seen = rerank.peek(body())
    assert (seen.model, seen.stream) == ("asked", False)
    assert seen.input_bytes == len('"colour"') + len('["red", "green", "blue"]')


@pytest.mark.parametrize(
    ("raw", "param"),
    [
        (b'{"model":"m","documents":["a"]}', "query"),
        (b'{"model":"m","query":"q"}', "documents"),
        (b'{"query":"q","documents":["a"]}', "model"),
        (b"[]", None),
        (b"{", None),
    ],
)
def test_a_glance_at_what_is_missing(raw, param):
    with pytest.raises(BadRequest) as caught:
        rerank.peek(raw)
    assert caught.value.param == param


@pytest.mark.parametrize(
    ("fields", "dialect"),
    [
        ({}, "jina"),
        ({"top_n": 2}, "jina"),
        ({"top_k": None, "truncation": True}, "voyage"),
        ({"top_k": 2}, "voyage"),
        ({"rank_fields": ["text"]}, "cohere_v1"),
        ({"max_chunks_per_doc": 2}, "cohere_v1"),
    ],
)
def test_whose_dialect(fields, dialect):
    assert read(**fields).dialect == dialect


def test_the_path_may_say_it():
    assert read("cohere", top_n=1).dialect == "cohere"
    tei = rerank.read_request(b'{"model":"m","query":"q","texts":["a"],"return_text":true,"truncate":true}')
    assert (tei.dialect, tei.documents, tei.return_documents, tei.truncation) == ("tei", ["a"], True, True)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"model": 1}, "model"),
        ({"query": None}, "query"),
        ({"query": ["q"]}, "query"),
        ({"documents": None}, "documents"),
        ({"documents": []}, "documents"),
        ({"documents": "red"}, "documents"),
        ({"documents": ["red", 1]}, "documents.1"),
        ({"top_n": 0}, "top_n"),
        ({"top_n": "2"}, "top_n"),
        ({"top_k": True}, "top_k"),
        ({"return_documents": "yes"}, "return_documents"),
        ({"max_tokens_per_doc": -1}, "max_tokens_per_doc"),
        ({"rank_fields": "text"}, "rank_fields"),
        ({"rank_fields": [1]}, "rank_fields.0"),
        ({"raw_scores": 1}, "raw_scores"),
    ],
)
def test_wrong_fields_are_named(fields, param):
    with pytest.raises(BadRequest) as caught:
        read(**fields)
    assert caught.value.param == param


def test_who_gets_documents_back_unasked():
    assert read().return_documents
    assert not read("cohere").return_documents
    assert not read(top_k=1).return_documents
    assert not read(rank_fields=["text"]).return_documents
    assert not read(return_documents=False).return_documents


def test_pass_through():
    raw = body(made_up=[1.50])
    assert rerank.patch_request(raw, model="asked") is raw
    assert json.loads(rerank.patch_request(raw, model="other")) == {**json.loads(raw), "model": "other"}
    assert b"1.50" in rerank.patch_request(body().replace(b'"colour"', b"1.50"), model="other")


def test_each_provider_s_words():
    request = read(top_n=2, return_documents=True, made_up=1)
    shared = {"model": "served", "query": "colour", "documents": DOCUMENTS}
    assert written("cohere", request) == ({**shared, "top_n": 2}, ["made_up"])
    assert written("jina", request) == ({**shared, "top_n": 2, "return_documents": False, "made_up": 1}, [])
    assert written("host", request) == ({**shared, "top_n": 2, "made_up": 1}, [])
    assert written("voyage", request) == ({**shared, "top_k": 2}, ["made_up"])
    assert written("tei", request) == ({"query": "colour", "texts": DOCUMENTS}, ["made_up"])


def test_limits_on_length():
    request = read("cohere", max_tokens_per_doc=100, priority=3)
    body_, losses = written("cohere", request)
    assert (body_["max_tokens_per_doc"], body_["priority"], losses) == (100, 3, [])
    assert written("voyage", request)[1] == ["max_tokens_per_doc", "priority"]
    voyage = read(top_k=1, truncation=False)
    assert written("voyage", voyage)[0]["truncation"] is False
    assert written("cohere", voyage)[1] == ["truncation"]
    tei = rerank.read_request(b'{"model":"m","query":"q","texts":["a"],"truncate":true,"raw_scores":true}')
    assert written("tei", tei) == ({"query": "q", "texts": ["a"], "truncate": True, "raw_scores": True}, [])
    assert written("host", tei)[1] == ["truncate", "raw_scores"]


def test_objects_become_texts_where_only_texts_are_ranked():
    request = read(documents=["a", {"text": "b", "title": "B"}])
    for provider in ("cohere", "host", "voyage", "jina"):
        assert written(provider, request)[0]["documents"] == ["a", "b"]
    named = read(documents=[{"title": "T", "author": "A", "text": "t"}], rank_fields=["author", "title", "none"])
    assert written("cohere", named) == (
        {"model": "served", "query": "colour", "documents": ["author: A\ntitle: T"]},
        [],
    )


def test_images_are_jina_s():
    request = read(documents=["a", {"image": "https://example.org/a.png"}], query={"text": "q"})
    assert written("jina", request)[0]["documents"] == ["a", {"image": "https://example.org/a.png"}]
    for provider in ("cohere", "host", "voyage", "tei"):
        with pytest.raises(LossRefused) as caught:
            written(provider, request)
        assert caught.value.param == "documents.1"
    with pytest.raises(LossRefused) as caught:
        written("cohere", read(query={"image": "https://example.org/a.png"}))
    assert caught.value.param == "query"


# Replies

COHERE = {
    "id": "i",
    "results": [{"index": 2, "relevance_score": 0.9}, {"index": 0, "relevance_score": 0.2}],
    "meta": {"api_version": {"version": "2"}, "billed_units": {"search_units": 1}},
}
JINA = {
    "model": "jina-reranker",
    "object": "list",
    "usage": {"total_tokens": 9},
    "results": [
        {"index": 2, "relevance_score": 0.9, "document": {"text": "blue"}},
        {"index": 0, "relevance_score": 0.2, "document": {"text": "red"}},
    ],
}
VOYAGE = {
    "object": "list",
    "data": [{"index": 2, "relevance_score": 0.9}, {"index": 0, "relevance_score": 0.2}],
    "model": "rerank-2",
    "usage": {"total_tokens": 9},
}
TEI = [{"index": 2, "score": 0.9, "text": "blue"}, {"index": 0, "score": 0.2}]
ORDER = [(2, 0.9), (0, 0.2)]


def answer(value, request) -> RerankReply:
    return rerank.read_reply(json.dumps(value).encode(), request)


@pytest.mark.parametrize(
    ("value", "usage"),
    [
        (COHERE, Usage(search_units=1)),
        (JINA, Usage(uncached=9)),
        (VOYAGE, Usage(uncached=9)),
        (TEI, None),
    ],
    ids=["cohere", "jina", "voyage", "tei"],
)
def test_every_answer_says_the_same(value, usage):
    request = read(top_n=2)
    reply = answer(value, request)
    assert [(result.index, result.score) for result in reply.results] == ORDER
    assert reply.usage == usage
    assert reply.as_sent
    receipt = rerank.read_receipt(json.dumps(value).encode())
    assert receipt.usage == usage


def test_the_ranking_is_sorted_and_cut():
    """llama-server answered in the order of the documents, all of them."""
    results = [{"index": index, "relevance_score": score} for index, score in enumerate((0.1, 0.9, 0.5))]
    value = {"model": "m", "object": "list", "usage": {"prompt_tokens": 12, "total_tokens": 12}, "results": results}
    reply = answer(value, read(top_n=2))
    assert [result.index for result in reply.results] == [1, 2]
    assert not reply.as_sent
    assert reply.usage == Usage(uncached=12)
    whole = answer(value, read())
    assert [result.index for result in whole.results] == [1, 2, 0]


@pytest.mark.parametrize(
    "value",
    [
        {"results": [{"index": 3, "relevance_score": 1}]},
        {"results": [{"index": -1, "relevance_score": 1}]},
        {"results": [{"index": 0, "relevance_score": 1}, {"index": 0, "relevance_score": 1}]},
        {"results": [{"index": 0}]},
        {"results": [{"index": 0, "relevance_score": None}]},
        {"results": [{"index": "0", "relevance_score": 1}]},
        {"results": [{"relevance_score": 1}]},
        {"results": "none"},
        {"data": [1]},
        {},
        "text",
    ],
)
def test_garbage_is_the_providers_fault(value):
    with pytest.raises(UpstreamBroken):
        answer(value, read())


@pytest.mark.parametrize("raw", [b"", b"<html>", b"[1]", b'{"results":[', b"\xff"])
def test_no_json(raw):
    with pytest.raises(UpstreamBroken):
        rerank.read_reply(raw, read())


@pytest.mark.parametrize("field", ["error", "message", "detail"])
def test_an_error_sent_as_success(field):
    with pytest.raises(ProviderError, match="no such model"):
        answer({field: "no such model"}, read())


def test_cohere_v2_gets_its_own_form():
    request = read("cohere")
    out = json.loads(rerank.write_reply(answer(COHERE, request), request))
    assert out == COHERE
    checked = cohere.V2RerankResponse.model_validate(out)
    assert [result.index for result in checked.results] == [2, 0]
    assert checked.meta.billed_units.search_units == 1
    from_jina = json.loads(rerank.write_reply(answer(JINA, request), request))
    assert from_jina["meta"] == {"api_version": {"version": "2"}, "tokens": {"input_tokens": 9}}
    cohere.V2RerankResponse.model_validate(from_jina)


def test_cohere_v1_gets_its_whole_documents():
    documents = [{"text": "a", "title": "A"}, "b", "c"]
    request = read(documents=documents, max_chunks_per_doc=1, return_documents=True)
    out = json.loads(rerank.write_reply(answer(COHERE, request), request))
    assert [result["document"] for result in out["results"]] == [{"text": "c"}, {"text": "a", "title": "A"}]
    checked = cohere.RerankResponse.model_validate(out)
    assert checked.results[0].document.text == "c"


def test_jina_gets_tokens_and_documents():
    request = read(top_n=2)
    out = json.loads(rerank.write_reply(answer(JINA, request), request))
    assert out == {**JINA, "usage": {"total_tokens": 9, "prompt_tokens": 9}}
    short = read(return_documents=False)
    out = json.loads(rerank.write_reply(answer(VOYAGE, short), short))
    assert out["results"] == VOYAGE["data"]
    cohere.RerankResponse.model_validate(out)  # the path is Cohere's v1 too


def test_voyage_gets_data_and_plain_documents():
    request = read(top_k=2)
    assert json.loads(rerank.write_reply(answer(VOYAGE, request), request)) == VOYAGE
    request = read(top_k=1, return_documents=True, documents=["red", "green", {"text": "blue"}])
    out = json.loads(rerank.write_reply(answer(JINA, request), request))
    assert out["data"] == [{"index": 2, "relevance_score": 0.9, "document": "blue"}]


def test_tei_gets_a_bare_array():
    request = rerank.read_request(b'{"model":"m","query":"q","texts":["a","b","c"],"return_text":true}')
    assert json.loads(rerank.write_reply(answer(COHERE, request), request)) == [
        {"index": 2, "score": 0.9, "text": "c"},
        {"index": 0, "score": 0.2, "text": "a"},
    ]


def test_errors_say_it_in_every_client_s_field():
    error = json.loads(rerank.write_error(RateLimited("too many", hint="wait"), "req-1"))
    assert error == {
        "message": "too many (hint: wait)",
        "detail": "too many (hint: wait)",
        "code": "rate_limit_exceeded",
        "id": "req-1",
    }
    assert json.loads(rerank.write_error(BadRequest("bad", param="query"), "")) == {
        "message": "bad",
        "detail": "bad",
        "code": "invalid_request",
        "param": "query",
    }


@pytest.mark.parametrize("client", [cohere.ClientV2, cohere.Client])
def test_the_cohere_sdk(client):
    """v2 and v1, which share a body with Jina's clients: a ranking and an error."""

    def answer_it(sent: httpx.Request) -> httpx.Response:
        request = rerank.read_request(sent.content, "cohere" if sent.url.path == "/v2/rerank" else None)
        if request.query == "too fast":
            return httpx.Response(429, content=rerank.write_error(RateLimited("slow down"), "req-1"), headers=JSON_TYPE)
        reply = RerankReply("m", [Ranked(1, 0.9), Ranked(0, 0.1)], Usage(search_units=1), "i")
        return httpx.Response(200, content=rerank.write_reply(reply, request), headers=JSON_TYPE)

    with httpx.Client(transport=httpx.MockTransport(answer_it)) as transport:
        sdk = client(api_key="k", base_url="http://gateway", httpx_client=transport)
        found = sdk.rerank(model="m", query="q", documents=["a", "b"], top_n=2)
        assert [(one.index, one.relevance_score) for one in found.results] == [(1, 0.9), (0, 0.1)]
        with pytest.raises(cohere.TooManyRequestsError) as caught:
            sdk.rerank(model="m", query="too fast", documents=["a"], request_options={"max_retries": 0})
        assert caught.value.body["message"] == "slow down"


JSON_TYPE = {"content-type": "application/json"}


def test_providers_errors():
    assert isinstance(rerank.read_error(429, {}, b'{"id":"1","message":"slow down"}'), UpstreamLimited)
    assert rerank.read_error(400, {}, b'{"detail":"too long"}').message == "too long"
    assert rerank.read_error(413, {}, b'{"error":"batch size 9 > 8","error_type":"Validation"}').message.startswith(
        "batch size"
    )


# Anything

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["text", "image", "index", "relevance_score", "score"]), inner)
    ),
    max_leaves=6,
)
NAMES = ["model", "query", "documents", "texts", "top_n", "top_k", "rank_fields", "truncation", "return_documents"]


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(NAMES), JSON))
def test_any_request_is_written_or_refused(fields):
    for raw in (body(**fields), json.dumps(fields).encode()):
        try:
            rerank.peek(raw)
            request = rerank.read_request(raw)
        except BadRequest as error:
            assert error.message  # noqa: PT017
            continue
        reply = RerankReply("m", [Ranked(0, 0.5)])
        json.loads(rerank.write_reply(reply, request))
        for provider in WRITERS:
            try:
                written(provider, request)
            except LossRefused as error:
                assert error.param  # noqa: PT017


@settings(deadline=None)
@given(
    st.dictionaries(st.sampled_from(["results", "data", "model", "id", "usage", "meta", "error", "message"]), JSON)
    | st.lists(JSON, max_size=2)
)
def test_any_reply_is_read_or_broken(value):
    raw = json.dumps(value).encode()
    request = read()
    for verb in (lambda: rerank.read_reply(raw, request), lambda: rerank.read_receipt(raw)):
        try:
            verb()
        except ProviderError as error:
            assert error.message  # noqa: PT017


@settings(deadline=None)
@given(st.permutations(range(6)), st.integers(1, 8))
def test_a_ranking_is_sorted_whatever_came(order, top):
    request = read(documents=[str(number) for number in range(6)], top_n=top)
    results = [{"index": index, "relevance_score": index / 10} for index in order]
    reply = answer({"results": results}, request)
    assert [result.index for result in reply.results] == [5, 4, 3, 2, 1, 0][:top]
    assert reply.as_sent == ([result["index"] for result in results] == [result.index for result in reply.results])
