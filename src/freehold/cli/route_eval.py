"""`freehold route eval`: every figure of a router on tables of outcomes, beside baselines that know next to nothing."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from freehold.cli import output
from freehold.cli.route import Several

if TYPE_CHECKING:
    from freehold.measure.routing.report import Section

_FILE = click.Path(path_type=Path, dir_okay=False)


def _pair(_: click.Context, parameter: click.Parameter, given: tuple[str, ...]) -> list[tuple[str, str]]:
    found = []
    for text in given:
        names = [name.strip() for name in text.split(",")]
        if len(names) != 2 or not all(names) or names[0] == names[1]:
            raise click.BadParameter(f"{text!r} is not two models, as in gpt-4o-mini,gpt-4o", param=parameter)
        found.append((names[0], names[1]))
    return found


_train = click.option(
    "--train", multiple=True, required=True, type=_FILE, metavar="FILE...", help="Tables to learn from."
)
_test = click.option(
    "--test", multiple=True, type=_FILE, metavar="FILE...", help="Tables to test on, not looked at before."
)
_pairs = click.option("--pair", "pairs", multiple=True, metavar="A,B", callback=_pair, help="Also these two models.")


@click.command(cls=Several)
@_train
@_test
@_pairs
@click.option("--seeds", default=5, show_default=True, type=click.IntRange(1, 100), help="How often all is repeated.")
@click.option("--markdown", is_flag=True, help="Print Markdown.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(
    train: tuple[Path, ...],
    test: tuple[Path, ...],
    pairs: list[tuple[str, str]],
    seeds: int,
    markdown: bool,
    as_json: bool,
) -> None:
    """Measure the predictor that routes on tables of who answered what right.

    Without --test each table is split by itself, at random and with whole domains held out. With --test one predictor
    is trained on all of --train and tested on all of --test.

    Files are CSV, gzipped or not, in the columns of RouteLLM (prompt, subject, a column of True and False per model),
    MMLU-Pro (question_id, category, src, question, options, a column of 0 and 1 per model), ZeroEval (id, task, prompt,
    MODEL|ok, MODEL|out_chars), or plainly prompt, MODEL|ok and perhaps task, MODEL|out_chars, MODEL|cost.
    """
    from freehold.measure.routing.needs import numpy_installed

    numpy_installed()
    from freehold.measure.routing.evaluate import evaluate
    from freehold.measure.routing.report import markdown as as_markdown
    from freehold.measure.routing.report import sections

    report = evaluate(train, test, asked=pairs, seeds=seeds, say=output.say)
    if as_json:
        output.emit(report)
    elif markdown:
        sys.stdout.write(as_markdown(report))
    else:
        for section in sections(report):
            show(section)


def show(section: "Section") -> None:
    """Prints one table with its title."""
    print(f"\n{section.title}")
    if section.columns:
        heads: list[output.Column | str] = [
            output.Column(title, right=place > 0) for place, title in enumerate(section.columns)
        ]
        output.table(heads, section.rows)
    if section.note:
        print(section.note)
