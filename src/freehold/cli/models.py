"""`freehold models`: every name that can be asked for, and what is known of it."""

import asyncio
import sys
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from msgspec import Struct

from freehold.cli import output

if TYPE_CHECKING:
    from freehold.cli.client import Running
    from freehold.cli.view import View
    from freehold.decide import Choice


class _Listed(Struct):
    """One entry of GET /v1/models."""

    id: str
    owned_by: str = ""
    context_length: int | None = None
    deployments: list[str] = []


class _List(Struct):
    data: list[_Listed]


class Row(Struct):
    """One name. Prices are US dollars per million tokens, None where unknown; `can` None: nobody declared it."""

    name: str
    kind: str
    provider: str
    owned: bool | None = None
    context: int | None = None
    can: list[str] | None = None
    input_price: float | None = None
    output_price: float | None = None
    state: str = ""
    deployments: list[str] = []


@click.command()
@click.option("--all", "everything", is_flag=True, help="Also list providers that cannot be called, each with the fix.")
@click.option("--config", type=click.Path(path_type=Path, dir_okay=False), help="freehold.yaml to read.")
@click.option("--url", help="Another gateway than the one started here; also FREEHOLD_URL.")
@click.option("--key", help="The key to send; also FREEHOLD_API_KEY.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON: models, and providers that cannot be called.")
def command(everything: bool, config: Path | None, url: str | None, key: str | None, as_json: bool) -> None:
    """List every model that can be asked for.

    Asks the running gateway, which shows what the key may use; when none runs, reads the configuration. Prices are US
    dollars per million tokens, in and out.
    """
    from freehold.cli import client
    from freehold.errors import Unauthorized

    gateway = None
    if config is None and (url or client.running() or client.named()):
        try:
            gateway = client.find(url, key)
        except Unauthorized as error:
            if url or client.named():
                raise
            output.warn(f"{error.message}, so this is what the configuration says")
    if gateway is not None and not gateway.pid:
        rows, unavailable = _remote(gateway), list[dict[str, Any]]()
    else:
        rows, unavailable = _local(gateway, config)
    if as_json:
        output.emit({"models": rows, "unavailable": unavailable})
        return
    _show(rows)
    if everything and unavailable:
        sys.stdout.write("\n")
        output.table(["provider", "why it cannot be called", "fix"], [list(one.values()) for one in unavailable])
    elif unavailable:
        output.hint(f"freehold models --all lists {len(unavailable)} more providers and how to add each")


def _remote(gateway: "Running") -> list[Row]:
    """What another machine's gateway tells of itself."""
    from freehold.cli import client

    listed = asyncio.run(client.get(gateway, "/v1/models", _List)).data
    return [
        Row(
            one.id,
            "direct" if not one.deployments else "alias",
            one.owned_by,
            context=one.context_length,
            deployments=one.deployments,
        )
        for one in listed
    ]


def _local(gateway: "Running | None", config: Path | None) -> tuple[list[Row], list[dict[str, Any]]]:
    """The gateway's names where it runs, with what the files of this machine know of each."""
    from freehold.cli import client
    from freehold.cli.view import look

    view = look(config)
    names: Collection[str] = view.catalog.names()
    if gateway is not None:
        names = [one.id for one in asyncio.run(client.get(gateway, "/v1/models", _List)).data]
    for text in view.assumed[:1]:
        output.say(text)
    rows = [_row(name, choice, view) for name in names if (choice := view.catalog.find(name)) is not None]
    unavailable = [
        {"provider": endpoint.name, "why": endpoint.unavailable, "fix": endpoint.fix}
        for endpoint in view.endpoints.values()
        if endpoint.unavailable is not None
    ]
    return rows, unavailable


def _row(name: str, choice: "Choice", view: "View") -> Row:
    members = choice.members
    if len(members) == 1 and choice.kind == "direct":
        one = members[0]
        return Row(
            name,
            choice.kind,
            one.provider,
            one.owned,
            one.context,
            sorted(one.can) if one.can is not None else None,
            one.input_price,
            one.output_price,
            view.state(one),
            [one.name],
        )
    states = [view.state(member) for member in members]
    return Row(
        name,
        choice.kind,
        ", ".join(dict.fromkeys(member.provider for member in members)),
        _common([member.owned for member in members]),
        max((member.context for member in members if member.context), default=None),
        state="ready" if "ready" in states else "; ".join(dict.fromkeys(states)) or "it has no deployment",
        deployments=[member.name for member in members],
    )


def _common(values: list[bool]) -> bool | None:
    """The value all share; None when they differ."""
    return values[0] if len(set(values)) == 1 else None


def _show(rows: list[Row]) -> None:
    columns: list[output.Column | str] = [
        output.Column("name", whole=True),
        output.Column("kind", spare=True),
        output.Column("provider", spare=True),
        "runs",
        output.Column("context", right=True),
        output.Column("in", right=True),
        output.Column("out", right=True),
        "can",
        "state",
    ]
    output.table(columns, [_cells(row) for row in rows])


def _cells(row: Row) -> list[object]:
    several = len(row.deployments) > 1
    owned = {True: "owned", False: "rented", None: "both" if several else None}[row.owned]
    provider = row.provider if not several else f"{len(row.deployments)} deployments"
    can = ", ".join(row.can) if row.can else None
    return [
        row.name,
        row.kind,
        provider,
        owned,
        output.tokens(row.context),
        output.money(row.input_price),
        output.money(row.output_price),
        can,
        row.state,
    ]
