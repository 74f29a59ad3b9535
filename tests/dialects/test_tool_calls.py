"""Tool call ids that carry signatures or fit an alphabet, and turns put in order."""

import json
import re
from base64 import b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freehold.dialects.conversation import Text, ToolCall, ToolResult, Turn
from freehold.dialects.tool_calls import (
    SIGNATURE_LIMIT,
    anthropic_id,
    generated_id,
    json_object,
    original_id,
    split_signature,
    with_signature,
)
from freehold.dialects.turns import arrange

BASE64 = st.binary(min_size=1, max_size=60).map(lambda raw: b64encode(raw).decode())


@given(st.text(max_size=20).filter(lambda text: "__sig_" not in text), BASE64 | st.text(min_size=1, max_size=40))
def test_a_signature_survives_inside_an_id(base: str, signature: str) -> None:
    assert split_signature(with_signature(base, signature)) == (base, signature)


@given(BASE64)
def test_an_id_with_a_signature_is_good_for_anthropic_clients(signature: str) -> None:
    assert re.fullmatch("[a-zA-Z0-9_-]+", with_signature(generated_id("r", 0), signature))


@pytest.mark.parametrize("name", ["call_1", "", "a__sig_", "a__sig_x", "a__sig_s!!", "a__sig_u!", "__sig_"])
def test_ids_we_did_not_make_are_left_alone(name: str) -> None:
    assert split_signature(name) == (name, None)


def test_a_long_signature_is_left_out() -> None:
    assert with_signature("a", "A" * (SIGNATURE_LIMIT + 4)) == "a"
    assert with_signature("a", None) == "a"


@given(st.text(max_size=40))
def test_any_id_fits_anthropics_alphabet_and_comes_back(name: str) -> None:
    mapped = anthropic_id(name)
    assert re.fullmatch("[a-zA-Z0-9_-]+", mapped)
    assert original_id(mapped) == name
    assert anthropic_id(name) == mapped


@given(st.lists(st.text(max_size=10), unique=True, max_size=10))
def test_different_ids_stay_different(names: list[str]) -> None:
    assert len({anthropic_id(name) for name in names}) == len(names)


def test_generated_ids_are_the_same_every_time_and_tell_calls_apart() -> None:
    ids = [generated_id("r", 0), generated_id("r", 1), generated_id("s", 0), generated_id("", 0, "f{}")]
    assert len(set(ids)) == len(ids)
    assert ids[0] == generated_id("r", 0)


def test_arguments_as_an_object() -> None:
    losses: list[str] = []
    assert json_object("{}", "w", losses) == {}
    assert bytes(json_object('{"a": 1}', "w", losses)) == b'{"a": 1}'
    assert losses == []
    assert json_object("nope", "w", losses) == {"arguments": "nope"}
    assert losses == ["w.arguments"]


def test_an_object_stands_on_one_line_for_it_may_become_a_part_of_an_event() -> None:
    indented = '{\n    "a": "x\\ny",\r\n    "b": [\r1]\n}'
    written = bytes(json_object(indented, "w", []))
    assert not {10, 13} & set(written)
    assert json.loads(written) == json.loads(indented) == {"a": "x\ny", "b": [1]}


NAMES = st.sampled_from(["a", "b", "c", "", "d__sig_sAAAA"])
PARTS = st.one_of(
    st.builds(Text, st.sampled_from(["x", "y"])),
    st.builds(ToolCall, NAMES, st.just("f")),
    st.builds(ToolResult, NAMES, st.just([Text("r")])),
)
SAID = PARTS.filter(lambda part: type(part) is not ToolResult)
ANSWERED = PARTS.filter(lambda part: type(part) is not ToolCall)
TURNS = st.lists(
    st.one_of(
        st.builds(Turn, st.just("user"), st.lists(ANSWERED, max_size=3)),
        st.builds(Turn, st.just("assistant"), st.lists(SAID, max_size=3)),
        st.builds(Turn, st.just("system"), st.just([Text("s")])),
    ),
    max_size=7,
)  # fmt: skip


@given(TURNS)
def test_arranged_turns_keep_the_rules(turns: list[Turn]) -> None:
    losses: list[str] = []
    arranged = arrange(turns, losses)
    sides = arranged.sides
    assert [side.role for side in sides] == ["user", "assistant"] * (len(sides) // 2) + ["user"] * (len(sides) % 2)
    seen: set[str] = set()
    for index, side in enumerate(sides):
        assert len(side.parts) == len(side.places) > 0
        calls = [part.id for part in side.parts if isinstance(part, ToolCall)]
        assert not seen & set(calls)
        assert all(name and "__sig_" not in name for name in calls)
        seen |= set(calls)
        after = sides[index + 1].parts if index + 1 < len(sides) else []
        results = [part.id for part in after[: len(calls)] if isinstance(part, ToolResult)]
        assert results == calls
        assert not any(isinstance(part, ToolResult) for part in after[len(calls) :])
        if index == 0:
            assert not any(isinstance(part, ToolResult) for part in side.parts)
    assert len(arranged.system) == sum(turn.role == "system" for turn in turns)
    again: list[str] = []
    assert arrange(turns, again) == arranged
    assert again == losses


@given(TURNS)
def test_no_text_is_lost_in_arranging(turns: list[Turn]) -> None:
    said = [part.text for turn in turns if turn.role != "system" for part in turn.parts if isinstance(part, Text)]
    arranged = arrange(turns, [], opening=False)
    kept = [part.text for side in arranged.sides for part in side.parts if isinstance(part, Text)]
    assert [text for text in kept if text != "r"] == said


def test_turns_that_are_in_order_stay_as_they_are() -> None:
    turns = [
        Turn("user", [Text("hi")]),
        Turn("assistant", [Text("hm"), ToolCall("a", "f")]),
        Turn("user", [ToolResult("a", [Text("r")]), Text("and?")]),
    ]
    losses: list[str] = []
    sides = arrange(turns, losses).sides
    assert losses == []
    assert [side.parts for side in sides] == [
        turns[0].parts,
        turns[1].parts,
        [ToolResult("a", [Text("r")], "f"), Text("and?")],
    ]
    assert [side.places for side in sides] == [[0], [1, 1], [2, 2]]


def test_a_gemini_signature_moves_from_the_id_to_its_field() -> None:
    name = with_signature("call_1", "QUJD")
    turns = [Turn("user", [Text("x")]), Turn("assistant", [ToolCall(name, "f")]), Turn("user", [ToolResult(name)])]
    sides = arrange(turns, []).sides
    assert sides[1].parts == [ToolCall("call_1", "f", signature="QUJD")]
    assert sides[2].parts == [ToolResult("call_1", name="f")]
