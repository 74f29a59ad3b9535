"""`freehold check`: the table, the verdict it stores, and the exit status."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner

from freehold.cli.check import command
from freehold.own.parity import gate
from freehold.own.parity.compare import Check, Figures, Finding, Report
from freehold.own.parity.limits import limits
from freehold.own.weights import store as weights
from freehold.own.weights.store import Artefact, FileRef, Source, Version


def report(passed: bool) -> Report:
    return Report(
        passed=passed, quantisation="Q8_0", original="transformers", artefact="llama.cpp",
        checks=[Check("tokens", True, "6 of 6 texts"), Check("divergence", passed, "0.00200 nats, at most 0.03")],
        figures=Figures(10, 0.002, 0.01, 1.0, 1.0), limits=limits("Q8_0"),
        findings=[] if passed else [Finding("divergence", "The weather", 12, "token 3", "token 4, 1.2 nats away")],
    )  # fmt: skip


class Shelf:
    """A store with one version; judging is a list of what comes of it."""

    def __init__(self, *artefacts: Artefact) -> None:
        self.version = Version("tiny", "v1", Source("folder", "here"), 0, artefacts)
        self.outcomes: dict[str, bool | None] = {}

    def find(self, text: str) -> Version:
        return self.version

    async def judge(self, store: Any, version: Version, one: Artefact, originals: Any = None) -> Version:
        outcome = self.outcomes[one.quantisation]
        if outcome is None:
            raise gate.NoReference("the reference needs torch", hint="pip install 'freehold[reference]'")
        evidence = msgspec.to_builtins(report(outcome))
        judged = msgspec.structs.replace(one, verdict="passed" if outcome else "quarantined", evidence=evidence)
        self.version = msgspec.structs.replace(
            self.version, artefacts=tuple(judged if other.id == one.id else other for other in self.version.artefacts)
        )
        return self.version


def artefact(quantisation: str, made: str) -> Artefact:
    files = {f"{quantisation}.gguf": FileRef("0" * 64, 1)}
    return Artefact(f"gguf-{quantisation}", "gguf", quantisation, files, made, verdict="unverified")  # type: ignore[arg-type]


@pytest.fixture
def shelf(monkeypatch: pytest.MonkeyPatch) -> Shelf:
    made = Shelf(artefact("F16", "pulled"), artefact("BF16", "converted"), artefact("Q8_0", "quantised"))
    monkeypatch.setattr(weights, "open_store", lambda: made)
    monkeypatch.setattr(gate, "judge", made.judge)
    return made


@pytest.fixture
def run() -> Callable[..., Any]:
    return lambda *words: CliRunner().invoke(command, words, standalone_mode=False, catch_exceptions=True)


def test_what_passes_is_shown(shelf: Shelf, run: Callable[..., Any]) -> None:
    shelf.outcomes = {"BF16": True, "Q8_0": True}
    done = run("tiny")
    assert done.return_value == 0
    rows = [line.split()[:3] for line in done.stdout.splitlines()[1:]]
    assert rows == [["BF16", "converted", "passed"], ["Q8_0", "quantised", "passed"]]


def test_what_fails_is_named_with_the_place(shelf: Shelf, run: Callable[..., Any]) -> None:
    shelf.outcomes = {"BF16": True, "Q8_0": False}
    done = run("tiny")
    assert done.return_value == 1
    assert "quarantined" in done.stdout
    assert "'The weather' at 12: expected 'token 3', got 'token 4, 1.2 nats away'" in done.stderr
    assert "hint: Q8_0 is quarantined" in done.stderr
    assert "pull it again" not in done.stderr, "the same bytes fail again"
    assert "freehold weights rm" in done.stderr


def test_one_quantisation_alone(shelf: Shelf, run: Callable[..., Any]) -> None:
    shelf.outcomes = {"Q8_0": True}
    done = run("tiny", "--quantisation", "q8_0", "--json")
    assert done.return_value == 0
    (entry,) = json.loads(done.stdout)["artefacts"]
    assert (entry["quantisation"], entry["verdict"]) == ("Q8_0", "passed")
    assert entry["report"]["figures"]["mean_kl"] == 0.002


def test_without_a_reference_the_hint_says_what_to_install(shelf: Shelf, run: Callable[..., Any]) -> None:
    shelf.outcomes = {"BF16": None, "Q8_0": None}
    done = run("tiny")
    assert done.return_value == 1
    assert done.stderr.count("hint: pip install 'freehold[reference]'") == 2
    assert "unverified" in done.stdout


def test_nothing_to_check_is_said(shelf: Shelf, run: Callable[..., Any]) -> None:
    done = run("tiny", "-q", "F16")
    assert done.exception.code == "nothing_to_check"
    assert "BF16, Q8_0" in done.exception.hint


def test_the_home_without_models_has_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Callable[..., Any]
) -> None:
    monkeypatch.setenv("FREEHOLD_HOME", str(tmp_path))
    assert run("tiny").exception.code == "no_such_model"
