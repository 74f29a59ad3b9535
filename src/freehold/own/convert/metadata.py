"""Hyperparameters as GGUF keys (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md), without the architecture.

Rotary scaling: linear and yarn are keys; llama3's smooth rescaling and longrope's two lists are tensors that divide the
frequencies (rope_freqs.weight, rope_factors_long.weight, rope_factors_short.weight).
"""

import math
from collections.abc import Iterator, Mapping
from typing import Any

from freehold.own.convert.config import Config, Rope
from freehold.own.convert.family import Extra, Model
from freehold.own.convert.problems import refuse, unsupported

MAX_TEXT = 500


def hyperparameters(model: Model) -> dict[str, Any]:
    """Returns key: value; int is written as uint32, float as float32, lists as arrays."""
    config = model.config
    found: dict[str, Any] = {
        "vocab_size": config.vocabulary,
        "context_length": config.context,
        "embedding_length": config.width,
        "block_count": config.layers,
        "feed_forward_length": model.sizes["ffn"],
        "attention.head_count": config.heads,
        "attention.head_count_kv": config.kv_heads,
        "attention.key_length": config.head,
        "attention.value_length": config.head,
        "rope.dimension_count": 2 * model.sizes["rotary"],
        **_norm(config),
        **rope_keys(model, config.rope()),
        **_experts(model),
    }
    for key, value in model.family.metadata(model).items():
        if value is None:
            found.pop(key, None)
        else:
            found[key] = value
    return found


def _norm(config: Config) -> dict[str, float]:
    for key, name in (
        ("rms_norm_eps", "attention.layer_norm_rms_epsilon"),
        ("layer_norm_eps", "attention.layer_norm_epsilon"),
        ("layer_norm_epsilon", "attention.layer_norm_epsilon"),
    ):
        if key in config.data:
            return {name: config.number(key, low=0.0, high=1.0)}
    return {}


def _experts(model: Model) -> dict[str, int]:
    count = model.sizes["experts"]
    if not count:
        return {}
    used = model.config.whole("num_experts_per_tok", "num_experts_per_token", high=count)
    return {"expert_count": count, "expert_used_count": used}


def rope_keys(model: Model, rope: Rope) -> dict[str, Any]:
    """Returns the keys of the rotary embedding. Scalings that llama.cpp does not have are noted or refused."""
    found: dict[str, Any] = {"rope.freq_base": rope.theta}
    if rope.kind == "linear":
        found |= {"rope.scaling.type": "linear", "rope.scaling.factor": _factor(rope)}
    elif rope.kind == "yarn":
        found |= {
            "rope.scaling.type": "yarn",
            "rope.scaling.factor": _factor(rope),
            "rope.scaling.original_context_length": model.config.original_context(rope),
        }
        for key, name in (("beta_fast", "yarn_beta_fast"), ("beta_slow", "yarn_beta_slow")):
            value = rope.number(key)
            if value is not None:
                found[f"rope.scaling.{name}"] = value
    elif rope.kind == "longrope":
        original = model.config.original_context(rope)
        stretch = model.config.context / original
        default = math.sqrt(1 + math.log(stretch) / math.log(original)) if stretch > 1 and original > 1 else 1.0
        found |= {
            "rope.scaling.original_context_length": original,
            "rope.scaling.attn_factor": rope.number("attention_factor", default),
        }
    elif rope.kind == "dynamic":
        model.note("the context is stretched by dynamic NTK scaling, which llama.cpp does not have: longer texts than "
                   f"{model.config.original_context(rope)} tokens come out worse")  # fmt: skip
    elif rope.kind not in ("default", "llama3", "none"):
        raise unsupported(
            f"config.json: rotary scaling {rope.kind!r} is not known here",
            "supported: linear, dynamic, yarn, llama3, longrope",
        )
    return found


def _factor(rope: Rope) -> float:
    factor = rope.number("factor")
    if factor is None or factor <= 0:
        raise refuse(f"config.json: the rotary scaling {rope.kind} has the factor {factor}")
    return factor


def rope_tensors(model: Model) -> Iterator[Extra]:
    """Yields the tensors that rotary scalings need; a family that has them names this function as its `extras`."""
    import numpy as np

    rope = model.config.rope()
    length = model.sizes["rotary"]
    if rope.kind == "llama3":
        yield Extra("rope_freqs.weight", np.asarray(_llama3(model.config, rope, length), np.float32))
    elif rope.kind == "longrope":
        for key in ("long", "short"):
            factors = rope.factors(f"{key}_factor", length)
            yield Extra(f"rope_factors_{key}.weight", np.asarray(factors, np.float32))


def _llama3(config: Config, rope: Rope, length: int) -> list[float]:
    """Returns what each frequency is divided by: 1 for short waves, `factor` for long ones, smoothly between."""
    factor = _factor(rope)
    low = rope.number("low_freq_factor", 1.0) or 1.0
    high = rope.number("high_freq_factor", 4.0) or 4.0
    original = config.original_context(rope)
    found = []
    for place in range(length):
        wave = 2 * math.pi * rope.theta ** (place / length)
        if wave < original / high:
            found.append(1.0)
        elif wave > original / low or high == low:
            found.append(factor)
        else:
            smooth = (original / wave - low) / (high - low)
            found.append(1 / ((1 - smooth) / factor + smooth))
    return found


def general(values: Mapping[str, str | None]) -> dict[str, str]:
    """Returns general.* keys for what is known of name, licence and source; over-long texts are cut."""
    names = {"name": "name", "licence": "license", "licence_link": "license.link", "source": "source.url"}
    return {names[key]: value[:MAX_TEXT] for key, value in values.items() if key in names and value}
