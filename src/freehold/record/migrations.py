"""The store's tables, as numbered steps. A step, once released, is never edited: a later one changes what it made.

The database counts the steps it has taken in `PRAGMA user_version`. A step and its number are one transaction, so a
kill in between leaves the database at a whole step.

Money is integer nano-dollars, times are Unix nanoseconds unless a name says otherwise. Texts that repeat stand once in
`names`, and what a call is about, repeated even more, once in `routes`, so a row of `calls` is some 150 bytes. NULL in
`calls.cost` means nobody knows what it cost; it never means nothing.
"""

import sqlite3
from collections.abc import Callable

from freehold.errors import InternalError

Migration = Callable[[sqlite3.Connection], None]
MIGRATIONS: list[Migration] = []


def migration(function: Migration) -> Migration:
    """Appends a step; its number is its place in the list."""
    MIGRATIONS.append(function)
    return function


def migrate(connection: sqlite3.Connection) -> None:
    """Brings the store to the newest version, each step in a transaction of its own.

    `connection` must be in autocommit mode. Raises `InternalError` for a store written by a newer Freehold.
    """
    while (version := _version(connection)) != len(MIGRATIONS):
        if version > len(MIGRATIONS):
            raise InternalError(
                f"The store has version {version}; this Freehold knows versions up to {len(MIGRATIONS)}.",
                code="store_unavailable",
                hint="use the newer Freehold that wrote it, or point FREEHOLD_HOME to another folder",
            )
        connection.execute("BEGIN IMMEDIATE")
        try:
            # Another process may have migrated while this one waited for the lock.
            if _version(connection) == version:
                MIGRATIONS[version](connection)
                connection.execute(f"PRAGMA user_version = {version + 1:d}")
            connection.execute("COMMIT")
        except BaseException:
            connection.execute("ROLLBACK")
            raise


def is_old(connection: sqlite3.Connection) -> bool:
    """Whether an older Freehold wrote the store, so that tables or columns may not be there yet."""
    return _version(connection) < len(MIGRATIONS)


def _version(connection: sqlite3.Connection) -> int:
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    return version


@migration
def m001_ledger(connection: sqlite3.Connection) -> None:
    for statement in (
        "CREATE TABLE names (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE) STRICT",
        """CREATE TABLE routes ( -- what a call is about
            id INTEGER PRIMARY KEY,
            key INTEGER NOT NULL REFERENCES names, asked INTEGER NOT NULL REFERENCES names,
            deployment INTEGER NOT NULL REFERENCES names, provider INTEGER NOT NULL REFERENCES names,
            model INTEGER NOT NULL REFERENCES names, dialect INTEGER NOT NULL REFERENCES names,
            owned INTEGER NOT NULL,
            UNIQUE (key, asked, deployment, provider, model, dialect, owned)) STRICT""",
        """CREATE TABLE prices ( -- dated; a call refers to the row it was priced with
            id INTEGER PRIMARY KEY,
            provider TEXT NOT NULL, model TEXT NOT NULL,
            valid_from TEXT NOT NULL, -- ISO date, empty: since ever
            rates TEXT NOT NULL,      -- JSON, US dollars per million tokens as decimal strings, by step of input
            source TEXT NOT NULL,
            checked TEXT NOT NULL,    -- ISO date of the price data, empty: the owner's own price
            UNIQUE (provider, model, valid_from, rates, source)) STRICT""",
        """CREATE TABLE calls ( -- finished ones
            id INTEGER PRIMARY KEY,
            call TEXT NOT NULL UNIQUE,
            request TEXT,             -- NULL: `call` without its last `-attempt`
            at INTEGER NOT NULL,
            route INTEGER NOT NULL REFERENCES routes,
            attempt INTEGER NOT NULL, stream INTEGER NOT NULL, held INTEGER NOT NULL,
            reason INTEGER NOT NULL REFERENCES names, config INTEGER NOT NULL REFERENCES names,
            outcome INTEGER NOT NULL, -- place in store.OUTCOMES
            status INTEGER NOT NULL,
            uncached INTEGER NOT NULL, cache_read INTEGER NOT NULL,
            cache_write_5m INTEGER NOT NULL, cache_write_1h INTEGER NOT NULL,
            output INTEGER NOT NULL, reasoning INTEGER NOT NULL,
            audio_input INTEGER NOT NULL, audio_output INTEGER NOT NULL, estimated INTEGER NOT NULL,
            first_us INTEGER NOT NULL, total_us INTEGER NOT NULL,
            upstream_id TEXT NOT NULL,
            served INTEGER NOT NULL REFERENCES names, error INTEGER NOT NULL REFERENCES names,
            price INTEGER REFERENCES prices,
            cost INTEGER) STRICT""",
        """CREATE TABLE spend ( -- sums of calls, kept in the transaction that adds them: what `usage` and metrics read
            hour INTEGER NOT NULL,    -- Unix time / 3600 s
            route INTEGER NOT NULL REFERENCES routes,
            calls INTEGER NOT NULL, ok INTEGER NOT NULL, failed INTEGER NOT NULL,
            cancelled INTEGER NOT NULL, unknown INTEGER NOT NULL,
            unpriced INTEGER NOT NULL, -- without a cost; the unknown are not in it
            estimated INTEGER NOT NULL, input INTEGER NOT NULL, cached INTEGER NOT NULL, output INTEGER NOT NULL,
            cost INTEGER NOT NULL,
            PRIMARY KEY (hour, route)) STRICT, WITHOUT ROWID""",
        """CREATE TABLE journals ( -- how far each file was read; a done one may be gone and is never read again
            name TEXT PRIMARY KEY,
            offset INTEGER NOT NULL,
            damage INTEGER NOT NULL,  -- places that held no entry
            done INTEGER NOT NULL) STRICT, WITHOUT ROWID""",
        """CREATE TABLE open_calls ( -- intents whose settlement was not read yet: running, or the writer was killed
            call TEXT PRIMARY KEY,
            incarnation TEXT NOT NULL,
            intent BLOB NOT NULL      -- as in the journal
            ) STRICT, WITHOUT ROWID""",
        _LEDGER,
    ):
        connection.execute(statement)


