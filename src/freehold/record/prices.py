"""What a call cost: prices compiled once into rates, then applied as integer arithmetic.

Prices come from the genai-prices package, which takes 0.4 s to import and a quarter of a millisecond per calculation,
so it is asked once for each model: its prices become `Rates`, integers per token. What freehold.yaml declares wins
over it. A model nobody has a price for has no rates, and a call to it is unpriced, which is not the same as free.

Money is integer nano-dollars. Rates are integers too: nano-dollars per token, times the power of ten (`unit`) that
makes all rates of a model whole. So a call's cost is summed exactly, and rounded once, half up, to the nano-dollar.

The rules are those of genai-prices, and a test holds us to them: tokens of a class without a price of its own (cached,
written to the cache, audio, reasoning) are charged as plain input or output. A step that begins above so many input
tokens charges all tokens of the call at its rates. Of several dated or time-of-day prices the last one in force wins.
We differ in one point: where neither a class nor the one it falls back on has a price, we say unpriced, they say 0.
Service tiers (batch, flex, priority) are charged as standard.
"""

import json
from collections.abc import Mapping
from datetime import UTC, date, datetime, time
from decimal import Decimal
from functools import lru_cache
from typing import Any, Final, Protocol

from msgspec import Struct
from msgspec.structs import replace

from freehold.config.checks import OWN
from freehold.config.checks_own import own_name
from freehold.config.schema import Config, ModelFacts

NANO: Final = 10**9
_PER_TOKEN: Final = 1000
"""A price in dollars per million tokens times this is nano-dollars per token."""
_MOST_DECIMALS: Final = 15
"""Of nano-dollars per token; what a price has behind them, if one ever does, is cut off."""
_CACHED: Final = 10_000
_DAY: Final = 86_400

_CONFIG = "freehold.yaml"
_CHARGED: Final = {
    "input_mtok", "cache_read_mtok", "cache_write_mtok", "cache_write_5m_mtok", "cache_write_1h_mtok",
    "input_audio_mtok", "output_mtok", "output_reasoning_mtok", "output_audio_mtok", "requests_kcount",
}  # fmt: skip
"""Price keys of genai-prices that we can apply; tool calls, images and durations are not in our counts."""


class Counted(Protocol):
    """Tokens by class: `dialects.conversation.Usage` and `entries.Settlement` both are."""

    uncached: int
    cache_read: int
    cache_write_5m: int
    cache_write_1h: int
    output: int
    reasoning: int
    audio_input: int
    audio_output: int


class Step(Struct, frozen=True, kw_only=True):
    """Rates of calls with more than `above` input tokens, in 1/unit nano-dollars. None: nobody knows."""

    above: int
    input: int | None
    cache_read: int
    cache_write_5m: int
    cache_write_1h: int
    output: int | None
    reasoning: int
    audio_input: int
    audio_output: int


class Rates(Struct, frozen=True, eq=False, kw_only=True):
    """Everything needed to price a call. Compared by identity: one price gives one object."""

    provider: str
    model: str
    """As the source names it."""
    source: str
    valid_from: str = ""
    """ISO date, empty: since ever."""
    checked: str = ""
    """ISO date of the price data, see `price_age`."""
    prices: tuple[tuple[int, dict[str, Decimal]], ...]
    """Dollars per million tokens by class, for each step of input tokens."""
    unit: int
    """Rates are nano-dollars times this."""
    steps: tuple[Step, ...]
    request: int = 0
    """Charged for each call."""

    def described(self) -> str:
        """Returns the prices as JSON, for the ledger."""
        steps = [{"above": above, **{key: str(price) for key, price in row.items()}} for above, row in self.prices]
        return json.dumps(steps, sort_keys=True)


class _Dated(Struct, frozen=True):
    """Rates with the time they hold: from `start` on (Unix seconds), and between two seconds of each day (UTC)."""

    rates: Rates | None
    start: int = 0
    opens: int = 0
    closes: int = _DAY

    def holds(self, second: int) -> bool:
        if second < self.start:
            return False
        now = second % _DAY
        if self.closes < self.opens:
            return now >= self.opens or now < self.closes
        return self.opens <= now < self.closes


_Schedule = tuple[_Dated, ...]


