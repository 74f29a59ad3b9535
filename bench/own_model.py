"""A model of a chosen size with random weights: speed and memory do not depend on what the weights say.

Llama's architecture, Q8_0, GPT-2's byte alphabet as its tokenizer padded to a vocabulary of 8,192.
"""

from pathlib import Path

import gguf
import numpy as np

VOCABULARY = 8192
HEADS, KV_HEADS = 8, 2


def build(path: Path, *, width: int = 512, layers: int = 12, context: int = 2048) -> int:
    """Writes the file; returns its parameters. 512 wide with 12 layers is 42 million."""
    hidden = width * 11 // 4 // 32 * 32
    kv = width // HEADS * KV_HEADS
    writer = gguf.GGUFWriter(str(path), "llama")
    writer.add_name(f"random {width}x{layers}")
    writer.add_context_length(context)
    writer.add_embedding_length(width)
    writer.add_block_count(layers)
    writer.add_feed_forward_length(hidden)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_rope_dimension_count(width // HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q8_0)
    _tokenizer(writer)
    shapes: dict[str, tuple[int, ...]] = {
        "token_embd": (VOCABULARY, width),
        "output": (VOCABULARY, width),
        "output_norm": (width,),
    }
    for layer in range(layers):
        block = {
            "attn_norm": (width,), "ffn_norm": (width,),
            "attn_q": (width, width), "attn_k": (kv, width), "attn_v": (kv, width), "attn_output": (width, width),
            "ffn_gate": (hidden, width), "ffn_up": (hidden, width), "ffn_down": (width, hidden),
        }  # fmt: skip
        shapes |= {f"blk.{layer}.{name}": shape for name, shape in block.items()}
    random = np.random.default_rng(0)
    for name, shape in shapes.items():
        if len(shape) == 1:
            writer.add_tensor(f"{name}.weight", np.ones(shape, np.float32))
        else:
            values = (random.standard_normal(shape) * 0.02).astype(np.float32)
            packed = gguf.quants.quantize(values, gguf.GGMLQuantizationType.Q8_0)
            writer.add_tensor(f"{name}.weight", packed, raw_dtype=gguf.GGMLQuantizationType.Q8_0)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return sum(int(np.prod(shape)) for shape in shapes.values())


def _tokenizer(writer: gguf.GGUFWriter) -> None:
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    letters = {byte: chr(byte) for byte in printable} | {byte: chr(256 + n) for n, byte in enumerate(others)}
    tokens = ["<|start|>", "<|end|>", *(letters[byte] for byte in range(256))]
    fill = [f"w{number}" for number in range(VOCABULARY - len(tokens))]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list([*tokens, *fill])
    writer.add_token_types([gguf.TokenType.CONTROL] * 2 + [gguf.TokenType.NORMAL] * (VOCABULARY - 2))
    writer.add_token_merges(["h e", "l l"])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(1)
    writer.add_add_bos_token(False)
    writer.add_chat_template("{% for m in messages %}{{ m.content }}\n{% endfor %}")
