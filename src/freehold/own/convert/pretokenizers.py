"""Which of llama.cpp's built-in pre-tokenizers a tokenizer.json means.

A byte-level BPE first cuts text into words. tokenizer.json says how with a list of steps; llama.cpp has a fixed set of
ways, each with a name (`tokenizer.ggml.pre`, src/llama-vocab.cpp). `TABLE` pairs the two. A list that is not in the
table is compared with every row on texts chosen to tell them apart, with the `tokenizers` package where it is
installed; if none cuts them alike, the model is refused: the wrong one would spoil every prompt without a word.
"""

import importlib.util
import json
import subprocess
import sys
import unicodedata
from collections.abc import Sequence
from typing import Any

from msgspec import Struct

from freehold.own.convert.problems import refuse, unsupported

MODULE = "freehold.own.convert.pretokenizers"
PATIENCE = 20.0
"""Seconds for a comparison; it takes one."""
CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_UPPER, _LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_TAIL = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_CASED_TAIL = r"| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_LETTERS = r"[^\r\n\p{L}\p{N}]?\p{L}+"
_HAN_KANA = "[一-龥\u3040-ゟ゠-ヿ]+"
_DEEPSEEK_WORDS = (
    "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+"
    "| ?[\\p{P}\\p{S}]+[\r\n]*|\\s*[\r\n]+|\\s+(?!\\S)|\\s+"
)
_DEEPSEEK_LETTERS = """
41-5A 61-7A B5 C0-D6 D8-F6 F8-1BA 1BC-1BF 1C4-293 295-2AF 370-373 376 377 37B-37D 37F 386 388-38A 38C 38E-3A1
3A3-3F5 3F7-481 48A-52F 531-556 10A0-10C5 13A0-13F5 13F8-13FD 1C90-1CBA 1CBD-1CBF 1D00-1D2B 1D6B-1D77 1D79-1D9A
1E00-1F15 1F18-1F1D 1F20-1F45 1F48-1F4D 1F50-1F57 1F59 1F5B 1F5D 1F5F-1F7D 1F80-1FB4 1FB6-1FBC 1FBE 1FC2-1FC4
1FC6-1FCC 1FD0-1FD3 1FD6-1FDB 1FE0-1FEC 1FF2-1FF4 1FF6-1FFC 2102 2107 210A-2113 2115 2119-211D 2124 2126 2128
212A-212D 212F-2134 2139 213C-213F 2145-2149 214E 2183 2184 2C00-2C7B 2C7E-2CE4 2CEB-2CEE 2CF2 2CF3 A640-A66D
A680-A69B A722-A76F A771-A787 A78B-A78E AB70-ABBF FB00-FB06 FB13-FB17 FF21-FF3A FF41-FF5A 10400-1044F 104B0-104D3
104D8-104FB 10C80-10CB2 10CC0-10CF2 118A0-118DF 1E900-1E943
"""
"""Code points of the letters with case, as the pattern of DeepSeek's first tokenizers lists them."""


def _letter_class(ranges: str) -> str:
    return "".join("-".join(chr(int(end, 16)) for end in one.split("-")) for one in ranges.split())


class Step(Struct, frozen=True):
    """One step: `split` and `punctuation` isolate or merge matches, `digits` digits, `bytes` ends in GPT-2's alphabet
    (with `on` it also cuts by GPT-2's own pattern)."""

    kind: str
    pattern: str = ""
    behaviour: str = ""
    on: bool = False


def _split(pattern: str, behaviour: str = "Isolated") -> Step:
    return Step("split", pattern, behaviour)


_BYTES, _GPT2 = Step("bytes"), Step("bytes", on=True)
_LLAMA3 = (_split(rf"{CONTRACTIONS}|{_LETTERS}|\p{{N}}{{1,3}}{_TAIL}"), _BYTES)

