"""DeepSeek V2, V3 and R1: latent attention, and experts chosen within groups.

Keys and values of all heads are one short latent vector per token. llama.cpp multiplies queries into that space
("absorbed"), so that it looks like attention with a single key-value head of kv_lora_rank + qk_rope_head_dim elements:
kv_b_proj is split by head into attn_k_b, transposed, and attn_v_b. Rotation is between neighbours, as published.

The layers for predicting several tokens at once, numbered after the last, are left out: they do not change answers.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from freehold.own.convert.families.common import EXPERTS, GATED, activation
from freehold.own.convert.families.qwen import expert_rules
from freehold.own.convert.family import Change, Family, Model, Rule
from freehold.own.convert.problems import refuse, unsupported

SOFTMAX, SIGMOID = 1, 2
"""How llama.cpp numbers the functions that make a router's numbers into weights."""
YARN_LOG = 0.1
LITE = (26, 27)
SMALLEST = 1e-6
_SHARED = {
    "ffn_gate_shexp.weight": "shared_ffn embd",
    "ffn_up_shexp.weight": "shared_ffn embd",
    "ffn_down_shexp.weight": "embd shared_ffn",
}
_LATENT = {
    "attn_norm.weight": "embd",
    "attn_kv_a_mqa.weight": "latent embd",
    "attn_kv_a_norm.weight": "kv_rank",
    "attn_k_b.weight": "heads kv_rank nope",
    "attn_v_b.weight": "heads value kv_rank",
    "attn_output.weight": "embd out",
}
_QUERY = {
    "attn_q_a.weight": "q_rank embd",
    "attn_q_a_norm.weight": "q_rank",
    "attn_q_b.weight": "q q_rank",
}


def _dimensions(model: Model) -> Mapping[str, int]:
    config, heads = model.config, model.config.heads
    rotary, nope = config.whole("qk_rope_head_dim"), config.whole("qk_nope_head_dim")
    value, rank = config.whole("v_head_dim"), config.whole("kv_lora_rank")
    expert = config.whole("moe_intermediate_size")
    return {
        "kv_rank": rank,
        "latent": rank + rotary,
        "nope": nope,
        "value": value,
        "q_rank": _query_rank(model),
        "q": heads * (nope + rotary),
        "out": heads * value,
        "rotary": rotary // 2,
        "expert_ffn": expert,
        "shared_ffn": expert * config.whole("n_shared_experts", default=0, low=0, high=1024),
    }


def _query_rank(model: Model) -> int:
    """Returns the rank of the query's two matrices, 0 for one matrix.

    llama.cpp runs one matrix in models of 26 and 27 layers only (DeepSeek V2 Lite). Elsewhere it is written as two: the
    first divides by the layer's norm, so that the norm between the two finds what it would make anyway, and multiplies
    by the layer's norm again.
    """
    rank = model.config.whole("q_lora_rank", default=0, low=0)
    return rank or (0 if model.config.layers in LITE else model.config.width)


def _split_query(model: Model) -> bool:
    return bool(model.sizes["q_rank"]) and not model.config.data.get("q_lora_rank")


def _dense(model: Model) -> int:
    return min(model.config.layers, model.config.whole("first_k_dense_replace", default=0, low=0, high=1024))


def _layer(model: Model, layer: int) -> Mapping[str, str]:
    attention = _LATENT | (_QUERY if model.sizes["q_rank"] else {"attn_q.weight": "q embd"})
    if layer < _dense(model):
        return attention | GATED
    shared = _SHARED if model.sizes["shared_ffn"] else {}
    corrected = {"exp_probs_b.bias": "experts"} if _sigmoid(model) else {}
    return attention | EXPERTS | shared | corrected


def _sigmoid(model: Model) -> bool:
    scoring = model.config.text("scoring_func", "sigmoid" if model.family.name == "deepseek-v3" else "softmax")
    if scoring not in ("softmax", "sigmoid"):
        raise unsupported(f"config.json: scoring_func {scoring!r} is not run by llama.cpp")
    return scoring == "sigmoid"


