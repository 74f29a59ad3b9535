"""Trains a predictor on one's own outcomes, and calibrates quality floors on rows that it was not trained on.

From files     prompts and outcomes (tables.py). With `LEAST_OWN` rows or more a new basis is learnt from the prompts;
               with fewer the basis that ships is kept, and only the heads are learnt
From a ledger  readings and outcomes (record/outcomes.py): no prompt is needed and none is kept, so the basis stays that
               of the predictor in force, and the heads are learnt again

Rows are split once, by seed: those to learn from and, `KEPT` of them, those to tell and to calibrate by. What comes out
is the predictor that was calibrated, not one refitted on all rows afterwards: a certificate is worth nothing for
another.

Floors are calibrated against the model that was best in training, on rows where it and all the cheaper ones were
judged: for each cheaper model alone, and for all of them together.
"""

from collections.abc import Iterable, Sequence
from datetime import date
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
from msgspec import Struct, field

from freehold.decide import floor
from freehold.errors import BadRequest
from freehold.measure.routing import metrics
from freehold.measure.routing.floors import DELTA, cheaper_than, strongest
from freehold.measure.routing.metrics import Floats
from freehold.measure.routing.prices import expected
from freehold.measure.routing.splits import random_rows
from freehold.measure.routing.tables import Outcomes, Table

if TYPE_CHECKING:
    from freehold.decide.predict import Predictor, Reading
    from freehold.record.outcomes import TrainingRow

KEPT = 0.3
LEAST_OWN = 2000
LEAST_ROWS = 20
ALPHAS = (0.01, 0.02, 0.05, 0.10)
MOST_ALONE = 8


class ModelFigures(Struct):
    """One model on the rows kept out: Brier score and AUC of the predictor in force before, and of the new one."""

    model: str
    labels: int
    """It was trained on."""
    tested: int
    accuracy: float
    brier_before: float
    brier_after: float
    auc_before: float | None
    auc_after: float | None


class Trained(Struct):
    """What came of it. `predictor` is a `decide.predict.Predictor`."""

    predictor: Any
    certificates: list[floor.Certificate]
    models: list[ModelFigures]
    rows: int
    kept: int
    """Rows that were not trained on."""
    own_basis: bool
    notes: list[str] = field(default_factory=list)


class Judged(Struct):
    """Rows to learn from, whatever they come from. Exactly one of `texts` and `readings` has an entry per row.

    `costs`: expected dollars per row of each model, as a mean.
    """

    outcomes: dict[str, list[float | None]]
    costs: dict[str, float]
    texts: list[str]
    readings: list[Any]
    """`decide.predict.Reading`s."""
    tasks: list[str]

    def __len__(self) -> int:
        return len(self.texts) or len(self.readings)

    def take(self, rows: Sequence[int]) -> "Judged":
        return Judged(
            {name: [column[i] for i in rows] for name, column in self.outcomes.items()},
            self.costs,
            [self.texts[i] for i in rows] if self.texts else [],
            [self.readings[i] for i in rows] if self.readings else [],
            [self.tasks[i] for i in rows] if self.tasks else [],
        )

    def read(self, predictor: "Predictor") -> "list[Reading]":
        return self.readings or [predictor.read(text) for text in self.texts]


def of_tables(table: Table) -> Judged:
    """Returns the rows of a table of outcomes."""
    costs = {name: float(np.mean(expected(table, name, table))) for name in table.models}
    outcomes = {
        name: [None if one is None else float(one) for one in column] for name, column in table.outcomes().items()
    }
    return Judged(outcomes, costs, table.prompts, [], table.tasks if len(set(table.tasks)) > 1 else [])


def of_ledger(rows: "Iterable[TrainingRow]", basis: bytes) -> Judged:
    """Returns one row per request whose reading is of `basis`; several outcomes of one answer become their mean."""
    from freehold.decide.predict import Reading
    from freehold.record.readings import unpack

    readings: dict[str, Reading] = {}
    sums: dict[tuple[str, str], tuple[float, float]] = {}
    dollars: dict[str, list[float]] = {}
    for row in rows:
        if row.basis != basis or not row.reading:
            continue
        if row.request not in readings:
            readings[row.request] = Reading(unpack(row.reading))
            for one in row.candidates:
                if one.dollars is not None:
                    dollars.setdefault(one.name, []).append(one.dollars)
        value, weight = sums.get((row.deployment, row.request), (0.0, 0.0))
        sums[row.deployment, row.request] = value + row.weight * row.value, weight + row.weight
    names = sorted({name for name, _ in sums})
    place = {request: i for i, request in enumerate(readings)}
    outcomes: dict[str, list[float | None]] = {name: [None] * len(place) for name in names}
    for (name, request), (value, weight) in sums.items():
        if weight > 0:
            outcomes[name][place[request]] = value / weight
    costs = {name: float(np.mean(dollars[name])) if name in dollars else 0.0 for name in names}
    return Judged(outcomes, costs, [], list(readings.values()), [])


