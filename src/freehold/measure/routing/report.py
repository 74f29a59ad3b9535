"""A Report as tables of words: the same sections on a terminal, in a pipe and in bench/RESULTS.md."""

from collections.abc import Iterator, Mapping, Sequence

from msgspec import Struct

from freehold.measure.routing.evaluate import PairReport, PoolReport, Report, SplitReport, Spread, TableReport

NOTHING = "-"
ROUTERS = ("freehold", "random", "length", "task mean")
GATES = ("freehold", "task mean")
SPLITS = {"random": "random rows", "domains": "domains held out", "given": "the test files"}


class Section(Struct):
    """A table: `columns` and rows of text. The first column is a name, all others are figures; `note` stands below."""

    title: str
    columns: list[str]
    rows: list[list[str]]
    note: str = ""


def sections(report: Report) -> Iterator[Section]:
    """Yields every table of a report, one kind of file after the other."""
    for table in report.tables:
        for split in table.splits:
            where = f"{table.kind}, {SPLITS[split.split]}"
            yield from _of_split(where, split)
        if table.times:
            yield _times(table)
        if table.assumed:
            names = ", ".join(table.assumed[:12]) + (" ..." if len(table.assumed) > 12 else "")
            yield Section(f"{table.kind}: prices", [], [], f"not list prices, see prices.toml: {names}")


def markdown(report: Report) -> str:
    """Returns all sections as Markdown."""
    return "\n".join(_markdown(one) for one in sections(report))


def _markdown(section: Section) -> str:
    lines = [f"### {section.title}", ""]
    if section.columns:
        lines.append("| " + " | ".join(section.columns) + " |")
        lines.append("|---|" + "---:|" * (len(section.columns) - 1))
        lines += ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in section.rows]
        lines.append("")
    if section.note:
        lines += [section.note, ""]
    return "\n".join(lines)


def _of_split(where: str, split: SplitReport) -> Iterator[Section]:
    if split.pairs:
        yield _pairs(where, split)
    for pool in split.pools:
        yield _pool(where, pool)
    if split.floors:
        yield _floors(where, split)
    if split.newcomers:
        yield _newcomers(where, split)
    if split.flips:
        rows = [[one.kind, *_cells(one.figures, ("flipped", "raised"), _percent)] for one in split.flips]
        pair = split.pairs[0]
        worst = ", ".join(dict.fromkeys(detail for one in split.flips for detail in one.details))
        yield Section(
            f"{where}: decisions that flip, {pair.weak} / {pair.strong}",
            ["change", "flipped", "weak to strong"],
            rows,
            f"Worst, seed by seed: {worst}." if worst else "",
        )


def _pairs(where: str, split: SplitReport) -> Section:
    rows: list[list[str]] = []
    notes: list[str] = []
    for pair in split.pairs:
        rows += _pair(pair)
        notes += [f"{pair.weak} / {pair.strong}: {note}" for note in pair.notes]
    return Section(
        f"{where}: a weak and a strong model ({split.seeds} seeds, {split.train_rows:,} rows to train)",
        ["pair, router", "APGR", "CPT50", "CPT80", "by cost: APGR", "CPT50", "CPT80"],
        rows,
        " ".join(notes),
    )


def _pair(pair: PairReport) -> Iterator[list[str]]:
    about = pair.about
    accuracy = f"{_percent(about.get('weak_accuracy'))} / {_percent(about.get('strong_accuracy'))}"
    cost = f"{_dollars(about.get('weak_cost'))} / {_dollars(about.get('strong_cost'))} per 1,000"
    yield [f"{pair.weak} / {pair.strong}: right {accuracy}, {cost}", *[""] * 6]
    for name in ROUTERS:
        figures = pair.routers.get(name)
        if figures is None:
            continue
        ours = name == "freehold"
        yield [
            name,
            _number(figures.get("apgr")) + (_between(figures) if ours else ""),
            *_cells(figures, ("cpt50", "cpt80"), _percent),
            _number(figures.get("cost_apgr")),
            *_cells(figures, ("cost_cpt50", "cost_cpt80"), _percent),
        ]
    yield [
        "best single (always the strong one)",
        "1 at 100 %",
        "100.0 %",
        "100.0 %",
        "1 at 100 %",
        "100.0 %",
        "100.0 %",
    ]


