"""What may be sent again, and where: the whole table, over every class of error."""

import itertools
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freehold import errors
from freehold.call.count import Count
from freehold.call.operation import effects
from freehold.call.operations_media import Images, Speak, Transcribe
from freehold.call.operations_text import Embed, Moderate, Rerank
from freehold.call.retries import HEDGED, Budget, Effects, Fate, Verdict, fate, pause, verdict
from freehold.call.talk import Talk
from freehold.dialects import chat, gemini, messages, responses
from freehold.errors import (
    BadRequest,
    ClientGone,
    EngineError,
    FreeholdError,
    InternalError,
    LossRefused,
    NoCandidate,
    ProviderError,
    RateLimited,
    UpstreamAuth,
    UpstreamBroken,
    UpstreamCut,
    UpstreamLimited,
    UpstreamOverloaded,
    UpstreamRefused,
    UpstreamTimeout,
    UpstreamUnreachable,
)

EFFECTS: tuple[Effects, ...] = get_args(Effects)
FATES: tuple[Fate, ...] = get_args(Fate)
SENT = [
    # error, status, told, what became of the body
    (UpstreamLimited("slow down"), 429, False, "refused"),
    (UpstreamOverloaded("full"), 503, False, "refused"),
    (UpstreamOverloaded("full"), 529, False, "refused"),
    (UpstreamAuth("who are you"), 401, False, "refused"),
    (UpstreamRefused("no such model"), 404, False, "refused"),
    (UpstreamTimeout("the body did not come"), 408, False, "refused"),
    (UpstreamBroken("moved"), 307, False, "refused"),
    (UpstreamBroken("oops"), 500, False, "failed"),
    (UpstreamBroken("an error in a 200"), 200, True, "failed"),
    (UpstreamBroken("bad gateway"), 502, False, "unknown"),
    (UpstreamTimeout("gateway timeout"), 504, False, "unknown"),
    (UpstreamTimeout("origin is silent"), 524, False, "unknown"),
    (UpstreamTimeout("silence"), 0, False, "unknown"),
    (UpstreamTimeout("silence after the head"), 200, False, "unknown"),
    (UpstreamCut("cut before the head"), 0, False, "unknown"),
    (UpstreamCut("cut in the body"), 200, False, "unknown"),
    (UpstreamBroken("no HTTP at all"), 0, False, "unknown"),
    (UpstreamBroken("garbage"), 200, False, "answered"),
    (ClientGone("left"), 0, False, "unknown"),
    (InternalError("our bug"), 200, False, "unknown"),
]


@pytest.mark.parametrize(("error", "status", "told", "became"), SENT, ids=lambda value: repr(value)[:40])
def test_what_became_of_a_body_that_was_sent(error: FreeholdError, status: int, told: bool, became: Fate) -> None:
    assert fate(error, sent=True, status=status, told=told) == became


@pytest.mark.parametrize("error", [UpstreamUnreachable("x"), UpstreamTimeout("x"), UpstreamAuth("x"), ValueError("x")])
def test_what_was_not_sent_was_not_accepted(error: Exception) -> None:
    assert fate(error, sent=False, status=0) == "unsent"


SAME = {
    "unsent": {"none", "cost", "keeps", "acts"},
    "refused": {"none", "cost", "keeps", "acts"},
    "failed": {"none", "cost"},
    "unknown": {"none"},
    "answered": {"none"},
}
OTHER = {
    "unsent": {"none", "cost", "keeps", "acts"},
    "refused": {"none", "cost", "keeps", "acts"},
    "failed": {"none", "cost", "keeps"},
    "unknown": {"none", "cost", "keeps"},
    "answered": {"none", "cost", "keeps"},
}


@pytest.mark.parametrize(("became", "what"), list(itertools.product(FATES, EFFECTS)))
def test_the_table(became: Fate, what: Effects) -> None:
    """For an error that says itself that the same place may answer later."""
    allowed = verdict(ProviderError("x", retry="same"), became, what)
    assert allowed == Verdict(what in SAME[became], what in OTHER[became])


def test_hedges_are_made_of_what_may_go_elsewhere_while_it_runs() -> None:
    assert set(HEDGED) == {"none", "cost"}
    assert all(verdict(UpstreamCut("x"), "unknown", what).other for what in HEDGED)


def every_class() -> list[type[FreeholdError]]:
    found = [value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, FreeholdError)]
    return [one for one in found if one is not errors.ConfigError]


@pytest.mark.parametrize("kind", every_class(), ids=lambda kind: kind.__name__)
def test_every_error_has_a_verdict_and_none_repeats_what_may_have_been_accepted(kind: type[FreeholdError]) -> None:
    for retry, became, what in itertools.product(("no", "same", "other"), FATES, EFFECTS):
        allowed = verdict(kind("x", retry=retry), became, what)
        assert allowed.other or not allowed.same
        provider = issubclass(kind, ProviderError)
        if retry == "no" and kind is not LossRefused:
            assert allowed == (False, False)
        if provider and became in ("unknown", "answered"):
            assert not allowed.same or what == "none"
            assert what != "acts" or not allowed.other
        if not provider and kind not in (EngineError, LossRefused):
            assert allowed == (False, False)


