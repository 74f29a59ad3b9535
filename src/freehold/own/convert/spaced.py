"""Vocabularies that write spaces as ▁ (U+2581): SentencePiece, and tokenizer.json files made from it.

llama.cpp has three ways to cut text with them:

    llama          joins the two neighbours whose union has the best score, until no union is a token
    sarvam-moe     (a pre-tokenizer of `gpt2`) applies merges in their order, on text, never across line ends
    t5             finds the cut with the best sum of scores (Unigram)

A BPE made from SentencePiece lists every pair that makes a token, ordered by the token's score: `llama` then cuts
exactly as the merges do. A BPE that was trained with merges lists one way to each token only; `llama` would find
others, so such a vocabulary goes to `sarvam-moe`, unless a space has to be put first, which that way cannot do.
"""

import base64
import binascii
import math
from collections.abc import Iterator, Sequence
from typing import Any

from freehold.own.convert.config import MAX_VOCABULARY, listed
from freehold.own.convert.problems import refuse, unsupported
from freehold.own.convert.sentencepiece import BPE, UNIGRAM, SentencePieces
from freehold.own.convert.vocabulary import ALWAYS, BYTE, FIRST, NEVER, NORMAL, UNKNOWN, UNUSED, Vocabulary

SPACE = "\u2581"
BYTES = tuple(f"<0x{value:02X}>" for value in range(256))
_NO_MERGE = -1e6
_HARMLESS = {"NFC", "NFKC", "Strip", "StripAccents", "Lowercase", "Precompiled", "Nmt", "NFD", "NFKD"}


def steps(node: Any) -> Iterator[dict[str, Any]]:
    """Yields the steps of a normalizer, pre_tokenizer or decoder of tokenizer.json, sequences laid open."""
    if not isinstance(node, dict):
        return
    if node.get("type") == "Sequence":
        for key in ("normalizers", "pretokenizers", "decoders", "processors"):
            for one in node.get(key) or []:
                yield from steps(one)
    else:
        yield node


def has_step(node: Any, kind: str) -> bool:
    return any(one.get("type") == kind for one in steps(node))


def from_bpe(vocab: dict[str, int], pairs: Sequence[tuple[str, str]], file: Any) -> Vocabulary:
    """Returns the vocabulary of a BPE on text with ▁. `file` is a TokenizerFile."""
    prefix, notes = _spaces(file)
    tokens, types = _laid_out(vocab)
    fallback = file.model.byte_fallback is True
    ids: dict[str, int] = {}
    for text, place in vocab.items():
        if text == file.model.unk_token:
            types[place] = UNKNOWN
            ids["unknown"] = place
        elif fallback and text in _BYTE_SET:
            types[place] = BYTE
    found = Vocabulary(model="llama", tokens=list(tokens), types=types, ids=ids, notes=notes)
    _check_bytes(found, vocab)
    found.prefix = prefix
    scores = _scores(vocab, pairs)
    if scores is not None:
        found.scores = scores
    elif prefix == ALWAYS or any("\n" in left + right and (left + right).strip("\n") for left, right in pairs):
        found.scores = _rank_scores(vocab, pairs)
        found.notes.append("the merges list only one way to each token: llama.cpp may cut some words otherwise")
    else:
        found.model, found.pre = "gpt2", "sarvam-moe"
        found.merges = [f"{left} {right}" for left, right in pairs]
    return found


def from_unigram(vocab: Any, unk: int | None, file: Any) -> Vocabulary:
    """Returns the vocabulary of a Unigram tokenizer.json: a list of token and score."""
    prefix, notes = _spaces(file)
    good = isinstance(vocab, list) and 0 < len(vocab) <= MAX_VOCABULARY and all(_is_scored(one) for one in vocab)
    if not good:
        raise refuse("tokenizer.json: the vocabulary is not a list of tokens with scores")
    found = Vocabulary(
        model="t5",
        tokens=[text for text, _ in vocab],
        types=[NORMAL] * len(vocab),
        scores=[float(score) for _, score in vocab],
        notes=notes,
    )
    found.prefix = prefix
    if unk is not None and 0 <= unk < len(vocab):
        found.types[unk] = UNKNOWN
        found.ids = {"unknown": unk}
    for one in steps(file.normalizer):
        if one.get("type") == "Precompiled":
            try:
                found.charsmap = base64.b64decode(one.get("precompiled_charsmap") or "", validate=True)
            except (binascii.Error, ValueError, TypeError):
                raise refuse("tokenizer.json: precompiled_charsmap is not base64") from None
        elif one.get("type") == "Replace" and " {2,}" in str(one.get("pattern")):
            found.remove_extra_spaces = True
    _bytes_of_unigram(found, file.model.byte_fallback is True)
    return found


