"""Small files as hubs have them, made by hand: a GGUF with one tensor, safetensors, their configuration."""

import json
import random
import struct
from typing import Any


def gguf(parameters: int = 25_000, *, seed: int = 0, split: tuple[int, int] | None = None, **metadata: Any) -> bytes:
    """A valid GGUF file with one F32 tensor of random numbers; `split` is (part from 0, count)."""
    pairs: dict[str, Any] = {
        "general.architecture": "llama",
        "general.name": "by hand",
        "llama.context_length": 512,
        "llama.embedding_length": 8,
        "llama.block_count": 1,
        "llama.attention.head_count": 2,
        **metadata,
    }
    if split is not None:
        pairs |= {"split.no": split[0], "split.count": split[1], "split.tensors.count": split[1]}
    head = b"GGUF" + struct.pack("<IQQ", 3, 1, len(pairs))
    for key, value in pairs.items():
        head += _text(key)
        head += struct.pack("<I", 8) + _text(value) if isinstance(value, str) else struct.pack("<II", 4, value)
    name = f"part{split[0]}.weight" if split else "token_embd.weight"
    head += _text(name) + struct.pack("<IQIQ", 1, parameters, 0, 0)
    head += b"\0" * (-len(head) % 32)
    return head + random.Random(seed).randbytes(4 * parameters)


def safetensors(elements: int = 1000, *, seed: int = 0, name: str = "model.embed_tokens.weight") -> bytes:
    header = json.dumps({name: {"dtype": "F32", "shape": [elements], "data_offsets": [0, 4 * elements]}}).encode()
    header += b" " * (-len(header) % 8)
    return struct.pack("<Q", len(header)) + header + random.Random(seed).randbytes(4 * elements)


def config(architecture: str = "NovelForCausalLM", **more: Any) -> bytes:
    """A config.json; the usual architecture is one that nobody converts."""
    return json.dumps({"architectures": [architecture], "model_type": "novel", "hidden_size": 8, **more}).encode()


CARD = b"---\nlicense: apache-2.0\n---\n# A model\n"


def _text(value: str) -> bytes:
    return struct.pack("<Q", len(value.encode())) + value.encode()
