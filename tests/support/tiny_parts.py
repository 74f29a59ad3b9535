"""Small GGUF files of the kinds that stand beside a language model: LoRA weights, a vision projector, a reranker.

Random weights, large enough that each changes what is said. Shapes and names are those that llama.cpp reads
(docs/gguf.md of ggml; convert_lora_to_gguf.py and tools/mtmd/clip.cpp of llama.cpp).
"""

from pathlib import Path
from typing import Any

import gguf
import numpy as np

WIDTH = 64


def _finish(writer: Any, path: Path) -> Path:
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def lora(path: Path, *, seed: int, architecture: str = "llama", rank: int = 4, layers: int = 2) -> Path:
    """LoRA weights on the queries of a model of `WIDTH`."""
    random = np.random.default_rng(seed)
    writer = gguf.GGUFWriter(str(path), architecture)
    writer.add_type("adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", float(rank))
    for layer in range(layers):
        for name in ("attn_q", "attn_output"):
            tensor = f"blk.{layer}.{name}.weight"
            writer.add_tensor(f"{tensor}.lora_a", (8 * random.standard_normal((rank, WIDTH))).astype(np.float32))
            writer.add_tensor(f"{tensor}.lora_b", random.standard_normal((WIDTH, rank)).astype(np.float32))
    return _finish(writer, path)


def projector(path: Path, *, width: int = 32, image: int = 28, patch: int = 14) -> Path:
    """A vision tower of one layer, and the two matrices that take its output into a model of `WIDTH`."""
    random = np.random.default_rng(3)
    writer = gguf.GGUFWriter(str(path), "clip")
    writer.add_type("mmproj")
    writer.add_bool("clip.has_vision_encoder", True)
    writer.add_string("clip.projector_type", "mlp")
    numbers = {
        "image_size": image, "patch_size": patch, "embedding_length": width, "feed_forward_length": 2 * width,
        "projection_dim": WIDTH, "block_count": 1, "attention.head_count": 2,
    }  # fmt: skip
    for key, value in numbers.items():
        writer.add_uint32(f"clip.vision.{key}", value)
    writer.add_float32("clip.vision.attention.layer_norm_epsilon", 1e-5)
    for key in ("image_mean", "image_std"):
        writer.add_array(f"clip.vision.{key}", [0.5, 0.5, 0.5])
    writer.add_bool("clip.use_gelu", True)

    def add(name: str, *shape: int) -> None:
        writer.add_tensor(name, (0.5 * random.standard_normal(shape)).astype(np.float32))

    add("v.class_embd", width)
    add("v.patch_embd.weight", width, 3, patch, patch)
    add("v.position_embd.weight", (image // patch) ** 2 + 1, width)
    shapes = {"attn_q": (width, width), "attn_k": (width, width), "attn_v": (width, width), "attn_out": (width, width),
              "ffn_up": (2 * width, width), "ffn_down": (width, 2 * width)}  # fmt: skip
    for name, shape in shapes.items():
        add(f"v.blk.0.{name}.weight", *shape)
        add(f"v.blk.0.{name}.bias", shape[0])
    for name in ("v.pre_ln", "v.blk.0.ln1", "v.blk.0.ln2"):
        add(f"{name}.weight", width)
        add(f"{name}.bias", width)
    add("mm.0.weight", WIDTH, width)
    add("mm.0.bias", WIDTH)
    add("mm.2.weight", WIDTH, WIDTH)
    add("mm.2.bias", WIDTH)
    return _finish(writer, path)


def reranker(path: Path, alphabet: list[str], *, layers: int = 2, heads: int = 4, kv_heads: int = 2) -> Path:
    """A Qwen 3 with a classifier of two labels and pooling by rank."""
    random = np.random.default_rng(0)
    tokens = ["<|start|>", "<|end|>", *alphabet, "he", "ll"]
    head = WIDTH // heads
    writer = gguf.GGUFWriter(str(path), "qwen3")
    writer.add_context_length(512)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(layers)
    writer.add_feed_forward_length(2 * WIDTH)
    writer.add_head_count(heads)
    writer.add_head_count_kv(kv_heads)
    writer.add_key_length(head)
    writer.add_value_length(head)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_pooling_type(gguf.PoolingType.RANK)
    writer.add_array("qwen3.classifier.output_labels", ["yes", "no"])
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types([gguf.TokenType.CONTROL] * 2 + [gguf.TokenType.NORMAL] * (len(tokens) - 2))
    writer.add_token_merges(["h e", "l l"])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(1)
    writer.add_add_bos_token(False)

    def add(name: str, *shape: int) -> None:
        values = np.ones(shape) if len(shape) == 1 else 0.3 * random.standard_normal(shape)
        writer.add_tensor(f"{name}.weight", values.astype(np.float32))

    add("token_embd", len(tokens), WIDTH)
    add("output_norm", WIDTH)
    add("cls.output", 2, WIDTH)
    shapes: dict[str, tuple[int, ...]] = {
        "attn_norm": (WIDTH,), "ffn_norm": (WIDTH,), "attn_q_norm": (head,), "attn_k_norm": (head,),
        "attn_q": (WIDTH, WIDTH), "attn_k": (head * kv_heads, WIDTH), "attn_v": (head * kv_heads, WIDTH),
        "attn_output": (WIDTH, WIDTH), "ffn_gate": (2 * WIDTH, WIDTH), "ffn_up": (2 * WIDTH, WIDTH),
        "ffn_down": (WIDTH, 2 * WIDTH),
    }  # fmt: skip
    for layer in range(layers):
        for name, shape in shapes.items():
            add(f"blk.{layer}.{name}", *shape)
    return _finish(writer, path)


def split(whole: Path, parts: int) -> Path:
    """Writes `whole` again as NAME-0000i-of-0000N.gguf, as llama-gguf-split does; returns the first part."""
    reader = gguf.GGUFReader(str(whole))
    per_part = -(-len(reader.tensors) // parts)
    first = whole
    for number in range(parts):
        path = whole.with_name(f"{whole.stem}-{number + 1:05d}-of-{parts:05d}.gguf")
        writer = gguf.GGUFWriter(str(path), "llama")
        for key, field in reader.fields.items() if number == 0 else ():
            if not key.startswith("GGUF.") and key != "general.architecture":
                kind = field.types[0]
                writer.add_key_value(key, field.contents(), kind, field.types[-1] if len(field.types) > 1 else None)
        writer.add_uint16("split.no", number)
        writer.add_uint16("split.count", parts)
        writer.add_int32("split.tensors.count", len(reader.tensors))
        for tensor in reader.tensors[number * per_part : (number + 1) * per_part]:
            writer.add_tensor(tensor.name, np.array(tensor.data))
        _finish(writer, path)
        first = path if number == 0 else first
    return first
