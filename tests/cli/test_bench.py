"""`freehold bench`: the load counts what it sends, CPU is that of the whole family, and everything ends."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from freehold.cli import bench, main
from freehold.cli.load import Load, Outcome, cpu_seconds, family, run
from freehold.errors import EngineError

StubGateway = Any


def test_the_load_sends_what_it_says(stub: StubGateway) -> None:
    stub.answers({"choices": []})
    outcome = asyncio.run(run(Load(stub.url, stub.key, "openai/gpt-4o-mini", 40, 4, streamed=0.25)))
    assert (len(outcome.latencies), outcome.failed) == (40, 0)
    assert sum(asked["stream"] for asked in stub.asked) == 10
    assert {len(json.dumps(asked["messages"])) > 900 for asked in stub.asked} == {True}


def test_failures_are_counted_by_what_went_wrong(stub: StubGateway) -> None:
    stub.answers({"error": "full"}, 503)
    outcome = asyncio.run(run(Load(stub.url, stub.key, "m", 5, 2)))
    assert outcome.latencies == []
    assert outcome.errors == {'status 503: {"error": "full"}': 5}
    assert outcome.percentile(0.5) is None


def test_nobody_there_is_a_failure_and_no_hang(home: Path) -> None:
    outcome = asyncio.run(run(Load("http://127.0.0.1:1", "k", "m", 3, 2)))
    assert outcome.failed == 3


def test_time_ends_the_load(stub: StubGateway) -> None:
    stub.answers({})
    outcome = asyncio.run(run(Load(stub.url, stub.key, "m", 1_000_000, 2, seconds=0.2)))
    assert 0 < len(outcome.latencies) < 1_000_000


def test_percentiles_are_the_nearest_rank() -> None:
    outcome = Outcome([n / 1000 for n in range(1, 101)])
    assert (outcome.percentile(0.5), outcome.percentile(0.99), outcome.percentile(1.0)) == (51.0, 100.0, 100.0)


def test_cpu_is_that_of_a_process_and_all_below_it() -> None:
    burn = "sum(i * i for i in range(3_000_000)); print('done', flush=True); input()"
    code = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {burn!r}])"
    process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    try:
        assert len(family(process.pid)) == 2
        assert cpu_seconds(process.pid) > 0.05
    finally:
        process.communicate(b"\n", 10)


def test_a_process_that_is_gone_has_used_nothing() -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    assert cpu_seconds(process.pid) == 0


def test_a_verb_that_does_not_start_says_why(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="did not start") as caught, bench._process(tmp_path, ["nonsense"]):
        pass
    assert "hint" in str(caught.value)


def test_the_whole_of_it(home: Path) -> None:
    result = CliRunner().invoke(
        main, ["bench", "--requests", "60", "--connections", "4", "--streamed", "0.2", "--json"]
    )
    assert result.exit_code == 0, result.output
    figures = json.loads(result.stdout)
    assert figures["requests"] == 60
    assert figures["failed"] == 0
    assert figures["cpu_us_per_request"] > 0
    assert figures["latency_ms"]["p99"] >= figures["latency_ms"]["p50"] > 0
    assert not home.exists() or not (home / "freehold.db").exists()
