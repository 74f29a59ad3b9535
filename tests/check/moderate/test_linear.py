"""The model's file: what is saved comes back, and what is not a sound model is refused, with the reason."""

import hashlib
import zlib
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freehold.check.moderate.lexicon import default as lexicon
from freehold.check.moderate.linear import MAGIC, MOST_FILE, SHIPPED, Linear, default, dumps, loads, logistic, save
from freehold.dialects.moderations import CATEGORIES
from freehold.errors import ConfigError

KINDS = len(CATEGORIES)
NUMBERS = st.integers(-32_000, 32_000)


@pytest.fixture(scope="module")
def small() -> Linear:
    return Linear("id", 0.01, (0.5,) * KINDS, (0.5,) * KINDS, {"A": (100, *range(1, KINDS)), "B>A": (-200,) * KINDS})


def signed(header: bytes, payload: bytes) -> bytes:
    body = len(header).to_bytes(4, "little") + header + payload
    return MAGIC + hashlib.sha256(body).digest() + body


def parts(data: bytes) -> tuple[bytes, bytes]:
    size = int.from_bytes(data[40:44], "little")
    return data[44 : 44 + size], data[44 + size :]


def test_what_is_saved_comes_back(small: Linear, tmp_path: Path) -> None:
    size = save(small, tmp_path / "own.bin")
    data = (tmp_path / "own.bin").read_bytes()
    assert len(data) == size
    back = loads(data)
    assert back.weights == small.weights
    assert back.scores(["A", "B>A"]) == small.scores(["A", "B>A"])
    assert dumps(back) == data
    assert list(tmp_path.iterdir()) == [tmp_path / "own.bin"]


@given(st.dictionaries(st.text("ABC>", min_size=1, max_size=3), st.tuples(*[NUMBERS] * KINDS), min_size=1), st.data())
def test_packed_sums_are_sums(weights: dict[str, tuple[int, ...]], data: st.DataObject) -> None:
    model = Linear("id", 0.001, (0.1,) * KINDS, (0.5,) * KINDS, weights)
    found = data.draw(st.sets(st.sampled_from([*weights, "unknown"])))
    rows = [weights[name] for name in found if name in weights]
    for lane, score in enumerate(model.scores(found)):
        assert score == pytest.approx(logistic(0.1 + 0.001 * sum(row[lane] for row in rows)))


def test_a_score_is_a_probability_however_sure() -> None:
    assert 0 < logistic(-1e9) < logistic(0) == 0.5 < logistic(1e9) < 1


def test_the_one_that_ships_fits_its_vocabulary() -> None:
    assert SHIPPED.stat().st_size <= 1_000_000
    assert default().reads == lexicon().id


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "does not begin like one"),
        (b"PK\x03\x04" + bytes(100), "does not begin like one"),
        (MAGIC[:7] + b"\x09" + bytes(100), "version 9 of the format"),
        (MAGIC + bytes(100), "checksum is wrong"),
        (bytes(MOST_FILE + 1), "larger than 4 MB"),
        (signed(b"{}", b""), "missing required field"),
        (signed(b"\xff", b""), "malformed"),
    ],
)
def test_what_is_no_model_is_refused(data: bytes, why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        loads(data)


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"categories": ["hate"]}, "other categories"),
        ({"features": 0}, "too large"),
        ({"features": 3}, "not as large as its header says"),
        ({"names": 1 << 40}, "too large"),
        ({"biases": [0.0]}, "one bias and one threshold"),
        ({"biases": [1e300] * KINDS}, "out of bounds"),
        ({"quantum": 0.0}, "out of bounds"),
        ({"thresholds": [0.0] * KINDS}, "between 0 and 1"),
        ({"extra": 1}, "unknown field"),
    ],
)
def test_headers_that_cannot_be_are_refused(small: Linear, fields: dict[str, object], why: str) -> None:
    header, payload = parts(dumps(small))
    decoded = msgspec.json.decode(header)
    decoded.update(fields)
    with pytest.raises(ConfigError, match=why):
        loads(signed(msgspec.json.encode(decoded), payload))


def test_a_payload_that_unpacks_to_anything_is_bounded(small: Linear) -> None:
    header, _ = parts(dumps(small))
    with pytest.raises(ConfigError, match="not as large"):
        loads(signed(header, zlib.compress(bytes(64 << 20))))
    with pytest.raises(ConfigError, match="cannot be used"):
        loads(signed(header, b"not zlib at all"))


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_a_file_forged_with_a_right_checksum_loads_whole_or_not_at_all(small: Linear, data: st.DataObject) -> None:
    header, payload = parts(dumps(small))
    tables, text = bytearray(zlib.decompress(payload)), bytearray(header)
    for _ in range(data.draw(st.integers(1, 4))):
        target = text if data.draw(st.booleans()) else tables
        target[data.draw(st.integers(0, len(target) - 1))] = data.draw(st.integers(0, 255))
    try:
        model = loads(signed(bytes(text), zlib.compress(bytes(tables), 1)))
    except ConfigError:
        return
    assert all(0 < score < 1 for score in model.scores(model.weights))
