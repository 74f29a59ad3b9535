"""Tokenizers true to their family, trained in a moment on the text below: the family's own normaliser, pre-tokenizer
and special tokens, with a vocabulary of some hundreds.

Two kinds: byte-level BPE (GPT-2 and all that came of it), and BPE over characters with byte fallback, as SentencePiece
models become when they are converted (Llama 2, Mistral, Gemma, Phi 3). The patterns are facts of the published
tokenizer.json files; llama.cpp's names for them are in its src/llama-vocab.cpp.
"""

from collections import Counter
from typing import Any, NamedTuple

TEXT = """The steward looked at the weather and wrote it down: rain in the morning, sun at noon, 17 degrees by 3 pm.
"How much does it cost?" asked the visitor. It costs 1,250.75 dollars, or 40% less if you're willing to wait 365 days.
We've been told that they'll come back; I'd rather not say when. She's sure, he isn't, and that's where it ends.
def greet(name: str, times: int = 3) -> list[str]:
    return [f"hello, {name}!" for _ in range(times)]  # says hello
{"city": "Paris", "unit": "celsius", "values": [1, 22, 333, 4444, null, true]}
A model answers a question with the words that it has seen together before, one token after another, until the end.
The house has many rooms, and every room has a door; behind every door there is a question, behind it an answer.
Größe, naïve café, señor, Ærø, Ελλάδα, Москва говорит, 東京は大きい, 你好世界, 안녕하세요, \U0001f600\U0001f680 too.

    Indented text,	with tabs,  double  spaces and\r\nother line ends.
The weather tomorrow will be like the weather today. The answer to the question is the question to the answer.
"""

