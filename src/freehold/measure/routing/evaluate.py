"""Every figure of `freehold route eval`: reads files, splits them, trains, measures, and gathers seeds into a Report.

With training files alone, each kind of file is split by itself, at random and with domains held out, once per seed, and
trained on its own training rows. With test files too, one predictor is trained on all the training files and tested on
each kind of test file as it is: nothing of the test is looked at before, and the seeds differ in what the training
draws at random. A figure of several seeds is a `Spread`.
"""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import TypeVar

import msgspec
from msgspec import Struct, field

from freehold.errors import BadRequest
from freehold.measure.routing import floors, newcomers, pairs, pools, prices, robust
from freehold.measure.routing.fit import LEAST
from freehold.measure.routing.scores import Learner, Scorer, by_length, by_task, constant, learned, router
from freehold.measure.routing.splits import Kind, Split, random_rows, splits
from freehold.measure.routing.tables import Table, join, read_all

SEEDS = 5
KEPT = 0.3
"""Share of the training rows kept out of a second fit, to plan by and to calibrate a carried floor."""
TIMED = (4, 40)
"""Candidates of a timed decision: what a route holds, and more than any does."""

Say = Callable[[str], None]
K = TypeVar("K")
V = TypeVar("V")


class Spread(Struct):
    """A figure over seeds: mean, standard deviation (None for a single one) and how many had it."""

    mean: float
    sd: float | None
    n: int


class PairReport(Struct):
    """`about`: rows, accuracies, dollars per 1,000 requests. `routers`: figures of `pairs.Routed`."""

    weak: str
    strong: str
    about: dict[str, Spread]
    routers: dict[str, dict[str, Spread]]
    notes: list[str]


class PoolReport(Struct):
    """`about`: figures of `pools.PoolFigures`. `routers`: of `pools.Routed`. `hull`, `curve`: the first seed's."""

    pool: str
    models: int
    best_model: str
    about: dict[str, Spread]
    routers: dict[str, dict[str, Spread]]
    hull: list[str]
    curve: list[pools.Point]
    lead: list[Spread]
    """As `pools.PoolFigures.lead`, budget by budget over seeds."""
    lead_low: list[Spread] = field(default_factory=list)


class FloorReport(Struct):
    who: str
    router: str
    mode: str
    alpha: float
    resamplings: int
    figures: dict[str, Spread]


class NewcomerReport(Struct):
    labels: int | None
    figures: dict[str, Spread]


class FlipReport(Struct):
    """`details`: which trigger string was the worst, one per seed."""

    kind: str
    figures: dict[str, Spread]
    details: list[str] = field(default_factory=list)


class SplitReport(Struct):
    """One way of splitting one kind of file, all seeds. Costs are US dollars per 1,000 requests."""

    split: Kind
    seeds: int
    train_rows: int
    test_rows: int
    train_tasks: list[str]
    test_tasks: list[str]
    pairs: list[PairReport] = field(default_factory=list)
    pools: list[PoolReport] = field(default_factory=list)
    floors: list[FloorReport] = field(default_factory=list)
    newcomers: list[NewcomerReport] = field(default_factory=list)
    flips: list[FlipReport] = field(default_factory=list)


class TableReport(Struct):
    kind: str
    rows: int
    models: int
    splits: list[SplitReport]
    times: list[robust.Times] = field(default_factory=list)
    assumed: list[str] = field(default_factory=list)
    """Models whose price is no list price."""


class Report(Struct):
    """What `freehold route eval --json` prints."""

    train: list[str]
    test: list[str]
    seeds: int
    prices: str
    """Day of the list prices."""
    tables: list[TableReport]


