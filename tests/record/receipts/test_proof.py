"""Proofs of single receipts: they hold on their own, and nothing else does. And sums of receipts."""

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freehold.errors import BadRequest, NotFound
from freehold.record.receipts.keys import Signer
from freehold.record.receipts.leaf import Ended
from freehold.record.receipts.proof import check, newest_head, prove
from freehold.record.receipts.report import Summary, read_tests
from freehold.record.receipts.source import folder_source
from freehold.record.receipts.verify import verify

Desk = Any


def proven(whole: Desk, call: str) -> bytes:
    return msgspec.json.encode(prove(folder_source(whole.folder, whole.second), call))


def test_every_receipt_can_be_proved_alone(whole: Desk) -> None:
    head, _ = newest_head(folder_source(whole.folder, whole.second))
    signer = Signer(head.log, whole.seed)
    for number in range(1, 19):
        for worker in ("w0-1", "w1-1"):
            found = check(proven(whole, f"{worker}-{number}-1"), signer.verifier)
            assert (found.receipt.seq, found.receipt.worker) == (number, worker)
            assert (found.size, found.log, found.trusted) == (38, head.log, True)


@settings(max_examples=120, deadline=None)
@given(st.data())
def test_no_changed_proof_holds(whole: Desk, data: st.DataObject) -> None:
    proof = proven(whole, "w1-1-7-1")
    signer = Signer(newest_head(folder_source(whole.folder, None))[0].log, whole.seed)
    content = bytearray(proof)
    place = data.draw(st.integers(0, len(content) - 1))
    content[place] = data.draw(st.integers(0, 255).filter(lambda one: one != content[place]))
    try:
        found = check(bytes(content), signer.verifier)
    except BadRequest:
        return
    assert found == check(proof, signer.verifier), "only white space, or another way to write the same character"


def test_a_proof_needs_the_right_key(whole: Desk) -> None:
    proof = proven(whole, "w0-1-1-1")
    assert not check(proof).trusted
    with pytest.raises(BadRequest, match="not signed by"):
        check(proof, Signer("stranger", b"x" * 32).verifier)


@pytest.mark.parametrize("text", [b"", b"{}", b"[1]", b'{"line":"{}","index":0,"path":[],"head":""}', b"\xff"])
def test_garbage_proves_nothing(text: bytes) -> None:
    with pytest.raises(BadRequest, match="proves nothing"):
        check(text)


def test_the_line_of_another_kind_is_no_receipt(desk: Desk) -> None:
    log = desk.open()
    log.append([Ended(0, 1, "w0-1"), desk.call(1)])
    log.sign()
    log.close()
    proof = msgspec.json.decode(proven(desk, "w0-1-1-1"))
    proof["line"] = desk.lines()[1].decode()
    with pytest.raises(BadRequest, match="no receipt"):
        check(msgspec.json.encode(proof))


def test_what_cannot_be_proved(desk: Desk) -> None:
    log = desk.open()
    log.append([desk.call(1)])
    source = folder_source(desk.folder, desk.second)
    with pytest.raises(NotFound, match="not under a signed head yet"):
        prove(source, "w0-1-1-1")
    with pytest.raises(NotFound, match="no receipt of a call 'nobody-1'"):
        prove(source, "nobody-1")
    log.sign()
    log.close()
    path = next(desk.folder.glob("log-*"))
    path.write_bytes(path.read_bytes().replace(b'"label":"internal"', b'"label":"public"'))
    with pytest.raises(BadRequest, match="not those that were signed"):
        proven(desk, "w0-1-1-1")


def test_sums_by_label_and_place(desk: Desk) -> None:
    log = desk.open()
    start = desk.now
    log.append(
        [
            desk.call(1, at=start + 1),
            desk.call(2, at=start + 2, outcome="failed"),
            desk.call(3, at=start + 3, label="confidential", provider="own", owned=True, policy="beef"),
            desk.call(4, at=start + 4),
        ]
    )
    log.sign()
    log.close()
    summary = Summary(None, start + 4)
    verify(folder_source(desk.folder, desk.second), each=summary.add)
    rows = summary.rows()
    assert [(r.flow.label, r.flow.owned, r.sum.calls, r.sum.out, r.sum.back, r.sum.failed) for r in rows] == [
        ("confidential", True, 1, 300, 3, 0),
        ("internal", False, 2, 300, 3, 1),
    ] or [r.flow.label for r in rows] == ["internal", "confidential"]
    assert {name: rules.calls for name, rules in summary.policies.items()} == {"c0ffee": 2, "beef": 1}
    assert summary.policies["c0ffee"].last == start + 2
    later = Summary(start + 4, None)
    verify(folder_source(desk.folder, desk.second), each=later.add)
    assert [row.sum.calls for row in later.rows()] == [1]


def test_results_of_negative_tests(tmp_path: Any) -> None:
    path = tmp_path / "noninterference.json"
    assert read_tests(path) is None
    path.write_text('{"at": "2026-11-21T19:00:00Z", "version": "0.6", "passed": 900, "failed": 0}')
    found = read_tests(path)
    assert found is not None
    assert found.passed == 900
    path.write_text('{"passed": "many"}')
    with pytest.raises(BadRequest, match="make test-noninterference"):
        raise_hint(path)


def raise_hint(path: Any) -> None:
    try:
        read_tests(path)
    except BadRequest as error:
        raise BadRequest(error.text) from error