class Pricer:
    """Rates by provider and model. `price_ids` maps our provider names to those of genai-prices; a name that is not in
    it has declared prices only. Without it, names are taken as they are."""

    def __init__(self, config: Config, price_ids: Mapping[str, str | None] | None = None) -> None:
        self._ids = price_ids
        self._declared: dict[tuple[str, str], ModelFacts] = {
            (name, model): facts
            for name, provider in config.providers.items()
            for model, facts in provider.models.items()
        }
        self._declared |= {(OWN, own_name(owned)): owned.facts for owned in config.own if owned.facts is not None}
        self._schedules: dict[tuple[str, str, str], _Schedule] = {}
        self._owned: dict[tuple[str, str], Rates | None] = {}

    def rates(self, provider: str, model: str, served: str = "", at: int | None = None) -> Rates | None:
        """Returns the rates of a call at Unix time `at` in nanoseconds (None: now), or None: unpriced.

        What the owner declared for `model` comes first; then the model the provider says it `served`, which is what it
        charges for, if its price is known; then `model`.
        """
        key = (provider, model, served)
        schedule = self._schedules.get(key)
        if schedule is None:
            if len(self._schedules) >= _CACHED:
                self._schedules.clear()
            schedule = self._schedules[key] = self._schedule(provider, model, served)
        if not schedule:
            return None
        if len(schedule) == 1:
            return schedule[0].rates
        second = int(datetime.now(UTC).timestamp()) if at is None else at // NANO
        return next((dated.rates for dated in reversed(schedule) if dated.holds(second)), schedule[0].rates)

    def owned(self, provider: str, model: str) -> Rates | None:
        """Returns what the owner asks for an owned deployment; None: nothing. What is not declared is free there."""
        key = (provider, model)
        if key not in self._owned:
            facts = self._declared.get(key)
            if facts is not None and (facts.input is not None or facts.output is not None):
                facts = replace(facts, input=facts.input or 0.0, output=facts.output or 0.0)
            self._owned[key] = _compile(provider, model, _CONFIG, {}, facts)
        return self._owned[key]

    @staticmethod
    def cost(usage: Counted, rates: Rates) -> int | None:
        """Returns what `usage` costs in nano-dollars, rounded half up; None where it needs a price nobody knows."""
        uncached, output = usage.uncached, usage.output
        cached = usage.cache_read + usage.cache_write_5m + usage.cache_write_1h
        step = rates.steps[0]
        if len(rates.steps) > 1:
            for other in rates.steps[1:]:
                if uncached + cached > other.above:
                    step = other
        total = rates.request
        if uncached or cached:
            if step.input is None:
                return None
            total += uncached * step.input
            if cached:
                total += usage.cache_read * step.cache_read
                total += usage.cache_write_5m * step.cache_write_5m + usage.cache_write_1h * step.cache_write_1h
            if usage.audio_input:
                total += min(usage.audio_input, uncached) * (step.audio_input - step.input)
        if output:
            if step.output is None:
                return None
            total += output * step.output
            if usage.reasoning or usage.audio_output:
                reasoning = min(usage.reasoning, output)
                total += reasoning * (step.reasoning - step.output)
                total += min(usage.audio_output, output - reasoning) * (step.audio_output - step.output)
        unit = rates.unit
        return total if unit == 1 else (total + unit // 2) // unit

    def per_million(self, provider: str, model: str) -> tuple[float, float, float | None] | None:
        """Returns (input, output, cached input) in US dollars per million tokens as of now, for prompts below any step.

        The last is None where no price for it is known."""
        rates = self.rates(provider, model)
        if rates is None:
            return None
        step = rates.steps[0]
        scale = rates.unit * _PER_TOKEN
        cached = None if step.cache_read is None else step.cache_read / scale
        return (step.input or 0) / scale, (step.output or 0) / scale, cached

    def _schedule(self, provider: str, model: str, served: str) -> _Schedule:
        facts = self._declared.get((provider, model))
        price_id = provider if self._ids is None else self._ids.get(provider)
        for name in dict.fromkeys((served, model)):
            listed = _listed(price_id, name) if price_id and name else ()
            if listed:
                return tuple(_dated(provider, name, constraint, price, facts) for constraint, price in listed)
        rates = _compile(provider, model, _CONFIG, {}, facts)
        return (_Dated(rates),) if rates is not None else ()


@lru_cache(maxsize=1)
def price_age() -> date | None:
    """Returns the date of the price data: that of its newest dated price which is not in the future.

    The package carries no date of its own; the data is at least as new as this. None where nothing is dated.
    """
    today = datetime.now(UTC).date()
    starts = [
        start
        for provider in _snapshot().providers
        for model in provider.models
        for dated in (*(model.prices if isinstance(model.prices, list) else ()), *(model.price_variants or ()))
        if (start := getattr(dated.constraint, "start_date", None)) is not None and start <= today
    ]
    return max(starts, default=None)


def _snapshot() -> Any:
    from genai_prices.data_snapshot import get_snapshot

    return get_snapshot()


def _listed(price_id: str, model: str) -> list[tuple[Any, Any]]:
    """Returns (constraint, prices) of a model in genai-prices, in its order; empty where it is not listed."""
    providers = _snapshot().providers
    provider = next((row for row in providers if row.id == price_id), None)
    found = provider.find_model(model, all_providers=providers) if provider is not None else None
    if found is None:
        return []
    if isinstance(found.prices, list):
        return [(row.constraint, row.prices) for row in found.prices]
    return [(None, found.prices)]


@lru_cache(maxsize=1)
def _source() -> str:
    from importlib.metadata import version

    return f"genai-prices {version('genai-prices')}"


def _dated(provider: str, model: str, constraint: Any, price: Any, facts: ModelFacts | None) -> _Dated:
    start = getattr(constraint, "start_date", None)
    raw = {key: value for key, value in vars(price).items() if value is not None and not key.startswith("_")}
    rates = _compile(provider, model, _source(), raw, facts, start.isoformat() if start else "")
    if start is not None:
        return _Dated(rates, int(datetime.combine(start, time(), UTC).timestamp()))
    if constraint is not None:
        return _Dated(rates, 0, _second(constraint.start_time), _second(constraint.end_time))
    return _Dated(rates)


def _second(value: time) -> int:
    """Second of the day in UTC; a time without a zone is UTC."""
    if value.tzinfo is not None:
        value = datetime.combine(date(1970, 1, 1), value).astimezone(UTC).timetz()
    return value.hour * 3600 + value.minute * 60 + value.second


def _compile(
    provider: str, model: str, source: str, raw: Mapping[str, Any], facts: ModelFacts | None, valid_from: str = ""
) -> Rates | None:
    """`raw` as genai-prices holds it: Decimals or tiers by price key. None: no price for input, nor for output."""
    declared = _declared(facts)
    raw = {key: price for key, price in raw.items() if key in _CHARGED}
    starts = sorted({tier.start for price in raw.values() for tier in getattr(price, "tiers", ())})
    prices = tuple(
        (above, {key: _at(price, above) for key, price in raw.items()} | declared) for above in (-1, *starts)
    )
    if not any("input_mtok" in row or "output_mtok" in row for _, row in prices):
        return None
    unit = 10 ** max(_decimals(price) for _, row in prices for price in row.values())
    age = price_age() if raw else None
    return Rates(
        provider=provider,
        model=model,
        source=f"{source} and {_CONFIG}" if declared and raw else source,
        valid_from=valid_from,
        checked=age.isoformat() if age else "",
        prices=tuple((max(above, 0), row) for above, row in prices),
        unit=unit,
        steps=tuple(_step(above, row, unit) for above, row in prices),
        request=_rate(prices[0][1].get("requests_kcount", Decimal(0)) * 1000, unit),
    )


def _declared(facts: ModelFacts | None) -> dict[str, Decimal]:
    if facts is None:
        return {}
    given = {"input_mtok": facts.input, "output_mtok": facts.output, "cache_read_mtok": facts.cached}
    return {key: Decimal(str(price)) for key, price in given.items() if price is not None}


def _at(price: Any, above: int) -> Decimal:
    """The price in force for calls with just more than `above` input tokens."""
    value: Decimal = getattr(price, "base", price)
    for tier in getattr(price, "tiers", ()):
        if above >= tier.start:
            value = tier.price
    return value


def _step(above: int, row: Mapping[str, Decimal], unit: int) -> Step:
    def rate(*keys: str) -> int | None:
        return next((_rate(row[key], unit) for key in keys if key in row), None)

    written = ("cache_write_mtok", "input_mtok")
    return Step(
        above=above,
        input=rate("input_mtok"),
        cache_read=rate("cache_read_mtok", "input_mtok") or 0,
        cache_write_5m=rate("cache_write_5m_mtok", *written) or 0,
        cache_write_1h=rate("cache_write_1h_mtok", *written) or 0,
        output=rate("output_mtok"),
        reasoning=rate("output_reasoning_mtok", "output_mtok") or 0,
        audio_input=rate("input_audio_mtok", "input_mtok") or 0,
        audio_output=rate("output_audio_mtok", "output_mtok") or 0,
    )


def _rate(price: Decimal, unit: int) -> int:
    return int(price * _PER_TOKEN * unit)


def _decimals(price: Decimal) -> int:
    """Of nano-dollars per token."""
    exponent = (price * _PER_TOKEN).normalize().as_tuple().exponent
    assert isinstance(exponent, int)
    return min(max(-exponent, 0), _MOST_DECIMALS)
