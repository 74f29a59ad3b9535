"""Prompts as a sparse matrix: one row per prompt, one column per term, each row a vector of length one at most.

Terms are words, pairs of neighbouring known words, and punctuation marks, each present or not; the weight of a term is
its inverse document frequency log((1 + n) / (1 + df)). Products with a dense matrix are what training needs, and numpy
has no sparse ones: `rows_times` and `columns_times` are sums over slices of the nonzero entries, in single precision.
"""

from collections import Counter
from collections.abc import Sequence
from typing import TypeVar

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from freehold.decide.predict.look import Look

Floats = NDArray[np.float32]
Places = NDArray[np.int32]
Term = TypeVar("Term", bytes, int)

LEAST = 3
"""A term that fewer prompts have is left out."""
MOST_WORDS = 10_000
MOST_PAIRS = 4_000
"""What leaves the cache of the processor costs most of the time of a reading. More words and pairs were no better on
prompts held out."""
FLOOR_QUANTILE = 0.05
"""A prompt shorter than this share of those learnt from is weighed as if it were as long; see basis.py."""


class Terms(Struct):
    """The columns: words first, then pairs (place of a word << 16 | of the next, from 1), then marks (a byte)."""

    words: list[bytes]
    pairs: list[int]
    marks: list[int]
    weights: Floats
    floor: float

    @property
    def count(self) -> int:
        """Columns."""
        return len(self.words) + len(self.pairs) + len(self.marks)


class Matrix(Struct):
    """Nonzero entries by row, and the same by column; `rows` and `columns` are where each non-empty one begins."""

    shape: tuple[int, int]
    by_row: tuple[NDArray[np.intp], NDArray[np.intp], Places, Floats]
    by_column: tuple[NDArray[np.intp], NDArray[np.intp], Places, Floats]

    def times(self, dense: Floats) -> Floats:
        """(rows, k) from (columns, k)."""
        return _sums(self.by_row, dense, self.shape[0])

    def back(self, dense: Floats) -> Floats:
        """(columns, k) from (rows, k): the transposed matrix times `dense`."""
        return _sums(self.by_column, dense, self.shape[1])


def _sums(entries: tuple[NDArray[np.intp], NDArray[np.intp], Places, Floats], dense: Floats, count: int) -> Floats:
    which, starts, places, values = entries
    result = np.zeros((count, dense.shape[1]), np.float32)
    if len(starts):
        for j in range(dense.shape[1]):
            result[which, j] = np.add.reduceat(np.ascontiguousarray(dense[:, j])[places] * values, starts)
    return result


def collect(looks: Sequence[Look]) -> tuple[Terms, Matrix]:
    """The terms that occur often enough, most frequent first, and what each prompt has of them."""
    seen: Counter[bytes] = Counter()
    for one in looks:
        seen.update(one.words)
    words = _frequent(seen, MOST_WORDS)
    place = {word: i + 1 for i, word in enumerate(words)}
    paired: Counter[int] = Counter()
    for one in looks:
        paired.update(_pairs(one, place))
    pairs = _frequent(paired, MOST_PAIRS)
    marked = Counter(mark for one in looks for mark in one.marks)
    marks = sorted(mark for mark, count in marked.items() if count >= LEAST)
    frequency = np.array([seen[w] for w in words] + [paired[p] for p in pairs] + [marked[m] for m in marks], np.float32)
    weights = np.log((1.0 + len(looks)) / (1.0 + frequency)).astype(np.float32)
    terms = Terms(words, pairs, marks, weights, 1.0)
    rows = _places(terms, looks)
    norms = _norms(rows, weights)
    terms.floor = float(np.quantile(norms, FLOOR_QUANTILE)) or 1.0
    return terms, _matrix(rows, weights, np.maximum(norms, terms.floor))


def occurring(terms: Terms, looks: Sequence[Look]) -> Matrix:
    """What other prompts have of terms that are collected."""
    rows = _places(terms, looks)
    return _matrix(rows, terms.weights, np.maximum(_norms(rows, terms.weights), terms.floor))


def _places(terms: Terms, looks: Sequence[Look]) -> list[list[int]]:
    """The columns of each prompt."""
    place = {word: i + 1 for i, word in enumerate(terms.words)}
    after = {pair: i + len(terms.words) for i, pair in enumerate(terms.pairs)}
    last = {mark: i + len(terms.words) + len(terms.pairs) for i, mark in enumerate(terms.marks)}
    rows: list[list[int]] = []
    for one in looks:
        row = sorted({place[word] - 1 for word in one.words if word in place})
        row += sorted(after[pair] for pair in _pairs(one, place) if pair in after)
        row += sorted(last[mark] for mark in one.marks if mark in last)
        rows.append(row)
    return rows


def _norms(rows: list[list[int]], weights: Floats) -> "NDArray[np.float64]":
    return np.array([float(np.sqrt((weights[row] ** 2).sum())) if row else 0.0 for row in rows])


def _pairs(one: Look, place: dict[bytes, int]) -> set[int]:
    return {place[a] << 16 | place[b] for a, b in one.pairs if a in place and b in place}


def _frequent(counts: Counter[Term], most: int) -> list[Term]:
    kept = sorted((-count, term) for term, count in counts.items() if count >= LEAST)
    return [term for _, term in kept[:most]]


def _matrix(row_places: list[list[int]], weights: Floats, norms: "NDArray[np.float64]") -> Matrix:
    sizes = np.array([len(row) for row in row_places], np.intp)
    columns = np.array([place for row in row_places for place in row], np.int32)
    rows = np.repeat(np.arange(len(sizes), dtype=np.int32), sizes)
    values = (weights[columns] / norms[rows]).astype(np.float32)
    order = np.argsort(columns, kind="stable")
    return Matrix(
        (len(sizes), len(weights)),
        (*_starts(rows), columns, values),
        (*_starts(columns[order]), rows[order], values[order]),
    )


def _starts(sorted_places: Places) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    which, starts = np.unique(sorted_places, return_index=True)
    return which.astype(np.intp), starts.astype(np.intp)
