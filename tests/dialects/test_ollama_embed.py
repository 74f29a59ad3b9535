"""Embeddings in Ollama's words, from clients and from providers."""

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freehold.dialects.conversation import Usage
from freehold.dialects.embeddings.types import EmbeddingReply, EmbeddingRequest
from freehold.dialects.ollama import embed
from freehold.errors import BadRequest, LossRefused, UpstreamBroken


def test_a_request_is_read() -> None:
    body = {"model": "m", "input": ["a", "b"], "dimensions": 3, "truncate": False, "keep_alive": "5m", "options": {}}
    request = embed.read_request(json.dumps(body).encode())
    assert (request.model, request.inputs, request.dimensions, request.truncate) == ("m", ["a", "b"], 3, "none")
    assert request.unknown == {"keep_alive": "5m", "options": {}}
    assert json.loads(embed.write_request(request, [])) == body
    assert embed.read_request(b'{"model":"m","input":"a"}').inputs == ["a"]
    assert embed.read_request(b'{"model":"m","input":[]}').inputs == [], "which only loads the model"


def test_an_old_request_is_read() -> None:
    request = embed.read_old_request(b'{"model":"m","prompt":"a","keep_alive":1}')
    assert (request.inputs, request.unknown) == (["a"], {"keep_alive": 1})
    assert embed.peek(b'{"model":"m","prompt":"abc"}').input_bytes == 5


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b'{"input":"a"}', "model"),
        (b'{"model":"m"}', "input"),
        (b'{"model":"m","input":3}', "input"),
        (b'{"model":"m","input":["a",[1]]}', "input.1"),
        (b'{"model":"m","input":"a","dimensions":0}', "dimensions"),
        (b'{"model":"m","input":"a","dimensions":"3"}', "dimensions"),
        (b'{"model":"m","input":"a","truncate":"END"}', "truncate"),
    ],
)
def test_mistakes_are_named(body: bytes, param: str) -> None:
    with pytest.raises(BadRequest) as caught:
        embed.read_request(body)
    assert caught.value.param == param


def test_old_mistakes_are_named() -> None:
    for body in (b'{"model":"m"}', b'{"model":"m","prompt":["a"]}'):
        with pytest.raises(BadRequest) as caught:
            embed.read_old_request(body)
        assert caught.value.param == "prompt"


def test_what_ollama_cannot_do_is_reported() -> None:
    request = EmbeddingRequest(
        "m", ["a"], user="u", task="query", title="t", dtype="int8", truncate="start", normalize=False,
        unknown={"input_type": "query", "late_chunking": True}, names={"task": "input_type"},
    )  # fmt: skip
    losses: list[str] = []
    assert json.loads(embed.write_request(request, losses)) == {"model": "m", "input": ["a"]}
    assert sorted(losses) == ["dtype", "input_type", "late_chunking", "normalize", "title", "truncate", "user"]


def test_token_ids_are_refused() -> None:
    with pytest.raises(LossRefused) as caught:
        embed.write_request(EmbeddingRequest("m", ["a", [1, 2]]), [])
    assert caught.value.param == "input.1"


def test_replies_are_read() -> None:
    reply = embed.read_reply(b'{"model":"m","embeddings":[[0.5,1],[2,3]],"prompt_eval_count":8,"total_duration":5}')
    assert (reply.model, reply.vectors, reply.usage) == ("m", [[0.5, 1.0], [2.0, 3.0]], Usage(uncached=8))
    old = embed.read_reply(b'{"embedding":[1.5]}')
    assert (old.vectors, old.usage) == ([[1.5]], None)
    receipt = embed.read_receipt(b'{"model":"m","embeddings":[[1]],"prompt_eval_count":8}')
    assert (receipt.model, receipt.usage) == ("m", Usage(uncached=8))


@pytest.mark.parametrize(
    "body", [b"", b"{}", b"[]", b'{"error":"no"}', b'{"embeddings":[["a"]]}', b'{"embeddings":3}', b"\xff"]
)
def test_what_is_no_embedding_is_broken(body: bytes) -> None:
    with pytest.raises(UpstreamBroken):
        embed.read_reply(body)


def test_a_reply_without_vectors_is_written() -> None:
    assert json.loads(embed.write_old_reply(EmbeddingReply("m", []))) == {"embedding": []}
    assert json.loads(embed.write_reply(EmbeddingReply("m", [])))["embeddings"] == []


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
_FIELDS = (
    "model",
    "input",
    "prompt",
    "dimensions",
    "truncate",
    "embeddings",
    "embedding",
    "prompt_eval_count",
    "error",
)


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(st.sampled_from(_FIELDS), _JSON))
def test_any_body_is_read_or_refused(fields: dict[str, Any]) -> None:
    for body in (json.dumps(fields).encode(), json.dumps({"model": "m", "input": "a", **fields}).encode()):
        for take in (embed.peek, embed.read_request, embed.read_old_request):
            with suppress(BadRequest):
                take(body)
        for read in (embed.read_reply, embed.read_receipt):
            with suppress(UpstreamBroken):
                read(body)
