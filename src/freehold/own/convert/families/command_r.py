"""Command R (CohereForCausalLM) and Command R7B, Command A (Cohere2ForCausalLM).

Attention and feed-forward run side by side on one norm without bias; logits are scaled; the output is the embedding.
Cohere 2 has a window on three of four layers and rotates only there. Queries and keys are already interleaved.
"""

from collections.abc import Mapping
from typing import Any

from freehold.own.convert.families.common import ATTENTION, activation
from freehold.own.convert.family import Family, Model
from freehold.own.convert.problems import refuse

_FEED_FORWARD = {"ffn_gate.weight": "ffn embd", "ffn_up.weight": "ffn embd", "ffn_down.weight": "embd ffn"}
_NORMED = {"attn_q_norm.weight": "heads head", "attn_k_norm.weight": "kv_heads head"}
PERIOD = 4
NORMED_FROM = 64


def _layer(model: Model, layer: int) -> Mapping[str, str]:
    plain = ATTENTION | _FEED_FORWARD
    return plain | _NORMED if model.config.flag("use_qk_norm") else plain


def _metadata(model: Model) -> Mapping[str, Any]:
    context = max(model.config.context, model.config.whole("model_max_length", default=0, low=0, high=1 << 28))
    return {
        "context_length": context,
        "logit_scale": model.config.number("logit_scale", default=0.0625),
        "rope.scaling.type": "none",
    }


def _cohere2_metadata(model: Model) -> Mapping[str, Any]:
    found = {
        **_metadata(model),
        "attention.sliding_window": model.config.whole("sliding_window", high=1 << 28),
    }
    period = _period(model)
    return found if period == PERIOD else found | {"attention.sliding_window_pattern": period}


def _period(model: Model) -> int:
    """Returns n where every n-th layer sees everything and the others a window."""
    kinds = model.config.strings("layer_types", model.config.layers)
    if kinds is None:
        return model.config.whole("sliding_window_pattern", default=PERIOD, high=1024)
    full = [layer for layer, kind in enumerate(kinds) if kind == "full_attention"]
    period = full[0] + 1 if full else PERIOD
    regular = [layer for layer in range(len(kinds)) if (layer + 1) % period == 0]
    if full != regular:
        raise refuse("config.json: layer_types; llama.cpp runs Cohere 2 with one full layer after each run of windows")
    return period


def _check(model: Model) -> None:
    activation(model, "silu")
    if model.sizes["q"] != model.config.width:
        raise refuse(
            f"config.json: {model.config.heads} heads of {model.config.head} are not hidden_size {model.config.width}"
        )
    if model.config.tied is False:
        raise refuse(f"config.json: tie_word_embeddings is false, but llama.cpp runs {model.family.title} tied only")
    rope = model.config.rope()
    if rope.kind != "default":
        raise refuse(f"config.json: rotary scaling {rope.kind} is not run by llama.cpp for {model.family.title}")


def _command_r_check(model: Model) -> None:
    _check(model)
    if model.config.flag("use_qk_norm") != (model.config.layers >= NORMED_FROM):
        raise refuse(
            f"config.json: use_qk_norm; llama.cpp normalises queries and keys of a Command R with {NORMED_FROM} layers "
            "or more, and of no smaller one"
        )


def _cohere2_check(model: Model) -> None:
    _check(model)
    _period(model)


FAMILIES = (
    Family(
        name="command-r",
        title="Command R",
        arch="command-r",
        architectures=("CohereForCausalLM",),
        layer=_layer,
        dimensions=lambda model: {"kv_heads": model.config.kv_heads},
        metadata=_metadata,
        check=_command_r_check,
        tied=True,
    ),
    Family(
        name="cohere2",
        title="Command R7B, Command A",
        arch="cohere2",
        architectures=("Cohere2ForCausalLM",),
        layer=lambda model, layer: ATTENTION | _FEED_FORWARD,
        metadata=_cohere2_metadata,
        check=_cohere2_check,
        tied=True,
    ),
)
