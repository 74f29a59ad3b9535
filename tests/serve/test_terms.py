"""Providers' terms expire while a gateway runs: the steward notices the day, and makes the workers begin anew."""

from datetime import date

import pytest

from freehold.labels.policies import rows
from freehold.serve import steward


def test_the_day_on_which_terms_expire_is_noticed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    days = sorted({row.expires for row in rows().values()})
    last = days[-1]
    ledger = object.__new__(steward._Ledger)  # as much of it as knows what day it is
    ledger._terms_at = date(days[0].year, 1, 1)
    seen = []
    for day in (ledger._terms_at, days[0], days[0], date(last.year + 1, 1, 1), date(last.year + 2, 1, 1)):
        monkeypatch.setattr(steward, "today", lambda day=day: day)
        seen.append(ledger._terms_expired())
    assert seen == [False, True, False, days[0] < last, False]
