"""Heads as signed notes: the form that other logs and witnesses read, and nothing but that form."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freehold.errors import BadRequest
from freehold.record.receipts import note
from freehold.record.receipts.keys import Signer, Verifier

SIGNER = Signer("freehold-0123456789abcdef", b"s" * 32)
HEAD = note.Head(SIGNER.verifier.name, 41, b"r" * 32, 1_790_000_000, b"p" * 32, SIGNER.verifier)
NEUMANN = Verifier.parse("PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW")
FAMOUS = (
    "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n\n"
    "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
)
"""The example in the documentation of Go's sumdb/note."""


def test_verifies_a_note_that_another_program_signed() -> None:
    assert note.is_signed(FAMOUS, NEUMANN)
    assert not note.is_signed(FAMOUS.replace("answer", "Answer"), NEUMANN)
    assert not note.is_signed(FAMOUS, SIGNER.verifier)


def test_a_head_reads_as_a_checkpoint() -> None:
    text = note.signed(HEAD, SIGNER)
    lines = text.split("\n")
    assert lines[:3] == ["freehold-0123456789abcdef", "41", "cnJycnJycnJycnJycnJycnJycnJycnJycnJycnJycnI="]
    assert lines[3] == "at 2026-09-21T14:13:20Z"
    assert lines[5] == f"key {SIGNER.verifier}"
    assert lines[6] == ""
    assert lines[7].startswith("— freehold-0123456789abcdef ")
    assert note.parse(text) == HEAD
    assert note.is_signed(text, SIGNER.verifier)


def test_a_witness_may_sign_too() -> None:
    witness = Signer("witness.example", b"w" * 32)
    text = note.signed(HEAD, SIGNER)
    both = text + note.signed(HEAD, witness).split("\n\n")[1]
    assert note.is_signed(both, SIGNER.verifier)
    assert note.is_signed(both, witness.verifier)
    assert note.parse(both) == HEAD


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_any_changed_character_is_noticed(data: st.DataObject) -> None:
    text = note.signed(HEAD, SIGNER)
    place = data.draw(st.integers(0, len(text) - 1))
    other = data.draw(st.characters(codec="utf-8").filter(lambda one: one != text[place]))
    changed = text[:place] + other + text[place + 1 :]
    assert not note.is_signed(changed, SIGNER.verifier)


def test_another_spelling_of_the_same_signature_is_noticed() -> None:
    text = note.signed(HEAD, SIGNER)
    assert text.endswith("=\n")
    digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    last = digits.index(text[-3])
    for bits in range(1, 4):  # two bits of the last digit are in no byte
        other = text[:-3] + digits[last ^ bits] + text[-2:]
        assert not note.is_signed(other, SIGNER.verifier)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n\n",
        FAMOUS,
        HEAD.text().replace("\n41\n", "\n041\n") + "\n",
        HEAD.text().replace("\n41\n", "\n-1\n") + "\n",
        HEAD.text().replace("at 2026", "in 2026") + "\n",
        HEAD.text().replace("T14:13:20Z", "T14:13:20") + "\n",
        HEAD.text().replace("key ", "key x") + "\n",
        HEAD.text().replace("previous ", "previous A") + "\n",
        HEAD.text() + "more\n\n",
        "x" * 20_000,
    ],
)
def test_refuses_what_is_no_head(text: str) -> None:
    with pytest.raises(BadRequest, match="no signed head"):
        note.parse(text)


@given(st.text(max_size=300))
def test_any_text_is_read_or_refused(text: str) -> None:
    assert not note.is_signed(text, SIGNER.verifier)
    with pytest.raises(BadRequest):
        note.parse(text)
