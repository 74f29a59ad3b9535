"""`freehold route`: trains, measures and replays what decides who answers. Each verb is a file of its own, read when
asked.

Needs no gateway. Training and measuring need numpy, which comes with `freehold[own]`.
"""

from typing import Any

import click

from freehold.cli import LazyGroup

VERBS: dict[str, tuple[str, str]] = {
    "train": ("freehold.cli.route_train", "Train the predictor on your own outcomes, and calibrate quality floors"),
    "eval": ("freehold.cli.route_eval", "Measure a predictor on tables of outcomes, beside trivial baselines"),
    "replay": ("freehold.cli.route_replay", "Decide past requests again under other rules"),
}


class Lazy(LazyGroup):
    """The commands of `VERBS`."""

    verbs = VERBS


class Several(click.Command):
    """A command whose options in `several` take every word up to the next option: `--train a.csv b.csv` is
    `--train a.csv --train b.csv`."""

    several: tuple[str, ...] = ("--train", "--test", "--data")

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        spread: list[str] = []
        current: str | None = None
        for place, word in enumerate(args):
            if word == "--":
                spread += args[place:]
                break
            if word.startswith("-") and len(word) > 1:
                name, equals, _ = word.partition("=")
                current = name if name in self.several else None
                if current is None or equals:
                    spread.append(word)
                continue
            spread += [current, word] if current is not None else [word]
        return super().parse_args(ctx, self._with_bare(args, spread))

    def _with_bare(self, args: list[str], spread: list[str]) -> list[str]:
        """Gives an option that no word follows back as it was, so that click says what is missing."""
        for place, word in enumerate(args):
            after = args[place + 1] if place + 1 < len(args) else None
            if word in self.several and (after is None or (after.startswith("-") and len(after) > 1)):
                return [*spread, word]
        return spread


@click.group(cls=Lazy)
def command(**_: Any) -> None:
    """Train, measure and replay how requests are routed.

    Calls nobody and needs no running gateway.
    """