MOST_LETTERS = 90
"""Rarer characters become bytes."""
GPT2 = r"""'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"""
LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
QWEN2 = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
O200K = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
DEEPSEEK3 = (
    r"\p{N}{1,3}",
    "[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+",
    r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"""
    r"| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
)
DEEPSEEK_LETTERS = (
    "A-Za-z\u00b5\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u01ba\u01bc-\u01bf\u01c4-\u0293\u0295-\u02af\u0370-\u0373\u0376\u0377"
    "\u037b-\u037d\u037f\u0386\u0388-\u038a\u038c\u038e-\u03a1\u03a3-\u03f5\u03f7-\u0481\u048a-\u052f\u0531-\u0556"
    "\u10a0-\u10c5\u13a0-\u13f5\u13f8-\u13fd\u1c90-\u1cba\u1cbd-\u1cbf\u1d00-\u1d2b\u1d6b-\u1d77\u1d79-\u1d9a\u1e00-\u1f15"
    "\u1f18-\u1f1d\u1f20-\u1f45\u1f48-\u1f4d\u1f50-\u1f57\u1f59\u1f5b\u1f5d\u1f5f-\u1f7d\u1f80-\u1fb4\u1fb6-\u1fbc\u1fbe"
    "\u1fc2-\u1fc4\u1fc6-\u1fcc\u1fd0-\u1fd3\u1fd6-\u1fdb\u1fe0-\u1fec\u1ff2-\u1ff4\u1ff6-\u1ffc\u2102\u2107\u210a-\u2113"
    "\u2115\u2119-\u211d\u2124\u2126\u2128\u212a-\u212d\u212f-\u2134\u2139\u213c-\u213f\u2145-\u2149\u214e\u2183\u2184"
    "\u2c00-\u2c7b\u2c7e-\u2ce4\u2ceb-\u2cee\u2cf2\u2cf3\ua640-\ua66d\ua680-\ua69b\ua722-\ua76f\ua771-\ua787\ua78b-\ua78e"
    "\uab70-\uabbf\ufb00-\ufb06\ufb13-\ufb17\uff21-\uff3a\uff41-\uff5a\U00010400-\U0001044f\U000104b0-\U000104d3"
    "\U000104d8-\U000104fb\U00010c80-\U00010cb2\U00010cc0-\U00010cf2\U000118a0-\U000118df\U0001e900-\U0001e943"
)
DEEPSEEK2 = (
    r"[\r\n]",
    rf"\s?[{DEEPSEEK_LETTERS}]+",
    "\\s?[!-/:-~\uff01-\uff0f\uff1a-\uff5e\u2018-\u201f\u3000-\u3002]+",
    r"\s+$",
    "[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+",
)


class Tokens(NamedTuple):
    """What a family's tokenizer is made of. `special` come first in the vocabulary unless `at_end`; `plain` are added
    tokens that are not special (a decoder shows them). `head` is put before every prompt by the tokenizer."""

    kind: str
    special: tuple[str, ...]
    bos: str | None
    eos: str
    head: str | None = None
    unk: str | None = None
    pad: str | None = None
    plain: tuple[str, ...] = ()
    at_end: bool = True
    rstrip: tuple[str, ...] = ()


def build(tokens: Tokens, merges: int = 120) -> Any:
    """Returns a `tokenizers.Tokenizer`, the same on every call."""
    if tokens.kind in ("spm", "gemma", "spm-legacy"):
        return _characters(tokens, merges)
    return _bytes(tokens, merges)


def _bytes(tokens: Tokens, merges: int) -> Any:
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

    first = () if tokens.at_end else tokens.special
    made = Tokenizer(models.BPE(ignore_merges=tokens.kind in ("llama3", "o200k")))
    if tokens.kind in ("qwen2", "command-r"):
        made.normalizer = normalizers.NFC()
    made.pre_tokenizer = pre_tokenizers.Sequence(_splits(tokens.kind))
    if tokens.kind == "gpt2":
        made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, trim_offsets=True)
    made.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=256 + len(first) + merges,
        special_tokens=list(first),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    made.train_from_iterator([TEXT], trainer)
    return _finished(made, tokens)


def _splits(kind: str) -> list[Any]:
    from tokenizers import Regex, pre_tokenizers

    def split(*patterns: str) -> list[Any]:
        return [pre_tokenizers.Split(Regex(pattern), "isolated") for pattern in patterns]

    level = pre_tokenizers.ByteLevel(add_prefix_space=False, trim_offsets=True, use_regex=False)
    whole = pre_tokenizers.ByteLevel(add_prefix_space=False, trim_offsets=True, use_regex=True)
    patterns = {"llama3": (LLAMA3,), "qwen2": (QWEN2,), "o200k": (O200K,), "deepseek3": DEEPSEEK3}
    if kind in patterns:
        return [*split(*patterns[kind]), level]
    if kind == "deepseek2":
        return [*split(*DEEPSEEK2), pre_tokenizers.Digits(individual_digits=True), level]
    if kind == "falcon":
        return [
            pre_tokenizers.Punctuation("contiguous"), whole, pre_tokenizers.Digits(individual_digits=False),
            *split("[0-9][0-9][0-9]"),
        ]  # fmt: skip
    if kind == "command-r":
        return [pre_tokenizers.Digits(individual_digits=True), whole]
    assert kind == "gpt2", kind
    return [whole]


def _characters(tokens: Tokens, merges: int) -> Any:
    """SentencePiece's own ranks: the score of a piece is its place in the vocabulary, and every pair of pieces that
    joins into a piece is a merge, the better piece first."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

    trained = Tokenizer(models.BPE())
    trained.normalizer = normalizers.Replace(" ", "▁")
    trained.pre_tokenizer = pre_tokenizers.Split("▁", "merged_with_next")
    trainer = trainers.BpeTrainer(vocab_size=len(set(TEXT)) + 1 + merges, show_progress=False)
    trained.train_from_iterator([TEXT], trainer)
    pieces = sorted(trained.get_vocab().items(), key=lambda item: item[1])
    often = Counter(TEXT.replace(" ", "▁"))
    letters = sorted(sorted(often), key=lambda letter: -often[letter])[:MOST_LETTERS]
    joined = [piece for piece, _ in pieces if len(piece) > 1 and set(piece) <= set(letters)][:merges]
    names = [*tokens.special, *(f"<0x{byte:02X}>" for byte in range(256)), *joined, *letters]
    vocabulary = {name: place for place, name in enumerate(names)}
    pairs = []
    for rank, piece in enumerate(joined):
        cuts = [(piece[:at], piece[at:]) for at in range(1, len(piece))]
        found = [(left, right) for left, right in cuts if left in vocabulary and right in vocabulary]
        pairs += [(rank, pair) for pair in sorted(found, key=lambda pair: (vocabulary[pair[0]], vocabulary[pair[1]]))]
    made = Tokenizer(
        models.BPE(
            vocab=vocabulary,
            merges=[pair for _, pair in pairs],
            unk_token=tokens.unk,
            fuse_unk=True,
            byte_fallback=True,
        )
    )
    if tokens.kind == "gemma":
        made.normalizer = normalizers.Replace(" ", "▁")
        made.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
        made.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    else:
        if tokens.kind == "spm-legacy":
            made.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
        else:
            made.pre_tokenizer = pre_tokenizers.Metaspace("▁", prepend_scheme="first", split=False)
        made.decoder = decoders.Sequence(
            [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
        )
    return _finished(made, tokens)


def _finished(made: Any, tokens: Tokens) -> Any:
    from tokenizers import AddedToken, processors

    made.add_special_tokens(
        [AddedToken(name, special=True, normalized=False, rstrip=name in tokens.rstrip) for name in tokens.special]
    )
    made.add_tokens([AddedToken(name, special=False, normalized=False) for name in tokens.plain])
    if tokens.head is not None:
        head = processors.TemplateProcessing(
            single=f"{tokens.head} $A",
            pair=f"{tokens.head} $A {tokens.head} $B:1",
            special_tokens=[(tokens.head, made.token_to_id(tokens.head))],
        )
        if tokens.kind in ("spm", "spm-legacy", "gemma"):
            made.post_processor = head
        else:
            made.post_processor = processors.Sequence([processors.ByteLevel(trim_offsets=False), head])
    elif tokens.kind not in ("spm", "spm-legacy", "gemma"):
        made.post_processor = processors.ByteLevel(trim_offsets=False)
    return made
