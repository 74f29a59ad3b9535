"""What weights are: architecture, parameters, context, licence, chat template, end tokens, and what memory they need.

From the headers (GGUF) or from config.json, tokenizer files and the headers (safetensors), and from the model card's
front matter. Everything here was written by strangers: a wrong type counts as silence, and text loses what could
control a terminal.
"""

import contextlib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from freehold.errors import EngineError
from freehold.own import gguf
from freehold.own.quantisations import BITS
from freehold.own.weights import safetensors
from freehold.own.weights.inspect import read_json
from freehold.own.weights.types import Artefact, Format, Version

if TYPE_CHECKING:
    from freehold.own.weights.store import Store

CARD = 256 << 10
"""Bytes of a model card that are looked at."""
LONGEST = 300
MAX_TEMPLATE = 1 << 20

FILE_TYPES: dict[int, str] = {
    0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 7: "Q8_0", 8: "Q5_0", 9: "Q5_1", 10: "Q2_K", 11: "Q3_K_S", 12: "Q3_K_M",
    13: "Q3_K_L", 14: "Q4_K_S", 15: "Q4_K_M", 16: "Q5_K_S", 17: "Q5_K_M", 18: "Q6_K", 19: "IQ2_XXS", 20: "IQ2_XS",
    21: "Q2_K_S", 22: "IQ3_XS", 23: "IQ3_XXS", 24: "IQ1_S", 25: "IQ4_NL", 26: "IQ3_S", 27: "IQ3_M", 28: "IQ2_S",
    29: "IQ2_M", 30: "IQ4_XS", 31: "IQ1_M", 32: "BF16", 36: "TQ1_0", 37: "TQ2_0", 38: "MXFP4",
}  # fmt: skip
"""general.file_type of a GGUF file (llama_ftype in llama.h)."""


class Facts(Struct, frozen=True):
    """Lengths are tokens, None where the files are silent. `kv_width` is elements of keys and values cached for each
    token, over all layers. `end_tokens` are ids, or texts where only these are known."""

    architecture: str | None
    parameters: int | None
    quantisation: str
    context: int | None = None
    licence: str | None = None
    title: str | None = None
    layers: int | None = None
    embedding: int | None = None
    vocabulary: int | None = None
    kv_width: int = 0
    chat_template: str | None = None
    end_tokens: tuple[int | str, ...] = ()

    @property
    def template(self) -> bool:
        return bool(self.chat_template)

    def kv_cache(self, tokens: int) -> int:
        """Returns bytes of a 16-bit cache of keys and values for `tokens`."""
        return 2 * self.kv_width * tokens


class Need(Struct, frozen=True):
    """Bytes that weights of one quantisation need. `artefact` is the id of what is in the store; None: an estimate."""

    quantisation: str
    weights: int
    cache: int
    artefact: str | None = None

    @property
    def total(self) -> int:
        return self.weights + self.cache


def facts(files: Mapping[str, Path], format: Format) -> Facts:
    """Returns what the files of one artefact say, by their names in it. Raises EngineError (bad_weights), OSError."""
    licence = _card_licence(files)
    return _of_gguf(files, licence) if format == "gguf" else _of_safetensors(files, licence)


def facts_of(store: "Store", version: Version, artefact: Artefact) -> Facts:
    """Returns what an artefact of the store is. Raises EngineError (weights_missing, bad_weights)."""
    return facts({name: store.blob(file.sha256) for name, file in artefact.files.items()}, artefact.format)


def memory(
    known: Facts, artefacts: Iterable[Artefact], tokens: int, wanted: Iterable[str] = ("F16", "Q8_0", "Q4_K_M")
) -> list[Need]:
    """Returns the need of each artefact that is there and of the quantisations in `wanted`, largest first; with a cache
    for `tokens`."""
    cache = known.kv_cache(tokens)
    found = [
        Need(one.quantisation, sum(file.size for name, file in one.files.items() if _is_weights(name)), cache, one.id)
        for one in artefacts
        if not one.projector
    ]
    there = {need.quantisation for need in found}
    if known.parameters:
        found += [
            Need(one, int(known.parameters * BITS[one] / 8), cache)
            for one in wanted
            if one in BITS and one not in there
        ]
    return sorted(found, key=lambda need: (-need.weights, need.quantisation))


def _is_weights(name: str) -> bool:
    return name.lower().endswith((".gguf", ".safetensors"))


# GGUF


def _of_gguf(files: Mapping[str, Path], licence: str | None) -> Facts:
    names = sorted(name for name in files if name.lower().endswith(".gguf"))
    if not names:
        raise EngineError("there is no .gguf file", code="bad_weights", retry="no")
    parts = [gguf.read_header(files[name], name) for name in names]
    first = parts[0]
    told = first.metadata.get("general.file_type")
    template = first.metadata.get("tokenizer.chat_template")
    ends = [first.metadata.get(f"tokenizer.ggml.{key}_token_id") for key in ("eos", "eot", "eom")]
    return Facts(
        architecture=first.architecture,
        parameters=sum(part.parameters for part in parts),
        quantisation=FILE_TYPES.get(told) or first.quantisation if isinstance(told, int) else first.quantisation,
        context=first.context,
        licence=licence or _clean(first.licence),
        title=_clean(first.name),
        layers=first.layers,
        embedding=first.embedding,
        vocabulary=first.vocabulary,
        kv_width=first.kv_width,
        chat_template=template if isinstance(template, str) else None,
        end_tokens=tuple(dict.fromkeys(one for one in ends if isinstance(one, int) and not isinstance(one, bool))),
    )


