"""Which areas a region lies in, and where a model is worked on."""

import pytest

from freehold.config.regions import AREAS, is_region, served_in, within


@pytest.mark.parametrize(
    ("region", "names"),
    [
        ("eu", {"eu"}),
        ("eu-central-1", {"eu-central-1", "eu"}),
        ("EU-West-1", {"eu-west-1", "eu"}),
        ("europe-west4", {"europe-west4", "eu"}),
        ("swedencentral", {"swedencentral", "eu"}),
        ("us-east-1", {"us-east-1", "us"}),
        ("eu-west-2", {"eu-west-2", "uk"}),
        ("europe-west6", {"europe-west6", "ch"}),
        ("global", {"global"}),
        ("eu-nowhere-9", {"eu-nowhere-9"}),
        (None, set()),
    ],
)
def test_areas(region: str | None, names: set[str]) -> None:
    assert within(region) == names


def test_no_region_is_in_two_areas_and_each_can_be_written() -> None:
    every = [region for members in AREAS.values() for region in members]
    assert len(every) == len(set(every))
    assert all(map(is_region, [*every, *AREAS]))


@pytest.mark.parametrize(
    ("model", "place"),
    [
        ("anthropic.claude-sonnet-4-5-v1:0", "eu-central-1"),
        ("eu.anthropic.claude-sonnet-4-5-v1:0", "eu"),
        ("global.anthropic.claude-sonnet-4-5-v1:0", "global"),
        ("us-gov.anthropic.claude-3-haiku", "us-gov"),
        ("euro.model", "eu-central-1"),
    ],
)
def test_a_cross_region_profile_says_where_it_is_worked_on(model: str, place: str) -> None:
    assert served_in("eu-central-1", model) == place
