"""Providers' terms: every row is complete and dated, and an old, unknown or hungry one is capped."""

import subprocess
import sys
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from freehold.config.label_names import LEVELS
from freehold.config.regions import AREAS
from freehold.labels.policies import Policy, ageing, choices, policy_clearance, rows

DAY = date(2026, 12, 1)
GOOD = Policy(
    "Lab", "lab", "no", "nothing", "default", "yes", ["https://lab.example/terms"], DAY, DAY + timedelta(90), True
)
NAMES = {
    "openai", "azure", "anthropic", "bedrock", "vertex", "gemini", "gemini-paid", "mistral", "cohere", "xai",
    "deepseek", "groq", "together", "fireworks", "openrouter", "huggingface", "cerebras", "perplexity", "voyage",
    "jina",
}  # fmt: skip


def cap(row: Policy, today: date = DAY, **more: Any) -> tuple[str, str]:
    level, why = policy_clearance("lab", today, table={"lab": row}, **more)
    return LEVELS[level], why


def test_every_provider_has_a_row() -> None:
    assert rows().keys() >= NAMES


@pytest.mark.parametrize("name", sorted(rows()))
def test_a_row_is_dated_sourced_and_expires(name: str) -> None:
    row = rows()[name]
    assert row.sources
    assert all(source.startswith("https://") for source in (*row.sources, *filter(None, [row.subprocessors])))
    assert row.checked < row.expires <= row.checked + timedelta(days=366)
    assert set(row.regions) <= AREAS.keys()
    assert row.provider in rows(), "the provider's own row is there"
    assert name == row.provider or name.startswith(row.provider + "-")
    assert row.retention is None or 0 <= row.retention <= 3650
    assert row.title
    assert row.kept
    assert row.verified or row.note, "what is missing is said"


def test_the_row_of_the_name_is_the_strictest() -> None:
    for provider in {row.provider for row in rows().values()}:
        own, _ = policy_clearance(provider, DAY)
        assert all(policy_clearance(name, DAY)[0] >= own for name in choices(provider))
        assert choices(provider)[0] == provider


def test_good_terms_are_the_owners_to_judge() -> None:
    assert cap(GOOD) == ("restricted", "")


@pytest.mark.parametrize(
    ("change", "level", "reason"),
    [
        ({"verified": False}, "internal", "are not verified"),
        ({"expires": DAY}, "internal", "checked on 2026-12-01, too long ago"),
        ({"training": "upstream"}, "internal", "depend on whom it passes requests on to"),
        ({"training": "unknown"}, "internal", "do not say who trains"),
        ({"training": "yes"}, "public", "Lab trains on what is sent to it: it is cleared for public only"),
        ({"training": "opt-out"}, "public", "trains on what is sent to it, unless one opts out"),
        ({"training": "opt-out", "verified": False}, "public", "unless one opts out"),
    ],
)
def test_caps(change: dict[str, Any], level: str, reason: str) -> None:
    found, why = cap(replace(GOOD, **change))
    assert found == level
    assert reason in why


def test_the_owner_may_accept_training_but_no_more() -> None:
    assert cap(replace(GOOD, training="yes"), accepted=True)[0] == "internal"
    assert cap(replace(GOOD, verified=False), accepted=True)[0] == "internal"
    assert cap(GOOD, accepted=True)[0] == "restricted"


def test_a_provider_without_a_row_is_not_known() -> None:
    level, why = policy_clearance("somebody", DAY)
    assert LEVELS[level] == "internal"
    assert why == "nothing is known of the terms of somebody: it is cleared for internal at most"


@given(st.sampled_from(sorted(rows())), st.dates(date(2026, 1, 1), date(2030, 1, 1)), st.booleans())
def test_time_never_widens(name: str, today: date, accepted: bool) -> None:
    level, why = policy_clearance(name, today, accepted=accepted)
    later, _ = policy_clearance(name, today + timedelta(days=400), accepted=accepted)
    assert later <= level
    assert (level == len(LEVELS) - 1) == (why == "")
    if today >= rows()[name].expires or not rows()[name].verified:
        assert LEVELS[level] in ("public", "internal")
    assert policy_clearance(name, today, accepted=True)[0] >= policy_clearance(name, today)[0]


def test_what_ages_is_told() -> None:
    far = replace(GOOD, expires=date(2029, 1, 1))
    table = {"lab": GOOD, "old": replace(GOOD, title="Old", expires=DAY), "new": far}
    soon = GOOD.expires - timedelta(days=1)
    assert ageing(["lab", "old", "new", "nobody"], soon, table) == [
        "the terms of Lab expire in 1 day, 2027-03-01",
        "the terms of Old expired on 2026-12-01: it is cleared for internal at most",
    ]
    assert ageing(["lab"], GOOD.expires - timedelta(days=31), table) == []


def test_the_page_is_that_of_the_rows() -> None:
    page = Path(__file__).parents[2] / "docs" / "providers-policies.md"
    made = subprocess.run(
        [sys.executable, "-m", "freehold.labels.policies_page"], capture_output=True, text=True, check=True
    ).stdout
    assert page.read_text("utf-8") == made, "make docs writes it again"
