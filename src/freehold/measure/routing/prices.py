"""What each answer of a table cost, in US dollars, and what it should have been expected to cost beforehand.

A price is looked up by the model's name as it stands, without an `organisation/` before it, and without an `@host`
after it. A model that prices.toml does not know is priced by the parameters in its name (`-7B`, `8x22b`) as open hosts
price that size, and by the row `unknown` where there is no size either; `Price.known` says which it was. A
`{model}|cost` column of the file wins over all of this.

    cost = (input tokens * input price + output tokens * (1 + hidden) * output price) / 1e6
    tokens = characters / 4

The realised cost takes the characters of that very answer. The expected one, which is all a router may look at, takes
their mean over the rows it was trained on.
"""

import re
import tomllib
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from statistics import fmean

import msgspec
from msgspec import Struct

from freehold.measure.routing.tables import Outcomes, Table


class Price(Struct, frozen=True):
    """US dollars per million tokens. `known`: listed, by size or assumed."""

    input: float
    output: float
    source: str
    hidden: float = 0.0
    """Output tokens billed and not shown, per token shown."""
    checked: bool = False
    known: str = "listed"

    def dollars(self, prompt_chars: float, answer_chars: float, per_token: float, *, hidden: bool = True) -> float:
        output = answer_chars / per_token * (1.0 + (self.hidden if hidden else 0.0))
        return (prompt_chars / per_token * self.input + output * self.output) / 1e6


class _Size(Struct):
    up_to: float
    price: float


class _Rate(Struct):
    input: float
    output: float


class PriceList(Struct):
    """prices.toml as it is."""

    date: str
    characters_per_token: float
    sizes: list[_Size]
    unknown: _Rate
    answer_chars: dict[str, float]
    models: dict[str, Price]


@cache
def price_list() -> PriceList:
    return msgspec.convert(tomllib.loads((Path(__file__).parent / "prices.toml").read_text("utf-8")), PriceList)


_SIZE = re.compile(r"(?<![a-z0-9.])(?:(\d+)x)?(\d+(?:\.\d+)?)b(?![a-z0-9])", re.IGNORECASE)


def price(model: str) -> Price:
    """Returns the price of a model, by the rule at the top."""
    listed = price_list()
    bare = model.rpartition("/")[2]
    for name in (model, bare, bare.partition("@")[0]):
        if name in listed.models:
            return listed.models[name]
    size = _SIZE.search(bare)
    if size is not None:
        billions = float(size[2]) * float(size[1] or 1)
        rate = next((row.price for row in listed.sizes if billions <= row.up_to), listed.sizes[-1].price)
        return Price(rate, rate, f"hosts, by size: {billions:g}B", known="by size")
    return Price(listed.unknown.input, listed.unknown.output, "assumed: nobody knows this model", known="assumed")


def realised(table: Table, model: str, *, hidden: bool = True) -> list[float]:
    """Returns what each row's answer of `model` cost. Where the answer's length is missing its mean stands in."""
    column = table.models[model]
    usual = answer_chars(column, table.kind)
    chars = column.out_chars or [None] * len(table)
    return _costs(table, model, [usual if one is None else one for one in chars], hidden=hidden)


def expected(table: Table, model: str, trained: Table, *, hidden: bool = True) -> list[float]:
    """Returns what a call to `model` should cost for each prompt of `table`, knowing only the answers in `trained`."""
    column = trained.models.get(model, Outcomes([]))
    if column.cost is not None and (known := [one for one in column.cost if one is not None]):
        return [fmean(known)] * len(table)
    usual = answer_chars(column, table.kind)
    bare = msgspec.structs.replace(table, models={model: Outcomes([])})
    return _costs(bare, model, [usual] * len(table), hidden=hidden)


def answer_chars(column: Outcomes, kind: str) -> float:
    """Returns the mean length of a model's answers, in characters; the format's constant where no length is known."""
    known = [one for one in column.out_chars or () if one is not None]
    if known:
        return fmean(known)
    assumed = price_list().answer_chars
    return assumed.get(kind, assumed["plain"])


def _costs(table: Table, model: str, answers: Sequence[float], *, hidden: bool) -> list[float]:
    rate, per_token = price(model), price_list().characters_per_token
    costs = [
        rate.dollars(len(prompt), answer, per_token, hidden=hidden)
        for prompt, answer in zip(table.prompts, answers, strict=True)
    ]
    given = table.models[model].cost
    return (
        costs if given is None else [one if one is not None else other for one, other in zip(given, costs, strict=True)]
    )
