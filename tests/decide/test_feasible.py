"""Routes that can never be met are told when they are loaded."""

from freehold.config.schema_routing import Auto, Slot
from freehold.decide import Catalog, Deployment
from freehold.decide.feasible import unmet
from freehold.errors import ConfigError

CHEAP = Deployment("a/cheap", "a", "cheap", "chat", input_price=0.1, output_price=0.2)
DEAR = Deployment("b/dear", "b", "dear", "chat", input_price=5.0, output_price=10.0)
UNPRICED = Deployment("c/unpriced", "c", "unpriced", "chat")


def catalog(route: Auto) -> Catalog:
    return Catalog({one.name: one for one in (CHEAP, DEAR, UNPRICED)}, {}, {"route": route})


def told(route: Auto) -> list[str]:
    def floor(_floor: float, _confidence: float, name: str) -> object:
        raise ConfigError(f"nothing is calibrated for {name}", hint="freehold route train")

    mistakes = list(unmet(catalog(route), floor))
    assert all(mistake.name == "route" and mistake.hint for mistake in mistakes)
    return [f"{mistake.field}: {mistake.message}" for mistake in mistakes]


def test_a_route_that_can_be_met_is_silent() -> None:
    assert told(Auto(["a/cheap", "b/dear"], price=1e-6, pin="b/dear")) == []
    assert told(Auto(schedule=[Slot("b/dear")], among=["a/cheap"], pin="b/dear")) == []


def test_a_pin_that_is_none_of_the_candidates() -> None:
    assert told(Auto(["a/cheap"], pin="b/dear")) == ["pin: 'b/dear' is none of the route's deployments"]


def test_a_price_that_nobody_ever_has() -> None:
    assert told(Auto(["a/cheap", "b/dear"], price=1e-7)) == ["price: nobody ever answers for $1e-07 or less"]
    assert told(Auto(["a/cheap", "c/unpriced"], price=1e-7)) == [], "what it costs is not known here"


def test_a_floor_without_calibration() -> None:
    assert told(Auto(["a/cheap", "b/dear"], floor=0.95)) == ["floor: nothing is calibrated for route"]
    assert told(Auto(["a/cheap"], floor=0.95)) == [], "there is nobody to prefer to the best"
