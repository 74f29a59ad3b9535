"""Training on one's own outcomes, from files and from a ledger's rows."""

import random
from datetime import date
from pathlib import Path

import msgspec
import outcome_tables as made
import pytest

from freehold.decide import floor
from freehold.decide.predict import Predictor, dumps, loads
from freehold.errors import BadRequest
from freehold.measure.routing import scores, tables, train
from freehold.record.outcomes import Considered, TrainingRow
from freehold.record.readings import basis_of, pack

TODAY = date(2026, 11, 21)


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Predictor:
    """A predictor in force, of other outcomes of the same kind of prompts, whose models are not the ones here."""
    path = made.zeroeval(tmp_path_factory.mktemp("made") / "t.csv", 400, seed=11)
    table = tables.read(path)
    table.models = {f"old-{name}": column for name, column in table.models.items()}
    return scores.learned(table, 0)


def test_from_files_the_predictor_gets_better_and_floors_are_calibrated(tmp_path: Path, before: Predictor) -> None:
    table = tables.read(made.zeroeval(tmp_path / "t.csv", 1500))
    found = train.train(train.of_tables(table), before, source="files: t.csv", today=TODAY)
    assert (found.rows, found.kept, found.own_basis) == (1500, 450, False)
    for one in found.models:
        assert one.labels == 1050
    assert sum(one.brier_after for one in found.models) < sum(one.brier_before for one in found.models)
    assert found.predictor.id == before.id, "few rows: the basis stays"
    again = loads(dumps(found.predictor))
    assert set(made.MODELS) <= set(again.names)
    name = floor.named(dumps(found.predictor))
    assert {one.predictor for one in found.certificates} == {name}
    assert {one.strong for one in found.certificates} == {"large-400b"}
    ten = floor.find(found.certificates, 0.9, 0.95, "large-400b", ["small-7b"], name)
    assert ten.threshold is not None
    assert ten.bound <= 0.1
    assert ten.source == "files: t.csv"


def test_with_many_rows_a_basis_is_learnt(tmp_path: Path, before: Predictor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train, "LEAST_OWN", 200)
    table = tables.read(made.routellm(tmp_path / "t.csv", 400))
    found = train.train(train.of_tables(table), before, source="", today=TODAY)
    assert found.own_basis
    assert found.predictor.id != before.id


def ledger(before: Predictor, count: int) -> list[TrainingRow]:
    """Every request judged for both models, some by two sources, and some read by another predictor."""
    chance = random.Random(4)
    found = []
    for number, (prompt, _, right) in enumerate(made.rows(count, seed=3)):
        reading = pack(before.read(prompt).z)
        basis = basis_of(before.id) if number % 10 else b"\0\0\0\0"
        considered = (
            Considered("own/small-7b", 0.5, 0.001, 1.0, 1.0),
            Considered("lab/large-400b", 0.9, 0.1, 1.0, 0.0),
        )
        for model in ("own/small-7b", "lab/large-400b"):
            value = float(right[model.partition("/")[2]])
            for source in ("feedback", "judge")[: 1 + (chance.random() < 0.2)]:
                found.append(
                    TrainingRow(
                        f"r{number}", f"r{number}-1", number, "k", "auto", "internal", basis, reading, model,
                        model.partition("/")[0], model.partition("/")[2], model.startswith("own"), source, value, 1.0,
                        1.0, True, False, considered,
                    )
                )  # fmt: skip
    return found


def test_from_a_ledger_readings_are_enough(before: Predictor) -> None:
    rows = train.of_ledger(ledger(before, 600), basis_of(before.id))
    assert len(rows) == 540
    assert rows.texts == []
    assert rows.costs == {"lab/large-400b": pytest.approx(0.1), "own/small-7b": pytest.approx(0.001)}
    found = train.train(rows, before, source="ledger", today=TODAY)
    assert found.predictor.id == before.id
    assert {one.model for one in found.models} == {"own/small-7b", "lab/large-400b"}
    small = next(one for one in found.models if one.model == "own/small-7b")
    assert small.auc_after is not None
    assert small.auc_after > 0.8
    assert {(one.strong, one.cheaper) for one in found.certificates} == {("lab/large-400b", ("own/small-7b",))}


def test_what_cannot_be_calibrated_is_said(before: Predictor) -> None:
    rows = train.of_ledger(ledger(before, 80), basis_of(before.id))
    found = train.train(rows, before, source="ledger", today=TODAY)
    assert found.certificates == []
    assert "needs 29 requests" in found.notes[0]
    alone = train.Judged({"own/small-7b": rows.outcomes["own/small-7b"]}, rows.costs, [], rows.readings, [])
    assert "only one model" in train.train(alone, before, source="", today=TODAY).notes[0]


def test_too_little_is_an_error(before: Predictor) -> None:
    rows = train.of_ledger(ledger(before, 12), basis_of(before.id))
    with pytest.raises(BadRequest, match="too few to learn from"):
        train.train(rows, before, source="", today=TODAY)


def test_what_an_outcome_weighs_decides_what_is_learnt(before: Predictor) -> None:
    """Half of the answers are rated right by feedback; all are taken for wrong with a small weight elsewhere."""
    found = {}
    for weight in (0.05, 1.0):
        rows = ledger(before, 300)
        twins = [
            msgspec.structs.replace(one, source="retry", value=0.0, weight=weight, request=f"{one.request}x")
            for one in rows
        ]
        judged = train.of_ledger([*rows, *twins], basis_of(before.id))
        assert set(judged.weights["own/small-7b"]) == {weight, min(1.0, 2 * weight), 1.0}
        found[weight] = train.train(judged, before, source="ledger", today=TODAY)
    light, heavy = (
        next(one.accuracy for one in found[weight].models if one.model == "lab/large-400b") for weight in (0.05, 1.0)
    )
    assert light > 1.5 * heavy
    reading = before.read("what is it")
    light_p, heavy_p = (found[weight].predictor.quality(reading, ["lab/large-400b"])[0].p for weight in (0.05, 1.0))
    assert light_p > heavy_p + 0.2


def test_no_floor_rests_on_outcomes_that_weigh_little(before: Predictor) -> None:
    rows = [msgspec.structs.replace(one, weight=0.2) for one in ledger(before, 600)]
    judged = train.of_ledger(rows, basis_of(before.id))
    found = train.train(judged, before, source="ledger", today=TODAY)
    assert found.certificates == []
    assert "0 were kept to calibrate by" in found.notes[0]


def test_the_newest_are_kept_whatever_the_order_of_outcomes(before: Predictor) -> None:
    rows = ledger(before, 300)
    judged = train.of_ledger(rows[::-1], basis_of(before.id))
    assert judged.readings == train.of_ledger(rows, basis_of(before.id)).readings
    found = train.train(judged, before, source="ledger", today=TODAY, newest=True)
    assert found.kept == round(0.3 * len(judged))
    assert found.compared.better, "the one before knew these models by no name"
    again = train.train(judged, found.predictor, source="ledger", today=TODAY, newest=True)
    assert not again.compared.better, "the same outcomes once more are no gain"
