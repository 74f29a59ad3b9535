"""Packed sums are what the slow way gives."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freehold.decide.predict import Predictor
from freehold.decide.predict.basis import KEPT, LIMIT, pack, unpack
from freehold.decide.predict.look import LADDERS, look

LANE = st.integers(-(2**31) + 1, 2**31 - 1)


@given(st.lists(LANE, min_size=1, max_size=17))
def test_lanes_come_out_as_they_went_in(lanes: list[int]) -> None:
    assert unpack(pack(lanes), len(lanes)) == lanes


@given(st.lists(st.lists(st.integers(-128, 128), min_size=3, max_size=3), max_size=200))
def test_adding_packed_vectors_adds_every_lane(rows: list[list[int]]) -> None:
    assert unpack(sum(map(pack, rows)), 3) == [sum(row[lane] for row in rows) for lane in range(3)]


def slow(predictor: Predictor, text: str) -> list[float]:
    """A reading in plain arithmetic, from the flat tables."""
    basis, tables, seen = predictor.basis, predictor.tables, look(text)
    words = tables.words.split(b"\n")
    pairs = [int.from_bytes(tables.pairs[at : at + 4], "little") for at in range(0, len(tables.pairs), 4)]
    place = {word: i for i, word in enumerate(words, 1)}
    terms = {place[word] - 1 for word in seen.words if word in place}
    follow = {place.get(a, 0) << 16 | place.get(b, 0) for a, b in seen.pairs}
    terms |= {len(words) + i for i, pair in enumerate(pairs) if pair in follow}
    terms |= {len(words) + len(pairs) + i for i, mark in enumerate(tables.marks) if mark in seen.marks}
    count = len(tables.levels)
    norm = max(tables.floor, math.sqrt(sum((tables.levels[term] * tables.unit) ** 2 for term in terms)))
    z = []
    rungs = []
    for measure, edges in zip(seen.measures, LADDERS.values(), strict=True):
        rungs.append(sum(measure >= edge for edge in edges))
    for lane in range(basis.lanes):
        total = sum(tables.lanes[lane * count + term] - 128 for term in terms) * tables.scales[lane] / norm
        at = 0
        for rung, edges in zip(rungs, LADDERS.values(), strict=True):
            place = 2 * ((at + rung) * basis.lanes + lane)
            total += int.from_bytes(tables.rungs[place : place + 2], "little", signed=True) * tables.rung_scales[lane]
            at += len(edges) + 1
        z.append(min(LIMIT, max(-LIMIT, total - tables.centre[lane])))
    assert [list(LADDERS)[place] for place, _ in basis.kept] == list(KEPT)
    return z + [values[rungs[place]] for place, values in basis.kept]


@pytest.mark.parametrize(
    "text",
    ["", "python", "Please sign the letter for the office!", "def loop: return array[0]; " * 30, "ünïcödé 数学 \x00"],
)
def test_a_reading_is_what_the_slow_way_gives(small: Predictor, text: str) -> None:
    reading = small.read(text)
    assert reading.z == pytest.approx(slow(small, text))
    assert len(reading.z) == small.lanes


def test_a_word_counts_once(small: Predictor) -> None:
    once = small.read("python letter please about this and that")
    often = small.read("python " * 9 + "letter please about this and that")
    same = small.basis.lanes
    assert once.terms <= often.terms <= once.terms + 1  # the pair of a word with itself is no term
    drift = max(abs(a - b) for a, b in zip(once.z[:same], often.z[:same], strict=True))
    assert drift < 2 * LIMIT
