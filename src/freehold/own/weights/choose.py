"""Which files of a repository are wanted. Pure: names and sizes in, a choice out.

One rule after the other:

1. Never a pickle (.bin, .pt, .pth, .ckpt, .pkl, .h5, .msgpack) and never Python code, unless a person asked for it; a
   pickle even then only where there is nothing else (pickled.py reads it).
2. A quantisation that was asked for is taken from the GGUF files; where no GGUF file has it and there are safetensors,
   these are taken, and the quantisation is made of them here.
3. Nothing asked for: GGUF where there is any, because it serves as it is; of several quantisations the first of
   `PREFERRED`. Safetensors otherwise, or where `safetensors` was asked for.

A GGUF model may be split into `NAME-00001-of-00003.gguf` and so on, which belong together, and may have a projector
(`mmproj` in the name) that turns images into what the model reads.
"""

import re
from collections.abc import Iterable, Mapping
from fnmatch import fnmatch
from pathlib import PurePosixPath
from typing import Literal

from msgspec import Struct

from freehold.errors import EngineError
from freehold.own.quantisations import BITS

PREFERRED = (
    "Q4_K_M", "Q4_K_XL", "UD-Q4_K_XL", "Q5_K_M", "Q4_K_S", "Q6_K", "Q8_0", "MXFP4", "Q5_K_S", "IQ4_NL", "IQ4_XS",
    "Q4_1", "Q4_0", "Q5_1", "Q5_0", "Q3_K_L", "Q3_K_M", "Q3_K_S", "IQ3_M", "Q2_K", "F16", "BF16", "F32",
)  # fmt: skip
PROJECTORS = ("F16", "BF16", "Q8_0", "F32")
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".h5", ".msgpack", ".npz", ".joblib")
_NOT_PICKLED = ("tokenizer", "spiece", "sentencepiece")
SUPPORT = (
    "config.json", "generation_config.json", "tokenizer.json", "tokenizer.model", "tokenizer_config.json",
    "tekken.json", "special_tokens_map.json", "added_tokens.json", "vocab.json", "vocab.txt", "merges.txt",
    "*.tiktoken", "spiece.model", "sentencepiece*.model", "chat_template.json", "chat_template.jinja",
    "additional_chat_templates/*.jinja", "preprocessor_config.json", "processor_config.json",
    "video_preprocessor_config.json", "modules.json", "sentence_bert_config.json",
    "config_sentence_transformers.json", "*_Pooling/config.json",
)  # fmt: skip
"""What stands beside the weights of a safetensors repository and is needed to run or convert them."""
PAPERS = ("README.md", "LICENSE*", "LICENCE*", "NOTICE*", "USE_POLICY*")

PICKLE_INDEX = "pytorch_model.bin.index.json"

_SPLIT = re.compile(r"-(\d{5})-of-(\d{5})$")
_PART = re.compile(r"pytorch_model-(\d{5})-of-(\d{5})\.bin")
_QUANTISATION = re.compile(
    r"(?:^|[-._/])((?:UD-)?(?:I?Q\d+(?:_(?:\d|K|[SMLX]{1,3}|NL))*|TQ\d_\d|MXFP4(?:_MOE)?|BF16|FP?16|FP?32))(?=$|[-._/])",
    re.IGNORECASE,
)


class Listed(Struct, frozen=True):
    """One file as the other side lists it; what it does not say is None. `git` is the sha1 of a git blob."""

    name: str
    size: int | None = None
    sha256: str | None = None
    git: str | None = None


class Choice(Struct, frozen=True):
    """`quantisation` is that of the files, "" where their names do not say; `wanted` what is to be made of safetensors.
    `others` are the other quantisations that are there, with bytes."""

    format: Literal["gguf", "safetensors"]
    quantisation: str
    files: tuple[Listed, ...]
    projector: Listed | None = None
    papers: tuple[Listed, ...] = ()
    others: dict[str, int] = {}
    wanted: str | None = None
    pickled: tuple[Listed, ...] = ()
    """Pickles, and their index, that safetensors are to be made of."""

    @property
    def all(self) -> tuple[Listed, ...]:
        return (*self.files, *((self.projector,) if self.projector else ()), *self.pickled, *self.papers)


class _Variant(Struct):
    label: str
    files: list[Listed]

    @property
    def size(self) -> int:
        return sum(file.size or 0 for file in self.files)


