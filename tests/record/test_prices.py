"""Prices: to the nano-dollar what genai-prices says, the owner's word above it, and unknown is never free."""

import random
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal

import pytest
from genai_prices import Usage as TheirUsage
from genai_prices import calc_price
from genai_prices.data_snapshot import get_snapshot
from genai_prices.types import ConditionalPrice, ModelInfo, _reported_usage_keys

from freehold.config.schema import Config, ModelFacts, Owned, Provider
from freehold.dialects.conversation import Usage
from freehold.record.entries import Settlement
from freehold.record.prices import NANO, Pricer, price_age

PROVIDERS = (
    "openai", "anthropic", "google", "x-ai", "mistral", "deepseek", "cohere", "groq", "together", "fireworks",
    "openrouter", "cerebras", "perplexity", "aws",
)  # fmt: skip


def random_usage(chance: random.Random) -> Usage:
    """Often long enough for the next price step."""
    most = chance.choice((0, 1, 1000, 150_000, 1_000_000))
    usage = Usage(*(chance.randint(0, most) if chance.random() < 0.7 else 0 for _ in range(5)))
    if chance.random() < 0.5:
        usage.reasoning = chance.randint(0, usage.output)
        usage.audio_output = chance.randint(0, usage.output - usage.reasoning)
        usage.audio_input = chance.randint(0, usage.uncached)
    return usage


def theirs(usage: Usage) -> TheirUsage:
    counts = {
        "input_tokens": usage.input,
        "cache_read_tokens": usage.cache_read,
        "cache_write_tokens": usage.cache_write_5m + usage.cache_write_1h,
        "cache_write_5m_tokens": usage.cache_write_5m,
        "cache_write_1h_tokens": usage.cache_write_1h,
        "input_audio_tokens": usage.audio_input,
        "output_tokens": usage.output,
        "output_reasoning_tokens": usage.reasoning,
        "output_audio_tokens": usage.audio_output,
    }
    return TheirUsage(**(dict.fromkeys(_reported_usage_keys(), 0) | counts))


def dated(model: ModelInfo) -> list[ConditionalPrice]:
    return model.prices if isinstance(model.prices, list) else [ConditionalPrice(prices=model.prices)]


def sample() -> Iterator[tuple[str, ModelInfo]]:
    """Of each provider every model with several or stepped prices, and some of the others."""
    chance = random.Random(3)
    for provider in get_snapshot().providers:
        if provider.id not in PROVIDERS:
            continue
        plain, special = [], []
        for model in provider.models:
            if provider.find_model(model.id) is not model:
                continue  # its id is a pattern that means another one
            prices = dated(model)
            stepped = any(hasattr(value, "tiers") for row in prices for value in vars(row.prices).values())
            (special if stepped or len(prices) > 1 else plain).append(model)
        for model in (*special, *chance.sample(plain, min(25, len(plain)))):
            yield provider.id, model


def test_costs_are_those_of_genai_prices_to_the_nanodollar() -> None:
    chance = random.Random(11)
    pricer = Pricer(Config())
    compared, unpriced = 0, 0
    for provider, model in sample():
        for _ in range(2):
            moment = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=chance.randrange(360 * 86_400))
            usage = random_usage(chance)
            rates = pricer.rates(provider, model.id, "", int(moment.timestamp()) * NANO)
            cost = pricer.cost(usage, rates) if rates else None
            if cost is None:
                unpriced += 1
                continue
            exact = calc_price(
                theirs(usage), model.id, provider_id=provider, genai_request_timestamp=moment
            ).total_price
            assert cost == int((exact * NANO).quantize(Decimal(1), ROUND_HALF_UP)), (provider, model.id, moment, usage)
            compared += 1
    assert compared > 500
    assert unpriced < compared / 8


def test_only_what_has_no_token_price_is_unpriced() -> None:
    pricer = Pricer(Config())
    for provider, model in sample():
        if pricer.rates(provider, model.id) is None:
            prices = model.get_prices(datetime.now(UTC))
            assert prices.input_mtok is None
            assert prices.output_mtok is None


def test_a_settlement_is_priced_like_a_usage() -> None:
    pricer = Pricer(Config())
    rates = pricer.rates("anthropic", "claude-sonnet-4-5")
    assert rates is not None
    usage = Usage(1000, 2000, 300, 40, 500, 60)
    assert pricer.cost(usage, rates) == pricer.cost(Settlement("c", "ok", 200, 1000, 2000, 300, 40, 500, 60), rates)


def test_a_step_begins_above_its_number_of_input_tokens_and_charges_them_all() -> None:
    pricer = Pricer(Config())
    rates = pricer.rates("google", "gemini-2.5-pro")
    assert rates is not None
    assert [step.above for step in rates.steps] == [-1, 200_000]
    assert pricer.cost(Usage(uncached=200_000), rates) == 250_000_000
    assert pricer.cost(Usage(uncached=200_001), rates) == 500_002_500
    assert pricer.cost(Usage(cache_read=200_001), rates) == 50_000_250


def lab(**prices: float) -> Pricer:
    return Pricer(Config(providers={"lab": Provider(models={"m": ModelFacts(**prices)})}), {})


