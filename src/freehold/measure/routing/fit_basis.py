"""From a ridge solution to the tables of a basis: standardised, cut to 8 bits a number, bounded term by term."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from freehold.decide.predict.basis import Basis
from freehold.decide.predict.look import LADDERS, Look
from freehold.decide.predict.tables import Tables, build
from freehold.measure.routing.fit_ridge import Solution
from freehold.measure.routing.fit_terms import Floats, Terms

SURE = 0.99
"""Weights beyond this quantile of their lane are cut to it: no single term decides."""
FARTHEST = 2.0
"""A measure is at most so many standard deviations from its mean."""


class Rungs(Struct):
    """Every measure of every prompt as the number of its rung, and what each rung stands for, standardised."""

    places: NDArray[np.intp]
    values: list[Floats]

    @property
    def measures(self) -> Floats:
        """(prompts, measures): standardised."""
        return np.stack([value[self.places[:, i]] for i, value in enumerate(self.values)], 1)


def rungs(looks: Sequence[Look]) -> Rungs:
    """Standardised over the prompts given. A measure that never varies keeps its natural unit."""
    seen = np.array([one.measures for one in looks], np.float64)
    places = np.empty(seen.shape, np.intp)
    values: list[Floats] = []
    for i, edges in enumerate(LADDERS.values()):
        places[:, i] = np.searchsorted(np.array(edges), seen[:, i], side="right")
        middles = np.array(_middles(edges))
        here = middles[places[:, i]]
        spread = float(here.std())
        scaled = (middles - here.mean()) / spread if spread > 1e-6 else middles - here.mean()
        values.append(np.clip(scaled, -FARTHEST, FARTHEST).astype(np.float32))
    return Rungs(places, values)


def on_rungs(steps: Rungs, looks: Sequence[Look]) -> Floats:
    """(prompts, measures): of other prompts, standardised as those of `steps`."""
    seen = np.array([one.measures for one in looks], np.float64)
    return np.stack(
        [
            value[np.searchsorted(np.array(edges), seen[:, i], side="right")]
            for i, (edges, value) in enumerate(zip(LADDERS.values(), steps.values, strict=True))
        ],
        1,
    )


def _middles(edges: tuple[float, ...]) -> list[float]:
    if len(edges) == 1:
        return [0.0, 1.0]
    first, last = edges[1] - edges[0], edges[-1] - edges[-2]
    return [
        max(0.0, edges[0] - first / 2),
        *((a + b) / 2 for a, b in pairwise(edges)),
        edges[-1] + last / 2,
    ]


def assemble(terms: Terms, steps: Rungs, solution: Solution, centre: Floats, spread: Floats) -> tuple[Basis, Tables]:
    """`centre` and `spread` (k): of the lanes on prompts they were not learnt from."""
    k = solution.terms.shape[1]
    unit = float(terms.weights.max(initial=1.0)) / 255.0
    levels = np.clip(np.rint(terms.weights / unit), 1, 255).astype(np.uint8)
    raw = solution.terms * terms.weights[:, None] / spread
    sizes = np.maximum(np.quantile(np.abs(raw), SURE, axis=0), 1e-9) if len(raw) else np.ones(k)
    scales = sizes / 127.0
    lanes = np.clip(np.rint(raw / scales), -127, 127).astype(np.int8)
    forms = [np.outer(value, solution.measures[i]) / spread for i, value in enumerate(steps.values)]
    widest = np.maximum(np.max([np.abs(form).max(0) for form in forms], axis=0), 1e-9)
    rung_scales = widest / 32_000.0
    tables = Tables(
        words=b"\n".join(terms.words),
        pairs=np.array(terms.pairs, "<u4").tobytes(),
        marks=bytes(terms.marks),
        levels=levels.tobytes(),
        lanes=(lanes.astype(np.int16) + 128).astype(np.uint8).T.tobytes(),
        rungs=np.concatenate([np.rint(form / rung_scales) for form in forms]).astype("<i2").tobytes(),
        values=np.concatenate(steps.values).astype("<f4").tobytes(),
        scales=tuple(float(scale) for scale in scales),
        rung_scales=tuple(float(scale) for scale in rung_scales),
        centre=tuple(float(one) for one in (centre - solution.means) / spread),
        unit=unit,
        floor=terms.floor,
    )
    return build(tables), tables