def evaluate(
    train: Sequence[Path],
    test: Sequence[Path] = (),
    *,
    asked: Sequence[tuple[str, str]] = (),
    seeds: int = SEEDS,
    learn: Learner = learned,
    say: Say = lambda _: None,
) -> Report:
    """Measures. Raises ConfigError for a file that is none, BadRequest for a pair that no file has."""
    training, testing = read_all(train), read_all(test)
    _known_pairs(asked, training)
    report = Report([str(path) for path in train], [str(path) for path in test], seeds, prices.price_list().date, [])
    for table in testing or training:
        if testing:
            together = join(training)
            made: Iterable[Split] = (Split("given", seed, together, table) for seed in range(seeds))
        else:
            made = splits(table, range(seeds))
        mine = [pair for pair in asked if all(name in table.models for name in pair)]
        report.tables.append(_table(table, made, mine, seeds, learn, say))
    return report


def _known_pairs(asked: Sequence[tuple[str, str]], training: Sequence[Table]) -> None:
    for pair in asked:
        if not any(all(name in table.models for name in pair) for table in training):
            pairs.choose(join(training), [pair])  # says which name is wrong, if one is
            raise BadRequest(f"no file has both {pair[0]} and {pair[1]}", param="--pair")


class _Measured(Struct):
    """What one split gave."""

    split: Split
    pairs: list[pairs.PairFigures]
    pools: list[pools.PoolFigures]
    floors: list[floors.FloorFigures]
    newcomers: list[newcomers.Newcomer]
    flips: list[robust.Flips]


