"""Small weights made byte by byte, without any package: what a test of the store puts into it."""

import hashlib
import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from freehold.own.weights.store import Artefact, FileRef, Hold, Source, Store, Version, artefact_id

SOURCE = Source("hub", "org/tiny", "0123456789abcdef0123456789abcdef01234567", "https://huggingface.co")
CARD = b"---\nlicense: apache-2.0\n---\n# Tiny\n"
CONFIG = {
    "model_type": "llama", "architectures": ["LlamaForCausalLM"], "hidden_size": 64, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 260, "max_position_embeddings": 512,
    "eos_token_id": 1,
}  # fmt: skip


def _text(value: str) -> bytes:
    return struct.pack("<Q", len(value.encode())) + value.encode()


def _value(value: Any) -> bytes:
    if isinstance(value, str):
        return struct.pack("<I", 8) + _text(value)
    return struct.pack("<II", 4, value)


def gguf_bytes(metadata: Mapping[str, Any] = {}, *, rows: int = 4, seed: int = 0, kind: int = 0) -> bytes:
    """A GGUF file with one tensor of `rows` x 32 numbers; `kind` 0 is F32, 8 is Q8_0."""
    pairs = {
        "general.architecture": "llama", "general.name": "tiny", "llama.context_length": 512,
        "llama.embedding_length": 64, "llama.block_count": 2, "llama.attention.head_count": 4,
        "llama.attention.head_count_kv": 2, "general.file_type": {0: 0, 8: 7}[kind],
        "tokenizer.ggml.eos_token_id": 1, "tokenizer.chat_template": "{{ messages }}",
    } | dict(metadata)  # fmt: skip
    header = b"GGUF" + struct.pack("<IQQ", 3, 1, len(pairs))
    header += b"".join(_text(key) + _value(value) for key, value in pairs.items())
    header += _text("token_embd.weight") + struct.pack("<IQQIQ", 2, 32, rows, kind, 0)
    data = hashlib.shake_256(bytes([seed])).digest(rows * {0: 128, 8: 34}[kind])
    return header + bytes(-len(header) % 32) + data


def safetensors_bytes(tensors: Mapping[str, tuple[str, list[int], bytes]]) -> bytes:
    """A file of tensors: name to (dtype, shape, bytes)."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    data = b""
    for name, (dtype, shape, content) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(data), len(data) + len(content)]}
        data += content
    return framed(json.dumps(header).encode(), data)


def framed(header: bytes, data: bytes = b"") -> bytes:
    return len(header).to_bytes(8, "little") + header + data


def tensors(*names: str, rows: int = 4) -> dict[str, tuple[str, list[int], bytes]]:
    return {name: ("BF16", [rows, 8], bytes(rows * 16)) for name in names}


def checkpoint(**more: bytes) -> dict[str, bytes]:
    """A folder with safetensors in two files."""
    index = {
        "metadata": {},
        "weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"},
    }
    return {
        "config.json": json.dumps(CONFIG).encode(),
        "README.md": CARD,
        "tokenizer_config.json": json.dumps({"chat_template": "{{ messages }}", "eos_token": "</s>"}).encode(),
        "model.safetensors.index.json": json.dumps(index).encode(),
        "model-00001-of-00002.safetensors": safetensors_bytes(tensors("a")),
        "model-00002-of-00002.safetensors": safetensors_bytes(tensors("b", rows=6)),
    } | {name.replace("__", "."): content for name, content in more.items()}


def put(store: Store, hold: Hold, content: bytes) -> FileRef:
    """Brings content into a store, as a pull does."""
    with store.incoming(hold, sha256=hashlib.sha256(content).hexdigest(), size=len(content)) as file:
        if file.done is None:
            file.write(content[file.offset :])
        return file.finish()


def artefact(store: Store, hold: Hold, files: Mapping[str, bytes], quantisation: str = "F32", **more: Any) -> Artefact:
    """An artefact of `files`, which are in the store and held."""
    format = "gguf" if any(name.endswith(".gguf") for name in files) else "safetensors"
    refs = {name: put(store, hold, content) for name, content in files.items()}
    more.setdefault("id", artefact_id(format, quantisation))
    return Artefact(format=format, quantisation=quantisation, files=refs, **more)


def add(
    store: Store, name: str = "tiny", files: Mapping[str, bytes] | None = None, quantisation: str = "F32",
    source: Source = SOURCE, **more: Any,
) -> Version:  # fmt: skip
    """Adds a version with one artefact."""
    with store.hold("test") as hold:
        made = artefact(store, hold, files or {"tiny.gguf": gguf_bytes()}, quantisation)
        return store.add(name, source=source, artefacts=(made,), **more)


def listing(folder: Path) -> dict[str, bytes | str]:
    """Everything under a folder with its content, less locks and what only says when: to see that nothing changed."""
    skipped = ("lock", ".changed")
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else "folder"
        for path in sorted(folder.rglob("*"))
        if path.name not in skipped
    }