TABLE: tuple[tuple[str, tuple[Step, ...]], ...] = (
    ("gpt-2", (_GPT2,)),
    ("llama-bpe", _LLAMA3),
    ("qwen2", (_split(rf"{CONTRACTIONS}|{_LETTERS}|\p{{N}}{_TAIL}"), _BYTES)),
    (
        "qwen35",
        (
            _split(
                rf"{CONTRACTIONS}|[^\r\n\p{{L}}\p{{N}}]?[\p{{L}}\p{{M}}]+|\p{{N}}| ?[^\s\p{{L}}\p{{M}}\p{{N}}]+[\r\n]*"
                r"|\s*[\r\n]+|\s+(?!\S)|\s+"
            ),
            _BYTES,
        ),
    ),
    ("smollm", (Step("digits", on=True), _GPT2)),
    ("deepseek-v3", (_split(r"\p{N}{1,3}"), _split(_HAN_KANA), _split(_DEEPSEEK_WORDS), _BYTES)),
    (
        "deepseek-llm",
        (
            _split("[\r\n]"),
            _split(rf"\s?[{_letter_class(_DEEPSEEK_LETTERS)}]+"),
            _split(r"\s?[!-/:-~！-／：-～‘-‟　-。]+"),
            _split(r"\s+$"),
            _split("[一-龥ࠀ-一가-퟿]+"),
            Step("digits", on=True),
            _BYTES,
        ),
    ),
    (
        "deepseek-coder",
        (
            _split("[\r\n]"),
            _split(r"\s?\p{L}+"),
            _split(r"\s?\p{P}+"),
            _split("[一-龥ࠀ-一가-퟿]+"),
            Step("digits", on=True),
            _BYTES,
        ),
    ),
    ("falcon", (Step("punctuation", behaviour="Contiguous"), _GPT2, Step("digits"), _split("[0-9][0-9][0-9]"))),
    (
        "gpt-4o",
        (
            _split(
                rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}*{_LOWER}+{CONTRACTIONS}?|[^\r\n\p{{L}}\p{{N}}]?{_UPPER}+{_LOWER}*"
                rf"{CONTRACTIONS}?|\p{{N}}{{1,3}}{_CASED_TAIL}"
            ),
            _BYTES,
        ),
    ),
    (
        "tekken",
        (
            _split(
                rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}*{_LOWER}+|[^\r\n\p{{L}}\p{{N}}]?{_UPPER}+{_LOWER}*|\p{{N}}{_CASED_TAIL}"
            ),
            _BYTES,
        ),
    ),
)
"""llama.cpp's names and the steps they stand for. Rows that cut alike (starcoder, refact and command-r as smollm; phi-2
as gpt-2) stand once; `named` picks between those that differ in what llama.cpp does besides."""

PROBES = (
    "Hello, world! It's 2024; we've seen 1234567 things, they'LL say.",
    "  two spaces\n\n\tTab and\r\nlines   \n end  ",
    "CamelCaseWORDS and snake_case, x=y+1; if(a<b){c++;} // /path/to\n",
    "naïve café über straße ΑΒΓ αβγ Привет, мир!",
    "日本語のテキスト。漢字とカナ、中文字符！한국어 문장",
    "हिन्दी ภาษาไทย مرحبا ١٢٣ ½ Ⅷ 𝟘𝟙",
    "emoji 👩‍👩‍👧‍👦 🇫🇷 e\u0301 a\u0300bc\u0301",
    "price: $3.50 (50%) #tag @user `code` ~x^2|y 'quoted' \"double\"",
    "0 00 000 0000 00000 3.14159 1,000,000 v1.2.3-rc4",
    "\u00a0nbsp\u2003em\u3000ideographic …—–‘’“”",
    "don't DON'T I'm i'M you'Re",
)


def named(pre_tokenizer: Any, *, ignore_merges: bool, clean_up: bool, architecture: str) -> tuple[str, list[str]]:
    """Returns llama.cpp's name for the `pre_tokenizer` of a tokenizer.json, and notes for a person.

    Raises EngineError when llama.cpp has none that cuts alike.
    """
    notes: list[str] = []
    steps, prefixed = read_steps(pre_tokenizer)
    if prefixed:
        notes.append(
            "the tokenizer puts a space before each text, llama.cpp does not: first words may be cut otherwise"
        )
    name = next((name for name, row in TABLE if _plain(row) == _plain(steps)), None)
    if name is None:
        name = _alike(pre_tokenizer)
        notes.append(f"the pre-tokenizer is not a known one; on {len(PROBES)} texts it cuts as {name} does")
    return _variant(name, ignore_merges, clean_up, architecture), notes


def _variant(name: str, ignore_merges: bool, clean_up: bool, architecture: str) -> str:
    """Returns the name among those that cut alike: with or without whole words before merges."""
    if name == "llama-bpe" and not ignore_merges:
        return "dbrx"
    if name == "gpt-4o" and architecture == "llama4":
        return "llama4"
    if name == "smollm" and architecture in ("command-r", "cohere2"):
        return "command-r"
    if name == "smollm" and clean_up:
        return "refact"
    return name


def read_steps(pre_tokenizer: Any) -> tuple[tuple[Step, ...], bool]:
    """Returns the steps, and whether a space is put first. Steps that no row has become kinds that match nothing."""
    if not isinstance(pre_tokenizer, dict):
        return (), False
    if pre_tokenizer.get("type") == "Sequence":
        parts = pre_tokenizer.get("pretokenizers")
        parts = parts if isinstance(parts, list) else []
    else:
        parts = [pre_tokenizer]
    prefixed = any(
        isinstance(one, dict) and one.get("type") == "ByteLevel" and one.get("add_prefix_space") is True
        for one in parts
    )
    return tuple(_step(one) for one in parts), prefixed


