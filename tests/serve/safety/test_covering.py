"""What becomes of a request that is to be pseudonymised: covered, or not at all. What goes wrong keeps its label."""

import asyncio
import json
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from dialogue import body_of
from hypothesis import given, settings
from hypothesis import strategies as st

from freehold.admit.keys import Principal
from freehold.call.breaker import Breaker
from freehold.call.languages import CLIENT, PROVIDER
from freehold.call.operations_text import Embed, Rerank
from freehold.call.profiles import traits
from freehold.call.talk import Talk
from freehold.call.target import Address, Target
from freehold.call.transport import Origin, Pool
from freehold.config.label_names import BUILT_IN
from freehold.config.schema import Timeouts
from freehold.config.schema_checks import Checks as Settings
from freehold.config.schema_tools import Pseudonyms
from freehold.decide.catalog import Deployment
from freehold.dialects import embeddings, rerank
from freehold.labels import Label
from freehold.serve.safety.checks import Checked, Checks
from freehold.serve.safety.guarding import Guarding, Restoring
from freehold.serve.safety.pseudonyms import Cover, covered

MAIL, CARD = "bob.jones@example.com", "4539 1488 0343 6467"
PRINCIPAL = Principal("k")


class Broken:
    name, longest = "broken", 1

    def find(self, *_: object) -> list[object]:
        raise RuntimeError("no")


def checks_of(**said: Any) -> Checks:
    return Checks(Settings(**{"request": {"personal": "pseudonymise"}, **said}), BUILT_IN)


USUAL = checks_of()


async def cover_of(
    body: dict[str, Any], client: str = "chat", checks: Checks = USUAL, operation: Any = None
) -> tuple[Cover | None, Checked | None, Any]:
    raw = json.dumps(body).encode()
    exchange: Any = SimpleNamespace(body=raw, headers={b"content-type": b"application/json"}, content_type="")
    gateway: Any = SimpleNamespace(
        checks=checks,
        pseudonyms=b"m" * 32,
        config=SimpleNamespace(checks=checks._settings),
        metrics=SimpleNamespace(check=lambda *_: None),
    )
    checked = await checks.request(exchange, PRINCIPAL, "m", lambda *_: None)
    if operation is None:
        operation = Talk(client, raw, CLIENT[client].peek(raw))
    if checked is None or not checked.private:
        return None, checked, operation
    return await covered(gateway, exchange, PRINCIPAL, operation, checked), checked, operation


def said(text: str) -> dict[str, Any]:
    return {"model": "m", "messages": [{"role": "user", "content": text}]}


async def test_labels_fall_only_by_what_was_replaced() -> None:
    cover, checked, _ = await cover_of(said(f"I am {MAIL}, card {CARD}"))
    assert checked is not None
    assert cover is not None
    assert (checked.label, checked.rest, cover.residue) == (Label(2, frozenset({"pci"})), None, Label())
    assert set(checked.told) == {"email=pseudonymise", "credit_card=pseudonymise"}
    cover, checked, _ = await cover_of(said(f"I am {MAIL}, ghp_Wq7RrT2yUi9OpA5sDfGh4JkLzXcVbN0yMPpM"))
    assert checked is not None
    assert checked.rest == Label(3), "a secret is not replaced here, so it counts"


async def test_nobody_is_bare_before_it_is_decided_who_may_be() -> None:
    cover, _, talk = await cover_of(said(f"I am {MAIL}"))
    assert cover is not None
    assert cover.hides(target("chat").deployment)
    assert MAIL not in repr(talk.seen_by(target("chat")))
    assert cover("rented/m") is None


async def test_a_detector_that_fails_keeps_the_label() -> None:
    broken = checks_of()
    broken.rules._scanner._sweeps = [Broken(), *broken.rules._scanner._sweeps]  # type: ignore[list-item]
    cover, checked, _ = await cover_of(said(f"I am {MAIL}, card {CARD}, ssn 536-90-4399"), checks=broken)
    assert cover is None
    assert checked is not None
    assert checked.label is not None
    assert checked.label.level == 3


async def test_a_detector_that_fails_only_on_the_second_look_keeps_it_too(monkeypatch: pytest.MonkeyPatch) -> None:
    from freehold.serve.safety import pseudonyms

    monkeypatch.setattr(pseudonyms, "pseudonymise", lambda *_: 1 / 0)
    cover, checked, _ = await cover_of(said(f"I am {MAIL}"))
    assert cover is None
    assert checked is not None
    assert checked.told == ("email=label", "kept: it could not be replaced (ZeroDivisionError)")


