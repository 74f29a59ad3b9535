"""Falcon 7B, 40B, 180B and Falcon 2 (Falcon 3 is a Llama).

Query, key and value are one matrix. It is made of groups, each some query heads with the key and the value that they
share; llama.cpp wants all queries, then all keys, then all values. Falcon 7B has one group. Attention and feed-forward
run side by side, on one norm or on two.
"""

from collections.abc import Mapping
from typing import Any

from freehold.own.convert.families.common import activation
from freehold.own.convert.family import Change, Family, Model
from freehold.own.convert.problems import refuse, unsupported

CONTEXT = 2048
"""What the models were made for; their config.json does not say."""
_LAYER = {
    "attn_norm.weight": "embd",
    "attn_norm.bias": "embd",
    "attn_qkv.weight": "qkv embd",
    "attn_output.weight": "embd out",
    "ffn_up.weight": "ffn embd",
    "ffn_down.weight": "embd ffn",
}
_SECOND = {"attn_norm_2.weight": "embd", "attn_norm_2.bias": "embd"}


def _groups(model: Model) -> int:
    """Returns the number of key-value heads; `num_kv_heads` counts in the new decoder only."""
    config = model.config
    if config.flag("new_decoder_architecture"):
        return config.whole("num_kv_heads", "n_head_kv", default=config.heads, high=4096)
    return 1 if config.flag("multi_query", default=True) else config.heads


def _dimensions(model: Model) -> Mapping[str, int]:
    model.config.data.setdefault("max_position_embeddings", CONTEXT)
    groups, head = _groups(model), model.config.head
    if model.config.heads % groups:
        raise refuse(f"config.json: {model.config.heads} attention heads cannot share {groups} key-value heads")
    return {"groups": groups, "qkv": (model.config.heads + 2 * groups) * head}


def _layer(model: Model, layer: int) -> Mapping[str, str]:
    two = model.config.flag("new_decoder_architecture")
    count = model.config.whole("num_ln_in_parallel_attn", default=2 if two else 1, high=2)
    return _LAYER | _SECOND if count == 2 else _LAYER


def _regrouped(model: Model, array: Any) -> Any:
    """(group, query heads + key + value, head, width) -> queries, keys, values."""
    import numpy as np

    groups, heads, head = model.sizes["groups"], model.config.heads, model.config.head
    split = array.reshape(groups, heads // groups + 2, head, -1)
    parts = (split[:, :-2], split[:, -2], split[:, -1])
    return np.concatenate([part.reshape(-1, array.shape[1]) for part in parts])


def _metadata(model: Model) -> Mapping[str, Any]:
    return {"attention.head_count_kv": model.sizes["groups"], "tensor_data_layout": "jploski"}


def _check(model: Model) -> None:
    activation(model, "gelu")
    config = model.config
    if (found := config.text("activation", "gelu")) != "gelu":
        raise unsupported(f"config.json: activation {found!r}; llama.cpp runs Falcon with gelu only")
    for key, wanted in (("alibi", False), ("bias", False), ("parallel_attn", True)):
        if config.flag(key, default=wanted) != wanted:
            raise unsupported(
                f"config.json: {key} is {str(not wanted).lower()}, which llama.cpp does not run for Falcon"
            )
    if config.rope().kind not in ("default", "linear", "yarn"):
        raise unsupported(f"config.json: rotary scaling {config.rope().kind} is not run by llama.cpp for Falcon")


FAMILIES = (
    Family(
        name="falcon",
        title="Falcon",
        arch="falcon",
        architectures=("FalconForCausalLM", "RWForCausalLM"),
        layer=_layer,
        outer={"token_embd.weight": "vocab embd", "output_norm.weight": "embd", "output_norm.bias": "embd"},
        dimensions=_dimensions,
        metadata=_metadata,
        changes={"attn_qkv.weight": Change(_regrouped)},
        check=_check,
        tied=True,
    ),
)
