"""The quality floor put to the test: calibrate on some requests, count the violations on others, two hundred times.

Of requests sent to a cheaper model at most alpha may fail where the strong model does not (decide/floor.py). Each
resampling draws calibration and test rows anew; the guarantee says that in at least 95 % of them the *true* rate is at
most alpha. What can be counted is the rate on the test rows, which scatters around the true one: `over` is the share of
resamplings in which it lay above alpha at all, `shown_over` the share in which it did so by more than chance allows
(Clopper-Pearson, 95 %). `rate` is over all resamplings together.

    held out    both halves are rows that training never saw, from the same domains: what the guarantee is about
    carried     calibrated on training's own domains (rows kept out of the fit), tested on the test rows. Where those
                are other domains nothing is guaranteed, and the watch is what protects: `watched` is the rate when
                each outcome is fed back and the gate closes at the alarm, `alarms` how often it rang

Thresholds come from the risks of training rows, so no calibration outcome has a part in them.
"""

from collections.abc import Mapping, Sequence
from datetime import date

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from freehold.decide import floor
from freehold.measure.routing import prices
from freehold.measure.routing.metrics import Floats
from freehold.measure.routing.pools import Pool
from freehold.measure.routing.scores import Scorer, accuracies, matrix
from freehold.measure.routing.splits import Split
from freehold.measure.routing.tables import Table

ALPHAS = (0.01, 0.05, 0.10)
DELTA = 0.05
RESAMPLINGS = 200
GRID_ROWS = 2000
MOST_CHEAPER = 6


Rows = NDArray[np.int64]


class FloorFigures(Struct):
    """One gate at one alpha, over resamplings. Shares are of test requests, `saved` of the cost of always asking the
    strong model."""

    who: str
    router: str
    mode: str
    alpha: float
    resamplings: int
    certified: float
    """Share of resamplings in which some threshold was shown safe; in the others all goes to the strong model."""
    routed: float
    """Share of test requests sent to a cheaper model, mean."""
    rate: float
    """Violations among those: the mean over resamplings; one that sends nothing to a cheaper model has none."""
    rate95: float
    """The 95 % quantile over resamplings, which the guarantee is about."""
    together: float
    """Violations among those of all resamplings together."""
    all_rate: float
    """Violations among all test requests."""
    over: float
    shown_over: float
    saved: float
    watched: float | None = None
    alarms: float | None = None


class Trials(Struct):
    """Rows of one table under one gate. Columns are cheaper models, cheapest expected first."""

    risk: Floats
    failed: NDArray[np.bool_]
    paid: Floats
    strong_paid: Floats

    def take(self, rows: Rows) -> "Trials":
        return Trials(self.risk[rows], self.failed[rows], self.paid[rows], self.strong_paid[rows])


class Counted(Struct):
    """What each threshold does to each row: one column per threshold."""

    routed: NDArray[np.bool_]
    failed: NDArray[np.bool_]
    paid: Floats


def strongest(train: Table, models: Sequence[str]) -> str:
    return models[int(np.argmax(accuracies(train, models)))]


def cheaper_than(
    train: Table, strong: str, models: Sequence[str], costs: Mapping[str, float] | None = None
) -> list[str]:
    """Returns the models that cost less than `strong`, cheapest first, each better than those before it.

    At most `MOST_CHEAPER` of them, the dearest ones. `costs`: mean dollars of a call, from prices.toml where not given.
    """
    known = costs or {name: float(np.mean(prices.realised(train, name))) for name in models}
    quality = dict(zip(models, accuracies(train, models).tolist(), strict=True))
    found: list[str] = []
    below = [name for name in models if known[name] < known[strong]]
    for name in sorted(below, key=lambda one: (known[one], -quality[one])):
        if not found or quality[name] > quality[found[-1]]:
            found.append(name)
    return found[-MOST_CHEAPER:]


