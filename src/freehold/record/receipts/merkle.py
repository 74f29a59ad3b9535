"""Merkle trees as transparency logs use them: RFC 6962, section 2.1, and RFC 9162, sections 2.1.3 and 2.1.4.

    leaf hash  SHA-256(0x00 || leaf)          node hash  SHA-256(0x01 || left || right)

The left subtree of n leaves holds the largest power of two below n. The root of no leaves is SHA-256 of nothing.

A tree that only grows is its `Frontier`: the roots of the whole subtrees that its size is made of, one for each bit of
the size, largest first. It takes log n hashes to keep, one node hash to grow on average, and gives the root at any
time. Proofs are gathered the same way, in one walk over the leaves: nothing here needs the tree in memory.
"""

from collections.abc import Iterable, Sequence
from hashlib import sha256
from typing import Final

EMPTY: Final = sha256(b"").digest()
HASH_BYTES: Final = 32


def leaf_hash(leaf: bytes) -> bytes:
    return sha256(b"\0" + leaf).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    return sha256(b"\1" + left + right).digest()


class Frontier:
    """A growing tree. `peaks` are the roots of its whole subtrees, largest first. Raises ValueError if they do not
    fit `size`."""

    __slots__ = ("peaks", "size")

    def __init__(self, size: int = 0, peaks: Iterable[bytes] = ()) -> None:
        self.size = size
        self.peaks = list(peaks)
        if len(self.peaks) != size.bit_count() or any(len(peak) != HASH_BYTES for peak in self.peaks):
            raise ValueError(f"a tree of {size} leaves has {size.bit_count()} peaks of {HASH_BYTES} bytes")

    def add(self, hashed: bytes) -> None:
        """Appends a leaf, given by its leaf hash."""
        size, peaks = self.size, self.peaks
        while size & 1:
            hashed = sha256(b"\1" + peaks.pop() + hashed).digest()
            size >>= 1
        peaks.append(hashed)
        self.size += 1

    def root(self) -> bytes:
        if not self.peaks:
            return EMPTY
        root = self.peaks[-1]
        for peak in self.peaks[-2::-1]:
            root = node_hash(peak, root)
        return root

    def copy(self) -> "Frontier":
        return Frontier(self.size, self.peaks)


def split(size: int) -> int:
    """Returns how many of `size` leaves, two at least, are in the left subtree."""
    return 1 << ((size - 1).bit_length() - 1)


def inclusion_spans(index: int, size: int) -> list[tuple[int, int]]:
    """Returns the spans of leaves whose roots are the inclusion proof of leaf `index` in a tree of `size`, in order."""
    if not 0 <= index < size:
        raise ValueError(f"there is no leaf {index} in a tree of {size}")
    spans: list[tuple[int, int]] = []
    start, end = 0, size
    while end - start > 1:
        middle = start + split(end - start)
        if index < middle:
            spans.append((middle, end))
            end = middle
        else:
            spans.append((start, middle))
            start = middle
    return spans[::-1]


def consistency_spans(old: int, new: int) -> list[tuple[int, int]]:
    """Returns the spans of leaves whose roots are the proof that the tree of `old` leaves begins that of `new`."""
    if not 0 < old <= new:
        raise ValueError(f"a tree of {old} leaves is not the beginning of one of {new}")
    spans: list[tuple[int, int]] = []
    start, end, whole = 0, new, True
    while end - start > 1 and old != end:
        middle = start + split(end - start)
        if old <= middle:
            spans.append((middle, end))
            end = middle
        else:
            spans.append((start, middle))
            start, whole = middle, False
    if not whole:
        spans.append((start, end))
    return spans[::-1]


class Gatherer:
    """Roots of some spans of leaves, gathered while the leaves go by once. `spans` are disjoint, in any order."""

    def __init__(self, spans: Sequence[tuple[int, int]]) -> None:
        self._spans = list(spans)
        self._waiting = sorted(spans, reverse=True)
        self._found: dict[tuple[int, int], bytes] = {}
        self._growing = Frontier()
        self._index = 0

    def add(self, hashed: bytes) -> None:
        """The next leaf's hash."""
        if self._waiting:
            start, end = self._waiting[-1]
            if self._index >= start:
                self._growing.add(hashed)
                if self._index + 1 == end:
                    self._found[self._waiting.pop()] = self._growing.root()
                    self._growing = Frontier()
        self._index += 1

    def proof(self) -> list[bytes]:
        """Returns the roots in the order of the spans. Raises ValueError where leaves were missing."""
        if self._waiting:
            raise ValueError(f"{self._index} leaves are too few for this proof")
        return [self._found[span] for span in self._spans]


def verify_inclusion(hashed: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> bool:
    """Whether the leaf of this leaf hash is number `index` of the tree of `size` leaves with this root."""
    if not 0 <= index < size:
        return False
    place, last, node = index, size - 1, hashed
    for one in proof:
        if last == 0 or len(one) != HASH_BYTES:
            return False
        if place & 1 or place == last:
            node = node_hash(one, node)
            while not place & 1 and place:
                place >>= 1
                last >>= 1
        else:
            node = node_hash(node, one)
        place >>= 1
        last >>= 1
    return last == 0 and node == root


def verify_consistency(old: int, new: int, proof: Sequence[bytes], old_root: bytes, new_root: bytes) -> bool:
    """Whether the tree of `old` leaves with one root is the beginning of the tree of `new` leaves with the other."""
    if not 0 < old <= new or any(len(one) != HASH_BYTES for one in proof):
        return False
    if old == new:
        return not proof and old_root == new_root
    path = list(proof)
    if old & (old - 1) == 0:
        path.insert(0, old_root)
    if not path:
        return False
    place, last = old - 1, new - 1
    while place & 1:
        place >>= 1
        last >>= 1
    first = second = path[0]
    for one in path[1:]:
        if last == 0:
            return False
        if place & 1 or place == last:
            first, second = node_hash(one, first), node_hash(one, second)
            while not place & 1 and place:
                place >>= 1
                last >>= 1
        else:
            second = node_hash(second, one)
        place >>= 1
        last >>= 1
    return last == 0 and first == old_root and second == new_root
