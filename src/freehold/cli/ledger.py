"""What verbs that read the ledger share: bringing it up to date, and times as people say them."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click

from freehold.cli import output

if TYPE_CHECKING:
    from freehold.record.refusals import Refusals
    from freehold.record.store import Store

_BATCH = 20_000
_UNITS = {"h": "hours", "d": "days", "w": "weeks"}


def moment(ctx: click.Context, param: click.Parameter, value: str | None) -> datetime | None:
    """A date (2027-01-31), a moment (2027-01-31T18:00Z), or a time ago: 12h, 7d, 4w. Without an offset it is UTC."""
    from freehold.config.checks import parse_time

    if value is None:
        return None
    number, unit = value[:-1], _UNITS.get(value[-1:])
    if unit and number.isascii() and number.isdigit() and len(number) <= 5:
        return datetime.now(UTC) - timedelta(**{unit: int(number)})
    found = parse_time(value)
    if found is None:
        raise click.BadParameter(f"{value!r} is not a time; write it like 7d, 12h, 2027-01-31 or 2027-01-31T18:00Z")
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def refusals(refused: "Refusals") -> str:
    """Requests that were refused, in words: how many, what they were told, what was found in them."""
    told = f"{refused.requests:,}"
    if refused.codes:
        told += f" ({_counted(refused.codes)})"
    if refused.found:
        told += f", in which was found {_counted(refused.found)}"
    if refused.forgotten:
        told += f"; {refused.forgotten:,} earlier ones are not kept any more"
    return told


def _counted(numbers: dict[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in numbers.items())


def take_in(store: "Store", config: Path | None) -> None:
    """Takes in what the workers wrote and the ledger does not hold yet, unless a running gateway is doing so itself; or
    says why it may be a little behind. `config` has the prices of one's own."""
    from freehold.call.providers import load_config, rows
    from freehold.config.load import find
    from freehold.errors import ConfigError
    from freehold.home import home, journal_dir
    from freehold.record.ingest import Ingest
    from freehold.record.journal import segments
    from freehold.record.prices import Pricer
    from freehold.record.receipts.taking import open_receipts

    if not segments(journal_dir()):
        return
    try:
        loaded = load_config(find(config), os.environ)
    except ConfigError as error:
        output.warn(f"the newest calls are not taken in, because their prices may be in a broken file: {error}")
        output.hint("freehold config check")
        return
    pricer = Pricer(loaded.config, {name: row.prices for name, row in rows().items()})
    ingest = Ingest(store, journal_dir(), pricer, lambda: open_receipts(home(), os.environ))
    try:
        while (report := ingest.step(_BATCH)).entries >= _BATCH:
            pass
        ingest.sign()
        if report.locked:
            output.say("a running gateway keeps the ledger; calls of the last second may be missing")
    finally:
        ingest.close()