def _table(
    table: Table, made: Iterable[Split], asked: Sequence[tuple[str, str]], seeds: int, learn: Learner, say: Say
) -> TableReport:
    by_kind: dict[Kind, list[_Measured]] = {}
    times: list[robust.Times] = []
    for split in made:
        rows = f"{len(split.train)} rows to train, {len(split.test)} to test"
        say(f"{table.kind}: {split.kind} split, seed {split.seed}: {rows}")
        one = _measure(split, asked, -(-floors.RESAMPLINGS // seeds), learn)
        if not times:
            names = [name for name in table.models if name in split.train.models]
            predictor = learn(split.train, split.seed)
            counts = sorted({min(count, len(names)) for count in TIMED})
            times = [one for n in counts for one in robust.times(predictor, split.test.prompts, names[:n])]
        by_kind.setdefault(split.kind, []).append(one)
    assumed = [name for name in table.models if prices.price(name).known != "listed"]
    reports = [_gathered(kind, found) for kind, found in by_kind.items()]
    return TableReport(table.kind, len(table), len(table.models), reports, times, assumed)


def _measure(split: Split, asked: Sequence[tuple[str, str]], resamplings: int, learn: Learner) -> _Measured:
    predictor = learn(split.train, split.seed)
    shared = [name for name in split.test.models if name in split.train.models]
    routers: dict[str, Scorer] = {
        "freehold": router(predictor),
        "random": constant(split.train),
        "length": by_length(split.train),
        "task mean": by_task(split.train),
    }
    tested = [name for name in shared if sum(one is not None for one in split.test.models[name].ok) >= pairs.LEAST_ROWS]
    wanted = pairs.choose(split.train.only(tested), asked) if len(tested) > 1 else []
    measured_pairs = []
    for pair in wanted:
        own = {**routers, "length": pairs.length_scorer(split.train, pair)}
        measured_pairs.append(pairs.figures(pair, split, own))
    found = [pool for pool in pools.pools(split.test, shared) if len(pool.models) > 2]
    kept = random_rows(split.train, split.seed, KEPT)
    wants = bool(wanted or found) and len(kept.train) >= LEAST
    short = learn(kept.train, split.seed) if wants else None
    inner = (kept, router(short)) if short is not None else None
    measured_pools = [pools.figures(pool, split, routers, inner) for pool in found]
    gated = [(pair.name, pair.strong, [pair.weak]) for pair in wanted]
    complete = next((pool for pool in found if pool.name == "complete"), None)
    if complete is not None:
        several = floors.of_pool(complete, split)
        if several is not None:
            gated.append((f"{len(several[1])} cheaper / {several[0]}", *several))
    measured_floors = []
    shorter = Split(split.kind, split.seed, kept.train, split.test)
    for who, strong, cheaper in gated:
        measured_floors += floors.held_out(who, split, routers, strong, cheaper, resamplings)
        if inner is None:
            continue
        measured_floors += floors.carried(who, shorter, inner[1], kept.test, strong, cheaper, resamplings)
    joined = newcomers.figures(split, complete, shared, learn) if len(shared) > 1 else []
    flips = robust.flips(predictor, split.test.prompts, wanted[0].weak, wanted[0].strong, split.seed) if wanted else []
    return _Measured(split, measured_pairs, measured_pools, measured_floors, joined, flips)


# --- over seeds --------------------------------------------------------------------------------------------------


def spread(values: Sequence[float]) -> Spread:
    return Spread(fmean(values), stdev(values) if len(values) > 1 else None, len(values))


def spreads(found: Sequence[Struct]) -> dict[str, Spread]:
    """Returns the numeric fields of equal Structs, each over those that have it."""
    told: dict[str, list[float]] = {}
    for one in found:
        for name in one.__struct_fields__:
            value = getattr(one, name)
            if isinstance(value, bool | int | float):
                told.setdefault(name, []).append(float(value))
    return {name: spread(values) for name, values in told.items()}


def _gathered(kind: Kind, found: Sequence[_Measured]) -> SplitReport:
    first = found[0].split
    report = SplitReport(
        kind,
        len(found),
        len(first.train),
        len(first.test),
        sorted(set(first.train.tasks) - {""}),
        sorted(set(first.test.tasks) - {""}),
    )
    for pair, several in _grouped((one for each in found for one in each.pairs), lambda one: one.pair).items():
        notes = list(dict.fromkeys(one.note for one in several if one.note))
        report.pairs.append(PairReport(pair.weak, pair.strong, spreads(several), _routers(several), notes))
    for name, pooled in _grouped((one for each in found for one in each.pools), lambda one: one.pool).items():
        head = pooled[0]
        ours = head.routers.get("freehold")
        curve = ours.curve if ours is not None else []
        lead = [spread(at) for at in zip(*(one.lead for one in pooled if one.lead), strict=True)]
        low = [spread(at) for at in zip(*(one.lead_low for one in pooled if one.lead_low), strict=True)]
        told = (spreads(pooled), _routers(pooled), head.hull, curve, lead, low)
        report.pools.append(PoolReport(name, head.models, head.best_model, *told))
    gates = _grouped(
        (one for each in found for one in each.floors), lambda one: (one.who, one.router, one.mode, one.alpha)
    )
    for (who, name, mode, alpha), gated in gates.items():
        report.floors.append(FloorReport(who, name, mode, alpha, sum(one.resamplings for one in gated), spreads(gated)))
    for labels, lines in _grouped((one for each in found for one in each.newcomers), lambda one: one.labels).items():
        report.newcomers.append(NewcomerReport(labels, spreads(lines)))
    flips = _grouped((one for each in found for one in each.flips), lambda one: one.kind.partition(":")[0])
    for what, changed in flips.items():
        details = [one.kind.partition(": ")[2] for one in changed if ": " in one.kind]
        report.flips.append(FlipReport(what, spreads(changed), details))
    return report


def _routers(found: Sequence[pairs.PairFigures] | Sequence[pools.PoolFigures]) -> dict[str, dict[str, Spread]]:
    names = dict.fromkeys(name for one in found for name in one.routers)
    return {name: spreads([one.routers[name] for one in found if name in one.routers]) for name in names}


def _grouped(items: Iterable[V], key: Callable[[V], K]) -> dict[K, list[V]]:
    groups: dict[K, list[V]] = {}
    for item in items:
        groups.setdefault(key(item), []).append(item)
    return groups


def encoded(report: Report) -> bytes:
    return msgspec.json.encode(report)
