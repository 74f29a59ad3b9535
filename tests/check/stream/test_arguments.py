"""Tool arguments: JSON in any pieces and any spelling comes out as JSON, without what a rule forbids."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freehold.check.detect import DEFAULT_LABELS, Rules
from freehold.check.stream import Figures, Policy
from freehold.check.stream.arguments import Arguments
from freehold.check.stream.channel import Channel

RULES = Rules()
POLICY = Policy(
    RULES, {kind: "redact" for kind in DEFAULT_LABELS if kind not in ("prompt_injection", "hidden_unicode")}
)
HOT = [
    "bob@example.com",
    "4111 1111 1111 1111",
    "call +1 (415) 555-2671 please",
    "AKIAIOSFODNN7EXAMPLQ",
    'say "bob@example.com"',
]
values = st.recursive(
    st.none() | st.booleans() | st.integers(0, 99) | st.text(max_size=12) | st.sampled_from(HOT),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=10,
)


def through(text: str, cuts: list[int] | None = None, policy: Policy = POLICY) -> str:
    arguments = Arguments(Channel(policy, [], Figures()))
    places = range(len(text) + 1) if cuts is None else [0, *sorted({cut % (len(text) + 1) for cut in cuts}), len(text)]
    pieces = [text[start:end] for start, end in zip(places, list(places)[1:], strict=False)]
    return "".join([arguments.feed(piece) for piece in pieces]) + arguments.close()


def escaped(text: str) -> str:
    """The text with every letter inside strings written as an escape."""
    return json.dumps(text)[0] + "".join(f"\\u{ord(c):04x}" for c in text) + '"'


@settings(max_examples=200, deadline=None)
@given(
    st.dictionaries(st.text(max_size=6), values, max_size=4), st.booleans(), st.lists(st.integers(0, 9999), max_size=20)
)
def test_any_pieces_of_any_json_come_out_as_json(value: Any, ascii_only: bool, cuts: list[int]) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only)
    out = through(text, cuts)
    assert out == through(text, [])
    json.loads(out)
    for hot in HOT[:4]:
        assert hot not in out
    if out == through(text, [], Policy(RULES, {})):
        assert out == text


@pytest.mark.parametrize("hot", HOT)
def test_escapes_hide_nothing(hot: str) -> None:
    text = f'{{"to": {escaped(hot)}, "then": "x"}}'
    out = json.loads(through(text))
    assert "[redacted" in out["to"]
    assert out["then"] == "x"


def test_what_is_let_through_keeps_its_spelling() -> None:
    text = '{"a":"caf\\u00e9 \\ud83d\\ude00 \\/ \\n",  "b" : [1, 2.50, -3e2]}'
    assert through(text) == text
    assert through(text, []) == text


def test_a_deeper_string_of_json_is_read_too() -> None:
    inner = '{"mail": "bob\\u0040example.com"}'
    out = through(json.dumps({"body": inner}))
    assert "example.com" not in json.loads(out)["body"]


def test_a_bare_number_stays_a_number() -> None:
    assert json.loads(through('{"card": 4111111111111111}')) == {"card": 9999999999999999}


def test_a_name_before_a_value_counts() -> None:
    assert json.loads(through('{"password": "hunter2x9"}')) == {"password": "[redacted secret]"}


def test_arguments_are_let_go_as_soon_as_they_are_whole() -> None:
    arguments = Arguments(Channel(POLICY, [], Figures()))
    assert arguments.feed('{"q": "the word') + arguments.feed('s"}') == '{"q": "the words"}'
    assert arguments.complete


@pytest.mark.parametrize("text", ["", "{", '{"a', '{"a\\', '{"a\\u00', "not json bob", '"\\ud83d', "}}}", "\\"])
def test_what_is_no_json_passes(text: str) -> None:
    assert through(text) == text


def test_a_block_lets_nothing_out() -> None:
    policy = Policy(RULES, {"email": "block"})
    assert through('{"to": "bob@example.com"}', policy=policy) == '{"to": "'
