"""Llama 4: mixture of experts with a shared one, chunked attention on three of four layers, no rotation on the fourth.

llama.cpp has the pattern built in (chunks of 8192 tokens, every fourth layer full and without rotation, queries and
keys normalised unless there are 128 experts), so a configuration that says otherwise is refused. The experts are
stored as one array per layer with rows and columns the other way round. Queries and keys are already interleaved.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from freehold.own.convert.families.common import ATTENTION, EXPERTS, GATED, activation
from freehold.own.convert.family import Change, Family, Model, Rule
from freehold.own.convert.metadata import rope_tensors
from freehold.own.convert.problems import refuse

CHUNK = 8192
PERIOD = 4
_SHARED = {
    "ffn_gate_shexp.weight": "expert_ffn embd",
    "ffn_up_shexp.weight": "expert_ffn embd",
    "ffn_down_shexp.weight": "embd expert_ffn",
}


def _mixes(model: Model, layer: int) -> bool:
    return (layer + 1) % _step(model) == 0


def _step(model: Model) -> int:
    return model.config.whole("interleave_moe_layer_step", default=1, high=1024)


def _layer(model: Model, layer: int) -> Mapping[str, str]:
    return ATTENTION | (EXPERTS | _SHARED if _mixes(model, layer) else GATED)


def _dimensions(model: Model) -> Mapping[str, int]:
    return {
        "expert_ffn": model.config.whole("intermediate_size"),
        "ffn": model.config.whole("intermediate_size_mlp", "intermediate_size"),
    }


def _metadata(model: Model) -> Mapping[str, Any]:
    return {
        "interleave_moe_layer_step": _step(model),
        "expert_feed_forward_length": model.sizes["expert_ffn"],
        "leading_dense_block_count": 0,
    }


def _rules(model: Model) -> Iterable[Rule]:
    experts = "model.layers.{l}.feed_forward.experts."
    yield Rule(experts + "gate_up_proj", "blk.{l}.ffn_gate_exps.weight", Change(_gate))
    yield Rule(experts + "gate_up_proj", "blk.{l}.ffn_up_exps.weight", Change(_up))
    yield Rule(experts + "down_proj", "blk.{l}.ffn_down_exps.weight", Change(_down))


def _gate(model: Model, array: Any) -> Any:
    return array[:, :, : array.shape[2] // 2].swapaxes(1, 2)


def _up(model: Model, array: Any) -> Any:
    return array[:, :, array.shape[2] // 2 :].swapaxes(1, 2)


def _down(model: Model, array: Any) -> Any:
    return array.swapaxes(1, 2)


def _check(model: Model) -> None:
    config = model.config
    activation(model, "silu")
    rotated = config.wholes("no_rope_layers", high=1)
    expected = [1 if (layer + 1) % PERIOD else 0 for layer in range(config.layers)]
    if rotated and rotated != expected:
        raise refuse(f"config.json: no_rope_layers; llama.cpp leaves every {PERIOD}th layer unrotated and no other")
    mixed = config.wholes("moe_layers", high=1024)
    if mixed is not None and mixed != [layer for layer in range(config.layers) if _mixes(model, layer)]:
        raise refuse("config.json: moe_layers is not every layer that interleave_moe_layer_step tells")
    if not model.sizes["experts"]:
        raise refuse("config.json: a Llama 4 without experts is not run by llama.cpp")
    if config.flag("use_qk_norm", default=True) != (model.sizes["experts"] != 128):
        raise refuse("config.json: use_qk_norm; llama.cpp normalises queries and keys unless there are 128 experts")
    chunk = config.whole("attention_chunk_size", default=CHUNK, high=1 << 28)
    if min(chunk, config.context) != min(CHUNK, config.context):
        raise refuse(f"config.json: attention_chunk_size is {chunk}; llama.cpp runs chunks of {CHUNK} tokens only")
    tuned = config.flag("attn_temperature_tuning", default=True)
    scaled = (config.number("floor_scale", default=CHUNK), config.number("attn_scale", default=0.1))
    if config.context > CHUNK and (not tuned or scaled != (CHUNK, 0.1)):
        model.note(
            f"attention is tempered beyond {CHUNK} tokens as in Llama 4 Scout, which config.json does not ask for"
        )


FAMILIES = (
    Family(
        name="llama4",
        title="Llama 4",
        arch="llama4",
        architectures=("Llama4ForCausalLM", "Llama4ForConditionalGeneration"),
        layer=_layer,
        dimensions=_dimensions,
        metadata=_metadata,
        rules=_rules,
        extras=rope_tensors,
        check=_check,
        rename=(
            ("language_model.model.", "model."),
            ("language_model.lm_head.", "lm_head."),
            ("model.language_model.", "model."),
        ),
        ignore=("vision_model.", "multi_modal_projector.", "model.vision_model.", "model.multi_modal_projector."),
    ),
)