def pick(
    name: str,
    files: Iterable[Listed],
    wanted: str | None = None,
    *,
    remote_code: bool = False,
    pickles: bool = False,
) -> Choice:
    """Returns the files to get of the repository `name`; `wanted` is a quantisation, a file's name or a format.

    Raises EngineError: no_weights, pickle_refused, no_such_quantisation, ambiguous_weights.
    """
    listed = sorted(files, key=lambda file: file.name)
    papers = tuple(file for file in listed if any(fnmatch(file.name, pattern) for pattern in PAPERS))
    tensors = _safetensors(listed)
    variants = _variants(listed)
    asked = (wanted or "").strip()
    if variants and asked.lower() != "safetensors":
        found = _variant(name, variants, asked, instead=bool(tensors))
        if found is not None:
            others = {one.label: one.size for one in variants if one is not found}
            return Choice("gguf", found.label, tuple(found.files), _projector(listed), papers, others)
    pickled = _pickled(name, listed) if pickles and not tensors else []
    if not tensors and not pickled:
        raise _nothing(name, listed, asked, pickles)
    support = [file for file in listed if any(fnmatch(file.name, pattern) for pattern in SUPPORT)]
    if not any(file.name == "config.json" for file in support):
        raise EngineError(
            f"{name} has {'safetensors' if tensors else 'pickles'} but no config.json, so nobody can tell what model "
            "they are",
            code="no_weights",
            retry="no",
            hint=_adapter_hint(listed) or "its maker may have published another repository in the transformers layout",
        )
    code = [file for file in listed if remote_code and fnmatch(file.name, "*.py") and "/" not in file.name]
    chosen = tuple(sorted({*tensors, *support, *code}, key=lambda file: file.name))
    others = {one.label: one.size for one in variants}
    making = None if asked.lower() in ("", "safetensors") else label_of(asked) or asked.upper()
    return Choice("safetensors", "", chosen, None, papers, others, making, tuple(pickled))


def label_of(name: str) -> str:
    """Returns the quantisation that a file's name tells, "" where it tells none."""
    found = _QUANTISATION.findall(_SPLIT.sub("", name.removesuffix(".gguf")))
    return _label(found[-1]) if found else ""


def is_pickle(name: str) -> bool:
    path = PurePosixPath(name.lower())
    return path.suffix in PICKLES and not path.name.startswith(_NOT_PICKLED)


def _label(text: str) -> str:
    label = text.upper()
    return {"FP16": "F16", "FP32": "F32", "MXFP4_MOE": "MXFP4"}.get(label, label)


# GGUF


def _variants(listed: list[Listed]) -> list[_Variant]:
    """The models in GGUF, each whole. A split model that lacks a part is none."""
    found: dict[str, dict[int, Listed]] = {}
    counts: dict[str, int] = {}
    for file in listed:
        base = file.name.rpartition("/")[2].lower()
        if not base.endswith(".gguf") or "mmproj" in base or "imatrix" in base:
            continue
        stem = file.name[: -len(".gguf")]
        split = _SPLIT.search(stem)
        whole = stem[: split.start()] if split else stem
        found.setdefault(whole, {})[int(split.group(1)) if split else 1] = file
        counts[whole] = int(split.group(2)) if split else 1
    return [
        _Variant(label_of(whole), [parts[number] for number in sorted(parts)])
        for whole, parts in found.items()
        if sorted(parts) == list(range(1, counts[whole] + 1))
    ]


def _variant(name: str, variants: list[_Variant], asked: str, *, instead: bool) -> _Variant | None:
    """The variant to take; None where what was asked for can be made of the safetensors `instead`."""
    if asked and asked.lower() != "gguf":
        label = label_of(asked) or asked.upper()
        fitting = [one for one in variants if one.label.removeprefix("UD-") == label.removeprefix("UD-")]
        fitting = [one for one in fitting if one.label == label] or fitting
        named = [one for one in variants if any(is_named(file.name, asked) for file in one.files)]
        fitting = named or fitting
        if not fitting and instead:
            return None
        if not fitting:
            raise EngineError(
                f"{name} has no {asked}",
                code="no_such_quantisation",
                retry="no",
                hint=f"it has {_shown(variants)}",
            )
    else:
        rank = {label: place for place, label in enumerate(PREFERRED)}
        best = min(rank.get(one.label, len(rank)) for one in variants)
        fitting = [one for one in variants if rank.get(one.label, len(rank)) == best]
    if len(fitting) > 1:
        names = ", ".join(one.files[0].name for one in fitting[:6])
        raise EngineError(
            f"{name} holds {len(fitting)} models that this could mean: {names}",
            code="ambiguous_weights",
            retry="no",
            hint=f"name the file: {name}:{fitting[0].files[0].name}",
        )
    return fitting[0]


def is_named(name: str, asked: str) -> bool:
    """Whether `asked` means the file `name`: its path, its name, or either without .gguf."""
    return asked in (
        name,
        name.removesuffix(".gguf"),
        name.rpartition("/")[2],
        name.rpartition("/")[2][: -len(".gguf")],
    )


