"""A changed file is noticed however it was written, and taken whole or not at all."""

import os
from pathlib import Path

import pytest

from freehold.config.problems import ConfigErrors
from freehold.config.watch import Watcher


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "freehold.yaml"
    path.write_text("retries: 1\n")
    return path


def test_nothing_happened(file: Path) -> None:
    watcher = Watcher(file, {})
    assert not watcher.changed()
    os.utime(file, ns=(1, 1))
    assert not watcher.changed(), "touched, not changed"


def test_a_change_is_told_once(file: Path) -> None:
    watcher = Watcher(file, {})
    file.write_text("retries: 3\n")
    os.utime(file, ns=(2, 2))
    assert watcher.changed()
    assert not watcher.changed()
    assert watcher.reload().config.retries == 3


def test_a_file_replaced_by_one_of_the_same_size_and_time_is_noticed(file: Path, tmp_path: Path) -> None:
    before = file.stat()
    watcher = Watcher(file, {})
    other = tmp_path / "other"
    other.write_text("retries: 9\n")
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    other.replace(file)
    assert watcher.changed()


def test_a_file_gone_for_a_moment_is_no_change_and_its_return_is(file: Path) -> None:
    watcher = Watcher(file, {})
    file.unlink()
    assert not watcher.changed()
    with pytest.raises(ConfigErrors):
        watcher.reload()
    file.write_text("retries: 4\n")
    assert watcher.changed()


def test_a_bad_file_raises_and_a_mended_one_loads(file: Path) -> None:
    watcher = Watcher(file, {}, providers=["openai"])
    file.write_text("retrys: 5\nmodels: {a: [opnai/x]}")
    assert watcher.changed()
    with pytest.raises(ConfigErrors, match="retrys"):
        watcher.reload()
    file.write_text("retries: 5\nmodels: {a: [openai/x]}")
    assert watcher.changed()
    assert watcher.reload().config.retries == 5


def test_a_file_that_appears_later_is_a_change(tmp_path: Path) -> None:
    watcher = Watcher(tmp_path / "freehold.yaml", {})
    assert not watcher.changed()
    (tmp_path / "freehold.yaml").write_text("{}")
    assert watcher.changed()
