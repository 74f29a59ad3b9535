"""A store of the test's own."""

from pathlib import Path

import pytest

from freehold.own.weights.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "models")
