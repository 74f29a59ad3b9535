"""`freehold usage`: what was spent, on what and by whom.

Reads the ledger, FREEHOLD_HOME/freehold.db. What the workers wrote and the ledger does not hold yet is taken in first,
unless a running gateway is doing so itself, which it does twice a second.
"""

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from freehold.cli import ledger, output

if TYPE_CHECKING:
    from freehold.record.refusals import Refusals
    from freehold.record.usage import By, Spend

_GROUPS = ("key", "model", "provider", "deployment", "day", "kind")


@click.command()
@click.option("--by", type=click.Choice(_GROUPS), default="model", show_default=True, help="What to sum by.")
@click.option("--since", metavar="TIME", callback=ledger.moment, help="From here on: 7d, 12h, 2027-01-31.")
@click.option("--until", metavar="TIME", callback=ledger.moment, help="Up to here, this moment not included.")
@click.option("--config", type=click.Path(path_type=Path, dir_okay=False), help="freehold.yaml with your own prices.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(by: "By", since: datetime | None, until: datetime | None, config: Path | None, as_json: bool) -> None:
    """Show what was spent, on what and by whom.

    Cost is what the price data and freehold.yaml say, in US dollars. Calls that have no price are shown as unpriced
    and are in no sum; calls of unknown outcome were cut off when a worker was killed. Times are cut to the hour, days
    are days in UTC. `--by kind` sets rented models against owned ones.
    """
    from freehold.home import database
    from freehold.record.findings import found
    from freehold.record.refusals import refusals
    from freehold.record.store import Store
    from freehold.record.usage import period, running, spend, total

    if since and until and since >= until:
        raise click.BadParameter("is not after --since", param_hint="--until")
    store = Store(database())
    try:
        ledger.take_in(store, config)
        rows = spend(store.connection, by, since, until)
        kinds = spend(store.connection, "kind", since, until)
        unfinished = running(store.connection)
        seen = found(store.connection, since, until)
        refused = refusals(store.connection, *period(since, until))
    finally:
        store.close()
    everything = total(rows)
    if as_json:
        output.emit(
            {
                "by": by,
                "since": since.isoformat() if since else None,
                "until": until.isoformat() if until else None,
                "rows": [_value(row) for row in rows],
                "total": _value(everything),
                "kinds": [_value(row) for row in kinds],
                "running": unfinished,
                "found": seen,
                "refused": refused,
            }
        )
        return
    if not rows:
        output.say("no calls were made in this time" if since or until else "no calls were made yet")
        _refused(refused)
        return
    output.table(_columns(by), [_cells(row) for row in [*rows, everything]])
    _remarks(everything, kinds if by != "kind" else [], unfinished)
    for where, kinds_found in (("requests", seen.requests), ("answers", seen.answers)):
        if kinds_found:
            calls = ", ".join(f"{kind} {count:,}" for kind, count in kinds_found.items())
            output.say(f"calls by what was found in their {where}: {calls}")
    _refused(refused)


def _refused(refused: "Refusals") -> None:
    if refused.requests:
        output.say(f"requests that checks and labels refused, which are no calls: {ledger.refusals(refused)}")


def _columns(by: str) -> list[output.Column | str]:
    numbers = ("calls", "ok", "failed", "cancelled", "unknown", "input", "cached", "output", "cost")
    return [by, *(output.Column(name, right=True) for name in numbers)]


def _cells(row: "Spend") -> list[object]:
    name = row.name or "(lost)"
    return [
        name,
        row.calls,
        row.ok,
        row.failed,
        row.cancelled,
        row.unknown,
        row.input,
        row.cached,
        row.output,
        _cost(row),
    ]


def _cost(row: "Spend") -> str:
    """Money that is known, and beside it the calls that it leaves out."""
    left_out = [f"{row.unpriced:,} unpriced"] if row.unpriced else []
    if row.dollars is None:
        return "unpriced" if row.unpriced else "unknown"
    return " + ".join([output.money(row.dollars) or "", *left_out])


def _value(row: "Spend") -> dict[str, Any]:
    from msgspec.structs import asdict

    value = asdict(row)
    del value["cost"]
    return {**value, "cost_usd": row.dollars}


def _remarks(everything: "Spend", kinds: "list[Spend]", unfinished: int) -> None:
    if len(kinds) > 1:
        output.say("; ".join(f"{kind.name}: {kind.calls:,} calls, {_cost(kind)}" for kind in kinds))
    if everything.unknown:
        output.say(f"calls cut off when a worker was killed, of which nobody knows the cost: {everything.unknown:,}")
    if everything.blocked:
        output.say(f"calls whose answer a rule kept from the client, billed all the same: {everything.blocked:,}")
    if everything.estimated:
        output.say(f"calls whose tokens are our estimate, because the provider sent no count: {everything.estimated:,}")
    if everything.unpriced:
        output.hint("give a model its price in freehold.yaml: providers.NAME.models.MODEL.input and .output")
    if unfinished:
        output.say(f"calls that are still running, not shown above: {unfinished:,}")
