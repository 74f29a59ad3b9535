"""The same token ids in llama.cpp as in the tokenizers package, for every kind of tokenizer that is converted."""

import base64
import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tiny_repository import VOCABULARY, Repository, read

from freehold.errors import EngineError
from freehold.own.convert import pretokenizers, sentencepiece, specials
from freehold.own.convert.config import Config
from freehold.own.convert.core import convert

tokenizers = pytest.importorskip("tokenizers", reason="tokenizers is not installed: pip install 'freehold[reference]'")

TEXTS = (
    "Hello world, this is Freehold.", "two  spaces\n\n\tand 1234567 numbers 3.14", "a", "\n",
    "naïve café — Привет 日本語 한국어 🙂👩‍👩‍👧", "don't I'LL CamelCase snake_case() {};", "<s>Hi</s>there",
    "the question of a steward is answered, 1,250.75 dollars  ",
)  # fmt: skip
CORPUS = (
    "The steward looked at the weather and wrote it down: rain in the morning, 17 degrees by 3 o'clock. "
    "How much does it cost? It costs 1,250.75 dollars, or 40% less if you're willing to wait 365 days. " * 3,
    "Größe, naïve café, señor, Ελλάδα, Москва говорит, 東京は大きい, 你好世界, 안녕하세요, answers and questions. " * 3,
)
NAMES = ["<unk>", "<s>", "</s>"]
BYTES = [f"<0x{value:02X}>" for value in range(256)]
TEMPLATE = {"type": "TemplateProcessing"}
METASPACE = {"type": "Metaspace"}


def refit(repository: Repository, size: int) -> None:
    """Gives the model as many rows as the tokenizer has tokens."""
    import numpy as np

    repository.config["vocab_size"] = size
    for name in ("model.embed_tokens.weight", "lm_head.weight"):
        repository.tensors[name] = np.resize(repository.tensors[name], (size, repository.tensors[name].shape[1]))


def check(repository: Repository, made: Any, engine: Callable[[Path], Any], texts: tuple[str, ...] = TEXTS) -> Any:
    repository.tokenizer = json.loads(made.to_str())
    repository.files["tokenizer_config.json"] = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    refit(repository, made.get_vocab_size())
    out = repository.folder.with_suffix(".gguf")
    report = convert(repository.write(), out)
    running = engine(out)
    for text in texts:
        assert running.tokens(text) == made.encode(text).ids, (report.tokenizer, text)
    return report


def surrounded(made: Any) -> Any:
    made.post_processor = tokenizers.processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A $B", special_tokens=[("<s>", made.token_to_id("<s>"))]
    )
    return made


def trained(model: Any, trainer: Any, **parts: Any) -> Any:
    made = tokenizers.Tokenizer(model)
    for name, part in parts.items():
        setattr(made, name, part)
    made.train_from_iterator([*CORPUS, *pretokenizers.PROBES], trainer)
    return surrounded(made)


@pytest.mark.parametrize("name", [name for name, _ in pretokenizers.TABLE])
def test_every_pre_tokenizer_of_the_table(name: str, repository: Repository, engine: Callable[[Path], Any]) -> None:
    row = dict(pretokenizers.TABLE)[name]
    # llama.cpp's own patterns for these two treat a combining mark as no part of a word
    marked = [text for text in pretokenizers.PROBES if "\u0301" in text or "\u093f" in text]
    probes = [text for text in pretokenizers.PROBES if name not in ("gpt-4o", "tekken") or text not in marked]
    model = {"type": "BPE", "vocab": {}, "merges": []}
    plain = {"version": "1.0", "added_tokens": [], "pre_tokenizer": pretokenizers.as_json(row), "model": model}
    made = tokenizers.Tokenizer.from_str(json.dumps(plain))
    made.decoder = tokenizers.decoders.ByteLevel()
    alphabet = tokenizers.pre_tokenizers.ByteLevel.alphabet()
    made.train_from_iterator(
        [*CORPUS, *pretokenizers.PROBES * 3],
        tokenizers.trainers.BpeTrainer(
            vocab_size=900, special_tokens=NAMES, initial_alphabet=alphabet, show_progress=False
        ),
    )
    report = check(repository, surrounded(made), engine, (*probes, *TEXTS))
    assert report.tokenizer == {"llama-bpe": "gpt2/dbrx"}.get(name, f"gpt2/{name}")
    assert report.notes == ()


