"""`freehold audit` on the state folder of a gateway that runs: one receipt for each request that a provider has got.

The fake provider's own bill is what is compared with. Calls of every kind run, one after another: whole and streamed,
in three dialects, several bodies for one attempt, fallbacks, retries, cascades, hedges; a worker and the steward are
killed in the middle.
"""

import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import pytest
from running import KEY, Running, clean_environment, gateway_for, started

MODELS = """
breaker: {failures: 100000}
retries: 1
models:
  second: [openai/fake-status-500, anthropic/fake]
  checked: {among: [openai/fake-small, openai/fake-json], cascade: {first: openai/fake-small, checks: [json]}}
  hedged:
    among: [openai/fake-latency-700, anthropic/fake-latency-700]
    hedge: {after: 0.1, share: 1.0}
"""
SLOW = "openai/fake-latency-2000"


class Audited(NamedTuple):
    """What is left when all has ended: the state folder, and the provider's bill."""

    home: Path
    bill: list[dict[str, Any]]
    live: dict[str, Any]
    """What `audit verify` said while the gateway ran."""
    provider: str
    """Its host and port."""

    def run(self, *words: str, status: int = 0) -> "subprocess.CompletedProcess[str]":
        return audit(self.home, *words, status=status)

    def receipts(self) -> list[dict[str, Any]]:
        lines = [line for path in sorted(self.home.glob("receipts/log-*")) for line in path.read_text().splitlines()]
        return [leaf for leaf in map(json.loads, lines) if leaf["kind"] == "call"]


def audit(home: Path, *words: str, status: int = 0) -> "subprocess.CompletedProcess[str]":
    done = subprocess.run(
        [sys.executable, "-m", "freehold", "audit", *words],
        env=clean_environment(FREEHOLD_HOME=str(home)), cwd=home.parent, capture_output=True, text=True, timeout=60,
        check=False,
    )  # fmt: skip
    assert done.returncode == status, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done


def post(running: Running, path: str, body: dict[str, Any], **headers: str) -> int:
    """The status; 0 where the connection was cut."""
    headers = {"authorization": f"Bearer {KEY}", "content-type": "application/json", **headers}
    request = urllib.request.Request(running.url + path, json.dumps(body).encode(), headers)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            answer.read()
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0


def chat(running: Running, model: str, stream: bool = False, **headers: str) -> int:
    body = {"model": model, "stream": stream, "messages": [{"role": "user", "content": "where is my card? " * 9}]}
    return post(running, "/v1/chat/completions", body, **headers)


def every_kind(running: Running) -> None:
    for model in ("openai/fake", "anthropic/fake", "gemini/fake", "second", "checked", "hedged"):
        assert chat(running, model) == 200, model
        assert chat(running, model, stream=True) == 200, model
    assert chat(running, "openai/fake-status-500") == 502  # and again, by `retries`
    said = {"model": "anthropic/fake", "max_tokens": 9, "messages": [{"role": "user", "content": "hello"}]}
    assert post(running, "/v1/messages", said) == 200
    assert post(running, "/v1/messages/count_tokens", said) == 200
    assert post(running, "/v1/embeddings", {"model": "openai/fake", "input": "one"}) == 200
    assert post(running, "/v1/embeddings", {"model": "gemini/fake", "input": ["two"] * 250}) == 200
    assert chat(running, "openai/fake", **{"x-freehold-label": "confidential"}) == 400  # goes nowhere


def children(running: Running) -> list[psutil.Process]:
    return psutil.Process(running.process.pid).children()


def kill(running: Running, listens: bool) -> None:
    """Ends the worker, which has connections, or the steward, which has none."""
    (victim,) = [one for one in children(running) if bool(one.net_connections(kind="tcp")) == listens]
    os.kill(victim.pid, signal.SIGKILL)
    until(lambda: all(one.pid != victim.pid for one in children(running)) and len(children(running)) == 2)
    until(lambda: ready(running))


def ready(running: Running) -> bool:
    try:
        return bool(running.get("/health/ready")["status"] == "ok")
    except (OSError, urllib.error.HTTPError):
        return False


def until(there: Callable[[], Any]) -> None:
    end = time.monotonic() + 30
    while not there():
        assert time.monotonic() < end
        time.sleep(0.05)


def served(bill: Running) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    while page := bill.get(f"/__fake__/served?since={rows[-1]['seq'] if rows else 0}")["rows"]:
        rows += page
    return rows


