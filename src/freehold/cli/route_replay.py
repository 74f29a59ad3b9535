"""`freehold route replay`: a policy tried on the ledger, calling nobody. The policy is a whole freehold.yaml."""

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from freehold.admit.keys import Principal
from freehold.classify import Facts
from freehold.cli import ledger, output
from freehold.decide import Choice, Policy
from freehold.decide.world import Denied
from freehold.errors import BadRequest, NotFound

if TYPE_CHECKING:
    from freehold.cli.view import View
    from freehold.measure.routing.offpolicy import Interval
    from freehold.measure.routing.replay import Replayed

_FEW = 0.005
"""A share of requests below which what is left out needs no line of its own."""


@click.command()
@click.option(
    "--policy", required=True, type=click.Path(path_type=Path, dir_okay=False, exists=True), help="The rules to try."
)
@click.option("--since", default="7d", show_default=True, metavar="TIME", callback=ledger.moment, help="From here on.")
@click.option("--until", metavar="TIME", callback=ledger.moment, help="Up to here, this moment not included.")
@click.option("--as", "ask", metavar="NAME", help="As if all conversations had asked for NAME, such as auto.")
@click.option("--most", type=click.IntRange(1), default=50_000, show_default=True, help="Replay a sample of so many.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the sample, the intervals and splits.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(
    policy: Path, since: datetime, until: datetime | None, ask: str | None, most: int, seed: int, as_json: bool
) -> None:
    """Show what past requests would have cost, and how good they would have been, under another configuration.

    Every request in the ledger is decided again by the code that routes, with the rules of the file. Intervals are
    95 %. What is not known is said, not guessed: requests left out of a figure are counted, and quality is estimated
    from the log itself only as far as the log gave chance a say (`explore`, `split`).
    """
    from freehold.cli.view import look
    from freehold.home import database
    from freehold.measure.routing.replay import replay
    from freehold.record.outcomes import past
    from freehold.record.store import Store

    if until and since >= until:
        raise click.BadParameter("is not after --since", param_hint="--until")
    view = look(policy)
    if ask is not None and view.catalog.find(ask) is None:
        raise NotFound(f"there is no model {ask!r} in {policy}", hint="freehold models --config FILE", param="--as")
    store = Store(database())
    try:
        ledger.take_in(store, None)
        found = replay(past(store.connection, since=since, until=until), _Book(view), most=most, seed=seed, ask=ask)
    finally:
        store.close()
    if as_json:
        output.emit(found)
    elif not found.requests:
        output.say("no requests were made in this time")
    else:
        _show(found, policy)


class _Book:
    """The rules of a configuration, asked by the names that the ledger keeps. Implements `measure`'s `Book`."""

    def __init__(self, view: "View") -> None:
        from freehold.record.readings import basis_of

        self.catalog = view.catalog
        self.foresight = view.rulebook.foresight
        self.basis = basis_of(view.rulebook.foresight.predictor.id)
        self._view = view
        self._rulebook = view.rulebook
        self._principals: dict[str, Principal] = {}

    def _principal(self, key: str) -> Principal:
        """The key of that name now; one that is gone had no limits that anybody knows."""
        principal = self._principals.get(key)
        if principal is None:
            try:
                principal = self._view.principal(key)
            except NotFound:
                principal = Principal(key)
            self._principals[key] = principal
        return principal

    def policy(self, choice: Choice, key: str) -> Policy:
        return self._rulebook.policy(choice, self._principal(key), {})

    def denied(self, key: str, label: str, facts: Facts, now: float) -> Denied:
        caller = self._rulebook.caller(self._principal(key))
        try:
            facts.label = caller.floor | self._rulebook.rules.parse(label) if label else caller.floor
        except BadRequest as error:
            why = (error.message, True, "label")
            return lambda _: why
        return caller.denied(facts, now)

    def refused(self, key: str, asked: str) -> str | None:
        principal = self._principal(key)
        return None if principal.may_ask(asked) else f"the key {key!r} may not use {asked!r}"


def _show(found: "Replayed", policy: Path) -> None:
    sampled = f", a sample of {found.decided:,} decided again" if found.decided < found.requests else ""
    print(f"{found.requests:,} requests{sampled} with {policy}: {found.changed:,} would go elsewhere\n")
    columns: list[output.Column | str] = [
        "",
        output.Column("log", right=True),
        output.Column("policy", right=True),
        output.Column("change", right=True),
        output.Column("95 % interval", right=True),
        output.Column("requests", right=True),
    ]
    output.table(columns, list(_figures(found)))
    print()
    _show_ratings(found)
    _show_places(found)
    if found.nobody:
        print(f"\nRequests that nobody could answer: {found.nobody:,}")
        output.table(
            [output.Column("requests", right=True), "because"], [(f"{r.requests:,}", r.why) for r in found.reasons]
        )
    for remark in _remarks(found):
        output.say(remark)


