"""Embed, Rerank and Moderate against every dialect: what is sent where, and what the client gets back."""

import json
import struct
from base64 import b64encode

import pytest

from freehold.call.breaker import Breaker
from freehold.call.operations_text import EMBED, MODERATE, RERANK, Batched, Embed, Moderate, Rerank
from freehold.call.target import Address, Target
from freehold.call.transport import Origin, Pool
from freehold.config.schema import Timeouts
from freehold.decide.catalog import Deployment
from freehold.dialects import embeddings, moderations, rerank
from freehold.dialects.conversation import Usage
from freehold.dialects.gemini import embed as gemini_embed
from freehold.dialects.traits import PLAIN
from freehold.errors import BadRequest, InternalError, LossRefused, UpstreamBroken, UpstreamLimited

PATHS = {
    "chat": {"embeddings": "/embeddings", "rerank": "/rerank", "moderations": "/moderations"},
    "gemini": {
        "embeddings": "/v1beta/models/{model}:batchEmbedContents",
        "embed_content": "/v1beta/models/{model}:embedContent",
    },
    "cohere": {"embeddings": "/v2/embed", "rerank": "/v2/rerank"},
    "voyage": {
        "embeddings": "/v1/embeddings",
        "multimodal_embeddings": "/v1/multimodalembeddings",
        "rerank": "/v1/rerank",
    },
    "jina": {"embeddings": "/v1/embeddings", "rerank": "/v1/rerank"},
    "mistral": {
        "embeddings": "/v1/embeddings",
        "moderations": "/v1/moderations",
        "chat_moderations": "/v1/chat/moderations",
    },
    "messages": {"chat": "/v1/messages"},
}
HELLO = [0.5, -1.25]
PACKED = b64encode(struct.pack("<2f", *HELLO)).decode()


def target(dialect: str) -> Target:
    pool = Pool(Origin.parse("http://127.0.0.1:9"), connect_timeout=1.0, limit=1)
    deployment = Deployment(f"{dialect}/served", dialect, "served", dialect)
    return Target(deployment, Address(pool, PATHS[dialect], []), PLAIN, Timeouts(), Breaker(5, 1.0))


def path(head: bytes) -> str:
    return head.split(b" ", 2)[1].decode()


def embed(given="hello", *, strict=False, **fields) -> Embed:
    body = json.dumps({"model": "asked", "input": given, **fields}).encode()
    return Embed(body, embeddings.peek(body), strict=strict)


def listed(*vectors, usage=4) -> bytes:
    data = [{"object": "embedding", "index": index, "embedding": vector} for index, vector in enumerate(vectors)]
    return json.dumps({"data": data, "model": "m", "usage": {"prompt_tokens": usage, "total_tokens": usage}}).encode()


def vectors(answer: bytes) -> list:
    return [item["embedding"] for item in json.loads(answer)["data"]]


# Embeddings

ANSWERS = {
    "chat": listed(HELLO),
    "voyage": b'{"data":[{"embedding":"%b","index":0}],"model":"m","usage":{"total_tokens":4}}' % PACKED.encode(),
    "jina": listed(HELLO),
    "mistral": listed(HELLO),
    "cohere": b'{"embeddings":{"float":[[0.5,-1.25]]},"meta":{"billed_units":{"input_tokens":4}}}',
    "gemini": b'{"embeddings":[{"values":[0.5,-1.25]}],"usageMetadata":{"promptTokenCount":4}}',
}


def test_every_form_has_an_answer_here():
    assert set(ANSWERS) <= set(EMBED)


@pytest.mark.parametrize("dialect", ANSWERS)
@pytest.mark.parametrize(("encoding", "wanted"), [("float", HELLO), ("base64", PACKED), (None, HELLO)])
def test_one_answer_whoever_embeds(dialect, encoding, wanted):
    operation = embed(**({"encoding_format": encoding} if encoding else {}))
    prepared = operation.prepare(target(dialect))
    assert path(prepared.head) == PATHS[dialect]["embeddings"].replace("{model}", "served")
    assert b"served" in prepared.body
    assert b"hello" in prepared.body
    answer, receipt = prepared.read(ANSWERS[dialect])
    assert vectors(answer) == [wanted]
    assert receipt.usage == Usage(uncached=4)
    assert receipt.model in ("m", "served")
    assert json.loads(answer)["model"] in ("m", "served")


