"""What fuzzing once found, and valid input for every parser: see scripts/fuzz."""

from pathlib import Path

import pytest
from fuzz_targets import CORPUS, PARSERS, mutate
from hypothesis import given, settings
from hypothesis import strategies as st

FOUND = sorted(path for path in CORPUS.glob("*/*") if path.is_file())


@pytest.mark.parametrize("path", FOUND, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_what_was_found_stays_mended(path: Path) -> None:
    PARSERS[path.parent.name].run(path.read_bytes())


@pytest.mark.parametrize("name", PARSERS)
def test_valid_input_and_a_little_noise(name: str) -> None:
    parser = PARSERS[name]
    for seed in parser.seeds:
        parser.run(seed)

    @settings(max_examples=15)
    @given(st.sampled_from(parser.seeds), st.integers(0, 2**32), st.integers(0, 2))
    def noise(data: bytes, seed: int, more: int) -> None:
        for step in range(more + 1):
            data = mutate(data, seed + step)
        parser.run(data)

    noise()
