"""Providers' terms as data: what may be sent to whom follows from a dated, sourced, expiring row (policies.toml).

A row caps what a provider can be cleared for, whatever the configuration says of it:

no row, not verified, expired,    at most internal: nobody knows what becomes of it
or it depends on others
trains on what is sent            at most public, or internal where that is accepted. The rules of labels accept it
                                  (rules.py): whoever does not says `cleared: public`
anything else                     no cap: the owner, who knows the contract, decides with `cleared`

An account with other terms (a paid plan, zero retention, a setting turned off) is said so by naming another row, and
terms that the owner has agreed on with the provider by the word `contract`, which no row caps.
Pure: the date is given. The rows are read once.
"""

import tomllib
from collections.abc import Mapping
from datetime import date, timedelta
from functools import cache
from pathlib import Path
from typing import Final, Literal

import msgspec
from msgspec import Struct, field

from freehold.config.label_names import LEVELS

Training = Literal["no", "opt-out", "yes", "upstream", "unknown"]
Zdr = Literal["default", "self-serve", "approval", "none", "unknown"]
Baa = Literal["yes", "approval", "no", "unknown"]

HIGHEST: Final = len(LEVELS) - 1
INTERNAL: Final = LEVELS.index("internal")
PUBLIC: Final = LEVELS.index("public")
SOON: Final = timedelta(days=30)
CONTRACT: Final = "contract"
"""Instead of a row's name: terms of one's own."""


class Policy(Struct, frozen=True, forbid_unknown_fields=True):
    """One row; the head of policies.toml explains the fields."""

    title: str
    provider: str
    training: Training
    kept: str
    zdr: Zdr
    baa: Baa
    sources: list[str]
    checked: date
    expires: date
    verified: bool
    retention: int | None = None
    zdr_how: str = ""
    regions: list[str] = field(default_factory=list)
    subprocessors: str = ""
    note: str = ""


@cache
def rows() -> dict[str, Policy]:
    """Returns the rows by name."""
    text = Path(__file__).with_name("policies.toml").read_text("utf-8")
    return msgspec.convert(tomllib.loads(text), dict[str, Policy])


def policy_clearance(
    name: str, today: date, *, accepted: bool = False, table: Mapping[str, Policy] | None = None
) -> tuple[int, str]:
    """Returns the highest level that a provider may be cleared for, as a place in LEVELS, and why it is no higher.

    `name` is that of a row: the provider's own, or what `policy` under it says. `accepted`: the owner has cleared the
    provider in so many words. The reason is empty where nothing caps it, and else fits behind "..., and".
    """
    row = (rows() if table is None else table).get(name)
    if row is None:
        return INTERNAL, f"nothing is known of the terms of {name}: it is cleared for internal at most"
    if row.training in ("yes", "opt-out"):
        trains = "trains on what is sent to it" + (", unless one opts out" if row.training == "opt-out" else "")
        if not accepted:
            return PUBLIC, f"{row.title} {trains}: it is cleared for public only"
        return INTERNAL, f"{row.title} {trains}: it is cleared for internal at most"
    if not row.verified:
        return INTERNAL, f"the terms of {row.title} are not verified: it is cleared for internal at most"
    if today >= row.expires:
        what = f"the terms of {row.title} were checked on {row.checked}, too long ago"
        return INTERNAL, f"{what}: it is cleared for internal at most"
    if row.training in ("upstream", "unknown"):
        depends = "depend on whom it passes requests on to" if row.training == "upstream" else "do not say who trains"
        return INTERNAL, f"the terms of {row.title} {depends}: it is cleared for internal at most"
    return HIGHEST, ""


def choices(provider: str) -> list[str]:
    """Returns the rows that can be named for a provider, its own first."""
    return sorted((name for name, row in rows().items() if row.provider == provider), key=lambda name: name != provider)


def ageing(names: list[str], today: date, table: Mapping[str, Policy] | None = None) -> list[str]:
    """Returns a line for each of these rows that has expired or will within 30 days, for `freehold doctor`."""
    known = rows() if table is None else table
    lines = []
    for name in names:
        row = known.get(name)
        if row is None:
            continue
        if today >= row.expires:
            lines.append(f"the terms of {row.title} expired on {row.expires}: it is cleared for internal at most")
        elif row.expires - today <= SOON:
            days = (row.expires - today).days
            lines.append(f"the terms of {row.title} expire in {days} {'day' if days == 1 else 'days'}, {row.expires}")
    return lines
