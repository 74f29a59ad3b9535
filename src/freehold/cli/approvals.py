"""`freehold approvals`: requests that wait for a person, and the person's word.

Works on the store itself, FREEHOLD_HOME/approvals.db, which its owner alone can read: whoever can run this could read
it anyway, so no key is asked for. The name that is written down is that of the account, or what --as says.
"""

import time
from contextlib import closing
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from freehold.cli import output

if TYPE_CHECKING:
    from freehold.record.approvals import Approval, Approvals

_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
_as = click.option("--as", "name", metavar="NAME", help="Who decides; the account's name when not given.")
_reason = click.option("--reason", default="", metavar="TEXT", help="Why; of a denial the client is told.")


@click.group()
def command() -> None:
    """Show and decide requests that wait for a person.

    A request waits where a check says `ask`. What is shown of it are names, and words of it with everything that was
    found masked. An approval is for that one request, once.
    """


@command.command("list")
@click.option("--all", "everything", is_flag=True, help="Decided ones of the last 30 days too.")
@_json
def list_(everything: bool, as_json: bool) -> None:
    """List the requests that wait, the oldest first."""
    with closing(_store()) as store:
        now = time.time()
        found = store.everything(now) if everything else store.pending(now)
    if as_json:
        output.emit([_shown(one) for one in found])
        return
    output.table(
        ["id", "state", "key", "asks", "found", "label", "would go out as", "to", "expires"],
        [_row(one, now) for one in found],
    )
    if found and not everything:
        output.hint("freehold approvals show ID, then approve ID or deny ID")


@command.command()
@click.argument("identity", metavar="ID")
@_json
def show(identity: str, as_json: bool) -> None:
    """Show one request: who asks, what was found, where it would go."""
    with closing(_store()) as store:
        found = _found(store, identity)
    if as_json:
        output.emit(_shown(found))
        return
    rows = [
        (
            "state",
            found.state + (f" by {found.by}" if found.by else "") + (f": {found.reason}" if found.reason else ""),
        ),
        ("key", found.key),
        ("request", found.request),
        ("about", found.about),
        ("asks for", found.asked),
        ("found", ", ".join(found.kinds)),
        ("label", found.label),
        ("would go out as", found.lowered),
        ("to", ", ".join(found.sinks)),
        ("expires", _moment(found.expires)),
        ("words around it", found.excerpt or "not shown"),
    ]
    output.table(["what", "is"], [list(row) for row in rows])


@command.command()
@click.argument("identity", metavar="ID")
@_as
@_reason
@_json
def approve(identity: str, name: str | None, reason: str, as_json: bool) -> None:
    """Let one request go out, once."""
    _decide(identity, name, reason, approve=True, as_json=as_json)


@command.command()
@click.argument("identity", metavar="ID")
@_as
@_reason
@_json
def deny(identity: str, name: str | None, reason: str, as_json: bool) -> None:
    """Refuse one request."""
    _decide(identity, name, reason, approve=False, as_json=as_json)


def _decide(identity: str, name: str | None, reason: str, *, approve: bool, as_json: bool) -> None:
    """Raises NotFound, and BadRequest where it is too late."""
    from freehold.errors import BadRequest

    by = name or _account()
    with closing(_store()) as store:
        _found(store, identity)
        done = store.decide(identity, approve=approve, by=by, reason=reason, now=time.time())
        now = _found(store, identity)
    if not done:
        who = f" by {now.by}" if now.by else ""
        raise BadRequest(f"{identity} cannot be decided any more: it is {now.state}{who}", code="approval_decided")
    if as_json:
        output.emit(_shown(now))
    else:
        output.say(f"{'approved' if approve else 'denied'} {identity} as {by}")


def _store() -> "Approvals":
    from freehold.home import home
    from freehold.record.approvals import Approvals

    return Approvals(home() / "approvals.db")


def _found(store: "Approvals", identity: str) -> "Approval":
    from freehold.errors import NotFound

    found = store.find(identity, time.time())
    if found is None:
        raise NotFound(f"there is no approval {identity!r}", hint="freehold approvals list --all")
    return found


def _account() -> str:
    import getpass

    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"


def _shown(approval: "Approval") -> dict[str, Any]:
    import msgspec

    fields: dict[str, Any] = msgspec.to_builtins(approval)
    for hidden in ("digest", "valid"):
        fields.pop(hidden)
    return fields


def _row(one: "Approval", now: float) -> list[Any]:
    left = f"in {max(0, round(one.expires - now))} s" if one.state in ("pending", "approved") else ""
    return [
        one.id,
        one.state,
        one.key,
        one.asked,
        ", ".join(one.kinds),
        one.label,
        one.lowered,
        ", ".join(one.sinks),
        left,
    ]


def _moment(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
