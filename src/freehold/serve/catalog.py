"""From configuration, providers and engines to the catalog that routing asks.

What is known of a model comes, later ones winning, from the built-in data (call/models.toml), the price data, and what
the owner declares.
"""

from collections.abc import Mapping

from freehold.call import models
from freehold.call.profiles.speaks import dialect_of
from freehold.call.providers import Endpoint
from freehold.config.checks_own import own_name
from freehold.config.load import Loaded
from freehold.config.schema import ModelFacts
from freehold.decide import Catalog, Deployment
from freehold.own.catalog import BOX, engine_specs
from freehold.serve.published import Engine, Rate

OWN = "own"
TALK = frozenset({"tools", "schema", "completions"})
"""What llama.cpp does for any model with a chat template, before the engine says so itself."""
DEFAULT_STRENGTH = 0.5


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
    deployments: dict[str, Deployment] = {}
    contexts = {spec.name: spec.context for spec in engine_specs(config, loaded.path, [])}
    declared = {own_name(owned): owned.facts for owned in config.own}
    for model in dict.fromkeys((*contexts, *declared)):
        engine = engines.get(model)
        facts = declared.get(model) or ModelFacts()
        can = frozenset(facts.can or (engine.capabilities if engine and engine.capabilities else TALK))
        name = f"{OWN}/{model}"
        deployments[name] = Deployment(
            name,
            OWN,
            model,
            "chat",
            owned=True,
            context=facts.context or (engine.context if engine else None) or contexts.get(model),
            max_output=facts.max_output,
            can=can,
            input_price=facts.input or 0.0,
            output_price=facts.output or 0.0,
            strength=(0.0 if model == BOX else 0.3) if facts.strength is None else facts.strength,
        )
    for endpoint in endpoints.values():
        if endpoint.unavailable is None:
            for model in dict.fromkeys(
                (*models.known().get(endpoint.name, {}), *endpoint.models, *local.get(endpoint.name, ()))
            ):
                name = f"{endpoint.name}/{model}"
                facts = models.facts(endpoint.name, model, endpoint.models.get(model))
                deployments[name] = _rented(name, endpoint, model, facts, rates.get(name))
    templates = {
        endpoint.name: Deployment("", endpoint.name, "", endpoint.dialect, endpoint.owned, strength=DEFAULT_STRENGTH)
        for endpoint in endpoints.values()
    }
    return Catalog(deployments, templates, config.models, spare=frozenset({f"{OWN}/{BOX}"}), dialect_of=dialect_of)


def _rented(name: str, endpoint: Endpoint, model: str, facts: ModelFacts, rate: Rate | None) -> Deployment:
    free = 0.0 if endpoint.owned else None
    return Deployment(
        name,
        endpoint.name,
        model,
        dialect_of(endpoint.name, model, endpoint.dialect),
        owned=endpoint.owned,
        context=facts.context,
        max_output=facts.max_output,
        can=frozenset(facts.can) if facts.can is not None else None,
        input_price=_first(facts.input, rate.input if rate else free),
        output_price=_first(facts.output, rate.output if rate else free),
        strength=DEFAULT_STRENGTH if facts.strength is None else facts.strength,
    )


def _first(*values: float | None) -> float | None:
    return next((value for value in values if value is not None), None)
