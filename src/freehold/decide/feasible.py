"""Routes that can never be met, told when they are loaded: a request must not be the first to find out."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

from freehold.decide.catalog import Catalog, Choice, Deployment
from freehold.errors import ConfigError

Floor = Callable[[float, float, str], object]
"""Returns the gate for a floor, a confidence and a route; raises ConfigError where nothing is calibrated for it."""


class Mistake(NamedTuple):
    """What is wrong with `field` of the route `name`."""

    name: str
    field: str
    message: str
    hint: str | None


def unmet(catalog: Catalog, floor: Floor) -> Iterator[Mistake]:
    """Yields what is wrong with each route. A price that is not known is held against nobody here, but to the request
    it is: so this is asked with the prices, and only a route whose every price is known can be proved empty."""
    for name in catalog.names():
        choice = catalog.find(name)
        if choice is None or choice.rules is None:
            continue
        rules = choice.rules
        everybody = list(_everybody(choice))
        if rules.pin is not None and all(one.name != rules.pin for one in everybody):
            hint = "name it under among, or leave the pin out"
            yield Mistake(name, "pin", f"{rules.pin!r} is none of the route's deployments", hint)
        if rules.price is not None and everybody and not any(_within(one, rules.price) for one in everybody):
            hint = "raise price, or add a cheaper model"
            yield Mistake(name, "price", f"nobody ever answers for ${rules.price:g} or less", hint)
        if rules.floor is not None and choice.kind == "auto" and len(choice.members) > 1:
            try:
                floor(rules.floor, rules.confidence, name)
            except ConfigError as error:
                yield Mistake(name, "floor", error.message, error.hint)


def _everybody(choice: Choice) -> Iterator[Deployment]:
    yield from choice.members
    for _, other in choice.slots:
        yield from _everybody(other)


def _within(deployment: Deployment, limit: float) -> bool:
    """Whether one token in and one out may be within the limit: what is not can never be met."""
    if deployment.input_price is None or deployment.output_price is None:
        return True
    return (deployment.input_price + deployment.output_price) / 1e6 <= limit
