"""Signatures: the vectors of RFC 8032, both implementations against each other, and the form of keys."""

import os
import sys
from hashlib import sha512
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freehold.errors import BadRequest, InternalError
from freehold.record.receipts import ed25519, keys
from freehold.record.receipts.keys import Signer, Verifier, secret
from freehold.record.receipts.places import Places

VECTORS = [
    (
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        b"",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe"
        "24655141438e7a100b",
    ),
    (
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        b"\x72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302a"
        "eeb00d291612bb0c00",
    ),
    (
        "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        b"\xaf\x82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed2"
        "8dc027beceea1ec40a",
    ),
    (
        "833fe62409237b9d62ec77587520911e9a759cec1d19755b7da901b96dca3d42",
        "ec172b93ad5e563bf4932c70e1245034c35467ef2efd4d64ebf819683467e2bf",
        sha512(b"abc").digest(),
        "dc2a4459e7369633a52b1bf277839a00201009a3efbf3ecb69bea2186c26b58909351fc9ac90b3ecfdfbc7c66431e0303dca179c138ac1"
        "7ad9bef1177331a704",
    ),
]
"""RFC 8032, section 7.1: seed, public key, message, signature."""

NEUMANN = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
"""The key of the example in the documentation of Go's sumdb/note."""


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without the `cryptography` package."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "cryptography"]:
        monkeypatch.setitem(sys.modules, name, None)


@pytest.mark.parametrize(("seed", "public", "message", "signature"), VECTORS)
def test_the_vectors_of_the_rfc(seed: str, public: str, message: bytes, signature: str) -> None:
    made = ed25519.public_key(bytes.fromhex(seed))
    assert made.hex() == public
    assert ed25519.sign(bytes.fromhex(seed), message, made).hex() == signature
    assert ed25519.verify(made, message, bytes.fromhex(signature))


@settings(max_examples=20, deadline=None)
@given(st.binary(min_size=32, max_size=32), st.binary(max_size=200))
def test_both_implementations_make_and_take_the_same(seed: bytes, message: bytes) -> None:
    pytest.importorskip("cryptography")
    signer = Signer("log", seed)
    public = ed25519.public_key(seed)
    assert signer.verifier.public == public
    signature = signer.sign(message)
    assert ed25519.sign(seed, message, public) == signature
    assert ed25519.verify(public, message, signature)
    assert signer.verifier.verifies(message, signature)


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_nothing_else_is_a_signature(data: st.DataObject) -> None:
    seed, message = b"s" * 32, b"a tree head"
    public = ed25519.public_key(seed)
    signature = ed25519.sign(seed, message, public)
    place, bit = data.draw(st.integers(0, 63)), data.draw(st.integers(0, 7))
    bad = bytearray(signature)
    bad[place] ^= 1 << bit
    assert not ed25519.verify(public, message, bytes(bad))
    assert not ed25519.verify(public, message + b"!", signature)
    other = bytearray(public)
    other[place % 32] ^= 1 << bit
    assert not ed25519.verify(bytes(other), message, signature)


@pytest.mark.parametrize("garbage", [b"", b"x" * 63, b"x" * 65, b"\xff" * 64, b"\0" * 64])
def test_garbage_is_no_signature(garbage: bytes) -> None:
    public = ed25519.public_key(b"s" * 32)
    assert not ed25519.verify(public, b"m", garbage)
    assert not Verifier("log", public).verifies(b"m", garbage)
    assert not ed25519.verify(garbage[:32], b"m", bytes(64))


def test_the_order_is_not_added_to_a_signature() -> None:
    """RFC 8032, 5.1.7: S is below the order, or one signature would have several forms."""
    public = ed25519.public_key(b"s" * 32)
    signature = ed25519.sign(b"s" * 32, b"m", public)
    larger = int.from_bytes(signature[32:], "little") + 2**252 + 27742317777372353535851937790883648493
    assert not ed25519.verify(public, b"m", signature[:32] + larger.to_bytes(32, "little"))


@pytest.mark.usefixtures("bare")
def test_signs_and_verifies_without_the_library() -> None:
    signer = Signer("log", b"s" * 32)
    assert signer.verifier.verifies(b"m", signer.sign(b"m"))
    assert not signer.verifier.verifies(b"n", signer.sign(b"m"))


def test_reads_and_writes_keys_as_other_logs_do() -> None:
    assert str(Verifier.parse(NEUMANN + "\n")) == NEUMANN


@pytest.mark.parametrize(
    "text", ["", "a+b", "PeterNeumann", NEUMANN[:-1], NEUMANN.replace("c74f", "c74e"), NEUMANN.replace("+AR", "+BR")]
)
def test_refuses_what_is_no_key(text: str) -> None:
    with pytest.raises(BadRequest, match="no verifier key"):
        Verifier.parse(text)


def test_makes_a_secret_once_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "new" / "signing.key"
    made = secret(path)
    assert len(made) == 32
    assert secret(path) == made
    assert path.stat().st_mode & 0o777 == 0o600
    assert [one.name for one in path.parent.iterdir()] == ["signing.key"]


def test_another_process_that_makes_it_first_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "signing.key"
    link = os.link

    def beaten(source: Path, target: Path) -> None:
        target.write_text("11" * 32 + "\n")
        link(source, target)

    monkeypatch.setattr(keys.os, "link", beaten)
    assert secret(path) == b"\x11" * 32


@pytest.mark.parametrize("content", ["", "no key", "11" * 31, "11" * 33])
def test_a_file_without_a_key_is_not_replaced(tmp_path: Path, content: str) -> None:
    path = tmp_path / "signing.key"
    path.write_text(content)
    with pytest.raises(InternalError, match="holds no key"):
        secret(path)
    assert path.read_text() == content


def test_the_usual_places(tmp_path: Path) -> None:
    places = Places(tmp_path, {})
    assert (places.key, places.second) == (tmp_path / "receipts" / "signing.key", tmp_path / "heads.jsonl")
    assert places.secret() == places.secret()
    places.remember()
    assert not (tmp_path / "receipts" / "places.json").exists()


def test_key_and_heads_may_lie_elsewhere_and_are_found_again(tmp_path: Path) -> None:
    env = {"FREEHOLD_AUDIT_KEY_FILE": str(tmp_path / "key"), "FREEHOLD_AUDIT_HEADS": str(tmp_path / "far" / "heads")}
    places = Places(tmp_path / "home", env)
    made = places.secret()
    places.remember()
    later = Places(tmp_path / "home", {})
    assert (later.key, later.second) == (tmp_path / "key", tmp_path / "far" / "heads")
    assert later.secret() == made
    (tmp_path / "key").unlink()
    with pytest.raises(InternalError, match="is not in") as raised:
        Places(tmp_path / "home", {}).secret()
    assert "FREEHOLD_AUDIT_KEY_FILE" in (raised.value.hint or "")
    assert not (tmp_path / "key").exists(), "no other key takes its place"


def test_a_broken_note_of_places_is_told(tmp_path: Path) -> None:
    (tmp_path / "receipts").mkdir()
    (tmp_path / "receipts" / "places.json").write_text("{")
    with pytest.raises(InternalError, match="cannot be read"):
        Places(tmp_path, {})
