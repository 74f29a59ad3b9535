"""`kill -9` of any process at any moment loses no journalled entry, and the ledger never disagrees with the provider.

Workers and the steward are killed at random moments while requests of every kind run. Afterwards each call that the
provider served must stand in the ledger exactly once, with the provider's own token counts where the outcome is known;
a call that the ledger knows and the provider does not is one whose sender was killed before its bytes went out. The
same holds for the receipts, whose log must be whole. A request of which a client was told that a rule refused it stands
among the refusals exactly once.

Twelve kills in a normal run; `make chaos` does 200.
"""

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import psutil
import pytest
from running import KEY, Running, clean_environment, gateway_for, started

MODELS = (
    "openai/fake",
    "openai/fake-events-20+event-2",
    "anthropic/fake",
    "gemini/fake-events-9",
    "openai/fake-latency-30",
)
SECRET = "ghp_Wq7RrT2yUi9OpA5sDfGh4JkLzXcVbN0yMPpM"
"""Was never issued."""


class Load:
    """Clients that go on whatever happens, and know what they were told."""

    def __init__(self, url: str, clients: int) -> None:
        self.url = url
        self.answered = 0
        self.refused = 0
        self.blocked: list[str] = []
        """Requests that a rule has refused, by their ids."""
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._client, args=(number,)) for number in range(clients)]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(60)
            assert not thread.is_alive()

    def goes_on(self, answers: int = 20, within: float = 10.0) -> None:
        """Waits until some more requests are answered: who is killed then is killed at work."""
        enough, late = self.answered + answers, time.monotonic() + within
        while self.answered < enough and time.monotonic() < late:
            time.sleep(0.01)

    def _client(self, seed: int) -> None:
        choose = random.Random(seed)
        while not self._stop.is_set():
            model = choose.choice(MODELS)
            body = {
                "model": model,
                "stream": "events" in model or choose.random() < 0.3,
                "messages": [
                    {"role": "user", "content": SECRET if choose.random() < 0.2 else "x" * choose.randrange(1, 400)}
                ],
            }
            request = urllib.request.Request(
                self.url + "/v1/chat/completions",
                json.dumps(body).encode(),
                {"authorization": f"Bearer {KEY}", "content-type": "application/json"},
            )
            try:
                with urllib.request.urlopen(request, timeout=30) as answer:
                    answer.read()
                good = True
            except (OSError, urllib.error.HTTPError, ValueError) as error:
                good = False
                if isinstance(error, urllib.error.HTTPError) and error.code == 400:
                    with self._lock:
                        self.blocked.append(error.headers["x-request-id"])
                time.sleep(0.01)
            except Exception:  # http.client raises its own family when a worker dies in mid-answer
                good = False
            with self._lock:
                self.answered += good
                self.refused += not good


def victims(parent: int) -> list[psutil.Process]:
    """Workers and steward: the children of `freehold up`."""
    return psutil.Process(parent).children()


def ledger(home: Path) -> list[dict[str, Any]]:
    """Takes in what the last steward was killed over, as the next start would, and returns every call."""
    command = [sys.executable, "-m", "freehold", "usage", "--json"]
    subprocess.run(
        command, env=clean_environment(FREEHOLD_HOME=str(home)), stdout=subprocess.DEVNULL, timeout=60, check=True
    )
    with sqlite3.connect(home / "freehold.db") as connection:
        connection.row_factory = sqlite3.Row
        rows = connection.execute("SELECT * FROM ledger").fetchall()
    connection.close()
    return [dict(row) for row in rows]


