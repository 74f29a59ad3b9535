"""What answers from the cache would have cost, by the ledger: the tokens of the calls that made them, at the prices of
the time at which they were given again. An owned model costs what its owner asks for it, mostly nothing.
"""

import sqlite3
from typing import Final

from msgspec import Struct

from freehold.record.prices import Pricer

_CACHED: Final = (
    "SELECT uncached, cache_read, cache_write_5m, cache_write_1h, output, reasoning, audio_input, audio_output, at,"
    " providers.name, models.name, served.name, owned FROM calls JOIN names AS reasons ON reasons.id = calls.reason"
    " JOIN routes ON routes.id = calls.route JOIN names AS providers ON providers.id = routes.provider"
    " JOIN names AS models ON models.id = routes.model JOIN names AS served ON served.id = calls.served"
    " WHERE reasons.name IN ('cached', 'cached: similar')"
)


class Saved(Struct):
    """`nano` dollars were not spent on `hits`; `unpriced` of them are of models without a known price."""

    hits: int = 0
    unpriced: int = 0
    tokens: int = 0
    nano: int = 0


class _Used(Struct):
    uncached: int
    cache_read: int
    cache_write_5m: int
    cache_write_1h: int
    output: int
    reasoning: int
    audio_input: int
    audio_output: int


def saved(connection: sqlite3.Connection, pricer: Pricer) -> Saved:
    """Returns what all answers from the cache have saved, as far as the ledger has them."""
    found = Saved()
    for *counts, at, provider, model, served, owned in connection.execute(_CACHED):
        used = _Used(*counts)
        found.hits += 1
        found.tokens += sum(counts[:5])
        rates = pricer.owned(provider, model) if owned else pricer.rates(provider, model, served, at)
        cost = 0 if owned and rates is None else None if rates is None else pricer.cost(used, rates)
        if cost is None:
            found.unpriced += 1
        else:
            found.nano += cost
    return found
