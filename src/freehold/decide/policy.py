"""The rules in force for one request, and where each came from.

    built in  <  the route  <  the role  <  the key  <  the request's headers

A role or key replaces what it names. A header may replace only what the route's `overrides` name; without that it may
still be stricter (a higher floor or quality, a lower price), because that harms nobody.

    x-freehold-objective   cheapest, best, fastest, balanced
    x-freehold-floor       0.95: at most 5 % of what goes to a cheaper model may fail where the best would not
    x-freehold-quality     0.8: the least predicted probability of a right answer
    x-freehold-price       0.002: most that the request may be expected to cost, in US dollars
    x-freehold-pin         a deployment among the candidates
    x-freehold-role        a name under `roles`
"""

from collections.abc import Mapping
from typing import cast, get_args

from msgspec import Struct, field, structs

from freehold.config.schema_routing import Auto, Cascade, Explore, Hedge, Objective, Role, Sticky, Weights
from freehold.errors import BadRequest, Forbidden

HEADERS = {
    b"x-freehold-objective": "objective",
    b"x-freehold-floor": "floor",
    b"x-freehold-quality": "quality",
    b"x-freehold-price": "price",
    b"x-freehold-pin": "pin",
    b"x-freehold-role": "role",
}
MOST_DOLLARS = 1e6
_OBJECTIVES = get_args(Objective)


class Policy(Struct, frozen=True):
    """As in `config.schema_routing.Auto` and `Role`. `said` names who set what the route did not: `key`, `role bulk`,
    `header`."""

    objective: Objective = "cheapest"
    floor: float | None = None
    confidence: float = 0.95
    quality: float | None = None
    price: float | None = None
    weights: Weights = field(default_factory=Weights)
    prefer: str | None = None
    patience: float = 0.0
    pin: str | None = None
    sticky: Sticky = "cache"
    cascade: Cascade | None = None
    hedge: Hedge | None = None
    explore: Explore | None = None
    said: tuple[str, ...] = ()


USUAL = Policy()
"""Where nothing is configured."""


def policy_of(
    route: Auto | None, roles: Mapping[str, Role], *, role: str | None = None, objective: Objective | None = None
) -> Policy:
    """Returns what is in force before a request's own headers are looked at. `role` and `objective` are the key's.

    Raises KeyError for a role that is not in `roles`; the configuration was checked for that.
    """
    policy = USUAL
    if route is not None:
        policy = Policy(
            route.objective,
            route.floor,
            route.confidence,
            route.quality,
            route.price,
            route.weights or Weights(),
            pin=route.pin,
            sticky=route.sticky,
            cascade=route.cascade,
            hedge=route.hedge,
            explore=route.explore,
        )
        role = role or route.role
    if role is not None:
        policy = _in_role(policy, role, roles[role])
    if objective is not None:
        policy = structs.replace(policy, objective=objective, said=(*policy.said, "key"))
    return policy


def _in_role(policy: Policy, name: str, role: Role) -> Policy:
    return structs.replace(
        policy,
        objective=role.objective or policy.objective,
        quality=policy.quality if role.quality is None else role.quality,
        price=policy.price if role.price is None else role.price,
        prefer=role.prefer or policy.prefer,
        patience=role.patience or policy.patience,
        hedge=None if role.hedge is False else policy.hedge,
        said=(*policy.said, f"role {name}"),
    )


def overridden(policy: Policy, allowed: frozenset[str], headers: Mapping[bytes, bytes]) -> Policy:
    """Returns the policy with what the request's headers say of it, roles apart: see `role_header`.

    Raises BadRequest for a value that means nothing, Forbidden for one that the route does not allow.
    """
    changed: dict[str, object] = {}
    for header, name in HEADERS.items():
        if name == "role" or header not in headers:
            continue
        text = headers[header].decode("latin-1").strip()
        if name == "objective":
            if text not in _OBJECTIVES:
                raise _meaningless(header, text, "one of " + ", ".join(_OBJECTIVES))
            value: object = cast("Objective", text)
            if value == policy.objective:
                continue
            if "objective" not in allowed:
                raise _forbidden(header)
        elif name == "pin":
            if "pin" not in allowed:
                raise _forbidden(header)
            value = text
        else:
            value = number = _number(header, text, MOST_DOLLARS if name == "price" else 1.0)
            now = getattr(policy, name)
            stricter = now is None or (number <= now if name == "price" else number >= now)
            if not stricter and name not in allowed:
                raise _forbidden(header)
            if name == "floor" and not 0 < number < 1:
                raise _meaningless(header, text, "a number between 0 and 1")
        changed[name] = value
    if not changed:
        return policy
    return structs.replace(policy, **changed, said=(*policy.said, "header"))


def role_header(allowed: frozenset[str], headers: Mapping[bytes, bytes], roles: Mapping[str, Role]) -> str | None:
    """Returns the role that a request names. Raises BadRequest for one that is not there, Forbidden where the route
    does not let requests choose."""
    given = headers.get(b"x-freehold-role")
    if given is None:
        return None
    name = given.decode("latin-1").strip()
    if "role" not in allowed:
        raise _forbidden(b"x-freehold-role")
    if name not in roles:
        raise _meaningless(b"x-freehold-role", name, "one of " + (", ".join(roles) or "none: no role is configured"))
    return name


def _number(header: bytes, text: str, most: float) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= most:
        raise _meaningless(header, text, f"a number from 0 to {most:g}")
    return value


def _meaningless(header: bytes, text: str, wanted: str) -> BadRequest:
    return BadRequest(
        f"the header {header.decode()} is {text[:80]!r}", hint=f"expected {wanted}", code="invalid_header"
    )


def _forbidden(header: bytes) -> Forbidden:
    return Forbidden(
        f"this route does not let requests set {header.decode()}",
        hint="leave the header out, or name it under the route's overrides",
        code="override_not_allowed",
    )
