"""`freehold cache`: what it shows, what it deletes, and what calibration says."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from freehold.cli import main
from freehold.record.cache import CacheStore, Partition


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FREEHOLD_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*words: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(main, ["cache", *words])
    return result.exit_code, result.stdout, result.stderr


def filled(home: Path) -> None:
    store = CacheStore(home / "cache")
    for number, (tenant, label) in enumerate([("key a", "internal"), ("key a", "public"), ("group a", "internal")]):
        store.keep(bytes([number]) * 32, Partition(tenant, label), "small", 1.8e9, 1.9e9, b"x" * 100, 1 << 20)
    store.close()


def test_an_empty_cache(home: Path) -> None:
    assert run("show")[0] == 0
    assert json.loads(run("show", "--json")[1])["rows"] == []
    assert json.loads(run("clear", "--json")[1]) == {"deleted": 0}
    assert not (home / "cache").exists()


def test_show_and_clear(home: Path) -> None:
    filled(home)
    rows = json.loads(run("show", "--json")[1])["rows"]
    assert sorted((row["tenant"], row["label"], row["entries"]) for row in rows) == [
        ("group a", "internal", 1),
        ("key a", "internal", 1),
        ("key a", "public", 1),
    ]
    assert json.loads(run("clear", "--label", "public", "--json")[1]) == {"deleted": 1}
    assert json.loads(run("clear", "--tenant", "b", "--json")[1]) == {"deleted": 0}
    assert json.loads(run("clear", "--tenant", "a", "--json")[1]) == {"deleted": 2}
    assert run("show")[0] == 0


def test_calibrate_says_when_nothing_can_be_shown(home: Path) -> None:
    data = home / "pairs.jsonl"
    rows = [{"a": f"how do I open box {n}", "b": f"how do I open box {n}", "same": n % 2 == 0} for n in range(700)]
    data.write_text("\n".join(json.dumps(row) for row in rows))
    code, _, told = run("calibrate", "--route", "faq", "--data", str(data), "--false-hits", "0.05")
    assert code == 0
    assert "no likeness could be shown" in told
    code, _, told = run("calibrate", "--route", "faq", "--data", str(home / "none"))
    assert code == 1
    data.write_text('{"a": "x", "b": "x", "same": true}\n')
    code, _, told = run("calibrate", "--route", "faq", "--data", str(data))
    assert code == 1
    assert "pairs that could be hits" in told
