"""Routes at work, over HTTP: labels, environments, budgets, overrides, splits, and plans that explain themselves."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from running import KEY, Running, started

RULES = f"""
retries: 0
labels: {{default: internal, restricted: {{only: owned}}}}
environments: {{dev: {{providers: [anthropic]}}}}
roles: {{bulk: {{objective: cheapest, prefer: rented}}, careful: {{objective: best}}}}
models:
  smart: {{among: [openai/fake, anthropic/fake]}}
  capped: {{among: [openai/fake, anthropic/fake], price: 0.001}}
  ab: {{split: {{openai/fake: 50, anthropic/fake: 50}}}}
  loose: {{split: {{openai/fake: 50, anthropic/fake: 50}}, sticky: "no"}}
  pinned: {{among: [openai/fake, anthropic/fake], pin: anthropic/fake}}
  fixed: {{among: [openai/fake, anthropic/fake], overrides: []}}
  night: {{among: [openai/fake], schedule: [{{use: anthropic/fake}}]}}
  fast: [openai/fake, anthropic/fake]
keys:
  - {{name: tests, key: {KEY}}}
  - {{name: dev, key: fh-dev-0123456789abcdef, environment: dev}}
  - {{name: anthropic, key: fh-anthropic-0123456789, providers: [anthropic]}}
  - {{name: secret, key: fh-secret-0123456789ab, label: restricted}}
  - {{name: poor, key: fh-poor-0123456789abcd, budget: $0.001/day}}
  - {{name: best, key: fh-best-0123456789abcd, objective: best}}
"""
KEYS = {
    "tests": KEY,
    "dev": "fh-dev-0123456789abcdef",
    "anthropic": "fh-anthropic-0123456789",
    "secret": "fh-secret-0123456789ab",
    "poor": "fh-poor-0123456789abcd",
    "best": "fh-best-0123456789abcd",
}
PRICES = """
server: {port: 0, drain_seconds: 5}
providers:
  openai: {api_key: "${UPSTREAM_KEY}", base_url: URL, models: {fake: {input: 1, output: 2, strength: 0.5}}}
  anthropic: {api_key: "${UPSTREAM_KEY}", base_url: URL, models: {fake: {input: 3, output: 6, strength: 0.52}}}
