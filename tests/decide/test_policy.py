"""The rules in force for one request: route, role, key and headers, each over the one before."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freehold.config.schema_routing import Auto, Hedge, Role
from freehold.decide.policy import HEADERS, USUAL, Policy, overridden, policy_of, role_header
from freehold.errors import BadRequest, Forbidden

ROLES = {"bulk": Role("cheapest", "owned", 30.0, hedge=False), "strict": Role(quality=0.9, price=0.01)}


def test_role_is_over_route_and_key_over_role() -> None:
    route = Auto(["a"], "best", hedge=Hedge(), role="bulk", quality=0.5)
    assert policy_of(None, ROLES) == USUAL
    policy = policy_of(route, ROLES)
    assert (policy.objective, policy.prefer, policy.patience, policy.hedge) == ("cheapest", "owned", 30.0, None)
    assert policy.quality == 0.5
    assert policy.said == ("role bulk",)
    assert policy_of(route, ROLES, role="strict").objective == "best"
    assert policy_of(route, ROLES, role="strict").quality == 0.9
    last = policy_of(route, ROLES, objective="fastest")
    assert (last.objective, last.said) == ("fastest", ("role bulk", "key"))


def test_headers_change_what_the_route_lets_them() -> None:
    headers = {b"x-freehold-objective": b"best", b"x-freehold-pin": b" own/a ", b"other": b"x"}
    policy = overridden(USUAL, frozenset({"objective", "pin"}), headers)
    assert (policy.objective, policy.pin, policy.said) == ("best", "own/a", ("header",))
    assert overridden(USUAL, frozenset(), {b"accept": b"x"}) is USUAL
    for header in headers:
        if header != b"other":
            with pytest.raises(Forbidden, match=header.decode()):
                overridden(USUAL, frozenset(), {header: headers[header]})
    same = overridden(USUAL, frozenset(), {b"x-freehold-objective": b"cheapest"})
    assert same.objective == "cheapest", "asking for what is in force anyway changes nothing"


@given(st.floats(0, 1), st.floats(0, 1))
def test_without_leave_a_header_can_only_be_stricter(now: float, wanted: float) -> None:
    quality = Policy(quality=now)
    price = Policy(price=now)
    text = repr(wanted).encode()
    if wanted >= now:
        assert overridden(quality, frozenset(), {b"x-freehold-quality": text}).quality == wanted
    else:
        with pytest.raises(Forbidden):
            overridden(quality, frozenset(), {b"x-freehold-quality": text})
    if wanted <= now:
        assert overridden(price, frozenset(), {b"x-freehold-price": text}).price == wanted
    else:
        with pytest.raises(Forbidden):
            overridden(price, frozenset(), {b"x-freehold-price": text})
        assert overridden(price, frozenset({"price"}), {b"x-freehold-price": text}).price == wanted


@pytest.mark.parametrize("value", [b"", b"nan", b"inf", b"-1", b"1e99", b"much", b"0x1", "½".encode("latin-1")])
@pytest.mark.parametrize("header", [b"x-freehold-quality", b"x-freehold-price", b"x-freehold-floor"])
def test_a_number_that_means_nothing_is_refused(header: bytes, value: bytes) -> None:
    with pytest.raises(BadRequest, match=header.decode()) as caught:
        overridden(USUAL, frozenset(HEADERS.values()), {header: value})
    assert caught.value.code == "invalid_header"


def test_a_floor_of_one_or_nothing_is_no_floor() -> None:
    for value in (b"0", b"1"):
        with pytest.raises(BadRequest):
            overridden(USUAL, frozenset({"floor"}), {b"x-freehold-floor": value})
    assert overridden(USUAL, frozenset(), {b"x-freehold-floor": b"0.95"}).floor == 0.95


def test_an_unknown_objective_names_the_known_ones() -> None:
    with pytest.raises(BadRequest) as caught:
        overridden(USUAL, frozenset({"objective"}), {b"x-freehold-objective": b"cheap"})
    assert "cheapest, best, fastest, balanced" in (caught.value.hint or "")


def test_a_role_is_named_only_where_requests_may() -> None:
    assert role_header(frozenset(), {}, ROLES) is None
    assert role_header(frozenset({"role"}), {b"x-freehold-role": b"bulk"}, ROLES) == "bulk"
    with pytest.raises(Forbidden):
        role_header(frozenset(), {b"x-freehold-role": b"bulk"}, ROLES)
    with pytest.raises(BadRequest) as caught:
        role_header(frozenset({"role"}), {b"x-freehold-role": b"none"}, ROLES)
    assert "bulk, strict" in (caught.value.hint or "")
