"""A tiny Llama repository made with numpy alone, to be spoilt in tests; and a look into the GGUF file made of it."""

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np

WIDTH, HEADS, KV_HEADS, FFN, LAYERS, VOCABULARY = 32, 4, 2, 64, 2, 272
SPECIALS = ("<|begin|>", "<|end|>", "<|user|>")
MERGES = (("h", "e"), ("l", "l"), ("he", "ll"), ("hell", "o"), ("Ġ", "w"))


def alphabet() -> list[str]:
    """GPT-2's printable stand-ins for the 256 bytes."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    table = {byte: chr(byte) for byte in printable} | {byte: chr(256 + n) for n, byte in enumerate(others)}
    return [table[byte] for byte in range(256)]


def tokenizer() -> dict[str, Any]:
    """tokenizer.json of a byte-level BPE with 264 tokens."""
    texts = [*SPECIALS, *alphabet(), *(left + right for left, right in MERGES)]
    first = {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": SPECIALS[0]}}, {"Sequence": {"id": "A"}}]}
    return {
        "version": "1.0",
        "added_tokens": [{"id": n, "content": text, "special": True} for n, text in enumerate(SPECIALS)],
        "normalizer": None,
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "use_regex": True},
        "post_processor": first,
        "decoder": {"type": "ByteLevel"},
        "model": {
            "type": "BPE", "vocab": {text: n for n, text in enumerate(texts)}, "merges": [list(pair) for pair in MERGES]
        },
    }  # fmt: skip


def configuration() -> dict[str, Any]:
    return {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": WIDTH, "intermediate_size": FFN,
        "num_hidden_layers": LAYERS, "num_attention_heads": HEADS, "num_key_value_heads": KV_HEADS,
        "max_position_embeddings": 256, "rms_norm_eps": 1e-5, "vocab_size": VOCABULARY, "hidden_act": "silu",
        "rope_theta": 10000.0, "tie_word_embeddings": False, "bos_token_id": 0, "eos_token_id": 1,
    }  # fmt: skip


def weights() -> dict[str, Any]:
    random = np.random.default_rng(0)
    kv = WIDTH // HEADS * KV_HEADS
    shapes: dict[str, tuple[int, ...]] = {
        "model.embed_tokens.weight": (VOCABULARY, WIDTH), "lm_head.weight": (VOCABULARY, WIDTH),
        "model.norm.weight": (WIDTH,),
    }  # fmt: skip
    for layer in range(LAYERS):
        here = {
            "input_layernorm": (WIDTH,), "post_attention_layernorm": (WIDTH,), "self_attn.q_proj": (WIDTH, WIDTH),
            "self_attn.k_proj": (kv, WIDTH), "self_attn.v_proj": (kv, WIDTH), "self_attn.o_proj": (WIDTH, WIDTH),
            "mlp.gate_proj": (FFN, WIDTH), "mlp.up_proj": (FFN, WIDTH), "mlp.down_proj": (WIDTH, FFN),
        }  # fmt: skip
        shapes |= {f"model.layers.{layer}.{name}.weight": shape for name, shape in here.items()}
    return {name: random.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}


def save(path: Path, tensors: dict[str, Any], dtypes: dict[str, str] | None = None) -> None:
    """Writes a safetensors file. `dtypes` names those of tensors that numpy has no type for."""
    names = {"float32": "F32", "float16": "F16", "float64": "F64", "int64": "I64", "uint8": "U8"}
    listing, at, data = {}, 0, []
    for name, array in tensors.items():
        raw = np.ascontiguousarray(array).tobytes()
        dtype = (dtypes or {}).get(name) or names[str(array.dtype)]
        listing[name] = {"dtype": dtype, "shape": list(array.shape), "data_offsets": [at, at + len(raw)]}
        at += len(raw)
        data.append(raw)
    header = json.dumps(listing).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header + b"".join(data))


class Repository:
    """A folder to be spoilt: `config`, `tokenizer`, `tensors` and `files` (name: text) are written by `write`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config = configuration()
        self.tokenizer: dict[str, Any] | None = tokenizer()
        self.tensors = weights()
        self.dtypes: dict[str, str] = {}
        self.files: dict[str, Any] = {
            "tokenizer_config.json": {"bos_token": SPECIALS[0], "eos_token": SPECIALS[1], "chat_template": "{{ 'x' }}"}
        }

    def write(self) -> Path:
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "config.json").write_text(json.dumps(self.config))
        if self.tokenizer is not None:
            (self.folder / "tokenizer.json").write_text(json.dumps(self.tokenizer))
        for name, value in self.files.items():
            path = self.folder / name
            path.parent.mkdir(exist_ok=True)
            if isinstance(value, bytes):
                path.write_bytes(value)
            else:
                path.write_text(value if isinstance(value, str) else json.dumps(value))
        save(self.folder / "model.safetensors", self.tensors, self.dtypes)
        return self.folder


def read(path: Path) -> Any:
    """Returns (fields, tensors) of a GGUF file: values by key, float32 arrays by name."""
    import gguf

    reader = gguf.GGUFReader(path)
    fields = {name: field.contents() for name, field in reader.fields.items()}
    tensors = {one.name: gguf.dequantize(one.data, one.tensor_type) for one in reader.tensors}
    return fields, tensors
