"""Llama 2 and 3 and what is built like them: Mistral, Mixtral, and others that name LlamaForCausalLM.

llama.cpp has one architecture for all of them, `llama`. Sliding windows of Mistral 7B v0.1 are not run by it: texts
beyond the window see more than they should, which is noted.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from freehold.own.convert.families.common import ATTENTION, ATTENTION_BIAS, EXPERTS, GATED, activation, interleaved
from freehold.own.convert.family import Change, Family, Model, Rule
from freehold.own.convert.metadata import rope_tensors
from freehold.own.convert.problems import unsupported

PERMUTED = {
    "attn_q.weight": interleaved(lambda model: model.config.heads),
    "attn_q.bias": interleaved(lambda model: model.config.heads),
    "attn_k.weight": interleaved(lambda model: model.config.kv_heads),
    "attn_k.bias": interleaved(lambda model: model.config.kv_heads),
}
_MIXTRAL = {"w1": "ffn_gate_exps", "w2": "ffn_down_exps", "w3": "ffn_up_exps"}


def _dense(model: Model, layer: int) -> Mapping[str, str]:
    biases = {"ffn_gate.bias?": "ffn", "ffn_up.bias?": "ffn", "ffn_down.bias?": "embd"}
    return ATTENTION | ATTENTION_BIAS | GATED | biases


def _mixture(model: Model, layer: int) -> Mapping[str, str]:
    return ATTENTION | ATTENTION_BIAS | EXPERTS


def _check(model: Model) -> None:
    activation(model, "silu", "swish")
    window: int | None = model.config.whole("sliding_window", default=None, low=0, high=1 << 28)
    used = model.config.flag("use_sliding_window", default=True)
    if window and used and window < model.config.context:
        model.note(f"a sliding window of {window} tokens is not kept by llama.cpp: use contexts up to {window} tokens")


def _mistral_check(model: Model) -> None:
    _check(model)
    if model.config.nested and model.config.text("model_type") != "mistral":
        raise unsupported(f"config.json: the language model inside is {model.config.text('model_type')!r}, not mistral")


def _mixtral_rules(model: Model) -> Iterable[Rule]:
    moe = "model.layers.{l}.block_sparse_moe."
    for source, target in _MIXTRAL.items():
        yield Rule(moe + "experts.{e}." + source + ".weight", "blk.{l}." + target + ".weight")
    yield Rule(moe + "gate.weight", "blk.{l}.ffn_gate_inp.weight")
    stacked = "model.layers.{l}.mlp."
    yield Rule(stacked + "gate.weight", "blk.{l}.ffn_gate_inp.weight")
    yield Rule(stacked + "experts.gate_up_proj", "blk.{l}.ffn_gate_exps.weight", Change(_first_half))
    yield Rule(stacked + "experts.gate_up_proj", "blk.{l}.ffn_up_exps.weight", Change(_second_half))
    yield Rule(stacked + "experts.down_proj", "blk.{l}.ffn_down_exps.weight")


def _first_half(model: Model, array: Any) -> Any:
    return array[:, : array.shape[1] // 2]


def _second_half(model: Model, array: Any) -> Any:
    return array[:, array.shape[1] // 2 :]


FAMILIES = (
    Family(
        name="llama",
        title="Llama",
        arch="llama",
        architectures=("LlamaForCausalLM", "LLaMAForCausalLM", "LlamaModel"),
        layer=_dense,
        changes=PERMUTED,
        extras=rope_tensors,
        check=_check,
    ),
    Family(
        name="mistral",
        title="Mistral",
        arch="llama",
        architectures=("MistralForCausalLM", "Mistral3ForConditionalGeneration"),
        layer=_dense,
        changes=PERMUTED,
        extras=rope_tensors,
        check=_mistral_check,
        rename=(
            ("language_model.model.", "model."),
            ("language_model.lm_head.", "lm_head."),
            ("model.language_model.", "model."),
        ),
        ignore=("vision_tower.", "multi_modal_projector.", "model.vision_tower.", "model.multi_modal_projector."),
    ),
    Family(
        name="mixtral",
        title="Mixtral",
        arch="llama",
        architectures=("MixtralForCausalLM",),
        layer=_mixture,
        rules=_mixtral_rules,
        dimensions=lambda model: {"expert_ffn": model.sizes["ffn"]},
        changes=PERMUTED,
        extras=rope_tensors,
        check=_check,
    ),
)
