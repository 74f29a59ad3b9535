import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freehold.own.engine import Gpu
from freehold.own.gpu import gpus, read

MIB = 1 << 20
CARDS = "0, GPU-aa, NVIDIA H100 80GB HBM3, 81559, 80994\n1, GPU-bb, A card, with a comma, 24576, 1000\n"
PROCESSES = "GPU-aa, 4711, 512\nGPU-aa, 4712, [N/A]\nGPU-zz, 1, 1\nGPU-bb, 4711, 300\nGPU-bb, 4711, 20\n"


def test_memory_is_read_by_card_and_process() -> None:
    assert read(CARDS, PROCESSES) == (
        Gpu(0, "NVIDIA H100 80GB HBM3", 81559 * MIB, 80994 * MIB, {4711: 512 * MIB}),
        Gpu(1, "A card, with a comma", 24576 * MIB, 1000 * MIB, {4711: 320 * MIB}),
    )


@pytest.mark.parametrize(
    "line",
    [
        "",
        "No devices were found",
        "0, GPU-aa, name, [N/A], 5",
        "0, GPU-aa, name, 5, 9",
        "0, GPU-aa, name, 0, 0",
        ",,,,",
    ],
)
def test_a_line_that_is_no_card_is_passed_over(line: str) -> None:
    assert read(line) == ()


@given(st.text(), st.text())
def test_nothing_breaks_the_reading(said: str, processes: str) -> None:
    assert all(0 <= gpu.free <= gpu.total for gpu in read(said, processes))


def test_without_the_command_there_are_no_cards(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert gpus() == ()


@pytest.mark.parametrize(
    ("script", "cards"),
    [
        ('case "$1" in *gpu=*) echo "0, GPU-aa, A, 100, 50";; *) echo "GPU-aa, 7, 3";; esac', 1),
        ("echo 'NVIDIA-SMI has failed'; exit 9", 0),
        ("exec sleep 60", 0),
    ],
)
def test_a_driver_that_fails_or_hangs_means_no_cards(
    script: str, cards: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    command = tmp_path / "nvidia-smi"
    command.write_text(f"#!/bin/sh\n{script}\n")
    command.chmod(command.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    found = gpus(timeout=5.0 if cards else 0.3)
    assert len(found) == cards
    assert not cards or found[0].processes == {7: 3 * MIB}
