"""Numbers that JSON allows and no float or integer here can hold: a bad request that names the field, never a crash."""

import pytest

from freehold.call.languages import CLIENT
from freehold.dialects import responses
from freehold.errors import BadRequest

MAIN = {
    "chat": "messages",
    "completions": "prompt",
    "responses": "input",
    "messages": "messages",
    "gemini": "contents",
    "cohere": "messages",
    "mistral": "messages",
    "ollama": "messages",
    "ollama_generate": "prompt",
}
HUGE = [b"1e400", b"-1e999", b"9" * 5000]


def test_every_dialect_is_here() -> None:
    assert MAIN.keys() == CLIENT.keys()


@pytest.mark.parametrize("value", HUGE, ids=lambda value: value[:6].decode())
@pytest.mark.parametrize("dialect", MAIN)
def test_a_number_where_the_conversation_is_due(dialect: str, value: bytes) -> None:
    body = b'{"model":"m","max_tokens":1,"%b":%b}' % (MAIN[dialect].encode(), value)
    with pytest.raises(BadRequest, match="got a number") as refused:
        CLIENT[dialect].peek(body)
    assert refused.value.param == MAIN[dialect]


@pytest.mark.parametrize("value", HUGE, ids=lambda value: value[:6].decode())
def test_fields_that_are_decoded_on_their_way_through(value: bytes) -> None:
    def body(field: bytes, value: bytes = value) -> bytes:
        return b'{"model":"m","input":"x","%b":%b}' % (field, value)

    with pytest.raises(BadRequest, match="out of range") as refused:
        responses.patch_request(body(b"temperature"), model="n")
    assert refused.value.param == "temperature"
    for field in (b"conversation", b"text"):
        with pytest.raises(BadRequest, match="out of range"):
            responses.echo(body(field))
    with pytest.raises(BadRequest, match="out of range"):
        responses.stored_items(b'{"model":"m","input":[{"role":"user","content":%b}]}' % value)
