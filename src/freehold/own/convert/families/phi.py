"""Phi-2 (PhiForCausalLM) and Phi-3, Phi-3.5, Phi-4 (Phi3ForCausalLM).

Phi-3 keeps query, key and value in one matrix, gate and up projection in another; llama.cpp takes both as they are.
Phi-2 runs attention and feed-forward side by side on one norm, with biases everywhere.
"""

from collections.abc import Mapping
from typing import Any

from freehold.own.convert.families.common import activation
from freehold.own.convert.family import Family, Model
from freehold.own.convert.metadata import rope_tensors
from freehold.own.convert.problems import refuse

_PHI3 = {
    "attn_norm.weight": "embd",
    "attn_qkv.weight": "qkv embd",
    "attn_output.weight": "embd out",
    "ffn_norm.weight": "embd",
    "ffn_up.weight": "gate_up embd",
    "ffn_down.weight": "embd ffn",
}
_PHI2 = {
    "attn_norm.weight": "embd",
    "attn_norm.bias": "embd",
    "attn_q.weight": "q embd",
    "attn_q.bias": "q",
    "attn_k.weight": "k embd",
    "attn_k.bias": "k",
    "attn_v.weight": "v embd",
    "attn_v.bias": "v",
    "attn_output.weight": "embd out",
    "attn_output.bias": "embd",
    "ffn_up.weight": "ffn embd",
    "ffn_up.bias": "ffn",
    "ffn_down.weight": "embd ffn",
    "ffn_down.bias": "embd",
}


def _phi3_dimensions(model: Model) -> Mapping[str, int]:
    sizes = model.sizes
    return {"qkv": sizes["q"] + sizes["k"] + sizes["v"], "gate_up": 2 * sizes["ffn"]}


def _phi3_metadata(model: Model) -> Mapping[str, Any]:
    rope = model.config.rope()
    window = model.config.whole("sliding_window", default=0, low=0, high=1 << 28)
    return {
        "attention.sliding_window": window,
        "rope.scaling.original_context_length": model.config.original_context(rope),
    }


def _phi3_check(model: Model) -> None:
    activation(model, "silu")
    _square(model)
    window = model.config.whole("sliding_window", default=0, low=0, high=1 << 28)
    if window and window < model.config.context:
        model.note(
            f"the sliding window of {window} tokens is not kept by llama.cpp: use contexts up to {window} tokens"
        )
    rope = model.config.rope()
    if rope.kind == "longrope":
        original = model.config.original_context(rope)
        model.note(f"contexts set above {original} tokens use the long rotary factors from the first token on")


def _phi2_check(model: Model) -> None:
    activation(model, "gelu_new", "gelu_pytorch_tanh", "gelu_fast")
    _square(model)
    if model.config.flag("qk_layernorm"):
        raise refuse("config.json: qk_layernorm is set, which llama.cpp does not run for Phi-2")


def _square(model: Model) -> None:
    if model.sizes["q"] != model.config.width:
        raise refuse(
            f"config.json: {model.config.heads} heads of {model.config.head} are not hidden_size {model.config.width}"
        )


FAMILIES = (
    Family(
        name="phi3",
        title="Phi-3, Phi-4",
        arch="phi3",
        architectures=("Phi3ForCausalLM",),
        layer=lambda model, layer: _PHI3,
        dimensions=_phi3_dimensions,
        metadata=_phi3_metadata,
        extras=rope_tensors,
        check=_phi3_check,
    ),
    Family(
        name="phi2",
        title="Phi-2",
        arch="phi2",
        architectures=("PhiForCausalLM",),
        layer=lambda model, layer: _PHI2,
        outer={
            "token_embd.weight": "vocab embd",
            "output_norm.weight": "embd",
            "output_norm.bias": "embd",
            "output.bias": "vocab",
        },
        check=_phi2_check,
    ),
)
