"""The vocabulary of a repository as GGUF keeps it.

    tokenizer.json, BPE on bytes              -> gpt2, with merges and the name of a pre-tokenizer
    tokenizer.json, BPE on text with ▁        -> llama (scores), or gpt2 with pre-tokenizer sarvam-moe; see spaced.py
    tokenizer.json, Unigram; tokenizer.model  -> llama or t5, see spaced.py

The result has exactly as many tokens as the embedding has rows: holes and the rest are filled with unused ones.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from freehold.own.convert import pretokenizers, sentencepiece, spaced, specials
from freehold.own.convert.config import MAX_VOCABULARY, Config, listed, read_bytes, read_json
from freehold.own.convert.problems import refuse, unsupported
from freehold.own.convert.vocabulary import ALWAYS, CONTROL, FIRST, NORMAL, UNUSED, USER_DEFINED, Vocabulary

MAX_FILE = 96 << 20
LEADS = ("</s>", "<unk>", "<s>", "<|endoftext|>")
"""Tokens that llama.cpp looks up, and fails without, when a model's name has `phi-3` or `phi3` in it."""


class _Added(Struct):
    id: int
    content: str
    special: bool = False
    lstrip: bool = False
    rstrip: bool = False
    single_word: bool = False


class _Model(Struct):
    type: str | None = None
    vocab: Any = None
    merges: Any = None
    byte_fallback: bool | None = None
    ignore_merges: bool | None = None
    unk_id: int | None = None
    unk_token: str | None = None
    continuing_subword_prefix: str | None = None
    end_of_word_suffix: str | None = None
    dropout: float | None = None


class TokenizerFile(Struct):
    """tokenizer.json, as far as it is needed."""

    model: _Model
    added_tokens: list[_Added] = []
    normalizer: Any = None
    pre_tokenizer: Any = None
    post_processor: Any = None
    decoder: Any = None


def read(folder: Path, config: Config, arch: str, rows: int) -> Vocabulary:
    """Returns the vocabulary of `folder` for a model whose embedding has `rows` rows. Raises EngineError."""
    raw = read_bytes(folder / "tokenizer.json", MAX_FILE)
    if raw is not None:
        found, file = _from_json(raw, arch)
    else:
        pieces = sentencepiece.read(folder / "tokenizer.model")
        if pieces is None:
            raise refuse(
                f"{folder.name}: there is neither tokenizer.json nor tokenizer.model",
                "save the tokenizer with transformers (save_pretrained), which writes tokenizer.json",
            )
        found, file = spaced.from_pieces(pieces), None
        _add(found, _added_elsewhere(folder))
    _check_size(found, rows)
    texts = {text: place for place, text in enumerate(found.tokens) if text is not None}
    said = specials.read(folder, config, texts, rows, found.ids)
    _surround(found, said, file, texts)
    found.ids = said.ids
    found.template, found.templates = said.template, said.templates
    found.notes += said.notes
    _prefix(found, said)
    if file is not None and found.model == "gpt2" and not found.pre:
        found.pre, notes = pretokenizers.named(
            file.pre_tokenizer,
            ignore_merges=file.model.ignore_merges is True,
            clean_up=said.clean_up,
            architecture=arch,
        )
        found.notes += notes
    _fill(found, rows)
    _end(found)
    return found


def _from_json(raw: bytes, arch: str) -> tuple[Vocabulary, TokenizerFile]:
    try:
        file = msgspec.json.decode(raw, type=TokenizerFile)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise refuse(f"tokenizer.json cannot be read: {str(error)[:160]}") from None
    kind = file.model.type or ("BPE" if file.model.merges is not None else None)
    if kind == "BPE":
        found = _bytes(file) if _on_bytes(file) else spaced.from_bpe(*_bpe(file), file)
    elif kind == "Unigram":
        found = spaced.from_unigram(file.model.vocab, file.model.unk_id, file)
    else:
        raise unsupported(
            f"tokenizer.json: a tokenizer of the kind {str(kind)[:40]} is not run by llama.cpp",
            "supported: BPE (on bytes or with ▁ for spaces) and Unigram",
        )
    _add(found, file.added_tokens)
    return found, file


