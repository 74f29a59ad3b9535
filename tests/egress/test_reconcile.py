"""Three accounts of one run: every way in which one of them can lie shows."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freehold.egress.reconcile import CONNECTION, LEDGER, Reconciled, reconcile
from freehold.egress.records import Back, Began, Fetched, Line, Opened, Own, Sent
from freehold.egress.witness import Counted, Flow
from freehold.record.receipts.leaf import Call, Leaf

BEGAN, ENDED = 1_000, 1_000_000
HOST, PLACE = "api.openai.com", ("203.0.113.7", 443)


def receipt(call: str, out: int = 100, **fields: object) -> Call:
    values = {"at": 2_000, "worker": "w0-1", "provider": "openai", "host": HOST, "outcome": "ok", **fields}
    return Call(0, call=call, out=out, **values)


def sent(number: int, call: str, out: int = 100, host: str = HOST, head: int = 200) -> Sent:
    return Sent(2_000, number, call, "openai", host, out, head, "t")


def record(*calls: Line | None) -> list[Line | None]:
    return [Began(BEGAN, 7, 61184, "v"), Opened(1_500, HOST, *PLACE, True), *calls]


def kernel(carried: int, packets: int = 10, *more: Flow) -> Counted:
    """Counters of a run that carried so many bytes, with the usual 52 bytes of headers a packet."""
    flows = [Flow("tcp", *PLACE, packets, carried + 52 * packets), *more]
    return Counted(61184, "freehold_7", sum(one.bytes for one in flows), sum(one.packets for one in flows), flows)


def compared(leaves: list[Leaf], lines: list[Line | None], counted: Counted | None, ended: int = ENDED) -> Reconciled:
    return reconcile("r", leaves, lines, counted, began=BEGAN, ended=ended, now=2_000 + LEDGER // 2)


def differences(*accounts: object, **more: int) -> str:
    return " | ".join(f"{one.where}: {one.what}" for one in compared(*accounts, **more).differences)  # type: ignore[arg-type]


def test_accounts_that_agree() -> None:
    result = compared([receipt("a-1")], record(sent(1, "a-1"), Back(3_000, 1, 900, 200, True)), kernel(4_000))
    assert result.agrees, result.differences
    assert (result.receipts, result.receipts_out, result.sent_out, result.heads_out) == (1, 100, 100, 200)
    assert result.carried[0] <= 4_000 <= result.carried[1]
    assert result.hosts == {HOST: 100}


def test_a_call_without_a_receipt() -> None:
    lines = record(sent(1, "a-1"), sent(2, "b-1", 5))
    assert (
        differences([receipt("a-1")], lines, kernel(900))
        == f"b-1: 5 bytes were sent to {HOST}, and there is no receipt"
    )


def test_a_receipt_with_an_answer_that_nobody_sent() -> None:
    assert "never sent it" in differences([receipt("a-1")], record(), kernel(0))
    unsent = compared([receipt("a-1", outcome="failed")], record(), kernel(0))
    assert (unsent.agrees, unsent.unsent) == (True, 1)


@pytest.mark.parametrize("out", [0, 99, 101, 10_000])
def test_sizes_that_differ(out: int) -> None:
    assert "bytes, and" in differences([receipt("a-1", out)], record(sent(1, "a-1")), kernel(900))


def test_another_host() -> None:
    lines = record(sent(1, "a-1", host="evil.example"))
    assert "it was sent to evil.example" in differences([receipt("a-1")], lines, kernel(900))


def test_calls_of_owned_engines_and_of_other_runs_are_no_matter() -> None:
    leaves: list[Leaf] = [
        receipt("a-1", provider="own", host="127.0.0.1:1"), receipt("b-1", at=BEGAN - 1), receipt("c-1", at=ENDED + 1),
        receipt("a-1-part9", via="part"),
    ]  # fmt: skip
    result = compared(leaves, record(), kernel(0))
    assert result.agrees
    assert result.receipts == 0


def test_further_bodies_count_for_their_call() -> None:
    leaves: list[Leaf] = [receipt("a-1", 10), receipt("a-1-part2", 20, via="part", outcome="sent")]
    assert compared(leaves, record(sent(1, "a-1", 10), sent(2, "a-1", 20)), kernel(900)).agrees
    assert not compared(leaves, record(sent(1, "a-1", 10)), kernel(900)).agrees
    leaves[0] = receipt("a-1", 10, outcome="failed")
    assert compared(leaves, record(sent(1, "a-1", 10)), kernel(900)).agrees


def test_fetches_and_kept_responses_are_counted_by_host() -> None:
    fetched = [Fetched(2_000, "req", "example.org", 30, "t"), sent(1, "", 0)]
    leaves: list[Leaf] = [
        receipt("req-fetch1", 30, via="fetch", host="example.org", provider=""),
        receipt("x-kept2", 5, via="kept", provider=""),
    ]
    assert compared(leaves, record(*fetched), kernel(900)).agrees
    assert "requests of our own" in differences(leaves[:1], record(*fetched), kernel(900))
    assert "example.org" in differences(leaves[1:], record(*fetched), kernel(900))


def test_a_place_that_nobody_wrote_down() -> None:
    other = Flow("tcp", "198.51.100.9", 443, 3, 700)
    assert differences([receipt("a-1")], record(sent(1, "a-1")), kernel(900, 10, other)) == (
        "tcp 198.51.100.9:443: 700 bytes left to a place that the egress process never wrote down"
    )


def test_a_protocol_that_nobody_speaks() -> None:
    other = Flow("udp", "198.51.100.9", 443, 3, 700)
    assert "udp 198.51.100.9:443: 700 bytes left by a protocol" in differences([], record(), kernel(0, 10, other))


def test_the_resolver_is_no_provider() -> None:
    result = compared([], record(), kernel(0, 1, Flow("udp", "9.9.9.9", 53, 2, 140)))
    assert result.agrees
    assert result.resolver_bytes == 140


def test_bytes_that_no_set_has() -> None:
    counted = kernel(300)
    counted.bytes += 1
    assert "could not be counted apart" in differences([receipt("a-1")], record(sent(1, "a-1")), counted)


def test_a_record_that_cannot_be_read() -> None:
    assert "1 of its lines" in differences([], record(None), kernel(0))


def test_tokens_explain_bytes() -> None:
    many = CONNECTION * 2
    assert "the record explains" in differences([], record(), kernel(many))
    assert compared([], record(Own(2_000, "token", "login.example", many)), kernel(many)).agrees


@given(st.integers(0, 10**7), st.integers(1, 5_000))
def test_what_the_kernel_says_lies_within_the_bounds_or_shows(hidden: int, packets: int) -> None:
    """Bytes that nobody wrote down: less than the allowance may pass, more never does; too few never do."""
    leaves: list[Leaf] = [receipt("a-1", 50_000)]
    lines = record(sent(1, "a-1", 50_000))
    result = compared(leaves, lines, kernel(50_200 + hidden, packets))
    if hidden > CONNECTION + 0.05 * 50_200 + 64 + 28 * packets:
        assert not result.agrees
    if hidden <= CONNECTION:
        assert result.agrees
    if (too_few := 50_200 - 12 * packets - 1 - hidden) >= 0:
        assert not compared(leaves, lines, kernel(too_few, packets)).agrees


def test_a_running_gateway_may_have_calls_without_receipts() -> None:
    lines = record(sent(1, "a-1"), Back(3_000, 1, 900, 200, True), sent(2, "b-1"))
    result = compared([], lines, None, ended=0)
    assert (result.agrees, result.running, result.witnessed) == (True, 2, False)
    late = reconcile("r", [], lines, None, began=BEGAN, ended=0, now=3_000 + 2 * LEDGER)
    assert [one.where for one in late.differences] == ["a-1"]


def test_an_egress_process_that_was_started_again_counts_from_one() -> None:
    lines = record(sent(1, "a-1"), *record(sent(1, "b-1"), Back(3_000, 1, 9, 200, True)))
    result = compared([receipt("b-1")], lines, None, ended=0)
    assert (result.agrees, result.running) == (True, 1)
