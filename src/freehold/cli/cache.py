"""`freehold cache`: what answers are kept, what they have saved, and how to be rid of them.

Reads and writes FREEHOLD_HOME/cache and needs no running gateway; one that runs sees a change at its next look.
"""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from freehold.cli import LazyGroup, output

if TYPE_CHECKING:
    from freehold.record.cache import CacheStore
    from freehold.record.saved import Saved

_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
LAZY: dict[str, tuple[str, str]] = {
    "calibrate": ("freehold.cli.cache_calibrate", "Find out how similar questions must be to get the same answer"),
}


class Cache(LazyGroup):
    """Its own commands, and those of `LAZY`."""

    verbs = LAZY

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*click.Group.list_commands(self, ctx), *LAZY]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        return click.Group.get_command(self, ctx, cmd_name) or super().get_command(ctx, cmd_name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            own = [(name, command.get_short_help_str(90)) for name, command in self.commands.items()]
            formatter.write_dl([*own, *((name, line) for name, (_, line) in LAZY.items())])


@click.group(cls=Cache)
def command() -> None:
    """Show and clear kept answers, and calibrate the semantic cache.

    Which answers are kept is said under cache in freehold.yaml.
    """


@command.command()
@click.option("--config", type=click.Path(path_type=Path, dir_okay=False), help="freehold.yaml with your own prices.")
@_json
def show(config: Path | None, as_json: bool) -> None:
    """Show what is kept, by whose it is and its label, and what it has saved."""
    store = _store()
    if store is None:
        output.emit({"rows": [], "bytes": 0}) if as_json else output.say("no answers are kept here")
        return
    try:
        rows, size = store.show(), store.bytes()
    finally:
        store.close()
    savings = _saved(config)
    if as_json:
        value: dict[str, Any] = {"rows": [_value(row) for row in rows], "bytes": size, "saved": _value(savings)}
        value["saved"]["usd"] = savings.nano / 1e9
        output.emit(value)
        return
    now = time.time()
    numbers = [output.Column(name, right=True) for name in ("entries", "KB", "hits", "age")]
    columns: list[output.Column | str] = ["whose", "label", "asked for", *numbers]
    output.table(
        columns,
        [
            (
                r.tenant,
                r.label,
                r.asked,
                r.entries,
                f"{r.bytes / 1024:,.0f}",
                r.hits,
                f"{max(0, now - r.oldest):,.0f} s",
            )
            for r in rows
        ],
    )
    spared = (
        f"{savings.hits:,} answers from the cache, {savings.tokens:,} tokens, {output.money(savings.nano / 1e9)} saved"
    )
    output.say(spared + (f"; {savings.unpriced:,} of them have no price" if savings.unpriced else ""))


@command.command()
@click.option("--tenant", metavar="KEY", help="Only answers of this key, or of this group of keys.")
@click.option("--label", help="Only answers with exactly this label, such as internal.")
@_json
def clear(tenant: str | None, label: str | None, as_json: bool) -> None:
    """Delete kept answers: all, those of one key or group, or those with one label."""
    store = _store()
    gone = 0
    if store is not None:
        try:
            if tenant is None:
                gone = store.clear(None, label)
            else:
                gone = sum(store.clear(f"{kind} {tenant}", label) for kind in ("key", "group"))
        finally:
            store.close()
    if as_json:
        output.emit({"deleted": gone})
    else:
        output.say(f"{gone:,} answers were deleted")


def _store() -> "CacheStore | None":
    from freehold.home import home
    from freehold.record.cache import CacheStore

    folder = home() / "cache"
    return CacheStore(folder) if (folder / "answers.db").exists() else None


def _saved(config: Path | None) -> "Saved":
    import os

    from freehold.call.providers import load_config, rows
    from freehold.cli import ledger
    from freehold.config.load import find
    from freehold.home import database
    from freehold.record.prices import Pricer
    from freehold.record.saved import saved
    from freehold.record.store import Store

    loaded = load_config(find(config), os.environ)
    store = Store(database())
    try:
        ledger.take_in(store, config)
        return saved(store.connection, Pricer(loaded.config, {name: row.prices for name, row in rows().items()}))
    finally:
        store.close()


def _value(row: Any) -> dict[str, Any]:
    import msgspec

    found: dict[str, Any] = msgspec.to_builtins(row)
    return found


def _age(seconds: float) -> str:
    return f"{max(0, seconds):,.0f} s"
