"""The `cohere` package, for what this gateway answers in Cohere's words: rerank, old path and new."""

from collections.abc import Iterator
from typing import Any

import cohere
import httpx
import pytest
from cohere.core.api_error import ApiError
from running import KEY, Running

DOCUMENTS = ["Oslo is in Norway", "A refund takes five days", "Refund my card payment, please"]


@pytest.fixture(scope="module")
def pool() -> Iterator[httpx.Client]:
    """Connections that are closed in the end; the client closes none of its own."""
    with httpx.Client(timeout=20) as made:
        yield made


@pytest.fixture(scope="module")
def client(gateway: Running, pool: httpx.Client) -> cohere.ClientV2:
    return cohere.ClientV2(api_key=KEY, base_url=gateway.url, httpx_client=pool)


def ranked(reply: Any) -> list[int]:
    scores = [result.relevance_score for result in reply.results]
    assert scores == sorted(scores, reverse=True)
    return [result.index for result in reply.results]


def test_rerank(client: cohere.ClientV2) -> None:
    reply = client.rerank(model="cohere/rerank-v3.5", query="refund card payment", documents=DOCUMENTS)
    assert sorted(ranked(reply)) == [0, 1, 2]
    assert ranked(reply)[0] == 2
    assert reply.id
    type(reply).model_validate(reply.model_dump(mode="json"))


def test_only_the_best(client: cohere.ClientV2) -> None:
    reply = client.rerank(model="cohere/rerank-v3.5", query="refund card payment", documents=DOCUMENTS, top_n=1)
    assert ranked(reply) == [2]


def test_the_first_version_of_the_path(gateway: Running, pool: httpx.Client) -> None:
    client = cohere.Client(api_key=KEY, base_url=gateway.url, httpx_client=pool)
    reply = client.rerank(
        model="cohere/rerank-v3.5", query="refund card payment", documents=DOCUMENTS, return_documents=True
    )
    assert ranked(reply)[0] == 2
    assert reply.results[0].document is not None
    assert reply.results[0].document.text == DOCUMENTS[2]


def test_a_provider_without_rerank_is_a_clear_400(client: cohere.ClientV2) -> None:
    with pytest.raises(cohere.BadRequestError, match="rerank"):
        client.rerank(model="anthropic/fake", query="x", documents=DOCUMENTS)


@pytest.mark.parametrize(
    ("status", "error"), [(400, cohere.BadRequestError), (429, cohere.TooManyRequestsError), (503, ApiError)]
)
def test_errors(client: cohere.ClientV2, status: int, error: Any) -> None:
    with pytest.raises(error) as caught:
        client.rerank(
            model=f"cohere/fake-status-{status}", query="x", documents=DOCUMENTS, request_options={"max_retries": 0}
        )
    assert caught.value.status_code == status
    assert caught.value.body["message"]


def test_a_wrong_key_and_an_unknown_model(gateway: Running, pool: httpx.Client, client: cohere.ClientV2) -> None:
    stranger = cohere.ClientV2(api_key="fh-not-a-key-at-all", base_url=gateway.url, httpx_client=pool)
    with pytest.raises(cohere.UnauthorizedError):
        stranger.rerank(model="cohere/rerank-v3.5", query="x", documents=DOCUMENTS)
    with pytest.raises(cohere.NotFoundError) as caught:
        client.rerank(model="fats", query="x", documents=DOCUMENTS)
    assert "did you mean 'fast'" in str(caught.value.body)
