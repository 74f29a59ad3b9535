"""What a basis should tell apart: the few directions in which models differ on the prompts they were tried on.

Models that answered the same prompts form a block (a file of results is one). Within a block the outcomes, less each
model's mean, are decomposed; the first directions are, in practice, how hard a prompt is, and then which kind of model
gets it right where another does not. The difference is what routing needs and what difficulty alone misses.
"""

from collections import Counter

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from freehold.measure.routing.fit_terms import Floats

LEAST_ROWS = 30
ALIKE = 0.5
"""Two patterns of who was tried belong together when they share this part of their models."""
MOST = 6
"""Directions of one block."""


class Targets(Struct):
    """`values` (rows, k) and `mask` (rows, k): the directions, each on the rows of its block."""

    values: Floats
    mask: NDArray[np.bool_]


def directions(outcomes: Floats, lanes: int) -> Targets:
    """`outcomes` (rows, models), NaN where a model was not tried. At most `lanes` directions over all blocks."""
    blocks = _blocks(outcomes)
    if not blocks:
        raise ValueError(f"fewer than {LEAST_ROWS} prompts with outcomes of the same models")
    share = min(MOST, max(1, lanes // len(blocks)))
    values, masks = [], []
    for rows, models in blocks[:lanes]:
        part = outcomes[np.ix_(rows, models)]
        for direction in _decompose(part, share).T:
            column = np.zeros(len(outcomes), np.float32)
            column[rows] = direction
            here = np.zeros(len(outcomes), bool)
            here[rows] = True
            values.append(column)
            masks.append(here)
    return Targets(np.stack(values, 1)[:, :lanes], np.stack(masks, 1)[:, :lanes])


def _decompose(part: Floats, most: int) -> Floats:
    """(rows, directions): scores of the rows, the first with variance one."""
    known = ~np.isnan(part)
    means = np.nansum(part, 0) / np.maximum(known.sum(0), 1)
    centred = np.where(known, part - means, 0.0)
    ease = centred.sum(1) / np.maximum(known.sum(1), 1)
    filled = np.where(known, centred, ease[:, None])
    filled -= filled.mean(0)
    _, sizes, axes = np.linalg.svd(filled, full_matrices=False)
    keep = min(most, int((sizes > 1e-6 * max(float(sizes[0]), 1e-9)).sum()) or 1)
    axes = axes[:keep] * np.sign(axes[:keep].sum(1, keepdims=True) + 1e-12)
    scores = filled @ axes.T
    return np.asarray(scores / max(float(scores[:, 0].std()), 1e-9), np.float32)


def _blocks(outcomes: Floats) -> list[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """Rows and models of each block, the largest first."""
    known = ~np.isnan(outcomes)
    patterns = [row.tobytes() for row in np.packbits(known, axis=1)]
    groups: list[tuple[set[int], set[bytes]]] = []
    for pattern, count in sorted(Counter(patterns).items(), key=lambda item: (-item[1], item[0])):
        models = set(np.flatnonzero(np.unpackbits(np.frombuffer(pattern, np.uint8))[: outcomes.shape[1]]).tolist())
        if not models:
            continue
        for known_models, members in groups:
            if len(models & known_models) >= ALIKE * len(models | known_models):
                members.add(pattern)
                known_models |= models
                break
        else:
            if count >= LEAST_ROWS or not groups:
                groups.append((models, {pattern}))
    blocks = []
    for models, members in groups:
        rows = np.array([i for i, pattern in enumerate(patterns) if pattern in members], np.intp)
        if len(rows) >= LEAST_ROWS:
            blocks.append((rows, np.array(sorted(models), np.intp)))
    return sorted(blocks, key=lambda block: -len(block[0]) * 1.0)