def trials(table: Table, scorer: Scorer, strong: str, cheaper: Sequence[str]) -> Trials:
    """Returns the rows where all of these models were asked."""
    names = [*cheaper, strong]
    right = matrix(table, names)
    rows = np.flatnonzero(~np.isnan(right).any(axis=1))
    kept = table.take(rows.tolist()).only(names)
    chances, right = scorer(kept, names), right[rows]
    paid = (
        np.stack([np.array(prices.realised(kept, name)) for name in names], axis=1)
        if len(rows)
        else np.zeros((0, len(names)))
    )
    risk = floor.risk(chances[:, :-1], chances[:, -1:])  # type: ignore[arg-type] # the same formula on arrays
    return Trials(np.asarray(risk), (right[:, :-1] == 0) & (right[:, -1:] == 1), paid[:, :-1], paid[:, -1])


def counted(some: Trials, thresholds: Sequence[float]) -> Counted:
    """The vectorised twin of `floor.levels`; a test holds the two to each other."""
    rows = np.arange(len(some.risk))
    routed, failed, paid = [], [], []
    for threshold in thresholds:
        allowed = some.risk <= threshold
        hit = allowed.any(axis=1)
        pick = np.argmax(allowed, axis=1)
        routed.append(hit)
        failed.append(hit & some.failed[rows, pick])
        paid.append(np.where(hit, some.paid[rows, pick], some.strong_paid))
    return Counted(np.stack(routed, axis=1), np.stack(failed, axis=1), np.stack(paid, axis=1))


def thresholds(train: Trials, alpha: float, calibrated: int) -> list[float]:
    return floor.grid(train.risk.min(axis=1).tolist(), 2 * floor.least(alpha, DELTA), calibrated)


