"""Before a configuration comes into force: routes that can never be met, and predictors that cannot be read."""

from pathlib import Path

import pytest

from freehold.config.load import loads
from freehold.config.problems import ConfigErrors
from freehold.errors import ConfigError
from freehold.serve.rehearsal import rehearse

PROVIDER = """
box: false
discover: false
providers:
  mine:
    base_url: http://127.0.0.1:1
    models:
      small: {input: 0.1, output: 0.2}
      large: {input: 5, output: 10}
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FREEHOLD_HOME", str(tmp_path / "home"))
    return tmp_path


def told(text: str, folder: Path) -> list[tuple[str, str, str]]:
    path = folder / "freehold.yaml"
    path.write_text(PROVIDER + text)
    try:
        rehearse(loads(path.read_bytes(), {}, file="freehold.yaml", path=path))
    except ConfigErrors as errors:
        return [(error.where, error.key, error.message) for error in errors.errors]
    return []


def test_routes_that_can_be_met_are_silent(home: Path) -> None:
    assert told("models: {a: [mine/small], r: {among: [a, mine/large], price: 0.01, pin: mine/large}}", home) == []


def test_each_mistake_names_its_place(home: Path) -> None:
    text = "models: {a: {among: [mine/small], price: 0.0000001}, b: {among: [mine/small], pin: mine/large}}"
    found = told(text, home)
    assert [key for _, key, _ in found] == ["models.a.price", "models.b.pin"]
    assert "nobody ever answers for $1e-07" in found[0][2]
    assert all(where.startswith("freehold.yaml:10:") for where, _, _ in found)


def test_a_floor_without_calibration_is_refused(home: Path) -> None:
    found = told("models: {r: {among: [mine/small, mine/large], floor: 0.95}}", home)
    assert found[0][1] == "models.r.floor"
    assert "no calibration data" in found[0][2]


def test_a_predictor_that_is_missing_or_corrupt_is_refused(home: Path) -> None:
    path = home / "freehold.yaml"
    for content in (None, b"", b"nonsense", bytes(5000)):
        if content is not None:
            (home / "mine.predictor").write_bytes(content)
        path.write_text(PROVIDER + "predictor: mine.predictor\n")
        with pytest.raises(ConfigError) as caught:
            rehearse(loads(path.read_bytes(), {}, file="freehold.yaml", path=path))
        assert "mine.predictor" in str(caught.value.message) + caught.value.where
