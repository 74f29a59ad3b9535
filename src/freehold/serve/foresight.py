"""What is predicted of answers: the predictor in force, and the gates that keep quality floors.

The predictor is `predictor:` of freehold.yaml, else FREEHOLD_HOME/route.predictor, which `freehold route train` writes,
else the one in the package. It is read when a route first needs it, and at load where a configured route is sure to.
"""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from msgspec import structs

from freehold.classify.facts import Facts
from freehold.config.load import Loaded
from freehold.decide.catalog import Catalog, Deployment
from freehold.decide.floor import Certificate, Gate, Watch, find, named
from freehold.errors import ConfigError
from freehold.home import home

if TYPE_CHECKING:
    from freehold.decide.predict import Predictor, Reading

FILE = "route.predictor"
FLOORS = ".floors.json"
MAX_GATES = 1000
"""Floors come from requests' headers too."""


class Foresight:
    """Implements `decide.world.Foresight`."""

    def __init__(self, loaded: Loaded, catalog: Catalog, alarms: Mapping[str, str] | None = None) -> None:
        """`alarms`: floors that no longer hold (serve/floors.py), by certificate; asked again for each request."""
        self._path = predictor_path(loaded)
        self._catalog = catalog
        self._predictor: Predictor | None = None
        self._name = ""
        """What certificates call the predictor in force; none are made for the one in the package."""
        self._certificates: list[Certificate] | None = None
        self._alarms = {} if alarms is None else alarms
        self._gates: dict[tuple[float, float, str], tuple[str, Gate]] = {}

    @property
    def predictor(self) -> "Predictor":
        """Raises ConfigError for a file that is missing or corrupt."""
        if self._predictor is None:
            from freehold.decide import predict

            if self._path is None:
                self._predictor = predict.default()
            else:
                data = _content(self._path)
                self._predictor, self._name = predict.loads(data, str(self._path)), named(data)
        return self._predictor

    def check(self) -> None:
        """Reads a predictor of one's own at once: it may be corrupt. Raises ConfigError."""
        if self._path is not None:
            self.predictor  # noqa: B018

    def read(self, text: str, *, tools: bool, turns: int) -> "Reading":
        return self.predictor.read(text, tools=tools, turns=turns)

    def quality(self, facts: Facts, deployments: Sequence[Deployment]) -> list[float]:
        """The probability that each deployment's answer is right; its declared strength where there is no prompt."""
        if facts.reading is None:
            return [one.strength for one in deployments]
        names = [one.name for one in deployments]
        return [one.p for one in self.predictor.quality(facts.reading, names, [one.strength for one in deployments])]

    def gate(self, floor: float, confidence: float, route: str) -> Gate:
        """The gate that keeps a route's quality floor. Raises ConfigError where nothing is calibrated for it."""
        key = (floor, confidence, route)
        found = self._gates.get(key)
        if found is None:
            if len(self._gates) >= MAX_GATES:
                self._gates.clear()
            certificate = self.certificate(floor, confidence, route)
            found = self._gates[key] = (digest(certificate), Gate(Watch(certificate)))
        name, gate = found
        if gate.watch.alarm is None:
            gate.watch.alarm = self._alarms.get(name)
        return gate

    def certificate(self, floor: float, confidence: float, route: str) -> Certificate:
        """The certificate of the strongest model of the route that has one, with deployments' names in it."""
        if self._certificates is None:
            self.check()
            self._certificates = read_certificates(self._path)
        choice = self._catalog.find(route)
        members = choice.members if choice is not None else ()
        refused: ConfigError | None = None
        for certificate in self._certificates:
            strong = next((one.name for one in members if certificate.strong in (one.name, one.model)), None)
            cheaper = {
                known: one.name for one in members for known in certificate.cheaper if known in (one.name, one.model)
            }
            if strong is None or not cheaper:
                continue
            try:
                found = find([certificate], floor, confidence, certificate.strong, list(cheaper), self._name)
            except ConfigError as error:
                refused = error
                continue
            return structs.replace(found, strong=strong, cheaper=tuple(cheaper.values()))
        raise refused or ConfigError(
            f"a floor of {floor:g} is asked for, and there is no calibration data for these models",
            hint="freehold route train calibrates floors on your own outcomes",
        )


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(
            f"the predictor {path} cannot be read: {error.strerror}",
            hint="train it again with `freehold route train`, or leave `predictor` out to use the one in the package",
        ) from error


def digest(certificate: Certificate) -> str:
    """Returns the name of a certificate: its content's hash."""
    return hashlib.sha256(msgspec.json.encode(certificate)).hexdigest()[:24]


def read_certificates(predictor: Path | None) -> list[Certificate]:
    """Returns what `freehold route train` left beside a predictor. Raises ConfigError for a file that is corrupt."""
    if predictor is None:
        return []
    path = predictor.with_name(predictor.name + FLOORS)
    try:
        return msgspec.json.decode(path.read_bytes(), type=list[Certificate])
    except FileNotFoundError:
        return []
    except (OSError, msgspec.DecodeError) as error:
        raise ConfigError(
            f"the calibration of quality floors cannot be read: {error}",
            where=str(path),
            hint="freehold route train writes it again",
        ) from error


def predictor_path(loaded: Loaded) -> Path | None:
    """Returns the file in force, None for the one in the package."""
    written = loaded.config.predictor
    if written is not None:
        path = Path(written).expanduser()
        return path if path.is_absolute() or loaded.path is None else loaded.path.parent / path
    path = home() / FILE
    return path if path.exists() else None