def _step(part: Any) -> Step:
    kind = part.get("type") if isinstance(part, dict) else None
    if kind == "ByteLevel":
        return Step("bytes", on=part.get("use_regex") is not False)
    if kind == "Digits":
        return Step("digits", on=part.get("individual_digits") is True)
    if kind == "Punctuation":
        return Step("punctuation", behaviour=str(part.get("behavior") or "Isolated"))
    if kind == "Split" and isinstance(part.get("pattern"), dict):
        pattern = part["pattern"]
        text = pattern.get("Regex", pattern.get("String"))
        behaviour = str(part.get("behavior"))
        # matching what to keep and removing the rest, and cutting matches out, come to the same where all is matched
        if part.get("invert") is True and behaviour == "Removed":
            behaviour = "Isolated"
        return Step("split", str(text), behaviour, on=part.get("invert") is True and behaviour != "Isolated")
    return Step(str(kind)[:40])


def _plain(steps: Sequence[Step]) -> tuple[Step, ...]:
    """Returns `steps` with spellings of one pattern made one: escaped or not, composed characters or not."""

    def plain(pattern: str) -> str:
        for written, meant in (("\\r", "\r"), ("\\n", "\n"), ("\\/", "/")):
            pattern = pattern.replace(written, meant)
        return unicodedata.normalize("NFC", pattern)

    return tuple(Step(one.kind, plain(one.pattern), one.behaviour, one.on) for one in steps)


def _alike(pre_tokenizer: Any) -> str:
    """Returns the name of a row that cuts PROBES as `pre_tokenizer` does. It runs in a child process for a limited
    time: a pattern from a repository may take for ever."""
    if importlib.util.find_spec("tokenizers") is None:
        raise unsupported(
            "tokenizer.json: the pre-tokenizer is not one that llama.cpp is known to have",
            "pip install tokenizers, so that it can be compared with the known ones, or pull a GGUF of this model",
        )
    try:
        done = subprocess.run(  # noqa: S603, our own interpreter
            [sys.executable, "-m", MODULE],
            input=json.dumps(pre_tokenizer).encode(),
            capture_output=True,
            timeout=PATIENCE,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise refuse(
            f"tokenizer.json: its pre-tokenizer did not finish ten lines of text in {PATIENCE:.0f} s"
        ) from None
    name = done.stdout.decode(errors="replace").strip()
    if done.returncode:
        raise refuse(f"tokenizer.json: the pre-tokenizer cannot be used: {name[:120] or 'it crashes'}")
    if not name:
        raise unsupported(
            "tokenizer.json: llama.cpp has no pre-tokenizer that cuts text as this one does",
            f"known: {', '.join(name for name, _ in TABLE)}; run the model with transformers or vllm instead",
        )
    return name


def compare(pre_tokenizer: Any) -> str:
    """Returns the name of the row that cuts PROBES as `pre_tokenizer` does, or "". Raises what tokenizers raises."""
    from tokenizers import Tokenizer

    model = {"type": "BPE", "vocab": {}, "merges": []}

    def cuts(value: Any) -> list[list[str]]:
        whole = {"version": "1.0", "added_tokens": [], "pre_tokenizer": value, "model": model}
        built = Tokenizer.from_str(json.dumps(whole))
        return [[word for word, _ in built.pre_tokenizer.pre_tokenize_str(text)] for text in PROBES]

    found = cuts(pre_tokenizer)
    return next((name for name, row in TABLE if cuts(as_json(row)) == found), "")


def as_json(row: Sequence[Step]) -> dict[str, Any]:
    """Returns the steps of a row as tokenizer.json writes them."""
    parts: list[dict[str, Any]] = []
    for step in row:
        if step.kind == "bytes":
            parts.append({"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": step.on})
        elif step.kind == "digits":
            parts.append({"type": "Digits", "individual_digits": step.on})
        elif step.kind == "punctuation":
            parts.append({"type": "Punctuation", "behavior": step.behaviour})
        else:
            pattern = {"Regex": step.pattern}
            parts.append({"type": "Split", "pattern": pattern, "behavior": step.behaviour, "invert": False})
    return {"type": "Sequence", "pretokenizers": parts}


def main() -> int:
    """The child of `_alike`: reads a pre-tokenizer from stdin, writes a name."""
    try:
        sys.stdout.write(compare(json.loads(sys.stdin.read())))
    except Exception as error:  # tokenizers raises plain Exception for what it cannot build
        sys.stdout.write(str(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