@pytest.mark.parametrize("error", [BadRequest("x"), ClientGone("x"), RateLimited("x"), NoCandidate("x")])
def test_what_is_nobody_elses_fault_goes_nowhere(error: FreeholdError) -> None:
    assert verdict(error, "unsent", "none") == (False, False)


def test_what_one_cannot_carry_another_may() -> None:
    assert verdict(LossRefused("x"), "unsent", "acts") == (False, True)


def test_an_engine_is_ours() -> None:
    assert verdict(EngineError("died", retry="same"), "unknown", "acts") == (True, True)
    assert verdict(EngineError("loading"), "unsent", "cost") == (False, True)


def test_the_same_place_is_not_asked_where_it_cannot_do_better() -> None:
    assert verdict(UpstreamUnreachable("refused"), "unsent", "cost").same
    assert verdict(UpstreamTimeout("x", code="upstream_connect_timeout"), "unsent", "cost").same
    assert not verdict(UpstreamUnreachable("x", code="upstream_tls"), "unsent", "cost").same
    assert not verdict(UpstreamAuth("x"), "refused", "none").same
    assert not verdict(UpstreamLimited("spent", retry="other"), "refused", "none").same
    assert verdict(UpstreamLimited("spent", retry="other"), "refused", "none").other


# What doing it twice would mean


def talk(client: str, body: bytes) -> Talk:
    peek = {"chat": chat.peek, "messages": messages.peek, "responses": responses.peek}[client](body)
    return Talk(client, body, peek)


@pytest.mark.parametrize(
    ("client", "fields", "wanted"),
    [
        ("chat", b"", "cost"),
        ("chat", b',"store": true', "keeps"),
        ("chat", b',"store":false', "cost"),
        ("messages", b',"max_tokens":5', "cost"),
        ("messages", b',"max_tokens":5,"mcp_servers":[{"type":"url","url":"https://x.example","name":"x"}]', "acts"),
        ("responses", b"", "keeps"),
        ("responses", b',"store":false', "cost"),
        ("responses", b',"store":false,"previous_response_id":"resp_1"', "cost"),
        ("responses", b',"store":false,"background":true', "acts"),
        ("responses", b',"store":false,"tools":[{"type":"mcp","server_label":"x"}]', "acts"),
    ],
)
def test_conversations(client: str, fields: bytes, wanted: Effects) -> None:
    asked = b'"input":"hi"' if client == "responses" else b'"messages":[{"role":"user","content":"hi"}]'
    assert effects(talk(client, b'{"model":"m",' + asked + fields + b"}")) == wanted


def test_other_operations() -> None:
    assert {kind.effects for kind in (Embed, Rerank, Moderate, Count)} == {"none"}
    assert {kind.effects for kind in (Images, Speak, Transcribe)} == {"keeps"}
    body = b'{"contents":[{"parts":[{"text":"hi"}]}]}'
    assert effects(Talk("gemini", body, gemini.peek(body, model="m", stream=False))) == "cost"


# The budget and the pause


def test_a_dying_provider_gets_a_fifth_more_and_not_three_times_as_much() -> None:
    budget, begun, repeats = Budget(), 0, 0
    for call in range(10_000):  # 100 a second, all of which fail and want two repeats
        begun += 1
        for _ in range(2):
            if budget.take(begun, call / 100):
                begun += 1
                repeats += 1
    assert 0.2 * 10_000 <= repeats <= 0.2 * begun + 100 + 20


def test_a_quiet_deployment_always_gets_some() -> None:
    budget = Budget()
    assert all(budget.take(minute, minute * 60.0) for minute in range(100))


@given(calls=st.lists(st.tuples(st.integers(0, 50), st.floats(0, 5)), max_size=80))
def test_never_more_than_the_share_and_the_rest(calls: list[tuple[int, float]]) -> None:
    budget, begun, now, taken = Budget(0.2, 1.0, 20.0), 0, 0.0, 0
    for more, seconds in calls:
        begun, now = begun + more, now + seconds
        taken += budget.take(begun, now)
    assert taken <= 20 + 0.2 * begun + now + 1e-6


@given(chance=st.floats(0, 1), repeats=st.integers(0, 12))
def test_pauses_are_spread_and_bounded(chance: float, repeats: int) -> None:
    assert 5.0 <= pause(UpstreamLimited("x", retry_after=5.0), repeats, lambda: chance) <= 6.25
    plain = pause(UpstreamOverloaded("x"), repeats, lambda: chance)
    assert 0.25 <= plain <= 8.0
    assert plain >= min(8.0, 0.5 * 2**repeats) / 2
