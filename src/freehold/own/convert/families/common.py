"""What several families share: shapes of an ordinary decoder layer, head permutation, and small changes."""

from collections.abc import Callable
from typing import Any

from freehold.own.convert.family import Change, Model
from freehold.own.convert.problems import refuse

ATTENTION = {
    "attn_norm.weight": "embd",
    "attn_q.weight": "q embd",
    "attn_k.weight": "k embd",
    "attn_v.weight": "v embd",
    "attn_output.weight": "embd out",
}
ATTENTION_BIAS = {
    "attn_q.bias?": "q",
    "attn_k.bias?": "k",
    "attn_v.bias?": "v",
    "attn_output.bias?": "embd",
}
GATED = {
    "ffn_norm.weight": "embd",
    "ffn_gate.weight": "ffn embd",
    "ffn_up.weight": "ffn embd",
    "ffn_down.weight": "embd ffn",
}
EXPERTS = {
    "ffn_norm.weight": "embd",
    "ffn_gate_inp.weight": "experts embd",
    "ffn_gate_exps.weight": "experts expert_ffn embd",
    "ffn_up_exps.weight": "experts expert_ffn embd",
    "ffn_down_exps.weight": "experts embd expert_ffn",
}


def interleaved(count: Callable[[Model], int]) -> Change:
    """Returns the permutation of query or key rows that llama.cpp's `llama` expects.

    transformers rotates element i of a head with element i + half; the original Llama, and llama.cpp for this
    architecture, rotates neighbours. So the rows of each head are put in the order 0, half, 1, half + 1, ...
    """

    def apply(model: Model, array: Any) -> Any:
        heads = count(model)
        half = array.shape[0] // heads // 2
        return array.reshape(heads, 2, half, *array.shape[1:]).swapaxes(1, 2).reshape(array.shape)

    return Change(apply)


def plus_one(model: Model, array: Any) -> Any:
    """For norms that multiply by 1 + weight."""
    return array + 1


def transposed(model: Model, array: Any) -> Any:
    """Swaps rows and columns of each matrix."""
    return array.swapaxes(-1, -2)


def activation(model: Model, *expected: str) -> None:
    """Raises EngineError when the feed-forward activation is not the one that llama.cpp has for this architecture."""
    found = model.config.text("hidden_act") or model.config.text("hidden_activation")
    if found and found not in expected:
        raise refuse(f"config.json: hidden_act {found!r}; llama.cpp runs {model.family.title} with {expected[0]} only")
