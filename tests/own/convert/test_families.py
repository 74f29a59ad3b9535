"""Each family, tiny and random, from transformers through the converter into llama.cpp: the same tokens for the same
text, and the same continuation."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from freehold.own.convert.core import convert

pytest.importorskip("torch", reason="torch is not installed: pip install 'freehold[reference]'")
transformers = pytest.importorskip("transformers", reason="transformers is not installed")

TEXTS = (
    "Hello world, this is Freehold.",
    "two  spaces\n\n\tand 1234567 numbers, 3.14",
    "naïve café — Привет 日本語 한국어 🙂👩‍👩‍👧 don't I'LL",
    "def snake_case(CamelCase): {};",
)
STEPS = 20
CASES = (
    ("llama3", {"dtype": "bfloat16", "layout": "hub", "shards": True}),
    ("llama3", {"num_key_value_heads": 4, "attention_bias": True, "mlp_bias": True, "tie_word_embeddings": True}),
    ("llama4", {}),
    ("mistral", {}),
    ("mixtral", {"dtype": "float16"}),
    ("command_r", {}),
    ("command_r", {"use_qk_norm": True, "num_key_value_heads": 2, "num_hidden_layers": 64, "intermediate_size": 32}),
    ("command_r7b", {"layout": "hub"}),
    ("phi3", {"tie_word_embeddings": True}),
    ("phi2", {}),
)


def reference(folder: Path, texts: tuple[str, ...]) -> list[tuple[list[int], list[int]]]:
    """Returns (ids, the greedy continuation) of each text."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        words = transformers.AutoTokenizer.from_pretrained(folder)
        model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
        settings = transformers.GenerationConfig(
            max_new_tokens=STEPS, do_sample=False, eos_token_id=None, pad_token_id=0
        )
        found = []
        with torch.no_grad():
            for text in texts:
                ids = list(words(text)["input_ids"])
                prompt = torch.tensor([ids])
                said = model.generate(prompt, attention_mask=torch.ones_like(prompt), generation_config=settings)
                found.append((ids, said[0, len(ids) :].tolist()))
        return found
    finally:
        torch.set_num_threads(threads)


@pytest.mark.parametrize(("family", "options"), CASES, ids=lambda one: one if isinstance(one, str) else "-".join(one))
def test_a_family_says_the_same_in_llama_cpp(
    family: str,
    options: dict[str, Any],
    tiny_repo: Callable[..., Path],
    engine: Callable[[Path], Any],
    tmp_path: Path,
) -> None:
    folder = tiny_repo(family, **options)
    report = convert(folder, tmp_path / "made.gguf", name=f"{family} tiny", outtype="f32")
    assert report.notes == () or family in ("mistral", "command_r", "command_r7b"), report.notes
    running = engine(tmp_path / "made.gguf")
    texts = TEXTS[:1] if "num_hidden_layers" in options else TEXTS
    for text, (ids, after) in zip(texts, reference(folder, texts), strict=True):
        raw = " " + text if "Metaspace" in (folder / "tokenizer.json").read_text() else text
        assert running.tokens(raw) == ids, text
        said, ended = running.greedy(ids, STEPS)
        assert said == after[: len(said)], text
        assert len(said) == STEPS or ended


def test_longrope_and_partial_rotation(
    tiny_repo: Callable[..., Path], engine: Callable[[Path], Any], tmp_path: Path
) -> None:
    """Phi-3.5 and Phi-4-mini: within the original context the short factors hold, and the scale of attention always."""
    rope = {
        "rope_type": "longrope", "rope_theta": 10000.0, "partial_rotary_factor": 0.5,
        "short_factor": [1.0, 1.3, 1.7, 2.0], "long_factor": [2.0, 3.0, 5.0, 8.0],
        "original_max_position_embeddings": 512,
    }  # fmt: skip
    folder = tiny_repo("phi3", max_position_embeddings=2048, rope_parameters=rope)
    report = convert(folder, tmp_path / "made.gguf")
    assert any("512" in note for note in report.notes)
    running = engine(tmp_path / "made.gguf")
    for text, (ids, after) in zip(TEXTS[:2], reference(folder, TEXTS[:2]), strict=True):
        said, _ = running.greedy(ids, STEPS)
        assert said == after[: len(said)], text