def _metadata(model: Model) -> Mapping[str, Any]:
    config, sizes = model.config, model.sizes
    rotary = 2 * sizes["rotary"]
    found: dict[str, Any] = {
        "attention.head_count_kv": 1,
        "attention.key_length": sizes["latent"],
        "attention.value_length": sizes["kv_rank"],
        "attention.key_length_mla": sizes["nope"] + rotary,
        "attention.value_length_mla": sizes["value"],
        "attention.kv_lora_rank": sizes["kv_rank"],
        "rope.dimension_count": rotary,
        "leading_dense_block_count": _dense(model),
        "expert_feed_forward_length": sizes["expert_ffn"],
        "expert_shared_count": config.whole("n_shared_experts", default=0, low=0, high=1024),
        "expert_weights_scale": config.number("routed_scaling_factor", default=1.0),
        "expert_weights_norm": config.flag("norm_topk_prob", default=_sigmoid(model)),
        "expert_gating_func": SIGMOID if _sigmoid(model) else SOFTMAX,
    }
    if sizes["q_rank"]:
        found["attention.q_lora_rank"] = sizes["q_rank"]
    groups = config.whole("n_group", default=1, high=4096)
    if _sigmoid(model) and groups > 1:
        found |= {"expert_group_count": groups, "expert_group_used_count": config.whole("topk_group", high=groups)}
    rope = config.rope()
    if rope.kind == "yarn" and (stretch := rope.number("mscale_all_dim")):
        found["rope.scaling.yarn_log_multiplier"] = YARN_LOG * stretch
    return found


def _rules(model: Model) -> Iterable[Rule]:
    attention = "model.layers.{l}.self_attn.kv_b_proj.weight"
    yield Rule(attention, "blk.{l}.attn_k_b.weight", Change(_keys))
    yield Rule(attention, "blk.{l}.attn_v_b.weight", Change(_values))
    yield Rule("model.layers.{l}.mlp.gate.e_score_correction_bias", "blk.{l}.exp_probs_b.bias")
    yield from expert_rules(model)
    if _split_query(model):
        norm = "model.layers.{l}.input_layernorm.weight"
        yield Rule(norm, "blk.{l}.attn_norm.weight")
        yield Rule(norm, "blk.{l}.attn_q_a_norm.weight")
        yield Rule(norm, "blk.{l}.attn_q_a.weight", Change(_undone, numbers=True))
        yield Rule("model.layers.{l}.self_attn.q_proj.weight", "blk.{l}.attn_q_b.weight")
    yield Rule("", "", also=tuple(_beyond(model)))


def _beyond(model: Model) -> Iterable[str]:
    """Yields the tensors of layers after the last. A rule that matches nothing takes them as its helpers."""
    for name in model.checkpoint.names:
        parts = name.split(".", 3)
        if parts[:2] == ["model", "layers"] and parts[2].isdigit() and int(parts[2]) >= model.config.layers:
            yield name


def _by_head(model: Model, array: Any) -> Any:
    sizes = model.sizes
    return array.reshape(sizes["heads"], sizes["nope"] + sizes["value"], sizes["kv_rank"])


def _keys(model: Model, array: Any) -> Any:
    return _by_head(model, array)[:, : model.sizes["nope"]].swapaxes(1, 2)


def _values(model: Model, array: Any) -> Any:
    return _by_head(model, array)[:, model.sizes["nope"] :]


def _undone(model: Model, array: Any) -> Any:
    """A matrix that divides by the norm's weights."""
    import numpy as np

    if float(np.abs(array).min()) < SMALLEST:
        raise refuse("a norm has weights of zero, so llama.cpp cannot run this model without q_lora_rank")
    return np.diag(1 / array)


def _check(model: Model) -> None:
    config = model.config
    activation(model, "silu")
    if config.flag("attention_bias"):
        raise unsupported("config.json: attention_bias is true, which llama.cpp does not run for DeepSeek")
    if not config.flag("rope_interleave", default=True):
        raise unsupported("config.json: rope_interleave is false; llama.cpp rotates neighbours for DeepSeek")
    if not model.sizes["experts"]:
        raise refuse("config.json: n_routed_experts is missing")
    if config.whole("moe_layer_freq", default=1, high=1024) != 1:
        raise unsupported("config.json: moe_layer_freq is not 1, which llama.cpp does not run")
    groups = config.whole("n_group", default=1, high=4096)
    if not _sigmoid(model) and groups > 1 and config.text("topk_method") == "group_limited_greedy":
        model.note("llama.cpp chooses among all experts where this model chooses among some groups of them")


FAMILIES = tuple(
    Family(
        name=name,
        title=title,
        arch="deepseek2",
        architectures=architectures,
        layer=_layer,
        dimensions=_dimensions,
        metadata=_metadata,
        rules=_rules,
        check=_check,
    )
    for name, title, architectures in (
        ("deepseek-v2", "DeepSeek V2", ("DeepseekV2ForCausalLM",)),
        ("deepseek-v3", "DeepSeek V3 and R1", ("DeepseekV3ForCausalLM",)),
    )
)