def test_same_dialect_is_passed_through_both_ways():
    operation = embed(encoding_format="base64", made_up=1)
    prepared = operation.prepare(target("chat"))
    assert json.loads(prepared.body) == {
        "model": "served",
        "input": "hello",
        "encoding_format": "base64",
        "made_up": 1,
    }
    answer = listed(PACKED)
    assert prepared.read(answer)[0] is answer
    assert vectors(prepared.read(listed(HELLO))[0]) == [PACKED]


@pytest.mark.parametrize("method", [gemini_embed.BATCH, "embedContent"])
def test_gemini_gets_what_its_own_client_wrote(method):
    one = {"model": "models/asked", "content": {"role": "user", "parts": [{"text": "hi"}]}, "made_up": 1}
    body = {"requests": [one, one]} if method == gemini_embed.BATCH else one
    raw = json.dumps(body).encode()
    operation = Embed(
        raw,
        gemini_embed.peek(raw, model="asked", method=method),
        request=gemini_embed.read_request(raw, model="asked", method=method),
        write=lambda reply: gemini_embed.write_reply(reply, method=method),
    )
    prepared = operation.prepare(target("gemini"))
    assert path(prepared.head) == f"/v1beta/models/served:{method}"
    renamed = one | {"model": "models/served"}
    assert json.loads(prepared.body) == ({"requests": [renamed] * 2} if method == gemini_embed.BATCH else renamed)
    vector = {"values": HELLO, "made_up": 1}
    answers = {gemini_embed.BATCH: {"embeddings": [vector] * 2}, "embedContent": {"embedding": vector}}
    answer = json.dumps(answers[method] | {"usageMetadata": {"promptTokenCount": 4}}).encode()
    passed, receipt = prepared.read(answer)
    assert passed is answer
    assert (receipt.usage, receipt.model) == (Usage(uncached=4), "served")
    with pytest.raises(UpstreamBroken):
        prepared.read(b'{"embeddings":[]}')
    assert json.loads(operation.prepare(target("chat")).body)["model"] == "served"


def test_a_missing_vector_is_the_providers_fault():
    for dialect in ("chat", "jina"):
        with pytest.raises(UpstreamBroken):
            embed(["a", "b"]).prepare(target(dialect)).read(listed(HELLO))
    with pytest.raises(UpstreamBroken):
        embed().prepare(target("cohere")).read(b'{"embeddings":{"float":[]}}')


@pytest.mark.parametrize(("dialect", "count", "sizes"), [("cohere", 200, [96, 96, 8]), ("gemini", 101, [100, 1])])
def test_too_many_inputs_take_several_calls(dialect, count, sizes):
    prepared = embed([str(number) for number in range(count)], user="u").prepare(target(dialect))
    assert isinstance(prepared, Batched)
    bodies = [json.loads(body) for body in (prepared.body, *prepared.more)]
    assert [len(body.get("texts") or body["requests"]) for body in bodies] == sizes
    assert prepared.losses == ["user"]

    def answer(start: int, size: int) -> bytes:
        values = [[float(number)] for number in range(start, start + size)]
        if dialect == "cohere":
            return json.dumps(
                {"embeddings": {"float": values}, "meta": {"billed_units": {"input_tokens": size}}}
            ).encode()
        usage = {"usageMetadata": {"promptTokenCount": size}}
        return json.dumps({"embeddings": [{"values": value} for value in values], **usage}).encode()

    start = 0
    for size in sizes[:-1]:
        prepared.keep(answer(start, size))
        start += size
        assert prepared.spent == Usage(uncached=start)
    whole, receipt = prepared.read(answer(start, sizes[-1]))
    assert vectors(whole) == [[float(number)] for number in range(count)]
    assert receipt.usage == Usage(uncached=count)


