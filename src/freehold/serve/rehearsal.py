"""What can only be checked when everything is put together: whether each route can be met.

Asked before a configuration is taken into force (`freehold up`, on every reload), and by `freehold config check` and
`doctor`. Costs next to nothing where no route says anything that could be impossible.
"""

import os
from collections.abc import Mapping

from freehold.call.providers import Endpoint, resolve
from freehold.config.load import Loaded
from freehold.config.problems import Problems, did_you_mean
from freehold.config.schema_routing import Auto
from freehold.decide import Catalog
from freehold.decide.feasible import unmet
from freehold.errors import redact
from freehold.labels.policies import CONTRACT, choices
from freehold.labels.policies import rows as terms
from freehold.serve.catalog import OWN, build_catalog
from freehold.serve.foresight import Foresight
from freehold.serve.published import Rate
from freehold.serve.safety.guarded_text import check_families


def rehearse(loaded: Loaded) -> None:
    """Raises ConfigErrors for routes that can never be met and for terms that nobody has, ConfigError for a predictor
    that cannot be read."""
    _check_terms(loaded)
    _check_guards(loaded)
    routes = [route for route in loaded.config.models.values() if isinstance(route, Auto)]
    named = loaded.config.predictor is not None
    if not named and not any(_demanding(route) for route in routes):
        return
    endpoints = resolve(loaded.config, os.environ)
    catalog = build_catalog(loaded, endpoints, {}, {}, {})
    if any(route.price is not None for route in routes):
        rates, _ = worked_out(loaded, endpoints, catalog)
        catalog = build_catalog(loaded, endpoints, {}, rates, {})
    foresight = Foresight(loaded, catalog)
    foresight.check()
    problems = Problems(loaded.sources)
    for name, field, message, hint in unmet(catalog, foresight.gate):
        problems.add(("models", name, field), message, hint)
    problems.done()


def _check_guards(loaded: Loaded) -> None:
    """Raises ConfigError for guard models of no known family, ConfigErrors for what sees requests and is not owned."""
    checks = loaded.config.checks
    check_families(loaded.config)
    asked = [(place, one.model) for place, one in (("guard", checks.guard), ("names", checks.names)) if one is not None]
    if checks.moderation.by == "guard" and checks.moderation.model is not None:
        asked.append(("moderation", checks.moderation.model))
    if not asked:
        return
    endpoints, problems = resolve(loaded.config, os.environ), Problems(loaded.sources)
    for place, name in asked:
        provider = name.partition("/")[0]
        if provider != OWN and (provider not in endpoints or not endpoints[provider].owned):
            message = f"{redact(name, 60)} is no owned deployment"
            problems.add(("checks", place, "model"), message, "own/NAME, or a provider with owned: true")
    problems.done()


def _check_terms(loaded: Loaded) -> None:
    problems = Problems(loaded.sources)
    for name, provider in loaded.config.providers.items():
        policy = provider.policy
        if policy is None or policy == CONTRACT:
            continue
        known = [*(choices(name) or terms()), CONTRACT]
        if policy not in known:
            hint = did_you_mean(policy, known) or f"there are {', '.join(known)}"
            problems.add(("providers", name, "policy"), f"{redact(name, 60)} has no terms {redact(policy, 60)}", hint)
    problems.done()


def _demanding(route: Auto) -> bool:
    return route.pin is not None or route.price is not None or route.floor is not None


def worked_out(loaded: Loaded, endpoints: Mapping[str, Endpoint], catalog: Catalog) -> tuple[dict[str, Rate], str]:
    """Returns rates of every rented deployment from the price data, and its date; the import is slow, so it is left out
    where none is rented."""
    rented = [one for one in catalog.deployments.values() if not one.owned]
    if not rented:
        return {}, ""
    from freehold.record.prices import Pricer, price_age

    pricer = Pricer(loaded.config, {name: endpoint.row.prices for name, endpoint in endpoints.items()})
    found = {one.name: pricer.per_million(one.provider, one.model) for one in rented}
    age = price_age()
    return {name: Rate(*rates) for name, rates in found.items() if rates is not None}, age.isoformat() if age else ""