# safetensors


def _of_safetensors(files: Mapping[str, Path], licence: str | None) -> Facts:
    names = sorted(name for name in files if name.endswith(".safetensors") and "/" not in name)
    parts = [safetensors.read_header(files[name], name) for name in names]
    by_type: dict[str, int] = {}
    for part in parts:
        by_type[part.quantisation] = by_type.get(part.quantisation, 0) + part.weights
    config = _object(files, "config.json")
    text = config.get("text_config")
    inner = text if isinstance(text, dict) else {}
    ends = _ends(_object(files, "generation_config.json"), inner, config) or _end_text(files)
    return Facts(
        architecture=_clean(config.get("model_type")),
        parameters=sum(part.parameters for part in parts),
        quantisation=max(by_type, key=lambda dtype: by_type[dtype], default="none"),
        context=_number(inner, config, "max_position_embeddings", "n_positions", "seq_length"),
        licence=licence,
        layers=_number(inner, config, "num_hidden_layers", "n_layer", "n_layers"),
        embedding=_number(inner, config, "hidden_size", "n_embd", "d_model"),
        vocabulary=_number(inner, config, "vocab_size"),
        kv_width=_kv_width(inner, config),
        chat_template=_template(files),
        end_tokens=ends,
    )


def _object(files: Mapping[str, Path], name: str) -> dict[str, Any]:
    """Returns a small JSON file's object; empty where it is missing or something else."""
    if name in files:
        with contextlib.suppress(EngineError, OSError):
            found = read_json(files[name], name)
            return found if isinstance(found, dict) else {}
    return {}


def _number(inner: Mapping[str, Any], config: Mapping[str, Any], *keys: str) -> int | None:
    for where in (inner, config):
        for key in keys:
            value = where.get(key)
            if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 1 << 40:
                return value
    return None


def _kv_width(inner: Mapping[str, Any], config: Mapping[str, Any]) -> int:
    """Layers x (key length + value length) x KV heads; one compressed vector instead where attention is latent (MLA).
    Sliding windows are not counted in our favour."""

    def number(*keys: str) -> int:
        return _number(inner, config, *keys) or 0

    layers = number("num_hidden_layers", "n_layer", "n_layers")
    if latent := number("kv_lora_rank"):
        return layers * (latent + number("qk_rope_head_dim"))
    heads = number("num_attention_heads", "n_head", "n_heads")
    if config.get("multi_query") is True and config.get("new_decoder_architecture") is not True:
        kv_heads = 1
    else:
        kv_heads = number("num_key_value_heads", "num_kv_heads") or heads
    length = number("head_dim") or (number("hidden_size", "n_embd", "d_model") // heads if heads else 0)
    return layers * 2 * kv_heads * length


def _ends(*configs: Mapping[str, Any]) -> tuple[int | str, ...]:
    for config in configs:
        value = config.get("eos_token_id")
        ids = [one for one in (value if isinstance(value, list) else [value]) if type(one) is int and one >= 0]
        if ids:
            return tuple(dict.fromkeys(ids[:100]))
    return ()


def _end_text(files: Mapping[str, Path]) -> tuple[int | str, ...]:
    value = _object(files, "tokenizer_config.json").get("eos_token")
    text = _clean(value.get("content") if isinstance(value, dict) else value)
    return (text,) if text else ()


def _template(files: Mapping[str, Path]) -> str | None:
    """A template of its own in a file goes before the one in the tokenizer's configuration, as in transformers."""
    path = files.get("chat_template.jinja")
    if path is not None and path.stat().st_size <= MAX_TEMPLATE:
        return path.read_text(errors="replace")
    for name in ("chat_template.json", "tokenizer_config.json"):
        value = _object(files, name).get("chat_template")
        if isinstance(value, list):
            named = {one.get("name"): one.get("template") for one in value if isinstance(one, dict)}
            value = named.get("default") or next(iter(named.values()), None)
        if isinstance(value, str) and value:
            return value[:MAX_TEMPLATE]
    return None


# the model card


def _card_licence(files: Mapping[str, Path]) -> str | None:
    path = files.get("README.md")
    if path is None:
        return None
    with path.open("rb") as file:
        return licence_of(file.read(CARD).decode(errors="replace"))


def licence_of(card: str) -> str | None:
    """Returns the licence that a model card's front matter names: `license`, `license_name` where that is `other`."""
    import yaml

    found = re.match(r"\ufeff?\s*---[ \t]*\r?\n(.*?)\r?\n---[ \t]*(?:\r?\n|$)", card[:CARD], re.DOTALL)
    if found is None:
        return None
    try:
        front = yaml.safe_load(found[1])
    except (yaml.YAMLError, ValueError, RecursionError, AttributeError, TypeError):
        return None
    if not isinstance(front, dict):
        return None
    licence, name = front.get("license"), front.get("license_name")
    if isinstance(licence, list):
        licence = ", ".join(one for one in licence if isinstance(one, str))
    return _clean(name if isinstance(name, str) and licence in ("other", None, "") else licence)


def _clean(value: Any) -> str | None:
    """Returns one printable line, None for anything but text."""
    if not isinstance(value, str):
        return None
    line = "".join(letter if letter.isprintable() else " " for letter in value[:LONGEST])
    return " ".join(line.split()) or None