def _on_bytes(file: TokenizerFile) -> bool:
    """Whether the tokens are written in GPT-2's alphabet of 256 characters for bytes."""
    return any(spaced.has_step(one, "ByteLevel") for one in (file.pre_tokenizer, file.decoder))


def _bpe(file: TokenizerFile) -> tuple[dict[str, int], list[tuple[str, str]]]:
    vocab, merges = file.model.vocab, file.model.merges
    if not isinstance(vocab, dict) or not all(type(one) is int for one in vocab.values()):
        raise refuse("tokenizer.json: the vocabulary is not a list of tokens with ids")
    if not isinstance(merges, list):
        raise refuse("tokenizer.json: there are no merges")
    for name in ("continuing_subword_prefix", "end_of_word_suffix"):
        if getattr(file.model, name):
            raise unsupported(f"tokenizer.json: {name} is set, which llama.cpp cannot do")
    pairs: list[tuple[str, str]] = []
    for merge in merges:
        if isinstance(merge, str):
            left, found, right = merge.partition(" ")
            good = bool(found) and bool(left) and bool(right)
        else:
            good = isinstance(merge, list) and len(merge) == 2 and all(isinstance(one, str) and one for one in merge)
            left, right = merge if good else ("", "")
        if not good:
            raise refuse(f"tokenizer.json: merge {len(pairs)} is not a pair")
        pairs.append((left, right))
    return vocab, pairs


def _bytes(file: TokenizerFile) -> Vocabulary:
    vocab, pairs = _bpe(file)
    spaced_pair = next((pair for pair in pairs if " " in pair[0] or " " in pair[1]), None)
    if spaced_pair is not None:
        raise refuse(f"tokenizer.json: the merge {spaced_pair} holds a space, which a byte-level tokenizer cannot have")
    found = Vocabulary(model="gpt2", tokens=[], types=[], merges=[f"{left} {right}" for left, right in pairs])
    for text, place in vocab.items():
        _place(found, place, text, NORMAL)
    normaliser = file.normalizer
    if isinstance(normaliser, dict):
        kinds = {one.get("type") for one in spaced.steps(normaliser)}
        if kinds <= {"NFC"}:
            found.notes.append("the tokenizer composes characters first (NFC), llama.cpp does not: send composed text")
        else:
            raise unsupported(
                f"tokenizer.json: text is changed first ({listed(sorted(map(str, kinds)))}), which llama.cpp cannot do"
            )
    return found


def _place(found: Vocabulary, place: int, text: str, kind: int) -> None:
    if not 0 <= place < MAX_VOCABULARY:
        raise refuse(f"token {text[:40]!r} has the id {place}")
    missing = place + 1 - len(found.tokens)
    if missing > 0:
        found.tokens += [None] * missing
        found.types += [UNUSED] * missing
        if found.scores is not None:
            found.scores += [0.0] * missing
    there = found.tokens[place]
    if there is not None and there != text:
        raise refuse(f"tokens {there[:40]!r} and {text[:40]!r} have the same id {place}")
    found.tokens[place] = text
    found.types[place] = kind


def _add(found: Vocabulary, added: list[_Added]) -> None:
    stripped = 0
    for one in added:
        if not one.content:
            continue
        _place(found, one.id, one.content, CONTROL if one.special else USER_DEFINED)
        stripped += one.lstrip or one.rstrip
    found.strips = stripped > 0
    words = sum(one.single_word for one in added)
    if words:
        found.notes.append(f"{words} added tokens count as whole words only, which llama.cpp does not keep")