def split_on_spaces(scheme: str) -> Any:
    """A BPE trained with merges, one way to each token: not every pair of tokens that makes a token is a merge."""
    made = trained(
        tokenizers.models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True),
        tokenizers.trainers.BpeTrainer(vocab_size=600, special_tokens=[*NAMES, *BYTES], show_progress=False),
        pre_tokenizer=tokenizers.pre_tokenizers.Metaspace(prepend_scheme=scheme),
    )
    kept = json.loads(made.to_str())
    kept["added_tokens"] = [one for one in kept["added_tokens"] if one["content"] in NAMES]
    vocabulary = kept["model"]["vocab"]
    broken = {text for text in vocabulary if "\n" in text and text.strip("\n")}
    kept["model"]["merges"] = [
        pair for pair in kept["model"]["merges"] if "".join(pair) not in broken and not broken & {*pair}
    ]
    return tokenizers.Tokenizer.from_str(json.dumps(kept))


def test_trained_merges_on_text_go_where_merges_are_kept(repository: Repository, engine: Callable[[Path], Any]) -> None:
    report = check(repository, split_on_spaces("never"), engine)
    assert report.tokenizer == "gpt2/sarvam-moe"


def test_trained_merges_with_a_space_first_are_noted(repository: Repository, engine: Callable[[Path], Any]) -> None:
    report = check(repository, split_on_spaces("always"), engine, TEXTS[:1])
    assert report.tokenizer == "llama"
    assert any("merges" in note for note in report.notes)


def test_unigram(repository: Repository, engine: Callable[[Path], Any]) -> None:
    made = trained(
        tokenizers.models.Unigram(),
        tokenizers.trainers.UnigramTrainer(
            vocab_size=300, special_tokens=NAMES, unk_token="<unk>", show_progress=False
        ),
        pre_tokenizer=tokenizers.pre_tokenizers.Metaspace(prepend_scheme="always"),
    )
    report = check(repository, made, engine, tuple(text for text in TEXTS if "🙂" not in text and "\n" not in text))
    assert report.tokenizer == "t5"


# tokenizer.model


def varint(value: int) -> bytes:
    value &= (1 << 64) - 1
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def field(number: int, value: int | float | bytes) -> bytes:
    if isinstance(value, float):
        return varint(number << 3 | 5) + struct.pack("<f", value)
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def model_proto(vocabulary: dict[str, int], kind: int = 2, *, dummy_prefix: bool = True) -> bytes:
    """A tokenizer.model with the tokens of `vocabulary`, scored by their place."""
    types = {"<unk>": 2, "<s>": 3, "</s>": 3} | dict.fromkeys(BYTES, 6)
    pieces = b"".join(
        field(1, field(1, text.encode()) + field(2, -float(place)) + field(3, types.get(text, 1)))
        for text, place in sorted(vocabulary.items(), key=lambda one: one[1])
    )
    trainer = field(3, kind) + field(35, 1) + field(40, vocabulary["<unk>"]) + field(41, vocabulary["<s>"])
    trainer += field(42, vocabulary["</s>"]) + field(43, -1)
    return pieces + field(2, trainer) + field(3, field(3, int(dummy_prefix)))


def test_tokenizer_model_without_tokenizer_json(repository: Repository, engine: Callable[[Path], Any]) -> None:
    tiny_tokenizers = pytest.importorskip("tiny_tokenizers")
    kind = tiny_tokenizers.Tokens(
        "spm-legacy", ("<unk>", "<s>", "</s>"), bos="<s>", eos="</s>", head="<s>", unk="<unk>", at_end=False
    )
    made = tiny_tokenizers.build(kind)
    repository.tokenizer = None
    repository.files["tokenizer.model"] = model_proto(made.get_vocab())
    repository.files["tokenizer_config.json"] = {
        "added_tokens_decoder": {
            "600": {"content": "<|call|>", "special": False},
            "601": {"content": "[X]", "special": True},
        }
    }
    refit(repository, 610)
    out = repository.folder.with_suffix(".gguf")
    report = convert(repository.write(), out)
    assert report.tokenizer == "llama"
    running = engine(out)
    for text in TEXTS:
        assert running.tokens(text) == made.encode(text).ids, text
    assert running.tokens("a<|call|>")[-1] == 600
    types = read(out)[0]["tokenizer.ggml.token_type"]
    assert [types[place] for place in (0, 1, 3, 600, 601, 609)] == [2, 3, 6, 4, 3, 5]


@pytest.mark.parametrize("cut", [1, 5, 40, 1000])
def test_a_truncated_tokenizer_model_is_refused(repository: Repository, tmp_path: Path, cut: int) -> None:
    whole = model_proto({"<unk>": 0, "<s>": 1, "</s>": 2} | {f"t{n}": n for n in range(3, 200)})
    path = tmp_path / "tokenizer.model"
    path.write_bytes(whole[:-cut])
    with pytest.raises(EngineError, match="cut short"):
        sentencepiece.read(path)