def held_out(
    who: str, split: Split, routers: Mapping[str, Scorer], strong: str, cheaper: Sequence[str], resamplings: int
) -> list[FloorFigures]:
    """Halves of the test rows calibrate and test each other."""
    found = []
    for name, scorer in routers.items():
        before = trials(split.train.take(_some(len(split.train), split.seed)), scorer, strong, cheaper)
        after = trials(split.test, scorer, strong, cheaper)
        for alpha in ALPHAS:
            if len(after.risk) // 2 < floor.least(alpha, DELTA) or not len(before.risk):
                continue
            grid = thresholds(before, alpha, len(after.risk) // 2)
            table = counted(after, grid)
            tally = _Tally(alpha)
            for number in range(resamplings):
                rows = np.random.default_rng(split.seed * 100_003 + number).permutation(len(after.risk))
                first, second = np.split(rows, [len(rows) // 2])
                tally.add(_chosen(table, first, grid, alpha), table, after, second)
            found.append(tally.figures(who, name, "held out"))
    return found


def carried(
    who: str, split: Split, scorer: Scorer, kept: Table, strong: str, cheaper: Sequence[str], resamplings: int
) -> list[FloorFigures]:
    """Calibrated on `kept`, rows of the training domains that `scorer` was not fitted on; tested on the test rows."""
    before = trials(split.train.take(_some(len(split.train), split.seed)), scorer, strong, cheaper)
    calibration = trials(kept, scorer, strong, cheaper)
    after = trials(split.test, scorer, strong, cheaper)
    found = []
    for alpha in ALPHAS:
        size = len(calibration.risk) * 4 // 5
        if size < floor.least(alpha, DELTA) or not len(before.risk) or not len(after.risk):
            continue
        grid = thresholds(before, alpha, size)
        told, table = counted(calibration, grid), counted(after, grid)
        tally = _Tally(alpha)
        for number in range(resamplings):
            generator = np.random.default_rng(split.seed * 100_003 + number)
            rows = generator.permutation(len(calibration.risk))[:size]
            chosen = _chosen(told, rows, grid, alpha)
            tested = generator.permutation(len(after.risk))
            tally.add(chosen, table, after, tested)
            tally.watch(chosen, grid, calibration.take(rows), after, table, tested.tolist(), (strong, cheaper))
        found.append(tally.figures(who, "freehold", "carried"))
    return found


def of_pool(pool: Pool, split: Split) -> tuple[str, list[str]] | None:
    """Returns a pool's strong model and its cheaper ones; None where there are none."""
    strong = strongest(split.train, pool.models)
    cheaper = cheaper_than(split.train, strong, pool.models)
    return (strong, cheaper) if cheaper else None


def _some(count: int, seed: int) -> list[int]:
    if count <= GRID_ROWS:
        return list(range(count))
    return sorted(np.random.default_rng(seed).permutation(count)[:GRID_ROWS].tolist())


def _chosen(table: Counted, rows: Rows, grid: Sequence[float], alpha: float) -> int | None:
    """Returns the index of the threshold that these calibration rows show to be safe."""
    routed, failed = table.routed[rows].sum(axis=0), table.failed[rows].sum(axis=0)
    tested = [floor.Level(one, int(routed[i]), int(failed[i])) for i, one in enumerate(grid)]
    found = floor.safe(tested, alpha, DELTA)
    return None if found is None else list(grid).index(found[0].threshold)


class _Tally:
    """Adds up resamplings."""

    def __init__(self, alpha: float) -> None:
        self.alpha = alpha
        self.count = self.certified = self.over = self.shown = 0
        self.requests = self.routed = self.failed = 0
        self.saved: list[float] = []
        self.rates: list[float] = []
        self.watched = [0, 0]
        self.alarms = 0
        self.looked = False

    def add(self, chosen: int | None, table: Counted, after: Trials, rows: Rows) -> None:
        self.count += 1
        self.requests += len(rows)
        if chosen is None:
            self.saved.append(0.0)
            self.rates.append(0.0)
            return
        routed, failed = int(table.routed[rows, chosen].sum()), int(table.failed[rows, chosen].sum())
        self.certified += 1
        self.routed += routed
        self.failed += failed
        self.rates.append(failed / max(routed, 1))
        self.over += failed > self.alpha * routed
        self.shown += floor.lower(failed, max(routed, 1), DELTA) > self.alpha
        self.saved.append(1.0 - float(table.paid[rows, chosen].sum() / after.strong_paid[rows].sum()))

    def watch(
        self,
        chosen: int | None,
        grid: Sequence[float],
        calibration: Trials,
        after: Trials,
        table: Counted,
        rows: Sequence[int],
        names: tuple[str, Sequence[str]],
    ) -> None:
        """Plays the test rows in order, each outcome fed back, until the alarm closes the gate."""
        self.looked = True
        if chosen is None:
            return
        edges, counts = floor.histogram(calibration.risk.min(axis=1).tolist())
        certificate = floor.Certificate(
            self.alpha, DELTA, grid[chosen], names[0], tuple(names[1]), "", len(calibration.risk), 0, 0, self.alpha,
            edges, counts, "resampling", date.min.isoformat(),
        )  # fmt: skip
        watch = floor.Watch(certificate)
        least = after.risk.min(axis=1)
        for row in rows:
            watch.request(float(least[row]))
            if watch.alarm is not None:
                self.alarms += 1
                break
            if table.routed[row, chosen]:
                self.watched[0] += 1
                self.watched[1] += int(table.failed[row, chosen])
                watch.outcome(float(table.failed[row, chosen]))

    def figures(self, who: str, router: str, mode: str) -> FloorFigures:
        n = self.count
        return FloorFigures(
            who, router, mode, self.alpha, self.count, self.certified / n,
            self.routed / max(self.requests, 1), float(np.mean(self.rates)), float(np.quantile(self.rates, 1 - DELTA)),
            self.failed / max(self.routed, 1), self.failed / max(self.requests, 1),
            self.over / n, self.shown / n, float(np.mean(self.saved)),
            self.watched[1] / max(self.watched[0], 1) if self.looked else None,
            self.alarms / n if self.looked else None,
        )  # fmt: skip
