"""The dated data on well-known models, kept honest against genai-prices."""

import pytest
from genai_prices import Usage, calc_price

from freehold.call.models import facts, known
from freehold.call.providers import rows
from freehold.config.schema import ModelFacts

ALL = [(provider, model) for provider, models in known().items() for model in models]


@pytest.mark.parametrize(("provider", "model"), ALL, ids=[f"{p}/{m}" for p, m in ALL])
def test_every_listed_model_is_priced(provider: str, model: str) -> None:
    embeds = "embeddings" in (known()[provider][model].can or ())
    usage = Usage(input_tokens=1000) if embeds else Usage(input_tokens=1000, output_tokens=1000)
    assert calc_price(usage, model, provider_id=rows()[provider].prices).total_price > 0


@pytest.mark.parametrize(("provider", "model"), ALL, ids=[f"{p}/{m}" for p, m in ALL])
def test_every_listed_model_says_what_auto_needs(provider: str, model: str) -> None:
    found = known()[provider][model]
    assert found.can
    assert found.context
    assert (found.input, found.output, found.cached) == (None, None, None), "prices are genai-prices' business"
    if "embeddings" in found.can:
        assert "embeddings" in rows()[provider].paths
        assert found.strength is None
    else:
        assert found.strength is not None
        assert 0 < found.strength <= 1
        assert (found.max_output or 0) <= found.context


def test_a_dated_snapshot_is_its_model() -> None:
    assert facts("openai", "gpt-4o-mini-2024-07-18") == facts("openai", "gpt-4o-mini")
    assert facts("anthropic", "claude-haiku-4-5-20251001") == facts("anthropic", "claude-haiku-4-5")
    assert facts("openai", "gpt-4o-mini-tts") == ModelFacts()


def test_declared_facts_win_field_by_field() -> None:
    found = facts("openai", "gpt-4o", ModelFacts(strength=0.9, input=1.0))
    assert (found.strength, found.input, found.context) == (0.9, 1.0, 128_000)
    assert facts("mine", "x", ModelFacts(context=5)) == ModelFacts(context=5)
    assert facts("mine", "x") == ModelFacts()
