"""The file: what is saved comes back, and what is not a sound predictor is refused, with the reason."""

import hashlib
import zlib
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freehold.decide.predict import Predictor, default, dumps, load, loads, save
from freehold.decide.predict.file import MAGIC, MOST_FILE, SHIPPED, Header
from freehold.errors import ConfigError

TEXT = "Please write a letter to the customer, then a python function."


def signed(header: bytes, payload: bytes) -> bytes:
    body = len(header).to_bytes(4, "little") + header + payload
    return MAGIC + hashlib.sha256(body).digest() + body


def parts(data: bytes) -> tuple[bytes, bytes]:
    size = int.from_bytes(data[40:44], "little")
    return data[44 : 44 + size], data[44 + size :]


def test_what_is_saved_comes_back(small: Predictor, tmp_path: Path) -> None:
    save(small, tmp_path / "own.bin")
    back = load(tmp_path / "own.bin")
    assert back.id == small.id
    assert back.made == "made-up prompts"
    assert back.names == small.names
    assert back.read(TEXT) == small.read(TEXT)
    reading = back.read(TEXT)
    assert back.quality(reading, ["coder", "new"]) == small.quality(reading, ["coder", "new"])
    assert dumps(back) == dumps(small)
    assert list(tmp_path.iterdir()) == [tmp_path / "own.bin"]


def test_the_identity_is_that_of_the_basis(small: Predictor) -> None:
    head = next(iter(small.heads.values()))
    other = small.with_heads({"copy": msgspec.structs.replace(head, name="copy")})
    assert loads(dumps(other)).id == small.id
    assert default().id != small.id


def test_the_one_that_ships_is_small() -> None:
    assert SHIPPED.stat().st_size <= 2_000_000
    assert "Apache-2.0" in default().made


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot read the predictor .*none\.bin: No such file") as caught:
        load(tmp_path / "none.bin")
    assert "freehold route train" in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "0 bytes are too short"),
        (b"PK\x03\x04" + bytes(100), "does not begin like a predictor"),
        (MAGIC[:7] + b"\x09" + bytes(100), "version 9 of the format"),
        (MAGIC + bytes(100), "checksum is wrong"),
        (bytes(MOST_FILE + 1), "larger than 16 MB"),
        (signed(b"{}", b""), "missing required field"),
        (signed(b"\xff", b""), "malformed"),
    ],
)
def test_what_is_no_predictor_is_refused(data: bytes, why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        loads(data)


def test_the_name_of_the_file_is_in_the_message(tmp_path: Path) -> None:
    (tmp_path / "p.bin").write_bytes(b"nothing of the kind" * 9)
    with pytest.raises(ConfigError, match=r"p\.bin is not a usable predictor"):
        load(tmp_path / "p.bin")


def changed(small: Predictor, **fields: object) -> bytes:
    header, payload = parts(dumps(small))
    decoded = msgspec.json.decode(header)
    decoded.update(fields)
    return signed(msgspec.json.encode(decoded), payload)


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"reads": "something else"}, "made for other measures"),
        ({"sizes": [1 << 40, 0, 0, 0, 0, 0, 0]}, "larger than 32 MB"),
        ({"sizes": [-1, 0, 0, 0, 0, 0, 0]}, "larger than"),
        ({"sizes": [1, 2, 3, 4, 5, 6, 7]}, "not as large as its header says"),
        ({"unit": 0.0}, "unit or floor"),
        ({"floor": -1.0}, "unit or floor"),
        ({"scales": [1.0]}, "1 lanes"),
        ({"heads": [{"name": "x", "bias": 0.0, "weights": [1.0]}]}, "head 'x' does not fit"),
        ({"extra": 1}, "unknown field"),
    ],
)
def test_headers_that_cannot_be_are_refused(small: Predictor, fields: dict[str, object], why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        loads(changed(small, **fields))


def test_numbers_out_of_bounds_are_refused(small: Predictor) -> None:
    head = next(iter(small.heads.values()))
    wild = small.with_heads({head.name: msgspec.structs.replace(head, bias=1e300)})
    with pytest.raises(ConfigError, match="out of bounds"):
        loads(dumps(wild))
    family = msgspec.structs.replace(small.family, abilities=(1.0, 0.0))
    with pytest.raises(ConfigError, match="do not rise"):
        loads(dumps(Predictor(small.basis, family, {}, tables=small.tables, id=small.id)))


def test_a_payload_that_unpacks_to_anything_is_bounded(small: Predictor) -> None:
    header, _ = parts(dumps(small))
    with pytest.raises(ConfigError, match="not as large"):
        loads(signed(header, zlib.compress(bytes(64 << 20))))
    with pytest.raises(ConfigError, match="not a usable predictor"):
        loads(signed(header, b"not zlib at all"))


@settings(max_examples=80)
@given(st.data())
def test_a_file_cut_or_changed_anywhere_is_refused(data: st.DataObject) -> None:
    whole = SHIPPED.read_bytes()[:60_000]
    at = data.draw(st.integers(0, len(whole) - 1))
    with pytest.raises(ConfigError):
        loads(whole[:at])


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_a_file_forged_with_a_right_checksum_loads_whole_or_not_at_all(small: Predictor, data: st.DataObject) -> None:
    """Whoever can write the file can sign it; what loads must still read and judge any prompt within bounds."""
    header, payload = parts(dumps(small))
    tables = bytearray(zlib.decompress(payload))
    text = bytearray(header)
    for _ in range(data.draw(st.integers(1, 4))):
        target = text if data.draw(st.booleans()) else tables
        target[data.draw(st.integers(0, len(target) - 1))] = data.draw(st.integers(0, 255))
    try:
        predictor = loads(signed(bytes(text), zlib.compress(bytes(tables), 1)))
    except ConfigError:
        return
    reading = predictor.read(TEXT)
    assert len(reading.z) == predictor.lanes
    for estimate in predictor.quality(reading, [*predictor.names, "unknown"]):
        assert 0 < estimate.p < 1
        assert estimate.sigma >= 0


def test_headers_are_typed(small: Predictor) -> None:
    header, _ = parts(dumps(small))
    assert msgspec.json.decode(header, type=Header).made == small.made
