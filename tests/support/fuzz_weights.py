"""Fuzz targets for the files of weights: GGUF, safetensors, their index, bundles, config.json and tokenizers.

Each takes bytes as a file of a stranger. What is documented is let through by `allowed` of fuzz_targets, which this
module is given, so that it need not import it.
"""

import io
import json
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import made_weights
from tiny_repository import configuration, tokenizer

from freehold.own import gguf
from freehold.own.weights import bundle, describe, safetensors
from freehold.own.weights.reference import parse
from freehold.own.weights.store import Store
from freehold.own.weights.types import shown

Allowed = Callable[[Callable[[], Any]], Any]
Target = Callable[[Allowed, Path, bytes], None]
"""`allowed`, a folder that the target may use as it likes, and the bytes."""


def read_gguf(allowed: Allowed, folder: Path, data: bytes) -> None:
    path = folder / "model.gguf"
    path.write_bytes(data)
    header = allowed(lambda: gguf.read_header(path, "model.gguf"))
    if header is not None:
        assert header.parameters >= 0
        header.kv_cache(512)
        facts = allowed(lambda: describe.facts({"model.gguf": path}, "gguf"))
        if facts is not None:
            json.dumps([facts.architecture, facts.quantisation, facts.licence, facts.template])


def read_safetensors(allowed: Allowed, folder: Path, data: bytes) -> None:
    """What a header says must lie inside the file, without overlap."""
    path = folder / "model.safetensors"
    path.write_bytes(data)
    header = allowed(lambda: safetensors.read_header(path))
    if header is None:
        return
    spans = sorted((tensor.start, tensor.end) for tensor in header.tensors.values())
    for start, end in spans:
        assert 8 <= start <= end <= len(data)
    assert all(one[1] <= other[0] for one, other in zip(spans, spans[1:], strict=False))


def read_index(allowed: Allowed, folder: Path, data: bytes) -> None:
    path = folder / "model.safetensors.index.json"
    path.write_bytes(data)
    files = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
    found = allowed(lambda: safetensors.read_index(path, files))
    if found is not None:
        assert set(found.values()) <= set(files)


def read_bundle(allowed: Allowed, folder: Path, data: bytes) -> None:
    """A bundle that is refused leaves no record, and none writes anywhere but into the store."""
    root = folder / "models"
    shutil.rmtree(root, ignore_errors=True)
    store = Store(root)
    stream = io.BytesIO(data)
    record = allowed(lambda: bundle.read_record(stream))
    if record is None:
        return
    added = allowed(lambda: bundle.import_(store, stream, record))
    assert store.names() == ([added.name] if added is not None else [])
    assert {path.name for path in folder.iterdir()} <= {"models"} | _OURS


_OURS = {"model.gguf", "model.safetensors", "model.safetensors.index.json", "repository"}


def read_config(allowed: Allowed, folder: Path, data: bytes) -> None:
    """A family's keys are read from config.json, and what is told of the repository."""
    from freehold.own.convert.config import Config
    from freehold.own.convert.core import supported
    from freehold.own.weights.refusals import foreign_code

    repository = _repository(folder, {"config.json": data, "tokenizer.json": _TOKENIZER})
    found = allowed(lambda: Config.read(repository))
    if found is None:
        return
    foreign_code(["modeling_x.py"], {"config.json": found.outer})
    supported(found.outer)
    for name in ("layers", "width", "heads", "kv_heads", "head", "context", "vocabulary", "tied"):
        allowed(lambda name=name: getattr(found, name))  # type: ignore[misc]
    rope = allowed(found.rope)
    if rope is not None:
        allowed(lambda: found.original_context(rope))
    safe = made_weights.safetensors_bytes(made_weights.tensors("a"))
    (repository / "model.safetensors").write_bytes(safe)
    files = {path.name: path for path in repository.iterdir()}
    allowed(lambda: describe.facts(files, "safetensors"))


