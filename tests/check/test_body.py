"""A request's body as one text: whatever JSON hides is seen, whatever is media is said to be unread."""

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freehold.check.body import LONG, text_of, unescaped
from freehold.check.detect import default_rules, scan

TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\\\b\f\r\n\t"), max_size=60)


@given(TEXTS, st.booleans())
def test_every_text_is_seen_as_it_was_meant(text: str, ascii_only: bool) -> None:
    said, _ = text_of(json.dumps({"a": [{"b": text}]}, ensure_ascii=ascii_only).encode())
    assert text in said


@given(TEXTS, st.integers(1, 4))
def test_json_in_json_is_seen_too(text: str, depth: int) -> None:
    body: object = {"city": text}
    for _ in range(depth):
        body = {"arguments": json.dumps(body)}
    assert text in text_of(json.dumps(body).encode())[0]


@given(st.binary(max_size=400))
def test_no_body_raises(body: bytes) -> None:
    text_of(body)
    text_of(body, "multipart/form-data; boundary=edge")
    text_of(body, "multipart/form-data")


def test_a_word_begins_behind_a_line_break() -> None:
    assert "\nghp_1" in text_of(b'{"a": "so\\nghp_1"}')[0]
    assert "\nghp_1" in text_of(b'{"a": "{\\"b\\": \\"so\\\\nghp_1\\"}"}')[0]


def test_halves_of_characters_do_no_harm() -> None:
    assert unescaped(rb"\ud83d\ude00 \ud83d x \ude00").startswith("\N{GRINNING FACE} ")


def test_keys_numbers_and_what_is_given_twice_are_seen() -> None:
    said, _ = text_of(b'{"ghp_key": 4539148803436467, "a": "first", "a": "second", "max_tokens": 5}')
    for word in ("ghp_key", "4539148803436467", "first", "second"):
        assert word in said


def test_names_of_fields_are_no_secrets() -> None:
    drawn = b"k9Xw2LqT8vZr4BnM1cYd7HsJ"
    said, _ = text_of(b'{"max_tokens": 4096, "prompt_cache_key": "%b", "page_token": "%b"}' % (drawn, drawn))
    assert scan(said, default_rules()) == []


@pytest.mark.parametrize("size", [300, LONG + 1000])
def test_media_is_unread_and_text_in_base64_is_read(size: int) -> None:
    picture = base64.b64encode(bytes(number * 7 % 256 for number in range(size))).decode()
    said, unread = text_of(json.dumps({"url": f"data:image/png;base64,{picture}", "text": "hi"}).encode())
    assert unread
    assert "hi" in said
    letter = base64.b64encode(("my key is ghp_1. " * (size // 10)).encode()).decode()
    for body in ({"url": f"data:text/plain;base64,{letter}"}, {"inlineData": {"data": letter}}):
        said, unread = text_of(json.dumps(body).encode())
        assert "my key is ghp_1. " in said
        assert not unread
    said, unread = text_of(json.dumps({"url": f"data:text/plain;base64,{letter}"}).replace("/", "\\/").encode())
    assert "my key is ghp_1. " in said


def test_a_form_has_its_fields_read_and_its_files_where_they_are_text() -> None:
    def form(*parts: tuple[str, bytes]) -> tuple[str, bool]:
        body = b"".join(
            b"--edge\r\ncontent-disposition: form-data; %b\r\n\r\n%b\r\n" % (h.encode(), v) for h, v in parts
        )
        return text_of(body + b"--edge--\r\n", "multipart/form-data; boundary=edge")

    said, unread = form(('name="prompt"', b"hello"), ('name="file"; filename="a.txt"', b"inside"))
    assert "hello" in said
    assert "inside" in said
    assert not unread
    said, unread = form(('name="prompt"', b"hello"), ('name="file"; filename="ghp_name.wav"', b"RIFF\xff\x00"))
    assert "ghp_name.wav" in said
    assert unread
