"""Gemma 2 and 3, text only.

Norms multiply by 1 + weight, and llama.cpp by the weight, so 1 is added. Most layers see a window, the others the whole
context: every second one in Gemma 2, every sixth in Gemma 3, where the two kinds rotate with different bases.

llama.cpp divides queries by the square root of the head (of width / heads in the 27B models, which it knows by their
number of layers). A `query_pre_attn_scalar` that says otherwise is put into the weights that make the query.
"""

import math
from collections.abc import Mapping
from typing import Any

from freehold.own.convert.config import Rope
from freehold.own.convert.families.common import ATTENTION, GATED, activation, plus_one
from freehold.own.convert.family import Change, Family, Model
from freehold.own.convert.problems import unsupported

NO_CAP = 1e5
"""A soft cap so high that float32 does not feel it."""
LOCAL_BASE = 10_000.0
GLOBAL_BASE = 1_000_000.0
GEMMA2_27B, GEMMA3_27B = 46, 62
"""Numbers of layers by which llama.cpp knows the 27B models."""
_AFTER = {"post_attention_norm.weight": "embd", "post_ffw_norm.weight": "embd"}
_NORMS = {"attn_q_norm.weight": "head", "attn_k_norm.weight": "head"}
_SHIFTED = Change(plus_one, numbers=True)
_SHIFTS = dict.fromkeys(
    ("attn_norm.weight", "post_attention_norm.weight", "ffn_norm.weight", "post_ffw_norm.weight", "output_norm.weight"),
    _SHIFTED,
)


def _query(model: Model, array: Any) -> Any:
    return array * _correction(model)


def _query_norm(model: Model, array: Any) -> Any:
    return (array + 1) * _correction(model)


def _correction(model: Model) -> float:
    """Returns what a query has to be multiplied by so that llama.cpp's own scale becomes the model's."""
    config = model.config
    large = config.layers == (GEMMA2_27B if model.family.name == "gemma2" else GEMMA3_27B)
    theirs = config.width // config.heads if large else config.head
    wanted = config.number("query_pre_attn_scalar", default=float(config.head), low=1e-6)
    return math.sqrt(theirs / wanted)


def _window(model: Model, period: int) -> Mapping[str, Any]:
    """Returns the window and, where it is not the family's own, how often a layer without one comes."""
    config = model.config
    found = {"attention.sliding_window": config.whole("sliding_window", high=1 << 28)}
    told = _period(model, period)
    return found if told == period else found | {"attention.sliding_window_pattern": told}


def _period(model: Model, period: int) -> int:
    """Returns n where every n-th layer sees everything."""
    config = model.config
    kinds = config.strings("layer_types", config.layers)
    if kinds is None:
        return config.whole("sliding_window_pattern", "_sliding_window_pattern", default=period, high=1024)
    full = [layer for layer, kind in enumerate(kinds) if kind == "full_attention"]
    found = full[0] + 1 if full else max(period, config.layers + 1)
    if full != [layer for layer in range(len(kinds)) if (layer + 1) % found == 0]:
        raise unsupported("config.json: layer_types; llama.cpp runs one full layer after each run of windows")
    return found


def _gemma2_metadata(model: Model) -> Mapping[str, Any]:
    config = model.config
    return {
        **_window(model, 2),
        "attn_logit_softcapping": config.number("attn_logit_softcapping", default=NO_CAP, low=1e-3),
        "final_logit_softcapping": config.number("final_logit_softcapping", default=NO_CAP, low=1e-3),
    }


def _gemma3_metadata(model: Model) -> Mapping[str, Any]:
    config = model.config
    found: dict[str, Any] = {**_window(model, 6), "rope.freq_base": _global(model).theta}
    found["rope.freq_base_swa"] = _local(model).theta
    if cap := config.number("final_logit_softcapping", default=0.0, low=0.0):
        found["final_logit_softcapping"] = cap
    return found


def _global(model: Model) -> Rope:
    return model.config.rope("full_attention", theta=GLOBAL_BASE)


def _local(model: Model) -> Rope:
    """The rotation of layers with a window. Before transformers 5 it was one number, `rope_local_base_freq`."""
    config = model.config
    base = config.number("rope_local_base_freq", default=LOCAL_BASE, low=1.0)
    told = config.data.get("rope_parameters")
    if isinstance(told, dict) and isinstance(told.get("sliding_attention"), dict):
        return config.rope("sliding_attention", theta=base)
    return Rope(base, "default", 1.0, {})


def _check(model: Model) -> None:
    activation(model, "gelu_pytorch_tanh", "gelu_tanh")
    if model.config.flag("attention_bias"):
        raise unsupported(f"config.json: attention_bias is true, which llama.cpp does not run for {model.family.title}")
    if model.config.flag("use_bidirectional_attention"):
        raise unsupported(
            "config.json: use_bidirectional_attention is true: this is an embedding model, not a language model"
        )


def _check3(model: Model) -> None:
    _check(model)
    if model.config.number("attn_logit_softcapping", default=0.0):
        raise unsupported("config.json: attn_logit_softcapping, which llama.cpp does not have for Gemma 3")
    if _local(model).kind != "default":
        raise unsupported(
            "config.json: the rotation of sliding layers is scaled, which llama.cpp does not have for Gemma 3"
        )


_RENAME = (
    ("language_model.model.", "model."),
    ("language_model.lm_head.", "lm_head."),
    ("model.language_model.", "model."),
)
_VISION = ("vision_tower.", "multi_modal_projector.", "model.vision_tower.", "model.multi_modal_projector.")

FAMILIES = (
    Family(
        name="gemma2",
        title="Gemma 2",
        arch="gemma2",
        architectures=("Gemma2ForCausalLM",),
        layer=lambda model, layer: ATTENTION | GATED | _AFTER,
        metadata=_gemma2_metadata,
        changes=_SHIFTS | {"attn_q.weight": Change(_query, numbers=True)},
        check=_check,
        tied=True,
    ),
    Family(
        name="gemma3",
        title="Gemma 3",
        arch="gemma3",
        architectures=("Gemma3ForCausalLM", "Gemma3ForConditionalGeneration"),
        layer=lambda model, layer: ATTENTION | _NORMS | GATED | _AFTER,
        metadata=_gemma3_metadata,
        changes=_SHIFTS | {
            "attn_q_norm.weight": Change(_query_norm, numbers=True),
            "attn_k_norm.weight": _SHIFTED,
        },
        check=_check3,
        rename=_RENAME,
        ignore=_VISION,
        tied=True,
    ),
)  # fmt: skip