box: false
discover: false
"""


class Told(NamedTuple):
    status: int
    headers: dict[str, str]
    body: Any

    @property
    def by(self) -> str:
        return self.headers.get("x-freehold-deployment", "")


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory, fake: Running) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("routing")
    config = folder / "freehold.yaml"
    config.write_text(PRICES.replace("URL", fake.url) + RULES)
    with started("up", "--config", str(config), home=folder / "home", UPSTREAM_KEY="sk-upstream-secret-000") as running:
        yield running


def ask(house: Running, model: str, *headers: tuple[str, str], key: str = "tests", text: str = "hi") -> Told:
    """Headers may be repeated, which urllib cannot."""
    import http.client
    from urllib.parse import urlsplit

    body = json.dumps({"model": model, "messages": [{"role": "user", "content": text}]}).encode()
    connection = http.client.HTTPConnection(urlsplit(house.url).netloc, timeout=20)
    connection.putrequest("POST", "/v1/chat/completions")
    sent = [("authorization", f"Bearer {KEYS[key]}"), ("content-length", str(len(body))), *headers]
    for name, value in sent:
        connection.putheader(name, value)
    connection.endheaders(body)
    answer = connection.getresponse()
    told = Told(answer.status, {k.lower(): v for k, v in answer.getheaders()}, json.loads(answer.read()))
    connection.close()
    return told


def test_a_route_takes_the_cheapest_that_is_good_enough_and_says_so(house: Running) -> None:
    told = ask(house, "smart", ("x-freehold-explain", "true"))
    assert told.status == 200
    assert told.by == "openai/fake"
    assert told.headers["x-freehold-reason"] == "the cheapest that is good enough"
    plan = told.headers["x-freehold-plan"]
    assert plan.startswith("openai/fake by smart: the cheapest that is good enough; openai/fake: right with 0.")
    assert "anthropic/fake: right with" in plan
    assert "x-freehold-plan" not in ask(house, "smart").headers


def test_headers_change_the_rules_as_far_as_the_route_lets_them(house: Running) -> None:
    assert ask(house, "smart", ("x-freehold-objective", "best")).by == "anthropic/fake"
    assert ask(house, "smart", ("x-freehold-role", "careful")).by == "anthropic/fake"
    assert ask(house, "smart", ("x-freehold-pin", "anthropic/fake")).by == "anthropic/fake"
    assert ask(house, "smart", key="best").by == "anthropic/fake"
    refused = ask(house, "fixed", ("x-freehold-objective", "best"))
    assert (refused.status, refused.body["error"]["code"]) == (403, "override_not_allowed")
    assert ask(house, "fixed", ("x-freehold-price", "0.01")).status == 200, "stricter is always allowed"
    for header, value, code in (
        ("x-freehold-objective", "free", "invalid_header"),
        ("x-freehold-price", "much", "invalid_header"),
        ("x-freehold-role", "none", "invalid_header"),
        ("x-freehold-pin", "openai/other", "pin_unknown"),
        ("x-freehold-label", "cosmic", "unknown_label"),
    ):
        told = ask(house, "smart", (header, value))
        assert (told.status, told.body["error"]["code"]) == (400, code)
    told = ask(house, "fast", ("x-freehold-objective", "best"))
    assert (told.status, told.body["error"]["code"]) == (400, "not_a_route")


def test_a_floor_that_nothing_is_calibrated_for_is_refused(house: Running) -> None:
    told = ask(house, "smart", ("x-freehold-floor", "0.95"))
    assert told.status == 400
    assert "no calibration data" in told.body["error"]["message"]
    assert told.body["error"]["code"] == "floor_not_calibrated"


def test_price_limits_drop_with_reasons(house: Running) -> None:
    assert ask(house, "capped").by == "openai/fake"
    told = ask(house, "capped", ("x-freehold-price", "0.0000001"))
    assert told.status == 400
    assert told.body["error"]["message"].count("over the price limit of $1e-07") == 2


def test_what_is_too_sensitive_goes_nowhere_and_each_reason_is_told(house: Running) -> None:
    told = ask(house, "smart", ("x-freehold-label", "restricted"))
    assert told.status == 400
    message = told.body["error"]["message"]
    assert message.count("the request is restricted") == 2
    assert ask(house, "openai/fake", ("x-freehold-label", "confidential")).status == 400
    assert ask(house, "openai/fake", key="secret").status == 400
    assert ask(house, "openai/fake", ("x-freehold-label", "public"), key="secret").status == 400, "it only raises"
    assert ask(house, "openai/fake", ("x-freehold-label", "public")).status == 200


def test_of_two_labels_neither_replaces_the_other(house: Running) -> None:
    for first, second in (("restricted", "public"), ("public", "restricted")):
        told = ask(house, "openai/fake", ("x-freehold-label", first), ("x-freehold-label", second))
        assert told.status == 400, (first, second)


def test_a_key_is_answered_by_whom_its_environment_and_providers_let(house: Running) -> None:
    for key in ("dev", "anthropic"):
        assert ask(house, "smart", key=key).by == "anthropic/fake"
        assert ask(house, "fast", key=key).by == "anthropic/fake"
        told = ask(house, "openai/fake", key=key)
        assert told.status == 400
        assert told.body["error"]["code"] == "no_candidate"


def test_a_spent_budget_is_the_quota_error_that_clients_know(house: Running) -> None:
    told = ask(house, "smart", key="poor")
    assert told.status in (429, 503), "503 until the steward has published what was spent"
    end = time.monotonic() + 20
    while told.status != 429 and time.monotonic() < end:
        time.sleep(0.05)
        told = ask(house, "smart", key="poor")
    assert told.body["error"]["code"] == "insufficient_quota"


def test_a_session_draws_once_and_requests_without_one_by_their_first_messages(house: Running) -> None:
    by = {ask(house, "ab", ("x-freehold-session", f"s{n}")).by for n in range(40)}
    assert by == {"openai/fake", "anthropic/fake"}
    for session in ("one", "two", "three"):
        assert len({ask(house, "ab", ("x-freehold-session", session)).by for _ in range(8)}) == 1
    assert len({ask(house, "ab", text="the same beginning").by for _ in range(8)}) == 1
    assert len({ask(house, "loose", text="the same beginning").by for _ in range(40)}) == 2
    assert ask(house, "ab").headers["x-freehold-reason"].startswith("split, ")


def test_pins_and_schedules(house: Running) -> None:
    assert ask(house, "pinned").by == "anthropic/fake"
    assert ask(house, "night").by == "anthropic/fake"


def test_a_route_that_can_never_be_met_does_not_start(tmp_path: Path, fake: Running) -> None:
    from freehold.errors import FreeholdError

    bad = "models: {r: {among: [openai/fake], price: 0.0000000001}}"
    text = PRICES.replace("URL", fake.url) + bad
    (tmp_path / "freehold.yaml").write_text(text)
    with (
        pytest.raises((AssertionError, FreeholdError)) as caught,
        started(
            "up",
            "--config",
            str(tmp_path / "freehold.yaml"),
            home=tmp_path / "home",
            UPSTREAM_KEY="sk-upstream-secret-000",
        ),
    ):
        pass
    assert "nobody ever answers for $1e-10 or less" in str(caught.value)
