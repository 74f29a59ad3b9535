"""Qwen 2, 2.5 and 3, dense and mixture of experts.

Qwen 2 has biases on query, key and value; Qwen 3 has norms on query and key instead. Qwen 2 MoE has a shared expert
behind a gate of its own. llama.cpp rotates halves for these, as transformers does, so nothing is permuted. It expects
every layer of a mixture to be one, and has built in whether the chosen experts' weights are made to sum to one.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from freehold.own.convert.families.common import ATTENTION, EXPERTS, GATED, activation
from freehold.own.convert.family import Change, Extra, Family, Model, Rule
from freehold.own.convert.metadata import rope_tensors
from freehold.own.convert.problems import refuse, unsupported

_BIASES = {"attn_q.bias": "q", "attn_k.bias": "k", "attn_v.bias": "v"}
_NORMS = {"attn_q_norm.weight": "head", "attn_k_norm.weight": "head"}
_SHARED = {
    "ffn_gate_inp_shexp.weight": "embd",
    "ffn_gate_shexp.weight": "shared_ffn embd",
    "ffn_up_shexp.weight": "shared_ffn embd",
    "ffn_down_shexp.weight": "embd shared_ffn",
}
_EXPERTS = {"gate_proj": "ffn_gate_exps", "up_proj": "ffn_up_exps", "down_proj": "ffn_down_exps"}


def expert_rules(model: Model) -> Iterable[Rule]:
    """Yields the rules for experts one by one, as they are published, and stacked as transformers 5 holds them."""
    experts = "model.layers.{l}.mlp.experts."
    for source, target in _EXPERTS.items():
        yield Rule(experts + "{e}." + source + ".weight", "blk.{l}." + target + ".weight")
    yield Rule(experts + "gate_up_proj", "blk.{l}.ffn_gate_exps.weight", Change(_first_half))
    yield Rule(experts + "gate_up_proj", "blk.{l}.ffn_up_exps.weight", Change(_second_half))
    yield Rule(experts + "down_proj", "blk.{l}.ffn_down_exps.weight")


def _first_half(model: Model, array: Any) -> Any:
    return array[:, : array.shape[1] // 2]


def _second_half(model: Model, array: Any) -> Any:
    return array[:, array.shape[1] // 2 :]


def _check(model: Model) -> None:
    activation(model, "silu")
    window = model.config.whole("sliding_window", default=0, low=0, high=1 << 28)
    if model.config.flag("use_sliding_window") and window and window < model.config.context:
        model.note(f"a sliding window of {window} tokens is not kept by llama.cpp: use contexts up to {window} tokens")


def _check_mixture(model: Model) -> None:
    _check(model)
    config = model.config
    if not model.sizes["experts"]:
        raise refuse("config.json: num_experts is missing")
    if config.whole("decoder_sparse_step", default=1, high=1024) != 1 or config.wholes("mlp_only_layers"):
        raise unsupported(
            "config.json: some layers are not mixtures of experts, which llama.cpp does not run for this model"
        )


def _check_unnormed(model: Model) -> None:
    _check_mixture(model)
    if model.config.flag("norm_topk_prob"):
        raise unsupported("config.json: norm_topk_prob is true; llama.cpp runs Qwen 2 MoE with false only")


def _expert_metadata(model: Model) -> Mapping[str, Any]:
    found = {"expert_feed_forward_length": model.sizes["expert_ffn"]}
    if model.sizes["shared_ffn"]:
        found["expert_shared_feed_forward_length"] = model.sizes["shared_ffn"]
    return found


def _summed(config: Mapping[str, Any]) -> bool:
    return config.get("norm_topk_prob") is True


def _as_dots(model: Model) -> Mapping[str, Any]:
    return {
        **_expert_metadata(model),
        "attention.head_count_kv": model.config.heads,
        "expert_shared_count": 1,
        "leading_dense_block_count": 0,
        "expert_weights_scale": 1.0,
        "expert_weights_norm": False,
        "expert_gating_func": 1,
    }


def _silent_expert(model: Model) -> Iterable[Extra]:
    """Yields a shared expert that says nothing."""
    import numpy as np

    for layer in range(model.config.layers):
        for name, words in (("gate", "expert_ffn embd"), ("up", "expert_ffn embd"), ("down", "embd expert_ffn")):
            yield Extra(f"blk.{layer}.ffn_{name}_shexp.weight", np.zeros(model.shape(words), np.float32))


def _for_every_head(model: Model, array: Any) -> Any:
    config = model.config
    heads = array.reshape(config.kv_heads, config.head, -1)
    return heads.repeat(config.heads // config.kv_heads, axis=0).reshape(-1, array.shape[-1])


def _dense(name: str, title: str, architecture: str, beside: Mapping[str, str]) -> Family:
    """One without experts; `beside` is what its attention has besides the usual."""
    return Family(
        name=name,
        title=title,
        arch=name,
        architectures=(architecture,),
        layer=lambda model, layer: {**ATTENTION, **beside, **GATED},
        extras=rope_tensors,
        check=_check,
    )


FAMILIES = (
    _dense("qwen2", "Qwen 2 and 2.5", "Qwen2ForCausalLM", _BIASES),
    Family(
        name="qwen2-moe",
        title="Qwen 2 MoE",
        arch="qwen2moe",
        architectures=("Qwen2MoeForCausalLM",),
        layer=lambda model, layer: ATTENTION | _BIASES | EXPERTS | _SHARED,
        metadata=_expert_metadata,
        rules=expert_rules,
        extras=rope_tensors,
        check=_check_unnormed,
    ),
    _dense("qwen3", "Qwen 3", "Qwen3ForCausalLM", _NORMS),
    Family(
        name="qwen3-moe",
        title="Qwen 3 MoE",
        arch="qwen3moe",
        architectures=("Qwen3MoeForCausalLM",),
        layer=lambda model, layer: ATTENTION | _NORMS | EXPERTS,
        metadata=_expert_metadata,
        rules=expert_rules,
        extras=rope_tensors,
        check=_check_mixture,
        when=_summed,
    ),
    # The chosen experts' weights need not sum to one. No published Qwen is so, but it is what an absent norm_topk_prob
    # means. llama.cpp runs it as dots1: the same layer, with a shared expert and a key and value for every head.
    Family(
        name="qwen3-moe-unnormed",
        title="Qwen 3 MoE",
        arch="dots1",
        architectures=("Qwen3MoeForCausalLM",),
        layer=lambda model, layer: (
            ATTENTION | {"attn_k.weight": "q embd", "attn_v.weight": "q embd"} | _NORMS | EXPERTS
        ),
        metadata=_as_dots,
        rules=expert_rules,
        changes={"attn_k.weight": Change(_for_every_head), "attn_v.weight": Change(_for_every_head)},
        extras=_silent_expert,
        check=_check_mixture,
    ),
)
