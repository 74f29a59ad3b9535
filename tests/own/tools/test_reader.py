"""Calls in what a model writes: in whatever pieces the text comes, the calls are the same."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freehold.own.tools.reader import MAX_HEAD, Arguments, Begun, CallReader, Piece, Text

NAMES = frozenset({"route", "get weather"})
json_values: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
spaces = st.text(" \n\t", max_size=3)


@st.composite
def calls(draw: Any) -> str:
    """A call as the engine's grammar allows it: any space between any tokens."""
    name = draw(st.sampled_from(sorted(NAMES)))
    arguments = json.dumps(draw(st.dictionaries(st.text(), json_values, max_size=3)), ensure_ascii=draw(st.booleans()))
    tokens = ["{", '"name"', ":", json.dumps(name), ",", '"arguments"', ":", arguments, "}"]
    return "".join(draw(spaces) + token for token in tokens) + str(draw(spaces))


texts = st.one_of(
    calls(),
    st.text(max_size=40),
    st.text('{}[]"`:,\\ \nname', max_size=40),
    calls().flatmap(lambda one: st.integers(0, len(one)).map(lambda at: one[:at])),
    st.lists(calls(), min_size=2, max_size=3).map("\n".join),
    st.lists(calls(), min_size=1, max_size=3).map(lambda some: f"[{','.join(some)}]"),
    calls().map(lambda one: f"```json\n{one}\n```"),
)


def read(pieces: list[str], **how: Any) -> tuple[str, list[tuple[str, str]], bool]:
    """The text, the calls, and whether the last call is whole."""
    reader = CallReader(NAMES, **({"forced": False, "several": True} | how))
    made: list[Piece] = [one for piece in pieces for one in reader.feed(piece)] + reader.close()
    text, found = "", []
    for one in made:
        if isinstance(one, Text):
            text += one.text
        elif isinstance(one, Begun):
            found.append((one.name, ""))
        elif isinstance(one, Arguments):
            found[-1] = (found[-1][0], found[-1][1] + one.text)
    assert len(found) == reader.called
    return text, found, reader.whole


@given(texts, st.lists(st.integers(0, 60)), st.booleans(), st.booleans())
def test_any_cut_gives_the_same(text: str, cuts: list[int], forced: bool, several: bool) -> None:
    places = [0, *sorted(cut for cut in cuts if cut < len(text)), len(text)]
    pieces = [text[start:end] for start, end in zip(places, places[1:], strict=False)]
    how = {"forced": forced, "several": several}
    assert read(pieces, **how) == read([text], **how) == read(list(text), **how)


@given(calls(), st.booleans())
def test_a_call_is_read_whole(text: str, forced: bool) -> None:
    said, found, whole = read([text], forced=forced)
    meant = json.loads(text)
    assert (said, whole) == ("", True)
    [(name, arguments)] = found
    assert (name, json.loads(arguments)) == (meant["name"], meant["arguments"])


@given(st.text())
def test_what_is_no_call_is_text(text: str) -> None:
    assert read(["x" + text]) == ("x" + text, [], True)


@given(calls(), st.data())
def test_a_call_that_is_cut_off_keeps_what_was_written(text: str, data: Any) -> None:
    cut = text[: data.draw(st.integers(0, len(text)))]
    said, found, whole = read([cut], forced=True)
    assert said == ""
    if found:
        [(_, arguments)] = found
        assert json.dumps(json.loads(text)["arguments"])[:1] == (arguments or "{")[:1]
        assert cut.endswith(arguments) or whole


@pytest.mark.parametrize(
    "text",
    [
        '{"name": "unknown", "arguments": {}}',
        '{"name": "route", "size": 3}',
        '{"name": "route", "arguments": "none"}',
        '{"intent": "refund"}',
        '```json\n{"intent": "refund"}\n```',
        "[a link](x)",
        "`code`",
        "```python\nprint()\n```",
        "{",
        " " * (MAX_HEAD + 1) + '{"name": "route", "arguments": {}}',
    ],
)
def test_other_json_is_an_answer(text: str) -> None:
    assert read(list(text)) == (text, [], True)


def test_text_that_cannot_be_a_call_is_not_held_back() -> None:
    reader = CallReader(NAMES, forced=False, several=False)
    assert reader.feed("{") == []
    assert reader.feed('"na') == []
    assert reader.feed("tion") == [Text('{"nation')]
    assert reader.feed('"') == [Text('"')]


def test_arguments_come_as_they_are_written_and_the_last_brace_stays() -> None:
    reader = CallReader(NAMES, forced=True, several=False)
    assert reader.feed('{"name": "route", "arguments": ') == []
    assert reader.feed('{"a": "}') == [Begun("route"), Arguments('{"a": "}')]
    assert not reader.whole
    assert reader.feed('"}') == [Arguments('"}')]
    assert reader.whole
    assert reader.feed("\n}") == reader.close() == []


@pytest.mark.parametrize("before", ["\n   ```json\n\n", "```json", "``` "])
def test_a_fence_may_stand_around_a_forced_call(before: str) -> None:
    text = before + '{"name": "route", "arguments": {}}\n```'
    assert read(list(text), forced=True) == ("", [("route", "{}")], True)
    assert read([before], forced=True) == ("", [], True)


def test_several_calls_where_several_are_wanted() -> None:
    two = '{"name": "route", "arguments": {"a": 1}}\n{"name": "get weather", "parameters": {}} It is warm.'
    assert read([two])[1] == [("route", '{"a": 1}')]
    two = two.replace("parameters", "arguments")
    assert read([two])[1] == [("route", '{"a": 1}'), ("get weather", "{}")]
    assert read([two], several=False)[1] == [("route", '{"a": 1}')]
