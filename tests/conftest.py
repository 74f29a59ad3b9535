"""Shared fixtures: a fake provider and a gateway in front of it, started once for all tests that only ask."""

import os
import signal
from collections.abc import Iterator

import hypothesis
import pytest
from running import Running, gateway_for, started

# No property is judged by its speed; CI looks at the same examples each time, everybody else at new ones.
hypothesis.settings.register_profile(
    "freehold",
    deadline=None,
    derandomize=bool(os.environ.get("CI")),
    # How long data takes to be drawn says more of what else the machine does than of the test.
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("freehold")

# A shell that starts the tests in the background lets children ignore Ctrl-C, which some tests send.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def fake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """The scripted provider, all three dialects on one port."""
    with started("fake", home=tmp_path_factory.mktemp("fake") / "home") as running:
        yield running


@pytest.fixture(scope="session")
def gateway(fake: Running, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One gateway for all tests that only ask; tests that change something start their own."""
    models = """
breaker: {failures: 100000}
models:
  fast: [openai/gpt-4o-mini, anthropic/claude-haiku-4-5]
  smart: {among: [openai/gpt-4o-mini, anthropic/claude-sonnet-4-5, gemini/gemini-2.5-pro]}
"""
    with gateway_for(tmp_path_factory.mktemp("gateway"), fake.url, models) as running:
        yield running


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--kills", default=12, type=int, help="how many processes tests/chaos kills")