def _shown(variants: list[_Variant]) -> str:
    return ", ".join(sorted({one.label or one.files[0].name for one in variants})[:30])


def _projector(listed: list[Listed]) -> Listed | None:
    found = [
        file for file in listed if file.name.endswith(".gguf") and "mmproj" in file.name.rpartition("/")[2].lower()
    ]
    rank = {label: place for place, label in enumerate(PROJECTORS)}
    return min(found, key=lambda file: (rank.get(label_of(file.name), len(rank)), file.name), default=None)


# Safetensors


def _safetensors(listed: list[Listed]) -> list[Listed]:
    """The weights in the repository's own folder. `consolidated` ones are the same again in their maker's layout."""
    found = [file for file in listed if file.name.endswith(".safetensors") and "/" not in file.name]
    found = [file for file in found if not file.name.startswith(("adapter_model", "consolidated", "optimizer"))]
    plain = [file for file in found if re.fullmatch(r"model(-\d+-of-\d+)?\.safetensors", file.name)]
    if not plain:
        return [*found, *(_index(listed) if found else ())]
    split = [file for file in plain if file.name != "model.safetensors"]
    return [*(split if split and len(split) < len(plain) and _index(listed) else plain), *_index(listed)]


def _index(listed: list[Listed]) -> list[Listed]:
    return [file for file in listed if fnmatch(file.name, "*.safetensors.index.json") and "/" not in file.name]


# Pickles


def _pickled(name: str, listed: list[Listed]) -> list[Listed]:
    """The pickles that hold the weights: pytorch_model.bin, whole or in parts with their index, or one other file."""
    here = {file.name: file for file in listed if "/" not in file.name}
    parts = {file: _PART.fullmatch(file) for file in here}
    count = max((int(found[2]) for found in parts.values() if found), default=0)
    split = [here[file] for file, found in parts.items() if found and int(found[2]) == count]
    if split and len(split) == count:
        return [*split, *([here[PICKLE_INDEX]] if PICKLE_INDEX in here else [])]
    if "pytorch_model.bin" in here:
        return [here["pytorch_model.bin"]]
    alone = [file for file in here.values() if file.name.endswith((".pt", ".pth")) and not _is_training(file.name)]
    if len(alone) > 1:
        names = ", ".join(file.name for file in alone[:6])
        raise EngineError(
            f"{name} holds {len(alone)} pickles, and nothing says which of them is the model: {names}",
            code="ambiguous_weights",
            retry="no",
            hint="pull a folder that holds the right one, with the config.json and the tokenizer",
        )
    return alone


def _is_training(name: str) -> bool:
    return name.startswith(("training_args", "optimizer", "scheduler", "rng_state", "scaler", "adapter_model"))


def _nothing(name: str, listed: list[Listed], asked: str, allowed: bool) -> EngineError:
    pickles = [file.name for file in listed if is_pickle(file.name)]
    if pickles and allowed:
        return EngineError(
            f"{name} has its weights as pickles only, and not whole or of a kind that cannot be read safely: "
            f"{', '.join(pickles[:3])}",
            code="pickle_refused",
            retry="no",
            hint="what can be read is pytorch_model.bin, all of its parts, or one .pt or .pth file",
        )
    if pickles:
        return EngineError(
            f"{name} has its weights as pickles only ({', '.join(pickles[:3])}): a pickle is a program that runs when "
            "it is read, so they are not fetched",
            code="pickle_refused",
            retry="no",
            hint="look for a repository of the same model with safetensors or GGUF. If there is none and you trust its "
            f"author: freehold pull {name} --pickles, or `pickles: true` beside `pull: {name}` under own: in "
            "freehold.yaml. They are then read in a process of their own by torch.load(weights_only=True), which runs "
            "no code of theirs, and kept as safetensors",
        )
    return EngineError(
        f"{name} holds no weights in GGUF or safetensors" + (f" for {asked}" if asked else ""),
        code="no_weights",
        retry="no",
        hint=_adapter_hint(listed) or f"it holds {', '.join(file.name for file in listed[:8]) or 'no files at all'}",
    )


def _adapter_hint(listed: list[Listed]) -> str | None:
    if any(file.name == "adapter_config.json" for file in listed):
        return "this is a LoRA adapter: pull its base model, and name the adapter under `adapters:` of that model"
    return None


def by_quantisation(parameters: int, labels: Iterable[str] = ("Q4_K_M", "Q8_0", "F16")) -> Mapping[str, int]:
    """Returns about how many bytes so many weights have in each quantisation."""
    return {label: int(parameters * BITS[label] / 8) for label in labels}
