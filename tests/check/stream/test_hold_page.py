"""The page of the docs that matters says what is so."""

import subprocess
import sys
from pathlib import Path

import pytest
from running import SHARED

ROOT = Path(__file__).parents[3]


def test_the_table_of_what_is_held_is_what_the_bench_prints() -> None:
    if not (SHARED / "recorded" / "exchanges.jsonl.gz").exists():
        pytest.skip("the recorded answers are not here")
    told = subprocess.run(
        [sys.executable, "-m", "bench.hold", "--recorded"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    assert told.strip() in (ROOT / "docs" / "checks.md").read_text()
    rows = {line.split(" | ")[0].strip("| "): line.strip("| ").split(" | ") for line in told.splitlines()[4:]}
    assert rows["strict"][4:] == ["0", "0"], "nothing is seen before the verdict"
    assert rows["hold"][5] == "0", "not one character of a finding gets out"
    assert int(rows["monitor"][5]) > 0, "the measure measures"
