"""`freehold cache calibrate`: how similar questions must be to get the same answer. Needs no gateway."""

from pathlib import Path
from typing import Any

import click

from freehold.cli import output


@click.command()
@click.option(
    "--route", "routes", multiple=True, required=True, metavar="NAME", help="Whose questions; may be repeated."
)
@click.option("--data", type=click.Path(path_type=Path, dir_okay=False), required=True, help="JSON lines, see above.")
@click.option("--false-hits", type=click.FloatRange(0, 0.5, min_open=True), default=0.01, show_default=True,
              help="Share of wrong answers that must be excluded.")  # fmt: skip
@click.option("--confidence", type=click.FloatRange(0.5, 1, max_open=True), default=0.95, show_default=True,
              help="How surely.")  # fmt: skip
@click.option("--dry-run", is_flag=True, help="Show what it comes to, write nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(
    routes: tuple[str, ...], data: Path, false_hits: float, confidence: float, dry_run: bool, as_json: bool
) -> None:
    """Find the least likeness at which similar questions may get the same answer.

    --data has lines {"a": ..., "b": ..., "same": true}, or lines {"text": ..., "answer": ...} where equal answers mean
    that one question's answer is right for the other. Thresholds are tested from the strictest on, each by the exact
    binomial bound; the last one that is shown to be safe is taken. Where none is, the semantic cache stays closed.
    Likeness is that of words.
    """
    from datetime import UTC, datetime

    import msgspec

    from freehold.home import home
    from freehold.serve.cache.semantic import save_calibration
    from freehold.serve.cache.similar import calibrated
    from freehold.serve.cache.trials import read_rows, trials_of
    from freehold.serve.cache.words import BY

    trials = trials_of(read_rows(data))
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    made = [
        calibrated(trials, name=route, by=BY, false_hits=false_hits, confidence=confidence, made=now, source=data.name)
        for route in routes
    ]
    if not dry_run:
        for one in made:
            save_calibration(home() / "cache", one)
    one = made[0]
    if as_json:
        rows: list[dict[str, Any]] = [msgspec.to_builtins(each) for each in made]
        output.emit(rows)
        return
    if one.threshold is None:
        output.say(f"no likeness could be shown to give at most {false_hits:.2%} wrong answers ({one.pairs:,} pairs)")
        output.hint("more pairs, a higher --false-hits, or no semantic cache here")
        return
    output.say(
        f"questions at least {one.threshold:.3f} alike get the same answer: {one.hits:,} of {one.pairs:,} here,"
        f" {one.wrong} of them wrong, at most {one.bound:.2%} with confidence {confidence:g}"
    )