def from_pieces(pieces: SentencePieces) -> Vocabulary:
    """Returns the vocabulary of a tokenizer.model."""
    if pieces.kind not in (UNIGRAM, BPE):
        raise unsupported(f"tokenizer.model: a model of kind {pieces.kind} is not run by llama.cpp (1 unigram, 2 BPE)")
    found = Vocabulary(
        model="llama" if pieces.kind == BPE else "t5",
        tokens=list(pieces.pieces),
        types=list(pieces.types),
        scores=list(pieces.scores),
    )
    found.prefix = ALWAYS if pieces.dummy_prefix else NEVER
    roles = {"unknown": pieces.unk, "bos": pieces.bos, "eos": pieces.eos, "padding": pieces.pad}
    found.ids = {key: place for key, place in roles.items() if 0 <= place < len(pieces.pieces)}
    if pieces.kind == UNIGRAM:
        found.charsmap = pieces.charsmap
        found.remove_extra_spaces = pieces.remove_extra_spaces
        _bytes_of_unigram(found, pieces.byte_fallback)
    else:
        _check_bytes(found, pieces.pieces)
    return found


def _bytes_of_unigram(found: Vocabulary, fallback: bool) -> None:
    if fallback:
        found.notes.append("characters that are not in the vocabulary become the unknown token, not bytes")


def _is_scored(one: Any) -> bool:
    if not isinstance(one, list) or len(one) != 2 or not isinstance(one[0], str):
        return False
    return isinstance(one[1], int | float) and not isinstance(one[1], bool) and math.isfinite(one[1])


def _spaces(file: Any) -> tuple[str, list[str]]:
    """Returns where a space is put first (ALWAYS, FIRST, NEVER), and notes. Raises EngineError for other ways."""
    prefix, spaced, notes = NEVER, False, []
    for one in steps(file.normalizer):
        kind = one.get("type")
        if kind == "Prepend":
            prefix = ALWAYS
        elif kind == "Replace":
            pattern = one.get("pattern")
            spaced = spaced or (
                isinstance(pattern, dict) and pattern.get("String") == " " and one.get("content") == SPACE
            )
        elif kind not in _HARMLESS:
            raise unsupported(f"tokenizer.json: text is changed by {str(kind)[:40]} first, which llama.cpp cannot do")
        elif kind != "Precompiled":
            notes.append(f"the tokenizer changes text by {kind} first, llama.cpp does not")
    for one in steps(file.pre_tokenizer):
        kind = one.get("type")
        if kind == "Metaspace":
            spaced = True
            scheme = one.get("prepend_scheme") or (ALWAYS if one.get("add_prefix_space", True) else NEVER)
            prefix = scheme if scheme in (ALWAYS, FIRST) else prefix
        elif kind != "Split":
            raise unsupported(
                f"tokenizer.json: text is cut by {str(kind)[:40]}, which llama.cpp cannot do",
                "supported: byte-level BPE, and SentencePiece-like BPE and Unigram with ▁ for spaces",
            )
    if not spaced:
        raise unsupported(
            "tokenizer.json: the tokens are neither bytes nor text with ▁ for spaces",
            "supported: byte-level BPE, and SentencePiece-like BPE and Unigram with ▁ for spaces",
        )
    return prefix, notes


def _laid_out(vocab: dict[str, int]) -> tuple[list[str | None], list[int]]:
    highest = max(vocab.values(), default=-1)
    if not 0 <= highest < MAX_VOCABULARY or min(vocab.values()) < 0:
        raise refuse(f"tokenizer.json: token ids go up to {highest}")
    tokens: list[str | None] = [None] * (highest + 1)
    types = [UNUSED] * (highest + 1)
    for text, place in vocab.items():
        if tokens[place] is not None:
            raise refuse(f"tokens {str(tokens[place])[:40]!r} and {text[:40]!r} have the same id {place}")
        tokens[place], types[place] = text, NORMAL
    return tokens, types


def _check_bytes(found: Vocabulary, texts: Any) -> None:
    missing = [text for text in BYTES if text not in texts]
    if missing:
        found.notes.append(
            f"the vocabulary lacks byte tokens ({listed(missing, 2)}): characters that it does not hold cannot be read"
        )


def _scores(vocab: dict[str, int], pairs: Sequence[tuple[str, str]]) -> list[float] | None:
    """Returns scores with which `llama` cuts as the merges do; None when there are none."""
    order: dict[str, int] = {}
    last = ""
    for left, right in pairs:
        union = left + right
        if union != last and union in order:
            return None
        order.setdefault(union, len(order))
        last = union
    known = set(pairs)
    for union in order:
        for cut in range(1, len(union)):
            left, right = union[:cut], union[cut:]
            if left in vocab and right in vocab and (left, right) not in known:
                return None
    return _by_place(vocab, order)


def _rank_scores(vocab: dict[str, int], pairs: Sequence[tuple[str, str]]) -> list[float]:
    order: dict[str, int] = {}
    for left, right in pairs:
        order.setdefault(left + right, len(order))
    return _by_place(vocab, order)


def _by_place(vocab: dict[str, int], order: dict[str, int]) -> list[float]:
    scores = [0.0] * (max(vocab.values()) + 1)
    for text, place in vocab.items():
        scores[place] = -float(order[text]) if text in order else _NO_MERGE if len(text) > 1 else 0.0
    return scores


_BYTE_SET = frozenset(BYTES)
