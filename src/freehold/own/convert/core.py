"""`convert`: a safetensors repository becomes one GGUF file.

Everything is planned and checked before the first byte is written: configuration, tensors with their shapes, tokenizer,
room on the disk. Then tensor follows tensor; memory holds one part of one tensor at a time.
"""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from freehold.own.convert import metadata, tokenizer
from freehold.own.convert.checkpoint import Checkpoint
from freehold.own.convert.config import Config, read_bytes
from freehold.own.convert.encode import FILE_TYPES
from freehold.own.convert.families import FAMILIES
from freehold.own.convert.family import Family, Model
from freehold.own.convert.problems import need_packages, refuse, unsupported
from freehold.own.convert.report import Report
from freehold.own.convert.tensors import Planned, plan
from freehold.own.convert.vocabulary import Vocabulary
from freehold.own.convert.writer import Progress, add_keys, new_header, write

KINDS = ("F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1")
TINY = 300_000_000
"""Parameters up to which 32-bit weights stay 32-bit: the file is small anyway, and nothing is lost."""
QUANTISATION_VERSION = 2
MAX_CARD = 256 << 10


def supported(config: Mapping[str, Any]) -> Family | None:
    """Returns the family that takes a config.json; None where there is none."""
    named = config.get("architectures")
    names = [one for one in named if isinstance(one, str)] if isinstance(named, list) else []
    return next((one for one in FAMILIES for name in names if name in one.architectures and one.when(config)), None)


def convert(
    folder: Path,
    out: Path,
    *,
    outtype: str = "auto",
    name: str | None = None,
    licence: str | None = None,
    source: str | None = None,
    progress: Progress | None = None,
) -> Report:
    """Converts the repository in `folder` to the file `out`.

    `outtype` is auto (the type of the weights; 32-bit ones become F16 unless the model is tiny) or one of KINDS in
    either case. `source` is where the weights come from, a URL. Raises EngineError (code bad_weights for what is wrong
    with the files, unsupported_architecture, disk_full, missing_package); then there is no file.
    """
    started = time.monotonic()
    need_packages()
    kind = outtype.upper()
    if kind != "AUTO" and kind not in KINDS:
        raise refuse(f"outtype {outtype!r} is not known", f"one of auto, {', '.join(KINDS).lower()}")
    config = Config.read(folder)
    family = _family(config)
    checkpoint = Checkpoint.open(folder, config.data)
    try:
        model = Model(family, config, checkpoint)
        model.sizes["vocab"] = config.vocabulary
        kind = _auto(checkpoint) if kind == "AUTO" else kind
        tensors = plan(model, kind)
        vocabulary = tokenizer.read(folder, config, family.arch, config.vocabulary)
        keys = [
            add_keys("general.", _general(folder, name, licence, source, family, vocabulary, kind)),
            add_keys(f"{family.arch}.", metadata.hyperparameters(model)),
            vocabulary.add_to,
        ]
        size = write(out, new_header(family.arch, keys), tensors, progress)
    finally:
        checkpoint.close()
    return Report(
        path=str(out),
        architecture=family.arch,
        family=family.name,
        parameters=sum(_elements(one) for one in tensors),
        size=size,
        quantisation=kind,
        tensors=len(tensors),
        context=config.context,
        vocabulary=config.vocabulary,
        tokenizer=f"{vocabulary.model}/{vocabulary.pre}" if vocabulary.pre else vocabulary.model,
        seconds=round(time.monotonic() - started, 3),
        notes=(*model.notes, *vocabulary.notes),
    )


def _family(config: Config) -> Family:
    family = supported(config.outer)
    if family is None:
        known = ", ".join(dict.fromkeys(one.title for one in FAMILIES))
        raise unsupported(
            f"models of the architecture {config.architecture or config.model_type or 'unnamed'!r} cannot be converted",
            f"supported: {known}; pull a GGUF of this model, or run it with the transformers or vllm engine",
        )
    return family


def _auto(checkpoint: Checkpoint) -> str:
    """Returns the type that holds most of the weights."""
    sizes: dict[str, int] = {}
    for name in checkpoint.names:
        elements = 1
        for one in checkpoint.shape(name):
            elements *= one
        kind = checkpoint.nominal(name)
        sizes[kind] = sizes.get(kind, 0) + elements
    most = max(sizes, key=lambda kind: sizes[kind])
    if most in ("F32", "F64"):
        return "F32" if sum(sizes.values()) <= TINY else "F16"
    return "F16" if most == "F16" else "BF16"


def _elements(tensor: Planned) -> int:
    found = 1
    for one in tensor.shape:
        found *= one
    return found


def _general(
    folder: Path,
    name: str | None,
    licence: str | None,
    source: str | None,
    family: Family,
    vocabulary: Vocabulary,
    kind: str,
) -> dict[str, Any]:
    card = _card(folder)
    found: dict[str, Any] = {"type": "model"}
    found |= metadata.general(
        {
            "name": _named(name or str(card.get("model_name") or folder.name), family, vocabulary),
            "licence": licence or _word(card.get("license")),
            "licence_link": _word(card.get("license_link")),
            "source": source,
        }
    )
    found["file_type"] = FILE_TYPES[kind]
    if kind.startswith("Q"):
        found["quantization_version"] = QUANTISATION_VERSION
    return found


def _named(name: str, family: Family, vocabulary: Vocabulary) -> str:
    """Returns the name to write. llama.cpp treats a model named phi-3 in a special way (special tokens swallow the
    spaces after them). That is right for vocabularies that do so, and fails for those without certain tokens."""
    lower = name.lower()
    marked = "phi-3" in lower or "phi3" in lower
    fits = tokenizer.fits_phi3_name(vocabulary)
    if marked and not fits:
        for mark in ("phi-3", "phi3"):
            while (at := name.lower().find(mark)) >= 0:
                name = f"{name[: at + 3]} 3{name[at + len(mark) :]}"
        return name
    return f"{name} (Phi-3)" if fits and not marked and family.arch == "phi3" else name


def _card(folder: Path) -> dict[str, Any]:
    """Returns the settings at the top of README.md, a model card; empty where there are none to be read."""
    raw = read_bytes(folder / "README.md", 16 << 20)
    if raw is None:
        return {}
    text = raw[:MAX_CARD].decode(errors="replace")
    if not text.startswith("---"):
        return {}
    body = text[3:].partition("\n---")[0]
    try:
        card = yaml.safe_load(body)
    except (yaml.YAMLError, ValueError, RecursionError):
        return {}
    return card if isinstance(card, dict) else {}


def _word(value: Any) -> str | None:
    return value if isinstance(value, str) else None