@pytest.mark.parametrize(
    "raw", [b"", b"\xff" * 50, b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\x7f", b"\x0b", b"\x0a\x03\x0a\x01\xff"]
)
def test_what_is_no_tokenizer_model_is_refused(tmp_path: Path, raw: bytes) -> None:
    (tmp_path / "tokenizer.model").write_bytes(raw)
    with pytest.raises(EngineError):
        sentencepiece.read(tmp_path / "tokenizer.model")


# tokenizer.json that llama.cpp cannot do


def replaced(repository: Repository, **parts: Any) -> Repository:
    assert repository.tokenizer is not None
    repository.tokenizer |= parts
    return repository


@pytest.mark.parametrize(
    ("parts", "word"),
    [
        ({"normalizer": {"type": "Lowercase"}}, "Lowercase"),
        ({"model": {"type": "WordPiece", "vocab": {"a": 0}}}, "WordPiece"),
        ({"model": {"type": "WordLevel", "vocab": {"a": 0}}}, "WordLevel"),
        ({"pre_tokenizer": {"type": "Whitespace"}}, "pre-tokenizer"),
        ({"pre_tokenizer": {"type": "Whitespace"}, "decoder": None}, "Whitespace"),
        ({"pre_tokenizer": None, "decoder": None}, "neither"),
        ({"model": {"type": "BPE", "vocab": {"a": 0, "b": 0}, "merges": []}}, "same id"),
        ({"model": {"type": "BPE", "vocab": {"a": -1}, "merges": []}}, "id -1"),
        ({"model": {"type": "BPE", "vocab": {"a": 10**12}, "merges": []}}, "id 1000"),
        ({"model": {"type": "BPE", "vocab": {"a": 5}, "merges": ["ab"]}}, "merge 0"),
        ({"model": {"type": "BPE", "vocab": {"a": 5}, "merges": [["a", "b", "c"]]}}, "merge 0"),
        ({"model": {"type": "BPE", "vocab": {"a": 5}, "merges": [], "end_of_word_suffix": "/"}}, "end_of_word"),
        (
            {"model": {"type": "Unigram", "vocab": [["a", "b"]]}, "decoder": None, "pre_tokenizer": METASPACE},
            "scores",
        ),
        ({"model": []}, "cannot be read"),
        ({"added_tokens": [{"id": 5, "content": "<new>"}]}, "same id"),
    ],
)  # fmt: skip
def test_what_llama_cpp_cannot_do_is_named(
    repository: Repository, tmp_path: Path, parts: dict[str, Any], word: str
) -> None:
    with pytest.raises(EngineError) as caught:
        convert(replaced(repository, **parts).write(), tmp_path / "x.gguf")
    assert word in caught.value.text


def test_no_tokenizer_at_all(repository: Repository, tmp_path: Path) -> None:
    repository.tokenizer = None
    with pytest.raises(EngineError, match="neither"):
        convert(repository.write(), tmp_path / "x.gguf")


def test_merges_as_strings_and_as_pairs_are_the_same(repository: Repository, tmp_path: Path) -> None:
    convert(repository.write(), tmp_path / "pairs.gguf")
    assert repository.tokenizer is not None
    model = repository.tokenizer["model"]
    model["merges"] = [" ".join(pair) for pair in model["merges"]]
    convert(repository.write(), tmp_path / "strings.gguf")
    key = "tokenizer.ggml.merges"
    assert read(tmp_path / "pairs.gguf")[0][key] == read(tmp_path / "strings.gguf")[0][key] != []


def test_an_unknown_list_that_cuts_like_a_known_one(repository: Repository, tmp_path: Path) -> None:
    assert repository.tokenizer is not None
    never = {"type": "Split", "pattern": {"Regex": "\u0000"}, "behavior": "MergedWithNext", "invert": False}
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    sequence = {"type": "Sequence", "pretokenizers": [never, level]}
    report = convert(replaced(repository, pre_tokenizer=sequence).write(), tmp_path / "made.gguf")
    assert report.tokenizer == "gpt2/gpt-2"
    assert any("cuts as gpt-2" in note for note in report.notes)


def test_a_pattern_that_takes_for_ever_is_given_up(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pretokenizers, "PATIENCE", 2.0)
    monkeypatch.setattr(pretokenizers, "MODULE", "endless")
    (tmp_path / "endless.py").write_text("while True: pass")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    odd = {"type": "Split", "pattern": {"Regex": "x"}, "behavior": "Removed", "invert": False}
    sequence = {"type": "Sequence", "pretokenizers": [odd, {"type": "ByteLevel"}]}
    with pytest.raises(EngineError, match="did not finish"):
        convert(replaced(repository, pre_tokenizer=sequence).write(), tmp_path / "x.gguf")


# special tokens and templates


def test_ends_of_an_answer(repository: Repository, tmp_path: Path) -> None:
    repository.files["generation_config.json"] = {"eos_token_id": [2, 1, 9]}
    convert(repository.write(), tmp_path / "made.gguf")
    fields = read(tmp_path / "made.gguf")[0]
    assert [fields[f"tokenizer.ggml.{key}_token_id"] for key in ("eos", "eot", "eom")] == [1, 2, 9]


def test_without_an_end_token_an_unused_one_is_named(repository: Repository, tmp_path: Path) -> None:
    """llama.cpp would take token 11 for the end."""
    del repository.config["eos_token_id"]
    repository.files["tokenizer_config.json"] = {}
    report = convert(repository.write(), tmp_path / "made.gguf")
    assert read(tmp_path / "made.gguf")[0]["tokenizer.ggml.eos_token_id"] == VOCABULARY - 1
    assert any("length limit" in note for note in report.notes)


@pytest.mark.parametrize(
    ("files", "default", "named"),
    [
        ({"tokenizer_config.json": {"chat_template": "A"}}, "A", {}),
        ({"tokenizer_config.json": {"chat_template": "A"}, "chat_template.jinja": "B"}, "B", {}),
        ({"tokenizer_config.json": {"chat_template": "A"}, "chat_template.json": {"chat_template": "C"}}, "C", {}),
        (
            {"tokenizer_config.json": {"chat_template": [
                {"name": "default", "template": "A"}, {"name": "tool use", "template": "T"}]}},
            "A", {"tool_use": "T"},
        ),
        ({"tokenizer_config.json": {"chat_template": [{"name": "only", "template": "A"}]}}, "A", {}),
        ({"chat_template.jinja": "B", "additional_chat_templates/rag.jinja": "R"}, "B", {"rag": "R"}),
        ({"tokenizer_config.json": {"chat_template": 7}}, None, {}),
        ({}, None, {}),
    ],
)  # fmt: skip
def test_chat_templates(
    repository: Repository, files: dict[str, Any], default: str | None, named: dict[str, str]
) -> None:
    repository.files = files
    found = specials.read(repository.write(), Config(repository.config), {}, 10)
    assert (found.template, found.templates) == (default, named)


@pytest.mark.parametrize(
    ("post", "flags", "expected"),
    [
        (None, {}, (False, False)),
        (None, {"add_bos_token": True, "add_eos_token": True}, (True, True)),
        ({"type": "ByteLevel"}, {"add_bos_token": True}, (True, False)),
        ({**TEMPLATE, "single": [{"Sequence": {"id": "A"}}]}, {"add_bos_token": True}, (False, False)),
        (
            {"type": "Sequence", "processors": [{"type": "ByteLevel"}, {**TEMPLATE, "single": [
                {"SpecialToken": {"id": "<|begin|>"}}, {"Sequence": {"id": "A"}},
                {"SpecialToken": {"id": "<|end|>"}}]}]},
            {}, (True, True),
        ),
    ],
)  # fmt: skip
def test_what_is_put_around_a_text(
    repository: Repository, tmp_path: Path, post: Any, flags: dict[str, bool], expected: tuple[bool, bool]
) -> None:
    repository.files["tokenizer_config.json"] |= flags
    convert(replaced(repository, post_processor=post).write(), tmp_path / "made.gguf")
    fields = read(tmp_path / "made.gguf")[0]
    assert (fields["tokenizer.ggml.add_bos_token"], fields["tokenizer.ggml.add_eos_token"]) == expected


def test_precompiled_maps_are_checked(repository: Repository, tmp_path: Path) -> None:
    vocabulary = [["<unk>", 0.0], *([f"t{n}", -float(n)] for n in range(20))]
    parts = {
        "model": {"type": "Unigram", "vocab": vocabulary, "unk_id": 0}, "decoder": None, "added_tokens": [],
        "pre_tokenizer": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always"}, "post_processor": None,
    }  # fmt: skip
    charsmap = base64.b64encode(b"\x04\0\0\0abcd").decode()
    fine = {"normalizer": {"type": "Precompiled", "precompiled_charsmap": charsmap}}
    convert(replaced(repository, **parts, **fine).write(), tmp_path / "made.gguf")
    assert bytes(read(tmp_path / "made.gguf")[0]["tokenizer.ggml.precompiled_charsmap"]) == b"\x04\0\0\0abcd"
    broken = {"normalizer": {"type": "Precompiled", "precompiled_charsmap": "%%%"}}
    with pytest.raises(EngineError, match="base64"):
        convert(replaced(repository, **parts, **broken).write(), tmp_path / "x.gguf")
