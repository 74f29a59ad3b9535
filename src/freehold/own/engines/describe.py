"""What is known of a model before any engine loads it, as a `ModelFile` whatever its format.

GGUF       the header of the file; of a model in several files (NAME-00001-of-00003.gguf), that of the first, with
           the sizes of all
folder     config.json, read as data and never run, and the sizes of the safetensors beside it
nothing    an engine that has its model already: zeros and None
"""

import json
import re
from pathlib import Path
from typing import Any

import msgspec

from freehold.errors import EngineError
from freehold.own.engine import EngineSpec
from freehold.own.gguf import ModelFile, read_header
from freehold.own.weights.choose import PICKLES

MAX_CONFIG = 8 << 20
MAX_PARTS = 512
_PART = re.compile(r"^(?P<stem>.+)-(?P<number>\d{5})-of-(?P<parts>\d{5})\.gguf$")
_BYTES = {"float32": 4, "float16": 2, "bfloat16": 2}
_NOTHING = ModelFile(
    path=Path(), size=0, weights=0, architecture="", parameters=0, tensors=0, quantisation="", name=None, licence=None,
    context=None, embedding=None, layers=None, vocabulary=None, kv_width=0, template=True, pooling=None, causal=True,
    metadata={},
)  # fmt: skip


def describe(spec: EngineSpec) -> ModelFile:
    """Reads files. Raises EngineError (code bad_weights) for what is no model, OSError for what cannot be read."""
    if spec.path is None:
        return _NOTHING
    return read_folder(spec.path) if spec.path.is_dir() else read_gguf(spec.path)


def read_gguf(path: Path) -> ModelFile:
    """Like `read_header`, for the first of several parts with the size of all of them."""
    first = read_header(path)
    found = _PART.match(path.name)
    if found is None or int(found["parts"]) < 2:
        return first
    if int(found["number"]) != 1:
        raise _bad(path, "is not the first part of its model", f"use {_part(path, found, 1).name}")
    if int(found["parts"]) > MAX_PARTS:
        raise _bad(path, f"claims {int(found['parts'])} parts", "get the files again")
    parts = [first, *(_more(path, _part(path, found, number)) for number in range(2, int(found["parts"]) + 1))]
    return msgspec.structs.replace(
        first,
        size=sum(part.size for part in parts),
        weights=sum(part.weights for part in parts),
        parameters=sum(part.parameters for part in parts),
        tensors=sum(part.tensors for part in parts),
        quantisation=max(parts, key=lambda part: part.weights).quantisation,
    )


def _part(path: Path, found: "re.Match[str]", number: int) -> Path:
    return path.with_name(f"{found['stem']}-{number:05d}-of-{found['parts']}.gguf")


def _more(first: Path, part: Path) -> ModelFile:
    if not part.is_file():
        raise _bad(first, f"lacks its part {part.name}", "get all parts of the model")
    try:
        return read_header(part)
    except EngineError as error:
        # Parts after the first need not repeat what the first says of the architecture.
        if "general.architecture" not in error.message:
            raise
        return msgspec.structs.replace(_NOTHING, path=part, size=part.stat().st_size, weights=part.stat().st_size)


def read_folder(folder: Path) -> ModelFile:
    """Returns what config.json and the sizes of the files in `folder` say."""
    sizes = [file.stat().st_size for file in sorted(folder.glob("*.safetensors"))]
    if not sizes:
        if any(file.suffix in PICKLES for file in folder.iterdir()):
            raise _bad(folder, "holds pickled weights, which can run any code", "get the safetensors of this model")
        raise _bad(folder, "holds no safetensors", "give the folder of a model, or a GGUF file")
    config = _config(folder)
    text = _dict(config.get("text_config")) or config
    weights = sum(sizes)
    layers, width, heads = (_whole(text, key) for key in ("num_hidden_layers", "hidden_size", "num_attention_heads"))
    kind = config.get("dtype") or config.get("torch_dtype") or text.get("dtype")
    architectures = config.get("architectures")
    return ModelFile(
        path=folder,
        size=weights,
        weights=weights,
        architecture=str(config.get("model_type", ""))[:64],
        parameters=weights // _BYTES.get(str(kind), 2),
        tensors=0,
        quantisation=str(_dict(config.get("quantization_config")).get("quant_method") or kind or "")[:64],
        name=None,
        licence=None,
        context=_whole(text, "max_position_embeddings"),
        embedding=width,
        layers=layers,
        vocabulary=_whole(text, "vocab_size") or _whole(config, "vocab_size"),
        kv_width=_kv_width(text, layers or 0, width or 0, heads or 0),
        template=_template(folder),
        pooling=None,
        causal=True,
        metadata={
            "architectures": [str(one) for one in architectures[:8]] if isinstance(architectures, list) else [],
            "vision": isinstance(config.get("vision_config"), dict),
            "remote_code": isinstance(config.get("auto_map"), dict),
        },
    )


def _kv_width(text: dict[str, Any], layers: int, width: int, heads: int) -> int:
    """Elements of keys and values per token. Latent attention (`kv_lora_rank`) caches one vector instead of both."""
    if latent := _whole(text, "kv_lora_rank"):
        return layers * (latent + (_whole(text, "qk_rope_head_dim") or 0))
    head = _whole(text, "head_dim") or (width // heads if heads else 0)
    return layers * 2 * (_whole(text, "num_key_value_heads") or heads) * head


def _template(folder: Path) -> bool:
    if (folder / "chat_template.jinja").is_file() or (folder / "chat_template.json").is_file():
        return True
    return bool(_json(folder / "tokenizer_config.json").get("chat_template"))


def _config(folder: Path) -> dict[str, Any]:
    config = _json(folder / "config.json")
    if not config:
        raise _bad(folder, "has no readable config.json", "get the model's folder again")
    return config


def _json(file: Path) -> dict[str, Any]:
    try:
        if file.stat().st_size > MAX_CONFIG:
            return {}
        # Python's own reader, because transformers writes Infinity where a configuration holds one.
        return _dict(json.loads(file.read_bytes()))
    except (OSError, ValueError, RecursionError):
        return {}


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _whole(values: dict[str, Any], key: str) -> int | None:
    value = values.get(key)
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 40 else None


def _bad(path: Path, message: str, hint: str) -> EngineError:
    return EngineError(f"{path.name} {message}", code="bad_weights", retry="no", hint=hint)
