"""Merkle trees against RFC 6962: its known roots, its own recursive definitions, and forged proofs."""

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freehold.record.receipts.merkle import (
    EMPTY,
    Frontier,
    Gatherer,
    consistency_spans,
    inclusion_spans,
    leaf_hash,
    node_hash,
    verify_consistency,
    verify_inclusion,
)

LEAVES = [bytes.fromhex(one) for one in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657",
                                         "606162636465666768696a6b6c6d6e6f")]  # fmt: skip
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
"""The test vectors of the certificate transparency project, by size from 1."""


def largest(size: int) -> int:
    """The largest power of two below `size`."""
    power = 1
    while power * 2 < size:
        power *= 2
    return power


def root_of(leaves: list[bytes]) -> bytes:
    """MTH of RFC 6962, 2.1."""
    if not leaves:
        return sha256().digest()
    if len(leaves) == 1:
        return sha256(b"\x00" + leaves[0]).digest()
    k = largest(len(leaves))
    return sha256(b"\x01" + root_of(leaves[:k]) + root_of(leaves[k:])).digest()


def path_of(index: int, leaves: list[bytes]) -> list[bytes]:
    """PATH of RFC 6962, 2.1.1."""
    if len(leaves) == 1:
        return []
    k = largest(len(leaves))
    if index < k:
        return [*path_of(index, leaves[:k]), root_of(leaves[k:])]
    return [*path_of(index - k, leaves[k:]), root_of(leaves[:k])]


def subproof(old: int, leaves: list[bytes], whole: bool) -> list[bytes]:
    """SUBPROOF of RFC 6962, 2.1.2."""
    if old == len(leaves):
        return [] if whole else [root_of(leaves)]
    k = largest(len(leaves))
    if old <= k:
        return [*subproof(old, leaves[:k], whole), root_of(leaves[k:])]
    return [*subproof(old - k, leaves[k:], False), root_of(leaves[:k])]


def tree(leaves: list[bytes]) -> Frontier:
    found = Frontier()
    for leaf in leaves:
        found.add(leaf_hash(leaf))
    return found


def gathered(spans: list[tuple[int, int]], leaves: list[bytes]) -> list[bytes]:
    gathering = Gatherer(spans)
    for leaf in leaves:
        gathering.add(leaf_hash(leaf))
    return gathering.proof()


def numbered(size: int) -> list[bytes]:
    return [b"leaf %d" % number for number in range(size)]


@pytest.mark.parametrize("size", range(1, 9))
def test_known_roots(size: int) -> None:
    assert tree(LEAVES[:size]).root().hex() == ROOTS[size - 1]


def test_the_root_of_nothing() -> None:
    assert Frontier().root() == EMPTY == sha256().digest()


@given(st.lists(st.binary(max_size=8), max_size=70))
def test_a_growing_tree_has_the_root_of_the_definition(leaves: list[bytes]) -> None:
    found = tree(leaves)
    assert found.root() == root_of(leaves)
    again = Frontier(found.size, found.peaks)
    again.add(leaf_hash(b"one more"))
    assert again.root() == root_of([*leaves, b"one more"])
    assert found.root() == root_of(leaves), "a copy of the peaks is not the tree"


def test_peaks_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="peaks"):
        Frontier(3, [bytes(32)])
    with pytest.raises(ValueError, match="peaks"):
        Frontier(1, [bytes(31)])


def test_every_inclusion_proof_up_to_forty_leaves() -> None:
    for size in range(1, 41):
        leaves = numbered(size)
        root = root_of(leaves)
        for index, leaf in enumerate(leaves):
            proof = gathered(inclusion_spans(index, size), leaves)
            assert proof == path_of(index, leaves)
            assert verify_inclusion(leaf_hash(leaf), index, size, proof, root)


def test_every_consistency_proof_up_to_forty_leaves() -> None:
    for new in range(1, 41):
        leaves = numbered(new)
        for old in range(1, new + 1):
            proof = gathered(consistency_spans(old, new), leaves)
            assert proof == subproof(old, leaves, True)
            assert verify_consistency(old, new, proof, root_of(leaves[:old]), root_of(leaves))


@given(st.data(), st.integers(1, 300))
def test_inclusion_of_random_leaves_and_nothing_else(data: st.DataObject, size: int) -> None:
    leaves = numbered(size)
    index = data.draw(st.integers(0, size - 1))
    proof, root = path_of(index, leaves), root_of(leaves)
    hashed = leaf_hash(leaves[index])
    assert verify_inclusion(hashed, index, size, gathered(inclusion_spans(index, size), leaves), root)
    other = data.draw(st.integers(0, size - 1).filter(lambda number: number != index) if size > 1 else st.just(size))
    assert not verify_inclusion(hashed, other, size, proof, root)
    assert not verify_inclusion(leaf_hash(b"another"), index, size, proof, root)
    assert not verify_inclusion(hashed, index, size, [*proof, bytes(32)], root)
    if proof:
        place = data.draw(st.integers(0, len(proof) - 1))
        bad = bytes([proof[place][0] ^ 1]) + proof[place][1:]
        assert not verify_inclusion(hashed, index, size, [*proof[:place], bad, *proof[place + 1 :]], root)
        assert not verify_inclusion(hashed, index, size, proof[:-1], root)
        assert not verify_inclusion(hashed, index, size, [*proof[:-1], proof[-1] + b"x"], root)


@given(st.data(), st.integers(2, 300))
def test_consistency_of_random_sizes_and_nothing_else(data: st.DataObject, new: int) -> None:
    leaves = numbered(new)
    old = data.draw(st.integers(1, new - 1))
    proof, before, after = gathered(consistency_spans(old, new), leaves), root_of(leaves[:old]), root_of(leaves)
    assert verify_consistency(old, new, proof, before, after)
    changed = [b"changed", *leaves[1:]]
    assert not verify_consistency(old, new, proof, root_of(changed[:old]), after)
    assert not verify_consistency(old, new, proof, before, root_of(changed))
    assert not verify_consistency(old, new, [*proof, bytes(32)], before, after)
    assert not verify_consistency(old, new, proof[:-1], before, after)
    assert not verify_consistency(0, new, proof, EMPTY, after)


def test_a_leaf_is_never_a_node() -> None:
    left, right = leaf_hash(b"a"), leaf_hash(b"b")
    assert leaf_hash(left + right) != node_hash(left, right)


def test_proofs_of_what_is_not_there() -> None:
    for index, size in ((-1, 3), (3, 3), (0, 0)):
        with pytest.raises(ValueError, match="no leaf"):
            inclusion_spans(index, size)
        assert not verify_inclusion(leaf_hash(b""), index, size, [], EMPTY)
    for old, new in ((0, 3), (4, 3)):
        with pytest.raises(ValueError, match="not the beginning"):
            consistency_spans(old, new)
    gathering = Gatherer(inclusion_spans(0, 4))
    gathering.add(leaf_hash(b"only one"))
    with pytest.raises(ValueError, match="too few"):
        gathering.proof()
