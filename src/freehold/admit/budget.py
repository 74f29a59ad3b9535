"""What is left of each key's budget, as far as this worker can know.

Three sums are taken from a budget:

    spent      what the ledger says of the present period: the steward sums it up every few seconds and publishes it
    settled    what this worker has paid for since, by its own estimate, until the ledger has taken it in
    held       what requests on their way may still cost at most

The steward says up to which moment it had read everything that workers had written. What was settled later than that
is not in its sum, what was settled before is; so nothing is counted twice for longer than one publication, and nothing
is ever forgotten. Where the published sum is missing or older than STALE, nobody knows what is left, and `left` says
so with NaN; eligibility then keeps a key with a budget to what costs nothing.

Workers do not see one another's `settled` and `held`: several of them together can overdraw a budget by what they pay
for and begin between two publications. Exact leases, as the token limits have them, are another matter.

Money is integer nano-dollars inside, so that sums come out even.
"""

import math
from collections import deque

from msgspec import Struct

from freehold.admit.keys import Principal
from freehold.config.budgets import PERIODS, Budget, Period, began, ends

STALE = 30.0
"""Seconds after which a published sum is no longer believed."""
BUCKET = 0.25
"""Seconds whose settlements are remembered as one."""
_NANO = 10**9


class Spent(Struct):
    """run/spent.json: what the steward read of the ledger."""

    at: float = 0.0
    """Unix time in seconds: every settlement written before it is in the sums."""
    began: dict[str, float] = {}
    """When the periods began whose sums these are, Unix time in seconds."""
    keys: dict[str, tuple[int, int, int]] = {}
    """Nano-dollars by key, for each of PERIODS. A key that is not here has spent nothing."""


class MoneyHold:
    """What one request may cost at most, taken from its key's budget; `settle` must follow, once."""

    __slots__ = ("_account", "_nano")

    def __init__(self, account: "_Account", nano: int) -> None:
        self._account: _Account | None = account
        self._nano = nano

    def settle(self, dollars: float, now: float) -> None:
        """Replaces what was held by what was spent, after the journal has it. Calling it again changes nothing."""
        account, self._account = self._account, None
        if account is not None:
            account.settle(self._nano, _nano(dollars), now)


class Budgets:
    """The budgets of all keys, in one worker. It outlives a configuration."""

    def __init__(self) -> None:
        self._spent = Spent()
        self._accounts: dict[str, _Account] = {}
        self._periods: dict[Period, tuple[float, float]] = {}

    def update(self, spent: Spent) -> None:
        """Takes over what the steward has published, and forgets what is in it."""
        self._spent = spent
        for name, account in list(self._accounts.items()):
            account.forget(spent.at)
            if account.idle:
                del self._accounts[name]

    def left(self, principal: Principal, now: float) -> float | None:
        """Returns the US dollars that the key may still spend in this period, negative when it has overdrawn.

        None without a budget. NaN where nobody knows. `now` is Unix time in seconds.
        """
        budget = principal.budget
        if budget is None:
            return None
        spent = self._spent
        if not -STALE < now - spent.at < STALE:
            return math.nan
        nano = _nano(budget.dollars) - _of_period(spent, principal.name, budget, self._began(budget, now))
        account = self._accounts.get(principal.name)
        if account is not None:
            nano -= account.held + account.settled
        return nano / _NANO

    def hold(self, principal: Principal, dollars: float) -> MoneyHold | None:
        """Takes `dollars` until the request has ended; None for a key without a budget."""
        if principal.budget is None:
            return None
        account = self._accounts.get(principal.name)
        if account is None:
            account = self._accounts[principal.name] = _Account()
        nano = _nano(dollars)
        account.held += nano
        account.open += 1
        return MoneyHold(account, nano)

    def _began(self, budget: Budget, now: float) -> float:
        start, end = self._periods.get(budget.period, (0.0, 0.0))
        if not start <= now < end:
            start, end = self._periods[budget.period] = began(budget.period, now), ends(budget.period, now)
        return start


class _Account:
    __slots__ = ("_buckets", "held", "open", "settled")

    def __init__(self) -> None:
        self.held = 0
        self.open = 0
        self.settled = 0
        self._buckets: deque[tuple[float, float, int]] = deque()
        """First and last moment, and the sum, of settlements the ledger has not told of yet."""

    @property
    def idle(self) -> bool:
        return not self.open and not self._buckets

    def settle(self, held: int, spent: int, now: float) -> None:
        self.held -= held
        self.open -= 1
        if spent <= 0:
            return
        self.settled += spent
        if self._buckets and 0 <= now - self._buckets[-1][0] < BUCKET:
            first, _, before = self._buckets.pop()
            self._buckets.append((first, now, before + spent))
        else:
            self._buckets.append((now, now, spent))

    def forget(self, at: float) -> None:
        while self._buckets and self._buckets[0][1] < at:
            self.settled -= self._buckets.popleft()[2]


def _of_period(spent: Spent, name: str, budget: Budget, start: float) -> int:
    """What the ledger says was spent since `start`; nothing yet where its sums are those of the period before."""
    found = spent.keys.get(name)
    if found is None or spent.began.get(budget.period, 0.0) < start:
        return 0
    return found[PERIODS.index(budget.period)]


def _nano(dollars: float) -> int:
    """Rounded up: what is smaller than a nano-dollar is not nothing."""
    return math.ceil(dollars * _NANO - 1e-6)
