"""What holds without strict mode holds in it: tests of other rooms, run once more with the egress process in between.

FREEHOLD_TEST_UP does that for any test that starts a gateway; `FREEHOLD_TEST_UP=--strict-egress pytest tests/serve`.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from apart import needs_namespace

SERVE = Path(__file__).parents[1] / "serve"


@needs_namespace
@pytest.mark.parametrize(
    ("name", "chosen"),
    [
        ("test_clouds.py", "amazon_would_accept or batch or entra or what_to_fix"),  # signed and asked for over there
        ("test_faults.py", "chat-openai"),  # every fault of a provider, seen through the egress process
    ],
)
def test_once_more(name: str, chosen: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(SERVE / name), "-k", chosen],
        capture_output=True,
        text=True,
        env={**os.environ, "FREEHOLD_TEST_UP": "--strict-egress --no-witness"},
    )
    assert done.returncode == 0, done.stdout[-4000:]
    assert " passed" in done.stdout