def test_a_split_for_the_same_dialect():
    prepared = embed(["x"] * 2050, encoding_format="base64", made_up=1).prepare(target("chat"))
    assert isinstance(prepared, Batched)
    second = json.loads(prepared.more[0])
    assert second == {"model": "served", "input": ["x", "x"], "encoding_format": "base64", "made_up": 1}
    with pytest.raises(InternalError):
        prepared.read(listed(PACKED, PACKED))
    with pytest.raises(UpstreamBroken):
        prepared.keep(listed(PACKED))
    prepared.keep(listed(*[PACKED] * 2048))
    assert len(vectors(prepared.read(listed(PACKED, PACKED))[0])) == 2050


def test_integers_keep_their_type():
    operation = embed(output_dtype="int8", encoding_format="base64")
    for dialect in ("voyage", "mistral"):
        answer, _ = operation.prepare(target(dialect)).read(listed([1, -2]))
        assert vectors(answer) == [b64encode(struct.pack("2b", 1, -2)).decode()]
    prepared = operation.prepare(target("gemini"))
    assert prepared.losses == ["output_dtype"]
    assert vectors(prepared.read(ANSWERS["gemini"])[0]) == [PACKED]


def test_images_have_a_path_of_their_own_at_voyage():
    prepared = embed([{"image": "https://example.org/a.png"}]).prepare(target("voyage"))
    assert path(prepared.head) == "/v1/multimodalembeddings"
    plain = target("jina")
    plain.dialect = "voyage"
    with pytest.raises(BadRequest, match="no multimodal_embeddings endpoint"):
        embed([{"image": "https://example.org/a.png"}]).prepare(plain)


def test_a_request_of_another_dialect():
    request = embeddings.EmbeddingRequest("asked", ["a"], task="query")
    prepared = Embed(b"", embeddings.peek(b'{"model":"m","input":"a"}'), request=request).prepare(target("cohere"))
    assert json.loads(prepared.body)["input_type"] == "search_query"


# Reranking


def ranked(*, dialect=None, strict=False, **fields) -> Rerank:
    body = json.dumps({"model": "asked", "query": "q", "documents": ["a", "b", "c"], **fields}).encode()
    return Rerank(body, rerank.peek(body), dialect, strict=strict)


RANKINGS = {
    "chat": {"model": "m", "results": [{"index": 2, "relevance_score": 0.9}, {"index": 0, "relevance_score": 0.2}]},
    "cohere": {
        "results": [{"index": 2, "relevance_score": 0.9}, {"index": 0, "relevance_score": 0.2}],
        "meta": {"billed_units": {"search_units": 1}},
    },
    "voyage": {"data": [{"index": 2, "relevance_score": 0.9}, {"index": 0, "relevance_score": 0.2}]},
}
RANKINGS["jina"] = RANKINGS["chat"]


@pytest.mark.parametrize("provider", sorted(RERANK))
@pytest.mark.parametrize(
    ("client", "place"),
    [({"top_n": 2}, "results"), ({"top_k": 2}, "data"), ({"dialect": "cohere", "top_n": 2}, "results")],
)
def test_every_client_at_every_reranker(provider, client, place):
    prepared = ranked(**client).prepare(target(provider))
    assert path(prepared.head) == PATHS[provider]["rerank"]
    sent = json.loads(prepared.body)
    assert (sent["model"], sent.get("top_n") or sent.get("top_k")) == ("served", 2)
    answer, receipt = prepared.read(json.dumps(RANKINGS[provider]).encode())
    assert [result["index"] for result in json.loads(answer)[place]] == [2, 0]
    assert receipt.usage == (Usage(search_units=1) if provider == "cohere" else None)


