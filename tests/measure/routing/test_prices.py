"""What models cost: listed, by the size in their name, or assumed, and always said which."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from genai_prices import Usage, calc_price

from freehold.measure.routing import prices, tables

SHARED = Path(__file__).parents[4] / "shared" / "data" / "routing"


@pytest.mark.parametrize(
    ("name", "known", "output"),
    [
        ("gpt-4o-mini-2024-07-18", "listed", 0.60),
        ("mistralai/Mixtral-8x7B-Instruct-v0.1", "listed", 0.60),
        ("gemma-2-27b-it@together", "listed", 0.80),
        ("Brand-New-7B-Chat", "by size", 0.20),
        ("someone/new-8x22b", "by size", 3.50),
        ("new-1.5b", "by size", 0.10),
        ("mystery", "assumed", 3.00),
        ("gpt4bot", "assumed", 3.00),
    ],
)
def test_a_price_is_found_by_the_rule(name: str, known: str, output: float) -> None:
    one = prices.price(name)
    assert (one.known, one.output) == (known, output)


def test_every_listed_price_says_whose_it_is() -> None:
    for name, one in prices.price_list().models.items():
        assert one.source, name
        assert 0 < one.input <= one.output, name


def test_what_is_marked_as_checked_is_what_genai_prices_says() -> None:
    listed = prices.price_list()
    day = datetime.fromisoformat(listed.date).replace(tzinfo=UTC)
    short = 1000  # tokens: prices of long prompts are others
    differing = []
    for name, one in listed.models.items():
        if not one.checked:
            continue
        usage = Usage(input_tokens=short, output_tokens=short)
        provider = "openrouter" if name.startswith("Mistral-7B") else None
        found = calc_price(usage, name.lower(), provider_id=provider, genai_request_timestamp=day)
        per = short / 1e6
        if (float(found.input_price) / per, float(found.output_price) / per) != pytest.approx((one.input, one.output)):
            differing.append((name, float(found.input_price) / per, float(found.output_price) / per))
    assert not differing


def table(**columns: tables.Outcomes) -> tables.Table:
    return tables.Table("zeroeval", ["x" * 400, "y" * 800], ["", ""], columns)


def test_the_realised_cost_takes_the_answer_and_the_expected_one_its_mean() -> None:
    one = table(mystery=tables.Outcomes([1, 0], [40.0, 120.0]))
    assert prices.realised(one, "mystery") == pytest.approx([(100 * 1 + 10 * 3) / 1e6, (200 * 1 + 30 * 3) / 1e6])
    assert prices.expected(one, "mystery", one) == pytest.approx([(100 * 1 + 20 * 3) / 1e6, (200 * 1 + 20 * 3) / 1e6])


def test_hidden_tokens_are_billed() -> None:
    one = table(**{"o1-mini-2024-09-12": tables.Outcomes([1, 0], [40.0, 40.0])})
    shown = prices.realised(one, "o1-mini-2024-09-12", hidden=False)
    assert prices.realised(one, "o1-mini-2024-09-12")[0] == pytest.approx(shown[0] + 50 * 12 / 1e6)


def test_a_given_cost_wins() -> None:
    one = table(mystery=tables.Outcomes([1, 0], None, [0.5, None]))
    assert prices.realised(one, "mystery")[0] == 0.5
    assert prices.realised(one, "mystery")[1] < 0.01
    assert prices.expected(one, "mystery", one) == [0.5, 0.5]


def test_every_model_of_the_public_files_is_listed() -> None:
    if not SHARED.exists():
        pytest.skip("../shared/data/routing is not here")
    for path in sorted(SHARED.glob("*.csv.gz")):
        assert [name for name in tables.read(path).models if prices.price(name).known != "listed"] == []
