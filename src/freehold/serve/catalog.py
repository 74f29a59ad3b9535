"""From configuration, providers and engines to the catalog that routing asks.

What is known of a model comes, later ones winning, from the built-in data (call/models.toml), the price data, and what
the owner declares.
"""

from collections.abc import Iterator, Mapping

from freehold.call import models
from freehold.call.profiles.speaks import dialect_of
from freehold.call.providers import Endpoint
from freehold.config.checks_own import own_name
from freehold.config.load import Loaded
from freehold.config.regions import served_in
from freehold.config.schema import Config, ModelFacts
from freehold.decide import Catalog, Deployment
from freehold.own.catalog import BOX, Served, engine_specs, served
from freehold.own.engine import EngineSpec
from freehold.serve.published import Engine, Rate

OWN = "own"
TALK = frozenset({"tools", "schema", "completions"})
"""What llama.cpp does for any model with a chat template, before the engine says so itself."""
DEFAULT_STRENGTH = 0.5
_AWAY = (":cloud", "-cloud")
"""How Ollama's models are called that its server only passes on to ollama.com: nobody owns those."""


def build_catalog(
    loaded: Loaded,
    endpoints: Mapping[str, Endpoint],
    engines: Mapping[str, Engine],
    rates: Mapping[str, Rate],
    local: Mapping[str, list[str]],
) -> Catalog:
    """`local` holds the models of servers found on this machine.

    An owned model whose file has vanished since the configuration was checked stays: its engine may still run.
    """
    config = loaded.config
    deployments = {one.name: one for one in _owned(config, served(owned_specs(loaded)), engines)}
    for endpoint in endpoints.values():
        if endpoint.unavailable is None:
            for model in dict.fromkeys(
                (*models.known().get(endpoint.name, {}), *endpoint.models, *local.get(endpoint.name, ()))
            ):
                name = f"{endpoint.name}/{model}"
                facts = models.facts(endpoint.name, model, endpoint.models.get(model))
                deployments[name] = _rented(name, endpoint, model, facts, rates.get(name))
    templates = {
        endpoint.name: Deployment(
            "",
            endpoint.name,
            "",
            endpoint.dialect,
            endpoint.owned,
            region=endpoint.region,
            strength=DEFAULT_STRENGTH,
        )
        for endpoint in endpoints.values()
    }
    return Catalog(deployments, templates, config.models, spare=frozenset({f"{OWN}/{BOX}"}), dialect_of=dialect_of)


def owned_specs(loaded: Loaded) -> list[EngineSpec]:
    return engine_specs(loaded.config, loaded.path, [])


def _owned(config: Config, names: Mapping[str, Served], engines: Mapping[str, Engine]) -> Iterator[Deployment]:
    """A version and LoRA weights are, as far as nothing else is declared, what the model is that they belong to."""
    declared = {own_name(owned): owned.facts for owned in config.own}
    parallel = {own_name(owned): owned.parallel for owned in config.own}
    waiting = {name: Served(name, name, 0) for name in (*declared, *engines) if name not in names}
    for model, one in {**names, **waiting}.items():
        engine = engines.get(one.engine)
        facts = declared.get(model) or declared.get(one.engine.partition("@")[0]) or ModelFacts()
        name = f"{OWN}/{model}"
        yield Deployment(
            name,
            OWN,
            model,
            "chat",
            owned=True,
            context=facts.context or (engine.context if engine else None) or one.context or None,
            max_output=facts.max_output,
            can=frozenset(facts.can or models.several(engine.capabilities if engine and engine.capabilities else TALK)),
            input_price=facts.input or 0.0,
            output_price=facts.output or 0.0,
            cached_price=facts.cached,
            slots=parallel.get(one.engine),
            region=facts.region,
            retires=facts.retires,
            strength=(0.0 if model == BOX else 0.3) if facts.strength is None else facts.strength,
            listed=one.listed,
        )


def _rented(name: str, endpoint: Endpoint, model: str, facts: ModelFacts, rate: Rate | None) -> Deployment:
    free = 0.0 if endpoint.owned else None
    owned = endpoint.owned and not (endpoint.row.local and model.endswith(_AWAY))
    return Deployment(
        name,
        endpoint.name,
        model,
        dialect_of(endpoint.name, model, endpoint.dialect),
        owned=owned,
        context=facts.context,
        max_output=facts.max_output,
        can=frozenset(facts.can) if facts.can is not None else None,
        input_price=_first(facts.input, rate.input if rate else free),
        output_price=_first(facts.output, rate.output if rate else free),
        cached_price=_first(facts.cached, rate.cached if rate else None),
        region=facts.region or served_in(endpoint.region, model),
        retires=facts.retires,
        strength=DEFAULT_STRENGTH if facts.strength is None else facts.strength,
    )


def _first(*values: float | None) -> float | None:
    return next((value for value in values if value is not None), None)