def _pool(where: str, pool: PoolReport) -> Section:
    about = pool.about
    rows = []
    for name in ROUTERS:
        figures = pool.routers.get(name)
        if figures is None:
            continue
        label = {"random": "no prompt looked at", "freehold": "freehold"}.get(name, name)
        interval = ""
        if "saved_low" in figures:
            interval = f" ({figures['saved_low'].mean:.0%} to {figures['saved_high'].mean:.0%})"
        rows.append(
            [
                label,
                _number(figures.get("aiq")),
                *_cells(figures, ("beaten_hull", "beaten_plain"), _percent),
                _percent(figures.get("saved")) + interval,
                _percent(figures.get("saved99")),
                f"{_percent(figures.get('top_accuracy'))} at {_dollars(figures.get('top_cost'))}",
            ]
        )
    rows.append(
        [
            "zero router (hull on the test)",
            _number(about.get("zero_aiq")),
            "",
            "",
            _percent(about.get("zero_saved")),
            "",
            "",
        ]
    )
    best = f"{_percent(about.get('best_accuracy'))} at {_dollars(about.get('best_cost'))}"
    rows.append([f"best single: {pool.best_model}", "", "", "", "0.0 %", "100.0 %", best])
    visible = f" Without hidden reasoning tokens: {_percent(about['visible'])} saved." if "visible" in about else ""
    hull = f" On the hull: {', '.join(pool.hull)}." if pool.hull else ""
    lead = ""
    if pool.lead:
        points = ", ".join(f"{one.mean * 100:+.1f}" for one in pool.lead)
        lead = f" Lead over the zero router from the cheapest budget to the dearest, points of accuracy: {points}."
    if pool.lead_low:
        points = ", ".join(f"{one.mean * 100:+.1f}" for one in pool.lead_low)
        lead += f" At least, with 97.5 % (by bootstrap, mean of seeds): {points}."
    if "planned_lead" in about:
        lead += (
            " Without hindsight, mixes chosen in training for each budget are above the zero router with hindsight at "
            f"{_percent(about['planned_beaten'])} of them, by {about['planned_lead'].mean * 100:+.1f} points in the "
            f"mean, and above the zero router built in training at {_percent(about['planned_beaten_plain'])}."
        )
    luck = f" (Some model was right on {_percent(about.get('oracle'))}: luck included.)"
    note = f"Costs in dollars per 1,000 requests.{lead}{visible}{hull}{luck}"
    return Section(
        f"{where}: all models, pool {pool.pool} ({pool.models} models)",
        [
            "router",
            "AIQ",
            "budgets above zero",
            "above plain zero",
            "saved at the best single's accuracy",
            "at 99 % of it",
            "most accurate",
        ],
        rows,
        note,
    )


def _floors(where: str, split: SplitReport) -> Section:
    rows = [
        [
            f"{one.who}: {one.router}, {one.mode}",
            f"{one.alpha:.0%}",
            *_cells(one.figures, ("rate", "rate95", "over", "certified", "routed", "saved"), _percent),
            *_cells(one.figures, ("watched", "alarms"), _percent),
        ]
        for one in split.floors
        if one.router in GATES
    ]
    count = split.floors[0].resamplings
    return Section(
        f"{where}: the quality floor, {count} resamplings each, confidence 95 %",
        [
            "who, gate",
            "at most",
            "violations",
            "95 % of runs",
            "runs over",
            "certified",
            "routed",
            "cost saved",
            "watched",
            "alarms",
        ],
        rows,
    )


def _newcomers(where: str, split: SplitReport) -> Section:
    rows = [
        [
            "all" if one.labels is None else f"{one.labels}",
            *_cells(one.figures, ("brier", "constant", "auc", "apgr", "pool_aiq"), _number),
            _percent(one.figures.get("pool_saved")),
        ]
        for one in split.newcomers
    ]
    return Section(
        f"{where}: a new model",
        ["labels", "Brier", "of a constant", "AUC", "APGR", "AIQ of the pool", "saved"],
        rows,
    )


def _times(table: TableReport) -> Section:
    rows = [
        [f"{one.size // 1024} KB, {one.models} models, {one.calls} calls", f"{one.p50:.0f} us", f"{one.p99:.0f} us"]
        for one in table.times
    ]
    return Section(f"{table.kind}: CPU time of one decision", ["prompt", "p50", "p99"], rows)


def _cells(figures: Mapping[str, Spread], names: Sequence[str], told: "type[str] | object") -> list[str]:
    return [told(figures.get(name)) for name in names]  # type: ignore[operator]


def _number(one: Spread | None) -> str:
    if one is None:
        return NOTHING
    return f"{one.mean:.3f}" + (f" ± {one.sd:.3f}" if one.sd is not None else "")


def _percent(one: Spread | None) -> str:
    return NOTHING if one is None else f"{one.mean * 100:.1f} %"


def _dollars(one: Spread | None) -> str:
    return NOTHING if one is None else f"${one.mean:.3g}"


def _between(figures: Mapping[str, Spread]) -> str:
    if "low" not in figures:
        return ""
    return f" ({figures['low'].mean:.3f} to {figures['high'].mean:.3f})"