@migration
def m002_lost(connection: sqlite3.Connection) -> None:
    """What could not be carried between two dialects, by call; NULL: nothing."""
    connection.execute("ALTER TABLE calls ADD COLUMN lost INTEGER REFERENCES names")
    connection.execute("DROP VIEW ledger")
    connection.execute(
        _LEDGER.replace("errors.name AS error,", "errors.name AS error, losses.name AS lost,")
        + "LEFT JOIN names AS losses ON losses.id = calls.lost"
    )


@migration
def m003_learning(connection: sqlite3.Connection) -> None:
    """How routes decided and how good the answers were; and the label of each call, NULL: nobody said."""
    for statement in (
        "ALTER TABLE calls ADD COLUMN label INTEGER REFERENCES names",
        """CREATE TABLE decisions ( -- of requests that a route decided, beside their first call
            call INTEGER PRIMARY KEY REFERENCES calls,
            route INTEGER NOT NULL REFERENCES names,
            propensity REAL NOT NULL, explored INTEGER NOT NULL,
            quality INTEGER,          -- predicted of the first candidate, in ten-thousandths
            expected INTEGER,         -- price expected of the first candidate, in nano-dollars
            kind INTEGER NOT NULL REFERENCES names, needs INTEGER REFERENCES names,
            input INTEGER NOT NULL, output INTEGER NOT NULL, most INTEGER,
            ran INTEGER REFERENCES names, cached INTEGER NOT NULL,
            basis BLOB, reading BLOB, -- record/readings.py
            candidates BLOB NOT NULL, -- msgpack: [[name, quality, price, latency, chance], ...] as entries.Weighed
            dropped BLOB              -- msgpack: [[deployment, reason], ...], in words
            ) STRICT""",
        """CREATE TABLE outcomes (
            call INTEGER NOT NULL REFERENCES calls,
            source INTEGER NOT NULL,  -- place in learned.SOURCES
            value REAL NOT NULL, weight REAL NOT NULL,
            at INTEGER NOT NULL,
            by INTEGER NOT NULL REFERENCES names, note INTEGER REFERENCES names,
            PRIMARY KEY (call, source)) STRICT, WITHOUT ROWID""",
        """CREATE TABLE open_outcomes ( -- their call is not in the ledger yet
            about TEXT NOT NULL, source INTEGER NOT NULL,
            entry BLOB NOT NULL,      -- as in the journal
            PRIMARY KEY (about, source)) STRICT""",
        "DROP VIEW ledger",
        _LEDGER.replace(  # noqa: S608  nothing in it comes from outside
            "errors.name AS error,",
            "errors.name AS error, losses.name AS lost, labels.name AS label, rules.name AS ruled_by, propensity,"
            " explored, quality / 1e4 AS quality, expected / 1e9 AS expected_usd,"
            " (SELECT sum(value * weight) / sum(weight) FROM outcomes WHERE outcomes.call = calls.id) AS value,",
        )
        + "LEFT JOIN names AS losses ON losses.id = calls.lost LEFT JOIN names AS labels ON labels.id = calls.label"
        " LEFT JOIN (SELECT call AS first, route AS ruled_by, propensity, explored, quality, expected FROM decisions)"
        " AS ruled ON ruled.first = calls.id LEFT JOIN names AS rules ON rules.id = ruled.ruled_by",
    ):
        connection.execute(statement)


