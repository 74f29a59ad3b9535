"""Every family the whole way: a tiny model in its own configuration, converted, and held against the original."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from freehold.errors import EngineError

pytest.importorskip("gguf", reason="the gguf package is not installed: pip install 'freehold[own]'")
pytest.importorskip("torch", reason="torch is not installed: pip install 'freehold[reference]'")
pytest.importorskip("transformers", reason="transformers is not installed: pip install 'freehold[reference]'")

from tiny_models import FAMILIES, make

from freehold.own.convert.core import convert
from freehold.own.gguf import read_header
from freehold.own.parity.gate import asked_of, compared

pytestmark = pytest.mark.usefixtures("engine_needed")

YARN = {"rope_theta": 150000.0, "rope_type": "yarn", "factor": 32.0, "beta_fast": 32.0, "beta_slow": 1.0}
VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "experts whose weights are not made one": ("qwen3_moe", {"norm_topk_prob": False}),
    "one query matrix": ("deepseek_v2", {"q_lora_rank": None}),
    "stretched attention": (
        "deepseek_v2",
        {
            "max_position_embeddings": 640,
            "rope_parameters": YARN
            | {"rope_theta": 10000.0, "factor": 40.0, "mscale": 0.7, "mscale_all_dim": 0.7}
            | {"original_max_position_embeddings": 16},
        },
    ),
    "no dense layer": ("deepseek_v3", {"first_k_dense_replace": 0, "n_shared_experts": 2}),
    "dense layers only": ("deepseek_v3", {"first_k_dense_replace": 3}),
    "another query scale": ("gemma2", {"query_pre_attn_scalar": 256}),
    "no soft caps": ("gemma2", {"attn_logit_softcapping": None, "final_logit_softcapping": None}),
    "another query scale in the norm": ("gemma3", {"query_pre_attn_scalar": 256}),
    "another pattern": ("gemma3", {"layer_types": ["sliding_attention", "full_attention"] * 3}),
    "windows only": ("gemma3", {"num_hidden_layers": 2, "layer_types": ["sliding_attention"] * 2}),
    "heads without groups": ("falcon", {"multi_query": False, "num_kv_heads": 4}),
    "one norm": ("falcon_40b", {"num_ln_in_parallel_attn": 1}),
    "unrounded ramp": (
        "gpt_oss",
        {
            "max_position_embeddings": 131072,
            "rope_parameters": YARN | {"truncate": False, "original_max_position_embeddings": 4096},
        },
    ),
    "four bits": ("gpt_oss", {"dtype": "mxfp4"}),
    "a short context": ("qwen2", {"max_position_embeddings": 96}),
}


async def report_of(folder: Path, out: Path, says: Callable[..., Any], outtype: str = "auto") -> Any:
    made = convert(folder, out, outtype=outtype)
    asked = asked_of(read_header(out))
    return await compared(says(folder, asked), out, asked, made.quantisation)


@pytest.mark.parametrize("family", FAMILIES)
async def test_a_converted_family_says_what_the_original_says(
    family: str, tiny_repo: Callable[..., Path], original_says: Callable[..., Any], tmp_path: Path
) -> None:
    report = await report_of(tiny_repo(family), tmp_path / "made.gguf", original_says)
    assert report.passed, report
    assert report.quantisation == "F32"


@pytest.mark.parametrize("family", FAMILIES)
async def test_what_stands_on_a_hub_gives_the_same_file(
    family: str, tiny_repo: Callable[..., Path], tmp_path: Path
) -> None:
    """Older names in config.json, the template inside of tokenizer_config.json, weights in several files."""
    here, there = tmp_path / "here.gguf", tmp_path / "there.gguf"
    convert(tiny_repo(family), here, name="one name")
    convert(tiny_repo(family, layout="hub", shards=True), there, name="one name")
    assert here.read_bytes() == there.read_bytes()


@pytest.mark.parametrize("family", ["llama3", "mistral", "gemma3", "command_r", "qwen3_moe", "deepseek_v3", "gpt_oss"])
async def test_16_bit_weights_stay_16_bit(
    family: str, tiny_repo: Callable[..., Path], original_says: Callable[..., Any], tmp_path: Path
) -> None:
    folder = tiny_repo(family, dtype="bfloat16", layout="hub")
    report = await report_of(folder, tmp_path / "made.gguf", original_says)
    assert report.passed, report
    assert report.quantisation == "BF16"


@pytest.mark.parametrize("variant", VARIANTS)
async def test_variants_of_a_family_say_what_the_original_says(
    variant: str, tiny_repo: Callable[..., Path], original_says: Callable[..., Any], tmp_path: Path
) -> None:
    family, changes = VARIANTS[variant]
    report = await report_of(tiny_repo(family, **changes), tmp_path / "made.gguf", original_says)
    assert report.passed, report


@pytest.mark.parametrize("family", ["llama3", "gemma3", "deepseek_v3"])
async def test_any_tokenizer_goes_with_any_family(
    family: str, tiny_repo: Callable[..., Path], original_says: Callable[..., Any], tmp_path: Path
) -> None:
    report = await report_of(tiny_repo(family, tokenizer="gpt2"), tmp_path / "made.gguf", original_says)
    assert report.passed, report


async def test_layers_for_several_tokens_at_once_are_left_out(tiny_repo: Callable[..., Path], tmp_path: Path) -> None:
    """DeepSeek V3 is published with layers after the last one."""
    from safetensors.torch import load_file, save_file

    folder = tiny_repo("deepseek_v3")
    copied = Path(shutil.copytree(folder, tmp_path / "copied"))
    weights = load_file(copied / "model.safetensors")
    more = {
        name.replace("layers.1.", "layers.2."): value.clone() for name, value in weights.items() if "layers.1." in name
    }
    save_file(
        weights | more | {"model.layers.2.eh_proj.weight": weights["lm_head.weight"].clone()},
        copied / "model.safetensors",
    )
    convert(folder, tmp_path / "made.gguf", name="one name")
    convert(copied, tmp_path / "copied.gguf", name="one name")
    assert (tmp_path / "made.gguf").read_bytes() == (tmp_path / "copied.gguf").read_bytes()


async def test_eight_bit_blocks_are_multiplied_out(
    tiny_repo: Callable[..., Path], original_says: Callable[..., Any], tmp_path: Path
) -> None:
    """As DeepSeek publishes V3 and R1: float8_e4m3fn, one factor for each block."""
    import torch
    from safetensors.torch import load_file, save_file

    folder = Path(shutil.copytree(tiny_repo("deepseek_v3", dtype="bfloat16", layout="hub"), tmp_path / "eight"))
    stored = {}
    for name, weight in load_file(folder / "model.safetensors").items():
        if "proj" not in name:
            stored[name] = weight
            continue
        rows, columns = (-(-size // 32) for size in weight.shape)
        padded = torch.zeros(rows * 32, columns * 32)
        padded[: weight.shape[0], : weight.shape[1]] = weight.float()
        blocks = padded.reshape(rows, 32, columns, 32)
        scale = blocks.abs().amax((1, 3)).clamp_min(1e-6) / 448
        eight = (blocks / scale[:, None, :, None]).reshape(padded.shape)[: weight.shape[0], : weight.shape[1]]
        stored[name] = eight.to(torch.float8_e4m3fn).contiguous()
        stored[f"{name}_scale_inv"] = scale
    save_file(stored, folder / "model.safetensors")
    config = json.loads((folder / "config.json").read_text())
    config["quantization_config"] = {"quant_method": "fp8", "fmt": "e4m3", "weight_block_size": [32, 32]}
    (folder / "config.json").write_text(json.dumps(config))
    report = await report_of(folder, tmp_path / "made.gguf", original_says, "F32")
    assert report.passed, report


REFUSED: dict[str, tuple[str, dict[str, Any]]] = {
    "norm_topk_prob": ("qwen2_moe", {"norm_topk_prob": True}),
    "not mixtures": ("qwen3_moe", {"decoder_sparse_step": 2}),
    "attention_bias": ("gemma2", {"attention_bias": True}),
    "bias": ("falcon", {"bias": True}),
    "alibi": ("falcon", {"alibi": True}),
    "layer_types": (
        "gemma2",
        {"layer_types": ["full_attention", "sliding_attention", "sliding_attention", "full_attention"]},
    ),
    "swiglu_limit": ("gpt_oss", {"swiglu_limit": 5.0}),
    "hidden_act": ("qwen3", {"hidden_act": "gelu"}),
}


@pytest.mark.parametrize("said", REFUSED)
def test_what_llama_cpp_cannot_run_is_refused_with_the_reason(
    said: str, tiny_repo: Callable[..., Path], tmp_path: Path
) -> None:
    family, changes = REFUSED[said]
    with pytest.raises(EngineError, match=said):
        convert(tiny_repo(family, **changes), tmp_path / "made.gguf")
    assert not list(tmp_path.iterdir())


def test_the_same_model_is_made_twice(tiny_repo: Callable[..., Path], tmp_path: Path) -> None:
    for family in ("mistral", "llama3"):
        again = make(family, tmp_path / family)
        first = tiny_repo(family)
        for name in ("model.safetensors", "tokenizer.json", "config.json"):
            assert (again / name).read_bytes() == (first / name).read_bytes()


def test_every_tiny_model_is_under_a_megabyte(tiny_repo: Callable[..., Path]) -> None:
    for family in FAMILIES:
        assert sum(file.stat().st_size for file in tiny_repo(family).iterdir()) < 1_000_000, family
