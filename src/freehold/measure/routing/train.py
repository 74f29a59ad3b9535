"""Trains a predictor on one's own outcomes, and calibrates quality floors on rows that it was not trained on.

From files     prompts and outcomes (tables.py). With `LEAST_OWN` rows or more a new basis is learnt from the prompts;
               with fewer the basis that ships is kept, and only the heads are learnt
From a ledger  readings and outcomes (record/outcomes.py): no prompt is needed and none is kept, so the basis stays that
               of the predictor in force, and the heads are learnt again

Rows are split once: those to learn from and, `KEPT` of them, those to tell and to calibrate by, drawn by seed, or the
newest ones. What comes out is the predictor that was calibrated, not one refitted on all rows afterwards: a certificate
is worth nothing for another.

An outcome of a ledger has a weight, which says how much it tells of the answer's being right (record/outcomes.py).
Several outcomes of one answer are one observation: their weighted mean, with their weights together and 1 at most.
Heads are learnt and scores are told with these weights. A floor is calibrated by outcomes of `SURE` or more alone: a
promise must not rest on the silence of readers.

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
from freehold.measure.routing.better import Comparison, compare
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
SURE = 0.5
"""The least weight of an outcome that a floor is calibrated by."""


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
    compared: Comparison
    notes: list[str] = field(default_factory=list)


class Judged(Struct):
    """Rows to learn from, whatever they come from, the oldest first where that is known. Exactly one of `texts` and
    `readings` has an entry per row.

    `costs`: expected dollars per row of each model, as a mean. `weights`: in the shape of `outcomes`, what each counts;
    empty where all count 1.
    """

    outcomes: dict[str, list[float | None]]
    costs: dict[str, float]
    texts: list[str]
    readings: list[Any]
    """`decide.predict.Reading`s."""
    tasks: list[str]
    weights: dict[str, list[float]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.texts) or len(self.readings)

    def take(self, rows: Sequence[int]) -> "Judged":
        return Judged(
            {name: [column[i] for i in rows] for name, column in self.outcomes.items()},
            self.costs,
            [self.texts[i] for i in rows] if self.texts else [],
            [self.readings[i] for i in rows] if self.readings else [],
            [self.tasks[i] for i in rows] if self.tasks else [],
            {name: [column[i] for i in rows] for name, column in self.weights.items()},
        )

    def counts(self, name: str) -> Floats:
        """What each outcome of a model counts, 0 where there is none."""
        known = np.array([one is not None for one in self.outcomes[name]], float)
        return known * np.array(self.weights[name]) if name in self.weights else known

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
    """Returns one row per request whose reading is of `basis`, the oldest first."""
    from freehold.decide.predict import Reading
    from freehold.record.readings import unpack

    readings: dict[str, Reading] = {}
    sums: dict[tuple[str, str], tuple[float, float]] = {}
    dollars: dict[str, list[float]] = {}
    for row in sorted(rows, key=lambda one: one.at):
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
    weights = {name: [0.0] * len(place) for name in names}
    for (name, request), (value, weight) in sums.items():
        if weight > 0:
            outcomes[name][place[request]] = value / weight
            weights[name][place[request]] = min(1.0, weight)
    costs = {name: float(np.mean(dollars[name])) if name in dollars else 0.0 for name in names}
    return Judged(outcomes, costs, [], list(readings.values()), [], weights)


def train(
    rows: Judged, before: "Predictor", *, seed: int = 0, source: str, today: date, newest: bool = False
) -> Trained:
    """Trains, measures and calibrates. `before` is the predictor in force, whose basis is kept where none is learnt.

    `newest`: the last rows are kept, not a draw of all: what is told is how it fares on what came later. Raises
    BadRequest where there is too little to learn from.
    """
    from freehold.decide.predict import dumps
    from freehold.measure.routing.fit import fit, fit_heads

    if len(rows) < LEAST_ROWS:
        raise BadRequest(
            f"{len(rows)} judged requests are too few to learn from",
            hint=f"at least {LEAST_ROWS} are needed, a few hundred per model are good",
        )
    learn, kept = _split(rows, seed, newest=newest)
    own = bool(rows.texts) and len(learn) >= LEAST_OWN
    try:
        if own:
            after = fit(learn.texts, learn.outcomes, seed=seed, tasks=learn.tasks or None, made=source)
        else:
            after = fit_heads(before, learn.read(before), learn.outcomes, weights=learn.weights or None)
    except ValueError as error:
        raise BadRequest(f"nothing can be learnt from these outcomes: {error}") from error
    names = list(kept.outcomes)
    chances = _chances(before, kept, names), _chances(after, kept, names)
    compared = compare(*chances, *_columns(kept, names), seed=seed)
    result = Trained(after, [], _told(learn, kept, *chances), len(rows), len(kept), own, compared)
    learn, kept = (msgspec.structs.replace(one, texts=[], readings=one.read(after)) for one in (learn, kept))
    _calibrate(result, learn, kept, floor.named(dumps(after)), source, today)
    return result


def _split(rows: Judged, seed: int, *, newest: bool) -> tuple[Judged, Judged]:
    if newest:
        cut = len(rows) - max(1, round(len(rows) * KEPT))
        return rows.take(range(cut)), rows.take(range(cut, len(rows)))
    halves = random_rows(Table("", [str(i) for i in range(len(rows))], [""] * len(rows), {}), seed, KEPT)
    learn, kept = ([int(text) for text in half.prompts] for half in (halves.train, halves.test))
    return rows.take(learn), rows.take(kept)


def _columns(rows: Judged, names: Sequence[str]) -> tuple[Floats, Floats]:
    """(rows, models) of outcomes and what they count."""
    truth = np.stack([_column(rows.outcomes[name]) for name in names], axis=1)
    return truth, np.stack([rows.counts(name) for name in names], axis=1)


def _told(learn: Judged, kept: Judged, old: Floats, new: Floats) -> list[ModelFigures]:
    found = []
    for i, name in enumerate(kept.outcomes):
        right, counts = _column(kept.outcomes[name]), kept.counts(name)
        rows = counts > 0
        labels = sum(one is not None for one in learn.outcomes[name])
        if not rows.any():
            continue
        truth, weights = right[rows], counts[rows]
        found.append(
            ModelFigures(
                name,
                labels,
                int(rows.sum()),
                float(np.average(truth, weights=weights)),
                float(np.average((old[rows, i] - truth) ** 2, weights=weights)),
                float(np.average((new[rows, i] - truth) ** 2, weights=weights)),
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
    """Returns, per row on which all of these were judged for sure, risk and failure of the cheaper ones in order."""
    names = [*cheaper, strong]
    sure = np.min([rows.counts(name) for name in names], axis=0) >= SURE
    places = np.flatnonzero(sure).tolist()
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
