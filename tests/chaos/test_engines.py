"""Engines killed, hung and swapped under load, in small: the programs behind `make bench-own`, with counts for CI.

What must hold is the same as there: no request without an answer or a typed error, no process of the gateway ended, the
engine back in service, a wedge told. Times are printed there and not judged here.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.usefixtures("engine_here")


@pytest.fixture(scope="module")
def engine_here() -> None:
    pytest.importorskip("xllamacpp", reason="xllamacpp is not installed: pip install 'freehold[own]'")


def figures(program: str, *words: str) -> dict[str, float]:
    """Runs a program of bench/ and returns its last line."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("FREEHOLD_")}
    done = subprocess.run(
        [sys.executable, "-m", program, *words],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_killed_and_hung_engines_lose_no_request() -> None:
    stall = 3.0
    found = figures("bench.own_kill", "--kills", "6", "--wedges", "1", "--stall", str(stall), "--clients", "3")
    assert found["kills"] == 6
    assert found["lost"] == found["wedge_lost"] == found["hang_lost"] == 0
    assert found["gateway_restarts"] == 0
    assert found["after"]
    assert found["answered"] > 0
    # How soon a wedge is told is printed by `make bench-own`; here only that it is.
    assert found["wedge_max_s"] > 0
    assert found["hang_max_s"] > 0


def test_swapped_models_lose_no_request() -> None:
    found = figures("bench.own_swap", "--swaps", "6", "--seconds", "3", "--clients", "3")
    assert found["lost"] == found["errors"] == 0
    assert found["requests"] > 6
