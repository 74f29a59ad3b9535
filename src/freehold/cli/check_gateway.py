"""Checks of what Freehold was told and what it keeps: configuration, providers, ledger, journals, prices."""

import asyncio
import errno
import os
import socket
import sqlite3
import time
from collections.abc import Mapping
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from freehold.call.providers import Endpoint
from freehold.cli.site import Finding, Site
from freehold.config.schema import Config
from freehold.errors import ConfigError, FreeholdError
from freehold.home import database, journal_dir, keys_file, run_dir

OLD_PRICES = 120
"""Days after which price data is called old: providers change prices a few times a year."""
LATE_SECONDS = 60
LATE_BYTES = 64 << 20
"""How much, or how long, journals may wait for a running gateway's ledger before that is called late."""


def configuration(site: Site) -> list[Finding]:
    mistakes = site.mistakes
    if mistakes is None:
        found = str(site.path) if site.path else "no file: all defaults"
        return [Finding("config", "ok", f"{found} (version {site.loaded.version})")]
    several: list[ConfigError] = getattr(mistakes, "errors", [mistakes])
    return [Finding("config", "fail", str(one), one.hint or "freehold config check") for one in several]


def keys(site: Site) -> list[Finding]:
    from freehold.admit.keys import Keyring, read_keys

    path = keys_file()
    try:
        kept = read_keys(path)
        ring = Keyring([*site.config.keys, *kept])
    except ConfigError as error:
        return [Finding("keys", "fail", str(error), error.hint)]
    if path.exists() and path.stat().st_mode & 0o077:
        return [Finding("keys", "warn", f"{path} can be read by others", f"chmod 600 {path}")]
    if not len(ring):
        return [Finding("keys", "ok", "none yet: the first freehold up makes one")]
    return [Finding("keys", "ok", f"{len(ring)} for clients")]


def providers(site: Site) -> list[Finding]:
    """Whether what each configured provider needs is there; whether it is right, only a call could say."""
    findings = []
    for endpoint in site.endpoints.values():
        if endpoint.unavailable is not None and endpoint.configured:
            findings.append(Finding("providers", "fail", f"{endpoint.name}: {endpoint.unavailable}", endpoint.fix))
        elif endpoint.unavailable is not None and "points at this gateway" in endpoint.unavailable:
            findings.append(Finding("providers", "warn", f"{endpoint.name}: {endpoint.unavailable}", endpoint.fix))
    ready = [endpoint.name for endpoint in site.endpoints.values() if endpoint.unavailable is None]
    found = ", ".join(ready) or "no rented provider has a key (freehold models --all says how to add one)"
    return [*findings, Finding("providers", "ok", found)]


def port(site: Site) -> list[Finding]:
    host, number = site.config.server.host, site.config.server.port
    gateway = site.gateway
    if gateway is not None and gateway.url.endswith(f":{number}"):
        return [Finding("port", "ok", f"{number} is held by the gateway of this home (process {gateway.pid})")]
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with closing(socket.socket(family, socket.SOCK_STREAM)) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, number))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                fix = f"freehold up --port {number + 1 if number < 65535 else 0}, or stop what listens there"
                return [Finding("port", "fail", f"{number} on {host} is used by another program", fix)]
            reason = error.strerror or str(error)
            return [Finding("port", "fail", f"cannot listen on {host}:{number}: {reason}", "set server.host and port")]
    return [Finding("port", "ok", f"{number} on {host} is free")]


def gateway(site: Site) -> list[Finding]:
    from freehold.call.transport import fetch

    running = site.gateway
    announced = run_dir() / "up.json"
    if running is None:
        if announced.exists():
            return [Finding("gateway", "warn", "it ended without saying so", f"freehold up (or rm {announced})")]
        return [Finding("gateway", "ok", "none runs from this home")]
    try:
        status, _, _ = asyncio.run(fetch("GET", f"{running.url}/health/ready", timeout=5.0))
    except FreeholdError as error:
        fix = f"kill {running.pid} && freehold up"
        return [Finding("gateway", "fail", f"process {running.pid} does not answer: {error}", fix)]
    if status != 200:
        return [Finding("gateway", "warn", f"{running.url} is not ready (status {status})", "wait, or freehold up")]
    return [Finding("gateway", "ok", f"{running.url} answers (process {running.pid})")]


def store(site: Site) -> list[Finding]:
    """Whether the ledger's database opens, is whole and can be written."""
    path = database()
    if not path.exists():
        return [Finding("store", "ok", "none yet: the first freehold up makes it")]
    if not os.access(path, os.R_OK | os.W_OK):
        return [Finding("store", "fail", f"{path} cannot be written", f"chmod u+rw {path}")]
    spare = f"freehold up makes a new one after: mv {path} {path}.broken (journals that are still there are read again)"
    try:
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=rw", uri=True, timeout=5.0)) as connection:
            verdict = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("ROLLBACK")
    except sqlite3.OperationalError as error:
        if "locked" in str(error):
            return [Finding("store", "warn", f"{path.name} is busy: {error}", "try again in a moment")]
        return [Finding("store", "fail", f"{path.name} cannot be opened: {error}", f"chmod u+rw {path}")]
    except sqlite3.DatabaseError as error:
        return [Finding("store", "fail", f"{path.name} is damaged: {error}", spare)]
    if verdict != "ok":
        return [Finding("store", "fail", f"{path.name} is damaged: {verdict}", spare)]
    return [Finding("store", "ok", f"{path.name}, {path.stat().st_size / (1 << 20):,.1f} MiB, is whole")]


