"""What can only be checked when everything is put together: whether each route can be met.

Asked before a configuration is taken into force (`freehold up`, on every reload), and by `freehold config check` and
`doctor`. Costs next to nothing where no route says anything that could be impossible.
"""

import os
from collections.abc import Mapping

from freehold.call.providers import Endpoint, resolve
from freehold.config.load import Loaded
from freehold.config.problems import Problems
from freehold.config.schema_routing import Auto
from freehold.decide import Catalog
from freehold.decide.feasible import unmet
from freehold.serve.catalog import build_catalog
from freehold.serve.foresight import Foresight
from freehold.serve.published import Rate


def rehearse(loaded: Loaded) -> None:
    """Raises ConfigErrors for routes that can never be met, ConfigError for a predictor that cannot be read."""
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
