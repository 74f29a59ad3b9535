"""Every trap of the reference list has a test named by its number in this folder, or a reason here why it has none."""

import re
from pathlib import Path

import pytest

NOT_OURS: dict[int, str] = {
    37: "A call that a model writes as text is parsed by the engine, which knows the model's template (llama.cpp does, "
    "in our own deployments). A gateway that looked into texts would take what users quote for calls.",
}
"""Traps that do not apply: number, reason."""

COUNT = 68
LIST = Path(__file__).parents[3] / "shared" / "reference" / "wire-traps.md"


def numbers_tested() -> set[int]:
    sources = [path.read_text() for path in Path(__file__).parent.glob("test_*.py")]
    return {int(number) for source in sources for number in re.findall(r"^(?:async )?def test_(\d\d)_", source, re.M)}


def test_every_trap_is_tested_or_has_its_reason() -> None:
    assert numbers_tested() | NOT_OURS.keys() == set(range(1, COUNT + 1))
    assert not numbers_tested() & NOT_OURS.keys()


def test_the_list_has_no_more() -> None:
    if not LIST.exists():
        pytest.skip("../shared with the list of traps is not here")
    numbers = re.findall(r"^\| (\d+) \|", LIST.read_text(), re.M)
    assert [int(number) for number in numbers] == list(range(1, COUNT + 1))
