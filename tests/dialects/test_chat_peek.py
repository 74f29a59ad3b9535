"""The first glance at a chat request: right about what routing needs, and never more than a BadRequest on bad input."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freehold.dialects import chat
from freehold.errors import BadRequest

HELLO = [{"role": "user", "content": "hello"}]


def peek(**fields):
    return chat.peek(json.dumps({"model": "m", "messages": HELLO, **fields}).encode())


def test_the_plain_request():
    seen = peek()
    assert (seen.model, seen.stream, seen.max_tokens, seen.n) == ("m", False, None, 1)
    assert seen.input_bytes == len(json.dumps(HELLO))
    assert not any((seen.include_usage, seen.tools, seen.schema, seen.images, seen.audio, seen.documents))


def test_every_field_it_looks_at():
    seen = peek(
        stream=True,
        stream_options={"include_usage": True, "include_obfuscation": False},
        max_completion_tokens=7,
        max_tokens=9,
        n=3,
        tools=[{"type": "function", "function": {"name": "f"}}],
        response_format={"type": "json_schema", "json_schema": {"name": "x", "schema": {}}},
    )
    assert seen.stream
    assert seen.include_usage
    assert seen.max_tokens == 7
    assert seen.n == 3
    assert seen.tools
    assert seen.schema


@pytest.mark.parametrize("empty", [{"tools": []}, {"tools": None}, {"response_format": {"type": "text"}}])
def test_empty_is_absent(empty):
    seen = peek(**empty)
    assert not seen.tools
    assert not seen.schema


def test_nulls_and_no_limit():
    seen = peek(stream=None, n=None, max_tokens=-1, stream_options=None, response_format=None)
    assert (seen.stream, seen.n, seen.max_tokens) == (False, 1, None)


@pytest.mark.parametrize(
    ("part", "kind"),
    [
        ({"type": "image_url", "image_url": {"url": "https://example.com/cat.png"}}, "images"),
        ({"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}, "audio"),
        ({"type": "file", "file": {"file_id": "file-1"}}, "documents"),
    ],
)
@pytest.mark.parametrize("separators", [(",", ":"), (", ", ": ")])
def test_media_is_found(part, kind, separators):
    messages = [{"role": "user", "content": [{"type": "text", "text": "look"}, part]}]
    seen = chat.peek(json.dumps({"model": "m", "messages": messages}, separators=separators).encode())
    assert [name for name in ("images", "audio", "documents") if getattr(seen, name)] == [kind]


def test_talking_about_media_is_not_media():
    seen = peek(messages=[{"role": "user", "content": 'say {"type": "image_url", "file": "input_audio"}'}])
    assert not any((seen.images, seen.audio, seen.documents))
    named = {"type": "object", "properties": {"file": {"type": "string"}, "image_url": {"type": "string"}}}
    seen = peek(tools=[{"type": "function", "function": {"name": "f", "parameters": named}}])
    assert not any((seen.images, seen.documents))


def test_base64_does_not_count_as_prompt():
    url = "data:image/png;base64," + "A" * 1_000_000
    image = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}]
    sound = [{"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": "A" * 1_000_000}}]}]
    assert peek(messages=image).images
    assert 1_000 < peek(messages=image).input_bytes < 10_000
    assert peek(messages=sound).audio
    assert 1_000 < peek(messages=sound).input_bytes < 10_000


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b"", None),
        (b"{", None),
        (b"[]", None),
        (b"null", None),
        (b'{"messages":[]}', "model"),
        (b'{"model":"m"}', "messages"),
        (b'{"model":1,"messages":[]}', "model"),
        (b'{"model":null,"messages":[]}', "model"),
        (b'{"model":"m","messages":"hello"}', "messages"),
        (b'{"model":"m","messages":{}}', "messages"),
        (b'{"model":"m","messages":null}', "messages"),
        (b'{"model":"m","messages":[],"stream":"true"}', "stream"),
        (b'{"model":"m","messages":[],"n":"2"}', "n"),
        (b'{"model":"m","messages":[],"n":0}', "n"),
        (b'{"model":"m","messages":[],"n":1000000}', "n"),
        (b'{"model":"m","messages":[],"max_tokens":1.5}', "max_tokens"),
        (b'{"model":"m","messages":[],"stream_options":{"include_usage":1}}', "stream_options.include_usage"),
        (b'{"model":"m","messages":["\xff"]}', None),
        (b'{"model":"\xc3\x28","messages":[]}', None),
        (b'{"model":"m","messages":' + b"[" * 100_000 + b"]" * 100_000 + b"}", None),
        (b'{"model":"m","messages":[],"x":' + b'{"a":' * 100_000 + b"1" + b"}" * 100_000 + b"}", None),
        (b'{"model":"m","messages":[]} {}', None),
        (b'{"model":"m","messages":[NaN]}', None),
    ],
)
def test_bad_bodies_are_refused_by_name(body, param):
    with pytest.raises(BadRequest) as caught:
        chat.peek(body)
    assert caught.value.param == param
    assert caught.value.message.endswith(".")
    if param:
        assert param in caught.value.message


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)
NAMES = ["model", "messages", "stream", "n", "max_tokens", "tools", "response_format", "stream_options"]


@settings(deadline=None)
@given(st.binary(max_size=60) | st.dictionaries(st.sampled_from(NAMES), JSON).map(lambda d: json.dumps(d).encode()))
def test_anything_is_read_or_refused(body):
    for verb in (chat.peek, chat.read_request, lambda raw: chat.patch_request(raw, model="x")):
        try:
            verb(body)
        except BadRequest as error:
            assert error.message  # noqa: PT017