def train(rows: Judged, before: "Predictor", *, seed: int = 0, source: str, today: date) -> Trained:
    """Trains, measures and calibrates. `before` is the predictor in force, whose basis is kept where none is learnt.

    Raises BadRequest where there is too little to learn from.
    """
    from freehold.decide.predict import dumps
    from freehold.measure.routing.fit import fit, fit_heads

    if len(rows) < LEAST_ROWS:
        raise BadRequest(
            f"{len(rows)} judged requests are too few to learn from",
            hint=f"at least {LEAST_ROWS} are needed, a few hundred per model are good",
        )
    halves = random_rows(_numbered(len(rows)), seed, KEPT)
    learn, kept = rows.take(_numbers(halves.train)), rows.take(_numbers(halves.test))
    own = bool(rows.texts) and len(learn) >= LEAST_OWN
    try:
        if own:
            after = fit(learn.texts, learn.outcomes, seed=seed, tasks=learn.tasks or None, made=source)
        else:
            after = fit_heads(before, learn.read(before), learn.outcomes)
    except ValueError as error:
        raise BadRequest(f"nothing can be learnt from these outcomes: {error}") from error
    result = Trained(after, [], _told(learn, kept, before, after), len(rows), len(kept), own)
    learn, kept = (msgspec.structs.replace(one, texts=[], readings=one.read(after)) for one in (learn, kept))
    _calibrate(result, learn, kept, floor.named(dumps(after)), source, today)
    return result


def _numbered(count: int) -> Table:
    return Table("", [str(i) for i in range(count)], [""] * count, {})


def _numbers(table: Table) -> list[int]:
    return [int(text) for text in table.prompts]


def _told(learn: Judged, kept: Judged, before: "Predictor", after: "Predictor") -> list[ModelFigures]:
    names = list(kept.outcomes)
    old, new = (_chances(one, kept, names) for one in (before, after))
    found = []
    for i, name in enumerate(names):
        right = _column(kept.outcomes[name])
        rows = ~np.isnan(right)
        labels = sum(one is not None for one in learn.outcomes[name])
        if not rows.any():
            continue
        truth = right[rows]
        found.append(
            ModelFigures(
                name,
                labels,
                int(rows.sum()),
                float(truth.mean()),
                float(np.mean((old[rows, i] - truth) ** 2)),
                float(np.mean((new[rows, i] - truth) ** 2)),
                metrics.auc(old[rows, i], (truth > 0.5).astype(float)),
                metrics.auc(new[rows, i], (truth > 0.5).astype(float)),
            )
        )
    return found


def _calibrate(result: Trained, learn: Judged, kept: Judged, predictor: str, source: str, today: date) -> None:
    """Adds certificates, the largest sets of models first, and a note for each set with too few rows."""
    table = Table(
        "",
        [""] * len(learn),
        [""] * len(learn),
        {name: Outcomes(_whole(column)) for name, column in learn.outcomes.items()},
    )
    names = [name for name in learn.outcomes if any(one is not None for one in learn.outcomes[name])]
    if len(names) < 2:
        result.notes.append("no floor was calibrated: only one model has outcomes")
        return
    strong = strongest(table, names)
    cheaper = cheaper_than(table, strong, names, learn.costs)
    if not cheaper:
        result.notes.append(f"no floor was calibrated: nobody is cheaper than {strong}, the best")
        return
    sets = [cheaper] if len(cheaper) > 1 else []
    sets += [[name] for name in cheaper[:MOST_ALONE]]
    for some in sets:
        before = [min(one[0] for one in trial) for trial in _trials(learn, result.predictor, strong, some)]
        trials = _trials(kept, result.predictor, strong, some)
        few = [alpha for alpha in ALPHAS if len(trials) < floor.least(alpha, DELTA) or not before]
        if few:
            need = floor.least(few[-1], DELTA)
            result.notes.append(
                f"a floor of {1 - few[-1]:g} for {', '.join(some)} needs {need} requests on which all of them and "
                f"{strong} were judged; {len(trials)} were kept to calibrate by"
            )
        for alpha in ALPHAS[len(few) :]:
            need = floor.least(alpha, DELTA)
            grid = floor.grid(before, 2 * need, len(trials))
            result.certificates.append(
                floor.certify(
                    trials, grid, alpha, DELTA, strong=strong, cheaper=some, predictor=predictor, source=source,
                    made=today.isoformat(),
                )
            )  # fmt: skip


def _trials(
    rows: Judged, predictor: "Predictor", strong: str, cheaper: Sequence[str]
) -> list[list[tuple[float, bool]]]:
    """Returns, per row on which all of these models were judged, risk and failure of the cheaper ones in order."""
    names = [*cheaper, strong]
    places = [i for i in range(len(rows)) if all(rows.outcomes[name][i] is not None for name in names)]
    some = rows.take(places)
    chances = _chances(predictor, some, names)
    found = []
    for place in range(len(places)):
        right = [(some.outcomes[name][place] or 0.0) > 0.5 for name in names]
        best = float(chances[place, -1])
        found.append(
            [(floor.risk(float(chances[place, i]), best), right[-1] and not right[i]) for i in range(len(cheaper))]
        )
    return found


def _chances(predictor: "Predictor", rows: Judged, names: Sequence[str]) -> Floats:
    readings = rows.read(predictor)
    return np.array([[one.p for one in predictor.quality(reading, names)] for reading in readings]).reshape(
        len(readings), len(names)
    )


def _column(values: Sequence[float | None]) -> Floats:
    return np.array([np.nan if one is None else one for one in values], float)


def _whole(values: Sequence[float | None]) -> list[int | None]:
    return [None if one is None else int(one > 0.5) for one in values]