@pytest.mark.parametrize(("media", "falls"), [("hold", False), ("pass", True)])
async def test_what_nobody_can_look_into(media: Any, falls: bool) -> None:
    url = "data:image/png;base64," + "iVBORw0KGgo" * 40
    content = [{"type": "text", "text": f"I am {MAIL}"}, {"type": "image_url", "image_url": {"url": url}}]
    body = {"model": "m", "messages": [{"role": "user", "content": content}]}
    cover, checked, _ = await cover_of(body, checks=checks_of(pseudonyms=Pseudonyms(media=media)))
    assert (cover is not None) == falls
    assert checked is not None
    assert checked.told[-1] == ("email=pseudonymise" if falls else "kept: turns.0.1 (image) cannot be read")
    strict = checks_of(request={"personal": "pseudonymise", "unchecked": "label"}, pseudonyms=Pseudonyms(media=media))
    cover, checked, _ = await cover_of(body, checks=strict)
    assert checked is not None
    assert checked.rest == Label(3), "what it cannot look into counts by itself"


async def test_monitoring_replaces_nothing() -> None:
    cover, checked, _ = await cover_of(said(f"I am {MAIL}"), checks=checks_of(mode="monitor"))
    assert cover is None
    assert checked is not None
    assert (checked.label, checked.told) == (None, ("email=pseudonymise",))


async def test_where_it_cannot_be_done_the_reason_is_told() -> None:
    body = {"model": "m", "query": f"I am {MAIL}", "documents": ["x"]}
    raw = json.dumps(body).encode()
    cover, checked, _ = await cover_of(body, operation=Rerank(raw, rerank.peek(raw)))
    assert cover is None
    assert checked is not None
    assert checked.told == ("email=label", "kept: this endpoint has no way to put it back")
    more = {"model": "m", "input": f"I am {MAIL}", "previous_response_id": "resp_1"}
    cover, checked, _ = await cover_of(more, client="responses")
    assert cover is None
    assert checked is not None
    assert checked.told[-1] == "kept: what came before it is kept by a provider"
    tokens: Any = {"model": "m", "input": [[1, 2]], "user": MAIL}
    raw = json.dumps(tokens).encode()
    cover, checked, _ = await cover_of(tokens, operation=Embed(raw, embeddings.peek(raw)))
    assert cover is None
    assert checked is not None
    assert checked.told[-1] == "kept: token ids cannot be read"


def target(dialect: str) -> Target:
    deployment = Deployment(f"rented/{dialect}", "openai", "m", dialect)
    pool = Pool(Origin.parse("http://127.0.0.1:9"), connect_timeout=1, limit=1)
    paths = dict.fromkeys((dialect, f"{dialect}_stream"), "/x")
    address = Address(pool, paths, (), dialect)
    return Target(deployment, address, traits("openai", "m"), Timeouts(), Breaker(3, 1))


WORDS = st.sampled_from([MAIL, CARD, MAIL.upper(), "+1 (415) 555-2671", "日本", "and", "\\", '"', "{", "\n", "x" * 30])


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(sorted(CLIENT)),
    st.sampled_from(sorted(PROVIDER)),
    st.lists(st.lists(WORDS, max_size=5), min_size=1, max_size=3),
    st.booleans(),
)
def test_no_pair_of_dialects_lets_a_value_through(
    client: str, provider: str, texts: list[list[str]], stream: bool
) -> None:
    body = {**body_of(client, *(" ; ".join(words) for words in texts)), "model": "m"}
    if client != "gemini":
        body["stream"] = stream
    cover, checked, talk = asyncio.run(_covered(client, body, stream))
    if checked is None or not checked.private:
        return
    assert cover is not None, checked.told
    assert cover.vault is not None
    cover.guard = Restoring(Guarding(USUAL.silent, 1), cover.vault, lambda _: False, thoughts=False, strict=False)
    sent = talk.prepare(target(provider)).body
    plain = "".join(letter for letter in sent.decode().lower() if letter.isalnum() or letter == "@")
    for value in (MAIL, CARD, "+1 (415) 555-2671"):
        assert value.encode() not in sent
        assert "".join(letter for letter in value.lower() if letter.isalnum() or letter == "@") not in plain


async def _covered(client: str, body: dict[str, Any], stream: bool) -> Any:
    raw = msgspec.json.encode(body)
    language = CLIENT[client]
    if client == "gemini":
        from freehold.call.operation import Ways

        peek = language.peek(raw, model="m", stream=stream)
        talk = Talk(client, raw, peek, ways=Ways(read={"model": "m", "stream": stream}))
    else:
        talk = Talk(client, raw, language.peek(raw))
    return await cover_of(body, client, operation=talk)
