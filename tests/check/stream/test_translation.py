"""The guard where it is put: in a relay between an upstream and a client, same dialect or another."""

from typing import Any

import pytest

from freehold.call.talk import Translation
from freehold.check.detect import Rules
from freehold.check.pseudonyms import Restorer, Vault
from freehold.check.stream import EventGuard, GuardedReader, Policy
from freehold.dialects import chat, messages, responses
from freehold.dialects.conversation import Finished, Metered, Started, TextDelta, Usage

RULES = Rules()
DIALECTS: dict[str, Any] = {"chat": chat, "messages": messages, "responses": responses}


def wire(dialect: Any, text: str, upto: int | None = None) -> bytes:
    writer = dialect.StreamWriter("1", "m", 0, True)
    events = [Started("1", "m"), *map(TextDelta, text), Finished("stop"), Metered(Usage(uncached=5, output=9))]
    out = [writer.write(event) for event in events[:upto]]
    return b"".join(out) + (writer.close() if upto is None else b"")


def relay(upstream: str, client: str, guard: EventGuard) -> Translation:
    made = Translation(
        DIALECTS[upstream].StreamReader(), lambda identity, model: DIALECTS[client].StreamWriter("1", "m", 0, True)
    )
    made.read_through(lambda reader: GuardedReader(reader, guard))
    return made


def read(dialect: Any, shown: bytes) -> tuple[str, list[Any]]:
    reader = dialect.StreamReader()
    events = [*reader.feed(shown), *reader.close()]
    return "".join(event.text for event in events if isinstance(event, TextDelta)), events


@pytest.mark.parametrize("client", DIALECTS)
@pytest.mark.parametrize("upstream", DIALECTS)
def test_a_stream_comes_out_redacted_and_restored(upstream: str, client: str) -> None:
    vault = Vault(b"s" * 32)
    placeholder = vault.hide("phone", "+1 (415) 555-2671")
    guard = EventGuard(Policy(RULES, {"email": "redact"}), restore=Restorer(vault))
    made = relay(upstream, client, guard)
    body = wire(DIALECTS[upstream], f"Call {placeholder.lower()} or bob@example.com. Bye")
    shown = b"".join(made.feed(body[at : at + 11]) for at in range(0, len(body), 11)) + made.close()
    assert made.complete
    assert made.usage is not None
    assert made.usage.output == 9
    assert read(DIALECTS[client], shown)[0] == "Call +1 (415) 555-2671 or [redacted email]. Bye"


@pytest.mark.parametrize("client", DIALECTS)
@pytest.mark.parametrize("upstream", DIALECTS)
def test_a_block_ends_the_answer_properly_although_the_upstream_was_cut(upstream: str, client: str) -> None:
    usage = Usage(uncached=5, output=3, estimated=True)
    guard = EventGuard(Policy(RULES, {"email": "block"}), estimate=lambda size: usage)
    made = relay(upstream, client, guard)
    shown = made.feed(wire(DIALECTS[upstream], "Fine. Ask bob@example.com and then do more", 40))
    assert guard.blocked is not None
    shown += made.close()
    assert made.complete
    assert made.usage is not None
    assert (made.usage.output, made.usage.estimated) == (3, True)
    text, events = read(DIALECTS[client], shown)
    assert text == "Fine. Ask "
    assert [event.finish for event in events if isinstance(event, Finished)] == ["content_filter"]