def test_a_ranking_passes_where_it_can():
    answer = json.dumps(RANKINGS["jina"], indent=1).encode()
    assert ranked(made_up=1).prepare(target("jina")).read(answer)[0] is answer
    unsorted = b'{"results":[{"index":0,"relevance_score":0.1},{"index":1,"relevance_score":0.8}]}'
    whole = json.loads(ranked(return_documents=False).prepare(target("chat")).read(unsorted)[0])
    assert [result["index"] for result in whole["results"]] == [1, 0]


def test_objects_at_a_copy_of_jina_s_become_texts():
    prepared = ranked(documents=[{"text": "a"}, "b"]).prepare(target("chat"))
    assert json.loads(prepared.body)["documents"] == ["a", "b"]


# Moderation


def moderate(given="a", *, strict=False) -> Moderate:
    body = json.dumps({"model": "asked", "input": given}).encode()
    return Moderate(body, moderations.peek(body), strict=strict)


RESULT = {"categories": {"violence": False}, "category_scores": {"violence": 0.1}}


def test_moderation_passes_through_openai():
    answer = json.dumps({"id": "i", "model": "m", "results": [{**RESULT, "flagged": False}]}).encode()
    prepared = moderate().prepare(target("chat"))
    assert json.loads(prepared.body) == {"model": "served", "input": "a"}
    passed, receipt = prepared.read(answer)
    assert passed is answer
    assert receipt.id == "i"
    with pytest.raises(UpstreamBroken):
        moderate(["a", "b"]).prepare(target("chat")).read(answer)


def test_moderation_at_mistral():
    prepared = moderate().prepare(target("mistral"))
    assert path(prepared.head) == "/v1/moderations"
    assert json.loads(prepared.body) == {"model": "served", "input": ["a"]}
    assert "results.categories.harassment" in prepared.losses
    answer, _ = prepared.read(
        b'{"id":"i","results":[{"categories":{"selfharm":true},"category_scores":{"selfharm":0.8}}]}'
    )
    out = json.loads(answer)
    assert (out["model"], out["results"][0]["flagged"]) == ("served", True)
    assert out["results"][0]["categories"]["self-harm"]


def test_a_conversation_is_mistral_s():
    messages = [{"role": "user", "content": "a"}]
    prepared = moderate(messages).prepare(target("mistral"))
    assert path(prepared.head) == "/v1/chat/moderations"
    assert json.loads(prepared.body) == {"model": "served", "input": messages}
    answer = b'{"id":"i","results":[{"categories":{},"category_scores":{}}]}'
    assert prepared.read(answer)[0] is answer
    with pytest.raises(LossRefused):
        moderate(messages).prepare(target("chat"))


# All of them


def test_who_has_no_such_operation():
    for operation in (embed(), ranked(), moderate()):
        with pytest.raises(BadRequest) as caught:
            operation.prepare(target("messages"))
        assert caught.value.param == "model"
    assert set(MODERATE) == {"chat", "mistral"}


@pytest.mark.parametrize(
    ("operation", "dialect", "lost"),
    [
        (embed(user="u", strict=True), "cohere", "user"),
        (ranked(max_tokens_per_doc=3, strict=True), "voyage", "max_tokens_per_doc"),
        (moderate(strict=True), "mistral", "results.categories.harassment"),
    ],
    ids=["embed", "rerank", "moderate"],
)
def test_strict_refuses_a_loss(operation, dialect, lost):
    with pytest.raises(LossRefused) as caught:
        operation.prepare(target(dialect))
    assert caught.value.param == lost


def test_nothing_here_streams_and_errors_are_read():
    for operation, dialect in ((embed(), "gemini"), (embed(), "cohere"), (ranked(), "jina"), (moderate(), "chat")):
        prepared = operation.prepare(target(dialect))
        with pytest.raises(InternalError):
            prepared.relay()
        assert isinstance(prepared.read_error(429, {}, b'{"message":"slow down"}'), UpstreamLimited)


def test_a_bad_request_is_found_before_anything_is_sent():
    for operation in (embed([1, "a"]), ranked(top_n=-1), moderate([1])):
        with pytest.raises(BadRequest):
            operation.prepare(target("chat"))
