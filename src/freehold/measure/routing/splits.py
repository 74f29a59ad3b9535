"""What is trained on and what is tested on: random rows, or whole domains held out.

Random rows overstate a router: the test questions then come from the very exams it has seen. So both are always told.
A held-out domain never has a row in training. With four domains or fewer, each seed holds out another one of them.
"""

import random
from collections.abc import Iterator, Sequence
from typing import Literal

from msgspec import Struct

from freehold.measure.routing.tables import Table

Kind = Literal["random", "domains", "given"]
TEST_SHARE = 0.3
FEW = 4


class Split(Struct):
    """`given`: training and test files were named."""

    kind: Kind
    seed: int
    train: Table
    test: Table


def random_rows(table: Table, seed: int, share: float = TEST_SHARE) -> Split:
    rows = list(range(len(table)))
    random.Random(seed).shuffle(rows)  # noqa: S311 - repeatable, not secret
    cut = max(1, round(len(rows) * share))
    return Split("random", seed, table.take(sorted(rows[cut:])), table.take(sorted(rows[:cut])))


def held_out_domains(table: Table, seed: int, share: float = TEST_SHARE) -> Split | None:
    """Returns a split by `tasks`; None where there are not two of them."""
    sizes: dict[str, int] = {}
    for task in table.tasks:
        sizes[task] = sizes.get(task, 0) + 1
    names = sorted(sizes)
    if len(names) < 2:
        return None
    if len(names) <= FEW:
        held = {names[seed % len(names)]}
    else:
        random.Random(seed).shuffle(names)  # noqa: S311
        held, rows = set(), 0
        for name in names[:-1]:
            if rows >= share * len(table):
                break
            held.add(name)
            rows += sizes[name]
    train = [i for i, task in enumerate(table.tasks) if task not in held]
    test = [i for i, task in enumerate(table.tasks) if task in held]
    return Split("domains", seed, table.take(train), table.take(test))


def splits(table: Table, seeds: Sequence[int]) -> Iterator[Split]:
    """Yields, per seed, a random split and one by domain."""
    for seed in seeds:
        yield random_rows(table, seed)
        by_domain = held_out_domains(table, seed)
        if by_domain is not None:
            yield by_domain
