"""gpt-oss: experts in four-bit floats, a learned sink beside each head's attention, windows on every second layer.

Experts come as MXFP4 (NAME_blocks and NAME_scales) and stay so, bit by bit; only the halves of a block's bytes are
arranged as ggml has them. Or they come as plain numbers, (expert, in, out), and are turned. Gate and up projection are
interleaved row by row in both.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from freehold.own.convert.families.common import ATTENTION, EXPERTS, activation
from freehold.own.convert.family import Change, Family, Model, Rule
from freehold.own.convert.problems import unsupported

PERIOD = 2
LIMIT, ALPHA = 7.0, 1.702
"""Of the activation; llama.cpp has them built in."""
HALF_BLOCK = 16
_LAYER = {name: words for name, words in (ATTENTION | EXPERTS).items() if name != "ffn_norm.weight"} | {
    "attn_q.bias": "q",
    "attn_k.bias": "k",
    "attn_v.bias": "v",
    "attn_output.bias": "embd",
    "attn_sinks.weight": "heads",
    "post_attention_norm.weight": "embd",
    "ffn_gate_inp.bias": "experts",
    "ffn_gate_exps.bias": "experts expert_ffn",
    "ffn_up_exps.bias": "experts expert_ffn",
    "ffn_down_exps.bias": "experts embd",
}


def _rules(model: Model) -> Iterable[Rule]:
    layer, block = "model.layers.{l}.", "blk.{l}."
    experts = layer + "mlp.experts."
    yield Rule(layer + "self_attn.sinks", block + "attn_sinks.weight")
    yield Rule(layer + "post_attention_layernorm.weight", block + "post_attention_norm.weight")
    for part, which in (("gate", _gate), ("up", _up)):
        target = f"{block}ffn_{part}_exps"
        yield Rule(experts + "gate_up_proj", target + ".weight", Change(_turned(which)))
        yield Rule(experts + "gate_up_proj_bias", target + ".bias", Change(_of_bias(which)))
        yield _packed(experts + "gate_up_proj", target + ".weight", which)
    yield Rule(experts + "down_proj", block + "ffn_down_exps.weight", Change(_turned(_all)))
    yield Rule(experts + "down_proj_bias", block + "ffn_down_exps.bias")
    yield _packed(experts + "down_proj", block + "ffn_down_exps.weight", _all)


def _packed(source: str, target: str, which: Any) -> Rule:
    def apply(model: Model, arrays: Any) -> Any:
        blocks, scales = arrays
        return repacked(which(blocks), which(scales))

    return Rule(source + "_blocks", target, Change(apply), also=(source + "_scales",), kind="MXFP4")


def repacked(blocks: Any, scales: Any) -> Any:
    """Returns (expert, row, bytes): per block the scale, then 16 bytes with value j in the low and value j + 16 in the
    high half. The source has value 2 j in the low and value 2 j + 1 in the high half of byte j."""
    import numpy as np

    values = np.stack((blocks & 15, blocks >> 4), -1).reshape(*blocks.shape[:-1], 2 * HALF_BLOCK)
    halves = values[..., :HALF_BLOCK] | (values[..., HALF_BLOCK:] << 4)
    return np.concatenate((scales[..., None], halves), -1).reshape(*blocks.shape[:2], -1)


def _all(array: Any) -> Any:
    return array


def _gate(array: Any) -> Any:
    return array[:, 0::2]


def _up(array: Any) -> Any:
    return array[:, 1::2]


def _turned(which: Any) -> Any:
    return lambda model, array: which(array.swapaxes(1, 2))


def _of_bias(which: Any) -> Any:
    return lambda model, array: which(array)


def _metadata(model: Model) -> Mapping[str, Any]:
    return {
        "attention.sliding_window": model.config.whole("sliding_window", high=1 << 28),
        "expert_feed_forward_length": model.sizes["expert_ffn"],
    }


def _check(model: Model) -> None:
    config = model.config
    activation(model, "silu")
    kinds = config.strings("layer_types", config.layers)
    if kinds is not None and kinds != [
        "full_attention" if (layer + 1) % PERIOD == 0 else "sliding_attention" for layer in range(config.layers)
    ]:
        raise unsupported("config.json: layer_types; llama.cpp runs gpt-oss with a window on every second layer")
    if config.number("swiglu_limit", default=LIMIT) != LIMIT or config.number("swiglu_alpha", default=ALPHA) != ALPHA:
        raise unsupported(
            f"config.json: swiglu_limit and swiglu_alpha; llama.cpp runs gpt-oss with {LIMIT} and {ALPHA} only"
        )


FAMILIES = (
    Family(
        name="gpt-oss",
        title="gpt-oss",
        arch="gpt-oss",
        architectures=("GptOssForCausalLM",),
        layer=lambda model, layer: _LAYER,
        dimensions=lambda model: {"expert_ffn": model.sizes["ffn"]},
        metadata=_metadata,
        rules=_rules,
        check=_check,
        exact=frozenset({"attn_sinks.weight"}),
    ),
)
