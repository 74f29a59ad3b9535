"""What an artefact must be before it gets into the store: its files' kinds, headers and configuration, untrusted."""

import re
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

import msgspec

from freehold.errors import EngineError
from freehold.own import gguf
from freehold.own.weights import refusals, safetensors
from freehold.own.weights.choose import is_pickle
from freehold.own.weights.types import Artefact, FileRef

INDEX = ".safetensors.index.json"
MAX_CONFIG = 16 << 20
SUFFIXES = {
    "", ".gguf", ".safetensors", ".json", ".jsonl", ".txt", ".md", ".model", ".jinja", ".tiktoken", ".vocab", ".bpe",
    ".yaml", ".yml", ".license", ".pdf",
}  # fmt: skip
"""Kinds of files that are data. `.py` besides, where a person allowed it."""
PAPERS = ("license", "licence", "notice", "readme", "use_policy")

_SPLIT = re.compile(r"(.*)-(\d{5})-of-(\d{5})\.gguf")


def inspect(artefact: Artefact, path_of: Callable[[FileRef], Path], *, remote_code: bool = False) -> None:
    """Raises EngineError (bad_weights, pickle_refused, remote_code_refused) unless all of `artefact` is sound."""
    for name in artefact.files:
        _check_kind(name, remote_code)
    if artefact.format == "gguf":
        _gguf(artefact, path_of)
    else:
        _safetensors(artefact, path_of, remote_code)


def read_json(path: Path, name: str) -> Any:
    """Returns a small JSON file's value. Raises EngineError (bad_weights)."""
    if path.stat().st_size > MAX_CONFIG:
        raise _bad(f"{name} is longer than {MAX_CONFIG >> 20} MiB")
    try:
        return msgspec.json.decode(path.read_bytes())
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _bad(f"{name} is not JSON: {error}") from error


def _check_kind(name: str, remote_code: bool) -> None:
    path = PurePosixPath(name.lower())
    if path.suffix == ".py" and not remote_code:
        raise EngineError(
            f"{name} is Python code, which nobody allowed",
            code="remote_code_refused",
            retry="no",
            hint="read it; then write `remote_code: true` for this model under own: in freehold.yaml",
        )
    if is_pickle(name):
        raise EngineError(
            f"{name} is a pickle, a program that runs when it is read",
            code="pickle_refused",
            retry="no",
            hint="weights are kept as safetensors or GGUF only; freehold pull ... --pickles makes safetensors of it",
        )
    if path.suffix not in SUFFIXES and path.suffix != ".py" and not path.name.startswith(PAPERS):
        raise _bad(f"{name} is not a kind of file that belongs to weights")


def _gguf(artefact: Artefact, path_of: Callable[[FileRef], Path]) -> None:
    names = sorted(name for name in artefact.files if name.lower().endswith(".gguf"))
    if not names:
        raise _bad(f"{artefact.id} has no .gguf file")
    headers = {name: gguf.read_header(path_of(artefact.files[name]), name) for name in names}
    first = headers[names[0]]
    count = first.metadata.get("split.count")
    count = count if isinstance(count, int) and count > 1 else 1
    if len(names) != count:
        raise _bad(f"{names[0]} says that it is one of {count} files, {len(names)} are there")
    if count == 1:
        return
    parts = [_SPLIT.fullmatch(name) for name in names]
    if any(part is None or int(part[3]) != count for part in parts) or len({part[1] for part in parts if part}) > 1:
        raise _bad(f"{names[0]}: the parts of a split file are NAME-00001-of-{count:05}.gguf and so on")
    for place, name in enumerate(names):
        told = headers[name].metadata.get("split.no")
        part = parts[place]
        if told != place or part is None or int(part[2]) != place + 1:
            raise _bad(f"{name} is not part {place + 1} of {count}: it calls itself {told}, counted from 0")


def _safetensors(artefact: Artefact, path_of: Callable[[FileRef], Path], remote_code: bool) -> None:
    files = artefact.files
    names = [name for name in files if name.endswith(".safetensors")]
    if not names:
        raise _bad(f"{artefact.id} has no .safetensors file")
    if "config.json" not in files:
        raise _bad(f"{artefact.id} has no config.json")
    headers = {name: safetensors.read_header(path_of(files[name]), name) for name in names}
    indexed: set[str] = set()
    for index in (name for name in files if name.endswith(INDEX) and "/" not in name):
        weight_map = safetensors.read_index(path_of(files[index]), names, index)
        safetensors.check_index(index, weight_map, headers)
        indexed |= set(weight_map.values())
    loose = [name for name in names if re.fullmatch(r"model-\d{5}-of-\d{5}\.safetensors", name) and name not in indexed]
    if loose:
        raise _bad(f"{loose[0]} is one of several files, and no index says what is in them")
    configs: dict[str, Any] = {
        name: read_json(path_of(files[name]), name)
        for name in ("config.json", "tokenizer_config.json", "processor_config.json", "preprocessor_config.json")
        if name in files
    }
    if not isinstance(configs["config.json"], dict):
        raise _bad("config.json is not a JSON object")
    refusals.refuse_remote_code("it", [], configs, allowed=remote_code)


def _bad(message: str) -> EngineError:
    return EngineError(message, code="bad_weights", retry="no", hint="get it again, or check where it came from")