def test_the_owner_can_price_what_nobody_knows() -> None:
    pricer = lab(input=1.5, output=6, cached=0.1)
    rates = pricer.rates("lab", "m", "whatever", 0)
    assert rates is not None
    assert pricer.cost(Usage(uncached=1000, cache_read=1000, cache_write_5m=1000, output=1000), rates) == (
        1_500_000 + 100_000 + 1_500_000 + 6_000_000
    )
    assert (rates.source, rates.checked) == ("freehold.yaml", "")
    assert pricer.per_million("lab", "m") == (1.5, 6.0, 0.1)


def test_a_missing_price_is_unpriced_and_not_free() -> None:
    pricer = lab(input=1.5)
    rates = pricer.rates("lab", "m")
    assert rates is not None
    assert pricer.cost(Usage(uncached=10), rates) == 15_000
    assert pricer.cost(Usage(uncached=10, output=1), rates) is None
    assert pricer.rates("lab", "other") is None
    assert pricer.per_million("lab", "other") is None
    assert Pricer(Config()).rates("nobody", "gpt-4o-mini") is None
    assert Pricer(Config()).rates("openai", "no-such-model-anywhere") is None


def test_a_declared_zero_is_free() -> None:
    pricer = lab(input=0, output=0)
    rates = pricer.rates("lab", "m")
    assert rates is not None
    assert pricer.cost(Usage(uncached=10, output=10), rates) == 0


def test_the_owner_overrides_one_price_and_keeps_the_others() -> None:
    known = Pricer(Config())
    declared = {"gemini-2.5-pro": ModelFacts(output=1.0)}
    pricer = Pricer(Config(providers={"gemini": Provider(models=declared)}), {"gemini": "google"})
    ours, listed = pricer.rates("gemini", "gemini-2.5-pro"), known.rates("google", "gemini-2.5-pro")
    assert ours is not None
    assert listed is not None
    for count in (1000, 500_000):
        assert pricer.cost(Usage(uncached=count), ours) == known.cost(Usage(uncached=count), listed)
        assert pricer.cost(Usage(uncached=count, output=10), ours) == pricer.cost(Usage(uncached=count), ours) + 10_000
    assert "freehold.yaml" in ours.source


def test_provider_names_are_mapped() -> None:
    pricer = Pricer(Config(), {"gemini": "google", "openai": "openai", "local": None})
    assert pricer.per_million("gemini", "gemini-2.5-pro") == (1.25, 10.0, 0.125)
    assert pricer.per_million("google", "gemini-2.5-pro") is None
    assert pricer.per_million("local", "gpt-4o-mini") is None


def test_what_was_served_is_what_is_charged() -> None:
    pricer = Pricer(Config())
    mini, full = pricer.per_million("openai", "gpt-4o-mini"), pricer.per_million("openai", "gpt-4o")
    assert mini != full
    rates = pricer.rates("openai", "gpt-4o-mini", "gpt-4o-2024-08-06")
    assert rates is not None
    assert full is not None
    assert pricer.cost(Usage(uncached=1_000_000), rates) == full[0] * NANO
    unknown = pricer.rates("openai", "gpt-4o-mini", "something-nobody-lists")
    assert unknown is not None
    assert unknown.steps == pricer.rates("openai", "gpt-4o-mini").steps  # type: ignore[union-attr]


def test_owned_models_cost_nothing_unless_the_owner_asks() -> None:
    config = Config(
        own=[Owned("/models/a.gguf"), Owned("/models/b.gguf", name="b", facts=ModelFacts(input=0.5))],
        providers={"rack": Provider(owned=True, models={"m": ModelFacts(context=4096)})},
    )
    pricer = Pricer(config, {})
    assert pricer.owned("own", "a") is None
    assert pricer.owned("rack", "m") is None
    asked = pricer.owned("own", "b")
    assert asked is not None
    assert pricer.cost(Usage(uncached=1000, output=1000), asked) == 500_000


def test_dated_prices_hold_from_their_day_on() -> None:
    pricer = Pricer(Config())
    found = [
        (provider, model.id, datetime.combine(start, datetime.min.time(), UTC))
        for provider, model in sample()
        if len(rows := dated(model)) == 2
        and rows[0].constraint is None
        and (start := getattr(rows[1].constraint, "start_date", None))
        and rows[1].prices.input_mtok is not None
    ]
    name, model_id, start = found[0]
    after = int(start.timestamp()) * NANO
    later, earlier = pricer.rates(name, model_id, "", after), pricer.rates(name, model_id, "", after - NANO)
    assert later is not None
    assert later is not earlier
    assert later.valid_from == start.date().isoformat()
    assert later is pricer.rates(name, model_id, "", after + 3600 * NANO)


def test_many_served_names_do_not_pile_up() -> None:
    pricer = lab(input=1)
    for number in range(10_050):
        assert pricer.rates("lab", "m", f"served-{number}") is not None
    assert len(pricer._schedules) <= 10_000


def test_the_price_data_has_an_age() -> None:
    age = price_age()
    assert age is not None
    assert date(2026, 1, 1) < age <= datetime.now(UTC).date()


@pytest.mark.parametrize("price", [0.1, 0.15, 1e-7, 12.345678, 1 / 3])
def test_small_prices_are_exact(price: float) -> None:
    pricer = lab(input=price)
    rates = pricer.rates("lab", "m")
    assert rates is not None
    exact = Decimal(str(price)) * 999_999 * 1000
    assert pricer.cost(Usage(uncached=999_999), rates) == int(exact.quantize(Decimal(1), ROUND_HALF_UP))