@pytest.fixture(scope="module")
def audited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Audited]:
    folder = tmp_path_factory.mktemp("audit")
    with started("fake", home=folder / "fake") as bill:
        with gateway_for(folder / "gateway", bill.url, MODELS, "--workers", "1") as running:
            every_kind(running)
            before = len(served(bill))
            cut = threading.Thread(target=chat, args=(running, SLOW))
            cut.start()
            until(lambda: len(served(bill)) > before)
            kill(running, listens=True)
            cut.join(40)
            assert chat(running, "openai/fake") == 200
            kill(running, listens=False)
            every_kind(running)
            until(lambda: json.loads(audit(running.home, "verify", "--json").stdout)["receipts"] > before)
            live = json.loads(audit(running.home, "verify", "--json").stdout)
            home = running.home
        yield Audited(home, served(bill), live, bill.url.removeprefix("http://"))


def test_a_running_gateways_log_is_whole(audited: Audited) -> None:
    assert audited.live["whole"] is True
    assert audited.live["findings"] == []
    assert audited.live["unnumbered"] == 0


def test_each_request_that_the_provider_got_has_one_receipt(audited: Audited) -> None:
    told = json.loads(audited.run("verify", "--json").stdout)
    assert (told["whole"], told["unnumbered"], told["running"]) == (True, 0, 0)
    assert told["lines"] == told["signed"]
    receipts = audited.receipts()
    assert told["receipts"] == len(receipts) == len(audited.bill)
    assert len({receipt["call"] for receipt in receipts}) == len(receipts)
    ours = Counter(receipt["call"].partition("-part")[0] for receipt in receipts)
    assert ours == Counter(row["client_request_id"] for row in audited.bill)


def test_receipts_say_what_went_where(audited: Audited) -> None:
    by_call: dict[str, list[int]] = {}
    for row in audited.bill:
        by_call.setdefault(row["client_request_id"], []).append(row["bytes_in"])
    for receipt in audited.receipts():
        call = receipt["call"].partition("-part")[0]
        assert receipt["out"] in by_call[call]
        by_call[call].remove(receipt["out"])
        assert receipt["host"] == audited.provider
        assert receipt["clearance"] == "internal"
        assert receipt["label"] == "internal"
        assert receipt["key"] == "ci"
        assert len(receipt["policy"]) > 4
        assert len(receipt["body"]) == 32
        if receipt.get("outcome") == "ok":
            assert receipt["back"] > 0
    outcomes = Counter(receipt["outcome"] for receipt in audited.receipts())
    assert outcomes["unknown"] == 1  # the worker that was killed
    assert outcomes["cancelled"] >= 1  # the slower of two
    assert outcomes["sent"] == 4  # the second and third bodies of two attempts


def test_an_answers_bytes_are_those_that_the_provider_sent(audited: Audited) -> None:
    sizes: Counter[str] = Counter()
    for row in audited.bill:
        sizes[row["client_request_id"]] += row["bytes_out"]  # heads are in this count, and several bodies of an attempt
    alike = [receipt for receipt in audited.receipts() if receipt["outcome"] == "ok"]
    assert len(alike) > 20
    for receipt in alike:
        assert 0.1 < receipt["back"] / sizes[receipt["call"]] <= 1


def test_an_export_an_anchor_and_a_proof_stand_for_themselves(audited: Audited, tmp_path: Path) -> None:
    audited.run("export", "-o", str(tmp_path / "log.zip"))
    (tmp_path / "anchor").write_text(audited.run("anchor").stdout)
    audited.run("verify", str(tmp_path / "log.zip"), "--anchor", str(tmp_path / "anchor"))
    receipt = audited.receipts()[3]
    (tmp_path / "proof").write_text(audited.run("prove", receipt["call"]).stdout)
    proven = json.loads(audited.run("verify", "--proof", str(tmp_path / "proof"), "--json").stdout)
    assert proven["receipt"]["call"] == receipt["call"]
    report = json.loads(audited.run("report", "--json").stdout)
    assert sum(flow["calls"] for flow in report["flows"]) == len(audited.bill)
    assert sum(flow["out"] for flow in report["flows"]) == sum(row["bytes_in"] for row in audited.bill)


@pytest.mark.parametrize("how", ["edited", "missing", "cut off"])
def test_tampering_is_found(audited: Audited, how: str) -> None:
    (path,) = audited.home.glob("receipts/log-*")
    sound = path.read_bytes()
    lines = sound.splitlines(keepends=True)
    changed = {
        "edited": sound.replace(b'"label":"internal"', b'"label":"public"', 1),
        "missing": b"".join(lines[:5] + lines[6:]),
        "cut off": b"".join(lines[:-4]),
    }
    path.write_bytes(changed[how])
    try:
        told = json.loads(audited.run("verify", "--json", status=1).stdout)
    finally:
        path.write_bytes(sound)
    assert told["whole"] is False
    assert told["findings"]
    audited.run("verify")