def _figures(found: "Replayed") -> "list[list[object]]":
    rows: list[list[object]] = []
    if (cost := found.cost) is not None:
        values = (_dollars(1000 * cost.log.value), _dollars(1000 * cost.policy.value))
        change = _scaled(cost.change, 1000)
        rows.append(
            ["cost per 1,000", *values, _dollars(change.value), _between(change, _dollars), f"{cost.requests:,}"]
        )
        if found.cost_total is not None:
            whole = found.cost_total
            rows.append(["cost of all", "", "", _dollars(whole.value), _between(whole, _dollars), ""])
    if (seconds := found.seconds) is not None:
        change = seconds.change
        rows.append(
            ["seconds, mean", "", "", _signed(change.value), _between(change, _signed), f"{seconds.requests:,}"]
        )
        rows.append(["seconds, median", f"{seconds.log_median:.2f}", f"{seconds.policy_median:.2f}", "", "", ""])
        rows.append(["seconds, 95th %", f"{seconds.log_p95:.2f}", f"{seconds.policy_p95:.2f}", "", "", ""])
    if (direct := found.direct) is not None:
        rows.append(
            [
                "quality, predicted", f"{direct.log.value:.3f}", f"{direct.policy.value:.3f}",
                _signed(direct.change.value, 3), _between(direct.change, lambda value: _signed(value, 3)),
                f"{direct.requests:,}",
            ]
        )  # fmt: skip
    return rows


def _show_ratings(found: "Replayed") -> None:
    rated = found.rated
    if found.rated_log is None:
        print("No request was rated: quality is only predicted. POST /v1/feedback takes ratings.")
        return
    predicted = f", {found.predicted_log:.3f} had been predicted" if found.predicted_log is not None else ""
    print(f"{rated.rated:,} requests were rated, {found.rated_log:.3f} on average{predicted}. Under the policy:")
    if rated.refused is not None:
        print(f"  the log does not say: {rated.refused}")
        return
    for name, interval in (("IPS", rated.ips), ("SNIPS", rated.snips), ("doubly robust", rated.doubly_robust)):
        if interval is not None:
            print(f"  {name:<14}{interval.value:.3f}  ({interval.low:.3f} to {interval.high:.3f})")
    print(f"  worth {rated.effective:,.0f} requests of an ordinary test")


def _show_places(found: "Replayed") -> None:
    columns: list[output.Column | str] = [
        "label",
        output.Column("requests", right=True),
        output.Column("rented before", right=True),
        output.Column("now", right=True),
        output.Column("would leave the house", right=True),
        output.Column("tokens", right=True),
        output.Column("would stay in it", right=True),
        output.Column("tokens", right=True),
    ]
    print()
    numbers = ("requests", "rented_before", "rented_now", "leave", "leave_tokens", "stay", "stay_tokens")
    cells = [[one.label or "(none)", *(f"{getattr(one, name):,}" for name in numbers)] for one in found.moved]
    output.table(columns, cells)
    print()
    output.table(
        ["first choice", output.Column("before", right=True), output.Column("now", right=True)],
        [(name or "(lost)", f"{before:,}", f"{now:,}") for name, (before, now) in found.choices.items()],
    )


def _remarks(found: "Replayed") -> list[str]:
    answered = found.decided - found.nobody
    remarks = []
    if found.from_readings < answered:
        remarks.append(
            f"decided by no route then, so that only their size is known: {answered - found.from_readings:,} requests"
        )
    for count, what in (
        (found.unpriced, "cost, because a price or the tokens are not known"),
        (found.untimed, "time, because too few answers of the new choice were timed"),
        (found.unforeseen, "predicted quality, because nothing was kept to predict it from"),
    ):
        if count > _FEW * max(1, answered):
            remarks.append(f"left out of the {what}: {count:,}")
    if found.cascades:
        remarks.append(
            f"would begin with a cheap answer that is checked, counted at its price alone: {found.cascades:,}"
        )
    remarks.append(
        "headers of requests are not in the ledger: what x-freehold-objective, -pin, -role, -floor, -quality or -price "
        "asked for is not replayed; objectives are those of route, role and key"
    )
    if found.split:
        remarks.append("the policy splits by chance: other seeds give slightly other figures")
    return remarks


def _scaled(interval: "Interval", times: float) -> "Interval":
    from msgspec.structs import replace

    return replace(interval, value=interval.value * times, low=interval.low * times, high=interval.high * times)


def _between(interval: "Interval", form: Callable[[float], str]) -> str:
    return f"{form(interval.low)} to {form(interval.high)}"


def _signed(value: float, digits: int = 2) -> str:
    return f"{value:+.{digits}f}"


def _dollars(value: float) -> str:
    return ("-" if value < 0 else "") + (output.money(abs(value)) or "")