def _added_elsewhere(folder: Path) -> list[_Added]:
    """Returns the added tokens of a repository that has tokenizer.model only."""
    settings = read_json(folder / "tokenizer_config.json", 32 << 20) or {}
    listing = settings.get("added_tokens_decoder")
    found: dict[int, _Added] = {}
    for text, place in (read_json(folder / "added_tokens.json") or {}).items():
        if type(place) is int:
            found[place] = _Added(place, text)
    for key, value in listing.items() if isinstance(listing, dict) else ():
        if key.isdigit() and isinstance(value, dict) and isinstance(value.get("content"), str):
            place = int(key)
            found[place] = _Added(
                place, value["content"], value.get("special") is True, rstrip=value.get("rstrip") is True
            )
    return list(found.values())


def _check_size(found: Vocabulary, rows: int) -> None:
    beyond = [text for text in found.tokens[rows:] if text is not None]
    if beyond:
        raise refuse(
            f"the vocabulary has {len(found.tokens)} tokens, the embedding {rows} rows; none for {listed(beyond)}",
            "the tokenizer belongs to another model, or tokens were added without resizing the embedding",
        )


def _surround(found: Vocabulary, said: specials.Specials, file: TokenizerFile | None, texts: Mapping[str, int]) -> None:
    """Decides which tokens llama.cpp puts before and after a text."""
    template = specials.around(file.post_processor) if file is not None else None
    if template is not None:
        first, last = (texts.get(one) if one is not None else None for one in template)
        found.add_bos, found.add_eos = first is not None, last is not None
        if first is not None:
            said.ids["bos"] = first
        if last is not None and last != said.ids.get("eos"):
            found.add_eos = False
            found.notes.append(f"the tokenizer ends a text with token {last}, which is not the end token: left out")
    else:
        sentences = found.model != "gpt2" and (file is None or said.tokenizer_class.startswith(("Llama", "Gemma")))
        found.add_bos = said.add_bos if said.add_bos is not None else sentences
        found.add_eos = bool(said.add_eos)
    found.add_bos = bool(found.add_bos) and "bos" in said.ids
    found.add_eos = bool(found.add_eos) and "eos" in said.ids


def _prefix(found: Vocabulary, said: specials.Specials) -> None:
    """llama.cpp puts a space after every special token or nowhere. A chat begins with a special token, so where only
    the first text gets a space, a chat model gets none."""
    if not found.prefix or found.model == "gpt2":
        return
    found.add_space_prefix = found.prefix == ALWAYS or (found.prefix == FIRST and found.template is None)
    if found.prefix == FIRST:
        where = "before each text" if found.add_space_prefix else "nowhere"
        found.notes.append(f"the tokenizer puts a space before the very first text only, llama.cpp {where}")
    if said.add_prefix_space is not None and found.prefix == ALWAYS and not said.add_prefix_space:
        found.add_space_prefix = False


def _fill(found: Vocabulary, rows: int) -> None:
    taken = {text for text in found.tokens if text is not None}
    found.tokens += [None] * (rows - len(found.tokens))
    found.types += [UNUSED] * (rows - len(found.types))
    if found.scores is not None:
        found.scores += [-10_000.0] * (rows - len(found.scores))
    for place, text in enumerate(found.tokens):
        if text is None or not text:
            name = f"[PAD{place}]"
            while name in taken:
                name += "_"
            taken.add(name)
            found.tokens[place], found.types[place] = name, UNUSED


def _end(found: Vocabulary) -> None:
    """llama.cpp takes token 11 of a `gpt2` vocabulary for the end where the file names none; so one must be named."""
    if "eos" in found.ids:
        return
    unused = [place for place, kind in enumerate(found.types) if kind == UNUSED]
    control = [place for place, kind in enumerate(found.types) if kind == CONTROL]
    found.ids["eos"] = (unused or control or [0])[-1]
    found.notes.append("no file names a token that ends an answer: answers end at the length limit")


def fits_phi3_name(found: Vocabulary) -> bool:
    """Whether llama.cpp's special treatment of models named phi-3 is right for this vocabulary."""
    return found.strips and set(LEADS) <= set(found.tokens)
