"""How a client that runs in an environment of its own says what it found: a line of JSON for each check.

The environment variables FREEHOLD_URL and FREEHOLD_KEY say where the gateway is; the test that starts the script reads
the lines (`outside` in conftest.py).
"""

import json
import os
import traceback
from collections.abc import Callable

URL = os.environ["FREEHOLD_URL"]
KEY = os.environ["FREEHOLD_KEY"]
PROVIDERS = ("openai", "anthropic", "gemini")
NAMES = {"openai": "gpt-4o-mini", "anthropic": "claude-sonnet-4-5", "gemini": "gemini-2.5-flash"}
"""Models that can be made to call a tool: one of an unknown name is taken for the newest, which may refuse that."""


def run(*checks: Callable[[], None]) -> None:
    """Runs the checks in order and prints what became of each."""
    for check in checks:
        try:
            check()
            problem = None
        except Exception:
            problem = traceback.format_exc()
        print(json.dumps({"check": check.__name__, "problem": problem}), flush=True)  # noqa: T201


def raises(kind: type[Exception] | tuple[type[Exception], ...], containing: str, call: Callable[[], object]) -> None:
    """Expects an exception of a type whose text contains something."""
    said = None
    try:
        call()
    except kind as error:
        said = str(error)
    assert said is not None, f"no {kind}"
    assert containing in said, f"{containing!r} is not in {said}"
