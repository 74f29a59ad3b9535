"""A request that a check or a label refuses, written down: nobody is called for it, so no intent would say that it was.

Whoever refuses marks the error with what was found and with the label (`refused`); on its way out to the client it
becomes one entry of the journal (`note`). So it costs the others nothing. What else is refused, for a limit or because
it is malformed, leaves no entry: anybody could fill a disk with those.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from freehold.errors import PolicyError, RateLimited
from freehold.labels import Label
from freehold.record.entries import Refused
from freehold.serve.endpoints import Endpoint
from freehold.serve.exchange import Exchange
from freehold.serve.learning import in_words
from freehold.serve.safety.checks import Checked
from freehold.serve.safety.noted import in_request

if TYPE_CHECKING:
    from freehold.serve.gateway import Gateway


def refused(error: PolicyError, checked: Checked | None, label: Label | None, kind: str = "") -> None:
    """Marks `error`; `kind` is what blocks the request besides what was found in it, such as `tool_denied`."""
    found = "" if checked is None else in_request(checked)
    error.found = ",".join(sorted(part for part in (*found.split(","), f"{kind}=block" if kind else "") if part))
    error.label = in_words(label)


@contextmanager
def refusing(checked: Checked | None, label: Label | None, kind: str = "") -> Iterator[None]:
    """Marks a PolicyError that is raised inside as `refused` does, unless it is about a limit."""
    try:
        yield
    except PolicyError as error:
        if not isinstance(error, RateLimited):
            refused(error, checked, label, kind)
        raise


def note(gateway: "Gateway", endpoint: Endpoint, exchange: Exchange, error: PolicyError) -> None:
    """Writes down a request that `error`, which is marked, has refused. Raises JournalError."""
    entry = Refused(
        exchange.request_id, time.time_ns(), gateway.keyring.authenticate(exchange.headers).name,
        endpoint.peek(exchange).model, endpoint.client, error.status, error.code, error.found or "", error.label,
        gateway.version,
    )  # fmt: skip
    gateway.journal.append(entry)
