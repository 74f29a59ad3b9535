"""Tickets: what is signed is honoured once, and nothing else is."""

import hmac
from hashlib import sha256

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from freehold.call.transport.ticket import LIFE, MAC_BYTES, Reader, Refusal, Ticket, TicketError, Writer, read_refusal
from freehold.call.transport.ticket import refused as refusal_bytes

KEY = bytes(range(32))
HEAD, BODY = b"content-type: application/json\r\n", b'{"model": "m"}'
NOW = 10**15


def ticket(writer: Writer, **changes: object) -> Ticket:
    made = Ticket(
        "call", writer.nonce(), NOW + LIFE, "req_1-1", "openai", "openai/m", "api.openai.com", "POST",
        "/v1/chat/completions", "internal", "0123456789ab", sha256(HEAD).digest(), sha256(BODY).digest(), len(BODY),
    )  # fmt: skip
    return msgspec.structs.replace(made, **changes)


def reader(now: int = NOW, since: int = 0) -> Reader:
    return Reader(KEY, lambda: now, since)


def test_a_ticket_is_read_as_it_was_written() -> None:
    writer = Writer(KEY)
    one = ticket(writer)
    assert reader().read(writer.sealed(one), HEAD, BODY) == one


def test_a_ticket_is_honoured_once() -> None:
    writer, gate = Writer(KEY), reader()
    sealed = writer.sealed(ticket(writer))
    gate.read(sealed, HEAD, BODY)
    with pytest.raises(TicketError, match="used before") as caught:
        gate.read(sealed, HEAD, BODY)
    assert not caught.value.again


def test_a_nonce_is_remembered_for_as_long_as_any_ticket_with_it_could_last() -> None:
    clock = [NOW]
    writer, gate = Writer(KEY), Reader(KEY, lambda: clock[0])
    nonce = writer.nonce()
    for later in range(0, LIFE, LIFE // 7):
        clock[0] = NOW + later
        one = ticket(writer, nonce=nonce, expires=clock[0] + LIFE)
        if later == 0:
            gate.read(writer.sealed(one), HEAD, BODY)
            continue
        gate.read(writer.sealed(ticket(writer, expires=clock[0] + LIFE)), HEAD, BODY)  # others come meanwhile
        with pytest.raises(TicketError, match="used before"):
            gate.read(writer.sealed(ticket(writer, nonce=nonce, expires=NOW + LIFE)), HEAD, BODY)


@given(st.integers(0, 10_000), st.integers(1, 255))
def test_no_byte_can_be_changed(place: int, change: int) -> None:
    writer = Writer(KEY)
    sealed = bytearray(writer.sealed(ticket(writer)))
    sealed[place % len(sealed)] ^= change
    with pytest.raises(TicketError):
        reader().read(bytes(sealed), HEAD, BODY)


@given(
    st.sampled_from(["kind", "nonce", "expires", "call", "provider", "deployment", "host", "method", "path", "label",
                     "policy", "head", "body", "size"])
)  # fmt: skip
def test_no_field_can_be_changed_under_the_old_signature(name: str) -> None:
    writer = Writer(KEY)
    one = ticket(writer)
    value = getattr(one, name)
    other = (
        "fetch"
        if name == "kind"
        else value + (1 if isinstance(value, int) else type(value)(b"x" if isinstance(value, bytes) else "x"))
    )
    changed = msgspec.msgpack.encode(msgspec.structs.replace(one, **{name: other}))
    with pytest.raises(TicketError, match="signature"):
        reader().read(writer.sealed(one)[:MAC_BYTES] + changed, HEAD, BODY)


@given(st.binary(min_size=32, max_size=32).filter(lambda key: key != KEY))
def test_another_key_signs_nothing(key: bytes) -> None:
    writer = Writer(key)
    with pytest.raises(TicketError, match="signature"):
        reader().read(writer.sealed(ticket(writer)), HEAD, BODY)


@given(st.binary(max_size=400))
def test_garbage_is_refused(garbage: bytes) -> None:
    with pytest.raises(TicketError):
        reader().read(garbage, HEAD, BODY)
    signed = hmac.digest(KEY, garbage, "sha256") + garbage
    with pytest.raises(TicketError):
        reader().read(signed, HEAD, BODY)


@given(st.binary(max_size=64), st.binary(max_size=64))
def test_another_body_or_head_is_refused(head: bytes, body: bytes) -> None:
    writer = Writer(KEY)
    sealed = writer.sealed(ticket(writer))
    if (head, body) == (HEAD, BODY):
        return
    with pytest.raises(TicketError, match=r"belongs to other|belongs to another"):
        reader().read(sealed, head, body)


@pytest.mark.parametrize(("expires", "again"), [(NOW, True), (NOW - 1, True), (0, True), (NOW + LIFE + 1, False)])
def test_a_ticket_lasts_as_long_as_it_may(expires: int, again: bool) -> None:
    writer = Writer(KEY)
    with pytest.raises(TicketError) as caught:
        reader().read(writer.sealed(ticket(writer, expires=expires)), HEAD, BODY)
    assert caught.value.again == again


def test_a_ticket_from_before_the_process_began_may_be_written_again() -> None:
    writer = Writer(KEY)
    with pytest.raises(TicketError, match="before this egress process began") as caught:
        reader(NOW + 5, since=NOW + 1).read(writer.sealed(ticket(writer)), HEAD, BODY)
    assert caught.value.again


def test_nonces_of_two_workers_differ() -> None:
    one, other = Writer(KEY), Writer(KEY)
    assert len({writer.nonce() for writer in (one, other) for _ in range(1000)}) == 2000


@pytest.mark.parametrize("size", [0, 31, 33])
def test_a_key_has_32_bytes(size: int) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        Writer(bytes(size))
    with pytest.raises(ValueError, match="32 bytes"):
        Reader(bytes(size), lambda: 0)


def test_a_refusal_comes_back_whole() -> None:
    refusal = Refusal("PolicyError", "no", "egress_refused", 403, "no", "ask", None, True, False)
    data = refusal_bytes(refusal)
    assert data[:1] == b"\1"
    assert int.from_bytes(data[1:5], "little") == len(data) - 5
    assert read_refusal(data[5:]) == refusal