@migration
def m004_blocked(connection: sqlite3.Connection) -> None:
    """Answers that a rule kept from the client are an outcome of their own."""
    (view,) = connection.execute("SELECT sql FROM sqlite_master WHERE type = 'view' AND name = 'ledger'").fetchone()
    for statement in (
        "ALTER TABLE spend ADD COLUMN blocked INTEGER NOT NULL DEFAULT 0",
        "DROP VIEW ledger",
        view.replace("WHEN 2 THEN 'cancelled' ELSE", "WHEN 2 THEN 'cancelled' WHEN 4 THEN 'blocked' ELSE"),
    ):
        connection.execute(statement)


@migration
def m005_found(connection: sqlite3.Connection) -> None:
    """What was found in a request and in its answer, by type; NULL: nothing, or nobody looked."""
    (view,) = connection.execute("SELECT sql FROM sqlite_master WHERE type = 'view' AND name = 'ledger'").fetchone()
    for statement in (
        "ALTER TABLE calls ADD COLUMN found INTEGER REFERENCES names",
        "ALTER TABLE calls ADD COLUMN found_back INTEGER REFERENCES names",
        "CREATE INDEX calls_found ON calls (at, found, found_back) WHERE coalesce(found, found_back) IS NOT NULL",
        "DROP VIEW ledger",
        view.replace("labels.name AS label,", "labels.name AS label, finds.name AS found, backs.name AS found_back,")
        + " LEFT JOIN names AS finds ON finds.id = calls.found LEFT JOIN names AS backs ON backs.id = calls.found_back",
    ):
        connection.execute(statement)


@migration
def m006_refusals(connection: sqlite3.Connection) -> None:
    """Requests that a check or a label refused, and for which nobody was called."""
    for statement in (
        """CREATE TABLE refusals ( -- the newest refusals.MOST; ids have no holes
            id INTEGER PRIMARY KEY,
            request TEXT NOT NULL, at INTEGER NOT NULL,
            key INTEGER NOT NULL REFERENCES names, asked INTEGER NOT NULL REFERENCES names,
            dialect INTEGER NOT NULL REFERENCES names,
            status INTEGER NOT NULL, code INTEGER NOT NULL REFERENCES names,
            found INTEGER REFERENCES names, label INTEGER REFERENCES names, -- NULL: nothing, or not known
            config INTEGER NOT NULL REFERENCES names) STRICT""",
        "CREATE INDEX refusals_request ON refusals (request)",
        "CREATE INDEX refusals_at ON refusals (at)",
        """CREATE VIEW refused AS -- `refusals` in words
            SELECT refusals.id, request, datetime(at / 1000000000, 'unixepoch') AS at, keys.name AS key,
            asked.name AS asked, dialects.name AS dialect, status, codes.name AS code, finds.name AS found,
            labels.name AS label, configs.name AS config
            FROM refusals JOIN names AS keys ON keys.id = refusals.key JOIN names AS asked ON asked.id = refusals.asked
            JOIN names AS dialects ON dialects.id = refusals.dialect JOIN names AS codes ON codes.id = refusals.code
            LEFT JOIN names AS finds ON finds.id = refusals.found
            LEFT JOIN names AS labels ON labels.id = refusals.label
            JOIN names AS configs ON configs.id = refusals.config""",
    ):
        connection.execute(statement)


_LEDGER = """
CREATE VIEW ledger AS -- `calls` in words, for people with an SQL prompt
SELECT
    calls.id, call, coalesce(request, substr(call, 1, length(call) - length(attempt) - 1)) AS request,
    datetime(at / 1000000000, 'unixepoch') AS at, attempt, keys.name AS key, asked.name AS asked,
    deployments.name AS deployment, providers.name AS provider, models.name AS model, dialects.name AS dialect, owned,
    stream, held, reasons.name AS reason, configs.name AS config,
    CASE outcome WHEN 0 THEN 'ok' WHEN 1 THEN 'failed' WHEN 2 THEN 'cancelled' ELSE 'unknown' END AS outcome, status,
    uncached, cache_read, cache_write_5m, cache_write_1h, output, reasoning, audio_input, audio_output, estimated,
    first_us, total_us, upstream_id, served.name AS served, errors.name AS error, price, cost / 1e9 AS cost_usd
FROM calls
JOIN routes ON routes.id = calls.route
LEFT JOIN names AS keys ON keys.id = routes.key
LEFT JOIN names AS asked ON asked.id = routes.asked
LEFT JOIN names AS deployments ON deployments.id = routes.deployment
LEFT JOIN names AS providers ON providers.id = routes.provider
LEFT JOIN names AS models ON models.id = routes.model
LEFT JOIN names AS dialects ON dialects.id = routes.dialect
LEFT JOIN names AS reasons ON reasons.id = calls.reason
LEFT JOIN names AS configs ON configs.id = calls.config
LEFT JOIN names AS served ON served.id = calls.served
LEFT JOIN names AS errors ON errors.id = calls.error
"""