def journals(site: Site) -> list[Finding]:
    """What workers wrote and the ledger has not read, and what in it is no entry."""
    from freehold.record.journal import segments

    read = _read_so_far()
    states = {path: path.stat() for path in segments(journal_dir())}
    findings = [
        Finding("journals", "warn", f"{path.name} holds bytes that are no entry; all else in it was read", f"rm {path}")
        for path in sorted(journal_dir().glob("*.damaged"))
    ]
    waiting = {path: state.st_size - read.get(path.name, _UNREAD).offset for path, state in states.items()}
    behind = {path: size for path, size in waiting.items() if size and _holds_more(path, read.get(path.name, _UNREAD))}
    if not behind:
        return [*findings, Finding("journals", "ok", "nothing waits for the ledger")]
    size = sum(behind.values())
    found = f"{size / (1 << 20):,.1f} MiB in {len(behind)} segments wait for the ledger"
    if site.gateway is None:
        return [*findings, Finding("journals", "ok", f"{found}: the next freehold up takes them in")]
    still = time.time() - min(states[path].st_mtime for path in behind)
    if still > LATE_SECONDS or size > LATE_BYTES:
        fix = f"restart freehold up; if it stays, look for 'ledger' in its output and check {database()}"
        return [*findings, Finding("journals", "warn", f"{found}, the oldest since {still:,.0f} s", fix)]
    return [*findings, Finding("journals", "ok", found)]


def _holds_more(path: Path, read: "_Read") -> bool:
    """Whether there are entries behind what was read: a segment in use is longer than what is written in it."""
    from freehold.record.journal import read_segment

    if read.done:
        return False
    try:
        found = read_segment(path, read.offset, 1)
    except FileNotFoundError:
        return False
    return bool(found.entries) or found.state == "torn"


class _Read(NamedTuple):
    """How far the ledger read a segment. `done`: to its end, and nothing will be appended."""

    offset: int = 0
    done: int = 0


_UNREAD = _Read()


def _read_so_far() -> dict[str, _Read]:
    """By segment, as the ledger's own table has it (record/ingest.py)."""
    if not database().exists():
        return {}
    try:
        with closing(sqlite3.connect(f"{database().as_uri()}?mode=ro", uri=True, timeout=5.0)) as connection:
            rows = connection.execute("SELECT name, offset, done FROM journals").fetchall()
    except sqlite3.Error:
        return {}  # the check of the store says what is wrong with it
    return {name: _Read(*rest) for name, *rest in rows}


TERMS_FIX = "pip install --upgrade freehold, or read the sources in docs/providers-policies.md again"


def terms_in_use(config: Config, endpoints: Mapping[str, Endpoint]) -> list[str]:
    """Returns the rows of providers' terms that hold for rented providers which can be called or were configured."""
    from freehold.call.providers import elsewhere
    from freehold.labels.policies import rows
    from freehold.labels.rules import terms

    known, away = rows(), elsewhere(config, endpoints)
    used = [one for one in endpoints.values() if not one.owned and (one.unavailable is None or one.configured)]
    found = [terms(one.name, config.providers.get(one.name), one.name in away) for one in used]
    return [row for row in found if row in known]


def provider_terms(site: Site) -> list[Finding]:
    """Which rows of providers' terms hold here, and which of them nobody may rely on any more, or soon."""
    from freehold.labels import rules
    from freehold.labels.policies import SOON, ageing, rows

    name, day = "provider terms", rules.today()
    held = terms_in_use(site.config, site.endpoints)
    findings = [Finding(name, "warn", line, TERMS_FIX) for line in ageing(held, day)]
    fresh = [expires for row in held if (expires := rows()[row].expires) - day > SOON]
    if fresh:
        findings.append(Finding(name, "ok", f"{len(fresh)} rows hold, the first until {min(fresh)}"))
    return findings or [Finding(name, "ok", "no rented provider's terms are needed")]


def detectors(site: Site) -> list[Finding]:
    """Which rules run on requests, and which cannot because a package is not there."""
    from freehold.serve.safety.checks import compiled

    if site.config.checks.mode == "off":
        return [Finding("detectors", "ok", "nothing is looked for (checks.mode: off)")]
    rules = compiled(site.config).rules
    findings = [
        Finding("detectors", "warn", f"{', '.join(one.rules)} cannot be looked for: no {one.package}", one.hint)
        for one in rules.absent
    ]
    return findings or [Finding("detectors", "ok", f"{len(rules.detectors)} rules run")]


def prices(site: Site) -> list[Finding]:
    from freehold.record.prices import price_age

    date = price_age()
    if date is None:
        return [Finding("prices", "warn", "the price data has no date", "pip install --upgrade genai-prices")]
    days = (datetime.now(UTC).date() - date).days
    if days > OLD_PRICES:
        fix = "pip install --upgrade genai-prices"
        return [Finding("prices", "warn", f"the price data is {days} days old ({date})", fix)]
    return [Finding("prices", "ok", f"price data of {date}")]


def local_servers(site: Site) -> list[Finding]:
    """Model servers on this machine's usual ports; asks the loopback address only."""
    from freehold.call.discover import probe_local
    from freehold.call.transport import fetch

    own = {site.config.server.port}
    if site.gateway is not None:
        own.add(int(site.gateway.url.rsplit(":", 1)[1]))
    found = asyncio.run(probe_local(fetch, skip=frozenset(own)))
    if not found:
        return [Finding("local servers", "ok", "none found on their usual ports")]
    servers = [f"{server.provider} at {server.base_url} ({len(server.models)} models)" for server in found]
    return [Finding("local servers", "ok", ", ".join(servers))]
