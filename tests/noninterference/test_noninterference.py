"""A short run of `make test-noninterference`, and the proof that it can fail: what is broken must be found.

The whole run (all combinations, all mutants) takes some minutes and is not part of the tests.
"""

import json
import subprocess
import sys
from pathlib import Path

from apart import needs_namespace
from markers import Markers, written
from running import clean_environment

RUN = Path(__file__).with_name("run.py")


def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, str(RUN), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=280, env=clean_environment(), check=False)


def test_no_canary_is_where_it_may_not_be(tmp_path: Path) -> None:
    out = tmp_path / "results.json"
    done = run("--short", "--out", str(out))
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-3000:]
    results = json.loads(out.read_text())
    assert results["failed"] == 0
    assert results["failures"] == []
    assert results["canaries"] > 20_000
    assert results["scope"] in ("short", "short, without a namespace, so nothing was fetched")
    assert {"provider public", "stdout and stderr", "working folder and cores"} <= set(results["sinks"])


@needs_namespace
def test_none_in_strict_mode_either(tmp_path: Path) -> None:
    """And all that arrived came through the egress process, which is killed too."""
    out = tmp_path / "results.json"
    done = run("--short", "--strict", "--only", "direct", "engines", "pictures", "breaks", "--out", str(out))
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-3000:]
    results = json.loads(out.read_text())
    assert results["failures"] == []
    assert results["scope"] == "short, only direct engines pictures breaks, strict egress"
    assert "the egress process wrote down" in done.stdout


def test_a_may_flow_that_always_says_yes_is_noticed() -> None:
    done = run("--mutant", "flow")
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-3000:]
    assert "LEAK" in done.stdout


def test_a_canary_is_found_in_whatever_form() -> None:
    markers = Markers(["low", "high"])
    for label, marks in markers.marks.items():
        for mark in marks:
            for form, pattern in written(mark):
                found = list(markers.find(b"before " + pattern + b" after"))
                assert {hit.label for hit in found} == {label}, form
    canary = markers.canary("high", 12_345, 6)
    assert [hit.request for hit in markers.find(canary.encode())] == [12_345, None]
    assert not list(markers.find(b"nothing here" * 1000))