def test_nothing_is_lost_or_counted_twice(tmp_path: Path, pytestconfig: pytest.Config) -> None:
    kills = int(pytestconfig.getoption("--kills"))
    choose = random.Random(20261121)
    extra = "breaker: {failures: 100000}\nretries: 1\nchecks: {request: {secrets: block}}"
    with started("fake", home=tmp_path / "f") as bill:
        with gateway_for(tmp_path / "g", bill.url, extra, "--workers", "2") as running:
            load = Load(running.url, clients=6)
            done: dict[str, int] = {"worker": 0, "steward": 0}
            try:
                while sum(done.values()) < kills:
                    load.goes_on()
                    time.sleep(choose.uniform(0.02, 0.2))
                    alive = victims(running.process.pid)
                    if not alive:
                        continue
                    victim = choose.choice(alive)
                    name = "steward" if victim.pid == _steward(alive).pid else "worker"
                    try:
                        os.kill(victim.pid, signal.SIGKILL)
                    except ProcessLookupError:
                        continue
                    done[name] += 1
                eventually_answers(running)
            finally:
                load.stop()
            home = running.home
        served = provider_rows(bill)
    check(ledger(home), served)
    check_receipts(home, served)
    check_refusals(home, load.blocked)
    assert load.answered > 0
    assert done["worker"] > 0
    assert done["steward"] > 0 or kills < 5
    told = f"{kills} kills {done}, {len(served)} calls served, {load.answered} answered, {load.refused} broken off"
    print(told)  # noqa: T201  the table of `make chaos`


def _steward(alive: list[psutil.Process]) -> psutil.Process:
    """The steward does not listen; it is told apart by its sockets."""
    for process in alive:
        try:
            if not process.net_connections(kind="tcp"):
                return process
        except psutil.Error:
            continue
    return alive[0]


def eventually_answers(running: Running) -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            assert running.get("/health/ready")["status"] == "ok"
            return
        except (OSError, urllib.error.HTTPError):
            assert time.monotonic() < deadline
            time.sleep(0.1)


def provider_rows(bill: Running) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    since = 0
    while True:
        page = bill.get(f"/__fake__/served?since={since}")["rows"]
        if not page:
            return rows
        rows += page
        since = page[-1]["seq"]


def check(calls: list[dict[str, Any]], served: list[dict[str, Any]]) -> None:
    by_id = {row["call"]: row for row in calls}
    assert len(by_id) == len(calls), "a call stands twice in the ledger"
    ids = [row["client_request_id"] for row in served]
    assert len(set(ids)) == len(ids), "the provider saw one call id twice"
    missing = [call for call in ids if call not in by_id]
    assert not missing, f"{len(missing)} of {len(ids)} served calls are not in the ledger: {missing[:5]}"
    for row in served:
        known = by_id[row["client_request_id"]]
        if known["outcome"] == "ok":
            assert known["output"] == row["output_tokens"], (known, row)
            assert known["uncached"] == row["input_tokens"], (known, row)
    never_sent = [row for row in calls if row["call"] not in set(ids)]
    assert all(row["outcome"] != "ok" for row in never_sent), never_sent[:3]


def check_refusals(home: Path, told: list[str]) -> None:
    with sqlite3.connect(home / "freehold.db") as connection:
        rows = [request for (request,) in connection.execute("SELECT request FROM refusals")]
    connection.close()
    assert len(set(rows)) == len(rows), "a refusal stands twice in the ledger"
    missing = set(told) - set(rows)
    assert told
    assert not missing, f"{len(missing)} of {len(told)} refused requests are not in the ledger"


def check_receipts(home: Path, served: list[dict[str, Any]]) -> None:
    """One receipt for each call in the ledger, and each call that was served; with its bytes."""
    command = [sys.executable, "-m", "freehold", "audit", "verify", "--json"]
    environment = clean_environment(FREEHOLD_HOME=str(home))
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, timeout=60, check=False)
    told = json.loads(done.stdout)
    assert told["findings"] == []
    assert (told["whole"], told["unnumbered"], told["running"]) == (True, 0, 0)
    logs = sorted(home.glob("receipts/log-*"))
    leaves = [json.loads(line) for path in logs for line in path.read_text().splitlines()]
    calls = {leaf["call"]: leaf for leaf in leaves if leaf["kind"] == "call"}
    assert len(calls) == told["receipts"], "a call has two receipts"
    assert set(calls) == {row["call"] for row in ledger(home)}
    for row in served:
        assert calls[row["client_request_id"]]["out"] == row["bytes_in"]