def read_tokenizer(allowed: Allowed, folder: Path, data: bytes) -> None:
    """tokenizer.json and tokenizer_config.json, one after the other, divided by a zero byte."""
    from freehold.own.convert import tokenizer as reader
    from freehold.own.convert.config import Config

    main, _, settings = data.partition(b"\0")
    files = {"config.json": _CONFIG, "tokenizer.json": main, "tokenizer_config.json": settings or b"{}"}
    repository = _repository(folder, files)
    config = Config.read(repository)
    allowed(lambda: reader.read(repository, config, "llama", config.vocabulary))


def read_pieces(allowed: Allowed, folder: Path, data: bytes) -> None:
    """tokenizer.model, a protobuf."""
    from freehold.own.convert import tokenizer as reader
    from freehold.own.convert.config import Config

    repository = _repository(folder, {"config.json": _CONFIG, "tokenizer.model": data})
    config = Config.read(repository)
    allowed(lambda: reader.read(repository, config, "llama", config.vocabulary))


def read_reference(allowed: Allowed, folder: Path, data: bytes) -> None:
    """What is kept of a reference names the same thing, and no query of an address is in it."""
    text = data.decode("latin-1")
    found = allowed(lambda: parse(text, base=folder))
    assert shown(shown(text)) == shown(text)
    if found is not None and found.kind == "url":
        assert "?" not in found.text
        again = allowed(lambda: parse(found.text))
        assert again is None or again.name == found.name


def _repository(folder: Path, files: dict[str, bytes]) -> Path:
    repository = folder / "repository"
    shutil.rmtree(repository, ignore_errors=True)
    repository.mkdir()
    for name, content in files.items():
        (repository / name).write_bytes(content)
    return repository


_CONFIG = json.dumps(configuration()).encode()
_TOKENIZER = json.dumps(tokenizer()).encode()
_SETTINGS = json.dumps(
    {"bos_token": "<|begin|>", "eos_token": {"content": "<|end|>"}, "chat_template": "{{ messages }}"}
).encode()


def _some_bundle() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder) / "models")
        made_weights.add(store, files=made_weights.checkpoint(), quantisation="BF16")
        out = io.BytesIO()
        bundle.export(store, "tiny", out)
    return out.getvalue()


def _pieces() -> bytes:
    """A sentencepiece model: for each piece its text, score and kind."""

    def piece(text: bytes, kind: int) -> bytes:
        inner = b"\x0a" + bytes([len(text)]) + text + b"\x15\0\0\x80\xbf" + b"\x18" + bytes([kind])
        return b"\x0a" + bytes([len(inner)]) + inner

    words = [
        (b"<unk>", 2),
        (b"<s>", 3),
        (b"</s>", 3),
        *((b"<0x%02X>" % n, 6) for n in range(256)),
        (b"\xe2\x96\x81a", 1),
    ]
    return b"".join(piece(text, kind) for text, kind in words)


def targets() -> dict[str, tuple[Target, list[bytes]]]:
    """Targets by name, each with valid inputs."""
    index = made_weights.checkpoint()["model.safetensors.index.json"]
    nested = json.dumps({"model_type": "gemma3", "text_config": configuration() | {"rope_scaling": {"type": "linear"}}})
    references = [
        b"org/name@main:Q4_K_M", b"https://x.example/a/b-Q4_0.gguf?sig=1#sha256=" + b"0" * 64, b"ollama:user/name:1b",
        b"hf.co/org/name", b"./folder",
    ]  # fmt: skip
    return {
        "weights-gguf": (read_gguf, [made_weights.gguf_bytes(), made_weights.gguf_bytes(kind=8, rows=2)]),
        "weights-safetensors": (read_safetensors, [made_weights.safetensors_bytes(made_weights.tensors("a", "b"))]),
        "weights-index": (read_index, [index]),
        "weights-bundle": (read_bundle, [_some_bundle()]),
        "weights-config": (read_config, [_CONFIG, nested.encode()]),
        "weights-tokenizer": (read_tokenizer, [_TOKENIZER + b"\0" + _SETTINGS]),
        "weights-pieces": (read_pieces, [_pieces()]),
        "weights-reference": (read_reference, references),
    }
