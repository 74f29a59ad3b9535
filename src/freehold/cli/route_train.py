"""`freehold route train`: learns from one's own outcomes who answers what well, and calibrates quality floors."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click
from msgspec import Struct

from freehold.cli import output
from freehold.cli.route import Several

if TYPE_CHECKING:
    from freehold.decide.floor import Certificate
    from freehold.measure.routing.better import Comparison
    from freehold.measure.routing.train import Judged, ModelFigures, Trained

FILE = "route.predictor"
FLOORS = ".floors.json"
OLD = ".before"
_FILE = click.Path(path_type=Path, dir_okay=False)


class Told(Struct):
    """What `--json` prints."""

    file: str
    floors: str
    rows: int
    kept: int
    own_basis: bool
    models: "list[ModelFigures]"
    certificates: "list[Certificate]"
    notes: list[str]
    compared: "Comparison"
    replaced: bool
    """Whether it was written; False: `--if-better`, and it is not."""
    old: str | None
    """Where the one is kept that stood there before."""
    reloaded: bool
    """Whether a running gateway was told to read it."""


@click.command(cls=Several)
@click.option("--data", "data", multiple=True, type=_FILE, metavar="FILE...", help="Tables of outcomes to learn from.")
@click.option("--ledger", is_flag=True, help="Learn from the outcomes in the ledger.")
@click.option("--days", type=click.IntRange(1), metavar="N", help="Of the ledger, only the last so many.")
@click.option("--silence", is_flag=True, help="Take answers that nobody repeated for right, with a small weight.")
@click.option("--from", "start", type=_FILE, metavar="FILE", help="The predictor to start from; the one in force else.")
@click.option("-o", "--out", type=_FILE, metavar="PATH", help=f"Where to write it; FREEHOLD_HOME/{FILE} else.")
@click.option(
    "--if-better", is_flag=True, help="Write it only if the newest three outcomes of ten show that it is better."
)
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="Of the split into rows.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(
    data: tuple[Path, ...],
    ledger: bool,
    days: int | None,
    silence: bool,
    start: Path | None,
    out: Path | None,
    if_better: bool,
    seed: int,
    as_json: bool,
) -> None:
    """Train the predictor that routes on your own outcomes, and calibrate quality floors.

    Learns from tables (the columns that `freehold route eval` knows) or from the ledger: feedback, verdicts and checks
    of requests that a route decided. Three rows of ten are kept to tell how good it is, and to calibrate floors by.
    Writes the predictor, and its floors beside it; the gateway reads both when it starts. What stood there before is
    kept under the same name with .before at its end.

    With --if-better the newest rows are the ones that are kept, and nothing is written unless the new predictor is
    better on them than the one in force, with 95 % confidence, and no floor is lost. A gateway that runs here is told
    to read it. Made for a timer.
    """
    if ledger == bool(data):
        raise click.UsageError("give --data FILE... or --ledger", click.get_current_context())
    if if_better and not ledger:
        raise click.UsageError("--if-better goes with --ledger: tables do not say what is newest")
    from freehold.measure.routing.needs import numpy_installed

    numpy_installed()
    from freehold.cli.client import reload_running
    from freehold.home import home
    from freehold.measure.routing.train import train

    target = out if out is not None else home() / FILE
    before = _before(start)
    if ledger:
        rows, source = _of_ledger(before.id, days, silence)
    else:
        rows, source = _of_files(data)
    output.say(f"{len(rows):,} judged requests, {len(rows.outcomes)} models")
    trained = train(rows, before, seed=seed, source=source, today=datetime.now(UTC).date(), newest=if_better)
    floors = target.with_name(target.name + FLOORS)
    why_not = _why_not(trained, floors) if if_better else None
    old = _written(trained, target, floors) if why_not is None else None
    reloaded = if_better and why_not is None and out is None and reload_running()
    if why_not is not None:
        trained.notes.append(f"nothing was written, the one in force stays: {why_not}")
    told = Told(
        str(target), str(floors), trained.rows, trained.kept, trained.own_basis, trained.models, trained.certificates,
        trained.notes, trained.compared, why_not is None, None if old is None else str(old), reloaded,
    )  # fmt: skip
    if as_json:
        output.emit(told)
    else:
        show(told)


def _before(start: Path | None):  # type: ignore[no-untyped-def]
    from freehold.decide import predict
    from freehold.home import home

    path = start if start is not None else home() / FILE
    return predict.load(path) if start is not None or path.exists() else predict.default()


def _of_files(paths: tuple[Path, ...]) -> "tuple[Judged, str]":
    from freehold.measure.routing.tables import join, read_all
    from freehold.measure.routing.train import of_tables

    return of_tables(join(read_all(paths))), "files: " + ", ".join(path.name for path in paths)


def _of_ledger(predictor: str, days: int | None, silence: bool) -> "tuple[Judged, str]":
    from freehold.home import database
    from freehold.measure.routing.train import of_ledger
    from freehold.record.outcomes import opened, training
    from freehold.record.readings import basis_of

    now = datetime.now(UTC)
    since = now - timedelta(days=days) if days is not None else None
    connection = opened(database())
    try:
        rows = of_ledger(training(connection, since=since, silence=silence), basis_of(predictor))
    finally:
        connection.close()
    begin = since.date().isoformat() if since is not None else "its beginning"
    return rows, f"ledger from {begin} to {now.date().isoformat()}"


def _why_not(trained: "Trained", floors: Path) -> str | None:
    """Why the new predictor should not take the place of the one in force; None where it should."""
    import msgspec

    from freehold.decide.floor import Certificate
    from freehold.measure.routing.better import lost_floors

    if not trained.compared.better:
        return trained.compared.why
    try:
        known = msgspec.json.decode(floors.read_bytes(), type=list[Certificate])
    except (FileNotFoundError, msgspec.DecodeError):
        known = []
    lost = lost_floors(known, trained.certificates)
    return "it would lose the floor of " + "; ".join(lost) if lost else None


def _written(trained: "Trained", target: Path, floors: Path) -> Path | None:
    """Writes floors and predictor, and returns where what stood there before is kept, None where nothing did. A
    certificate names its predictor by hash, so no order of the two can mislead."""
    import msgspec

    from freehold.decide import predict
    from freehold.home import write_private

    old = None
    if target.exists():
        old = target.with_name(target.name + OLD)
        old_floors = old.with_name(old.name + FLOORS)
        write_private(old, target.read_bytes())
        if floors.exists():
            write_private(old_floors, floors.read_bytes())
        else:
            old_floors.unlink(missing_ok=True)
    write_private(floors, msgspec.json.encode(trained.certificates))
    predict.save(trained.predictor, target)
    return old


def show(told: Told) -> None:
    heads: list[output.Column | str] = [
        output.Column("model", whole=True),
        output.Column("labels", right=True),
        output.Column("right", right=True),
        output.Column("Brier before", right=True),
        output.Column("after", right=True),
        output.Column("AUC before", right=True),
        output.Column("after", right=True),
    ]
    output.table(heads, [_cells(one) for one in told.models])
    if told.certificates:
        print()
        columns: list[output.Column | str] = [
            output.Column("floor", right=True),
            output.Column("strong", whole=True),
            "cheaper",
            output.Column("sent to cheaper", right=True),
            output.Column("failed", right=True),
            output.Column("at most", right=True),
        ]
        output.table(columns, [_certificate(one) for one in told.certificates])
    for note in told.notes:
        output.say(note)
    if not told.replaced:
        return
    output.say(f"{told.compared.why}")
    output.say(f"wrote {told.file} and {told.floors}" + (f"; the one before is {told.old}" if told.old else ""))
    if told.reloaded:
        output.say("the running gateway was told to read it")
        return
    output.hint("a running gateway reads them when its configuration is loaded again, or it is started")


def _cells(one: "ModelFigures") -> list[object]:
    def number(value: float | None) -> str | None:
        return None if value is None else f"{value:.3f}"

    return [
        one.model,
        one.labels,
        f"{one.accuracy:.1%}",
        number(one.brier_before),
        number(one.brier_after),
        number(one.auc_before),
        number(one.auc_after),
    ]


def _certificate(one: "Certificate") -> list[object]:
    name = one.cheaper[0] if len(one.cheaper) == 1 else f"{len(one.cheaper)} models"
    if one.threshold is None:
        return [f"{1 - one.alpha:.0%}", one.strong, name, "none", None, None]
    return [
        f"{1 - one.alpha:.0%}",
        one.strong,
        name,
        f"{one.routed / one.calibrated:.1%}",
        f"{one.failed / one.routed:.1%}",
        f"{one.bound:.1%}",
    ]
