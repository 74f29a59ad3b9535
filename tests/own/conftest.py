"""A tiny random Llama as a GGUF file, the worker that runs it, and a stand-in engine that misbehaves to order."""

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from freehold.own.engine import EngineSpec
from freehold.own.engines.llamacpp import LlamaCpp
from freehold.own.gguf import read_header

TEMPLATE = (
    "{% for m in messages %}<|start|>{{ m.role }}\n{{ m.content }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|start|>assistant\n{% endif %}"
)


def byte_alphabet() -> list[str]:
    """GPT-2's printable stand-ins for the 256 bytes."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    table = {byte: chr(byte) for byte in printable} | {byte: chr(256 + n) for n, byte in enumerate(others)}
    return [table[byte] for byte in range(256)]


def build_gguf(
    path: Path, *, context: int = 512, layers: int = 2, width: int = 64, heads: int = 4, kv_heads: int = 2,
    template: str | None = TEMPLATE, skip: str | None = None,
) -> Path:  # fmt: skip
    """Writes a random Llama of about 90,000 parameters; leaves the tensor `skip` out."""
    gguf = pytest.importorskip("gguf", reason="the gguf package is not installed: pip install 'freehold[own]'")
    import numpy as np

    tokens = ["<|start|>", "<|end|>", *byte_alphabet(), "he", "ll"]
    writer = gguf.GGUFWriter(str(path), "llama")
    writer.add_name("tiny random")
    writer.add_license("apache-2.0")
    writer.add_context_length(context)
    writer.add_embedding_length(width)
    writer.add_block_count(layers)
    writer.add_feed_forward_length(2 * width)
    writer.add_head_count(heads)
    writer.add_head_count_kv(kv_heads)
    writer.add_rope_dimension_count(width // heads)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_file_type(0)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types([gguf.TokenType.CONTROL] * 2 + [gguf.TokenType.NORMAL] * (len(tokens) - 2))
    writer.add_token_merges(["h e", "l l"])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(1)
    writer.add_add_bos_token(False)
    if template:
        writer.add_chat_template(template)
    random = np.random.default_rng(0)
    kv = width // heads * kv_heads
    shapes = {"token_embd": (len(tokens), width), "output_norm": (width,)}
    for layer in range(layers):
        shapes |= {
            f"blk.{layer}.{name}": shape
            for name, shape in {
                "attn_norm": (width,), "ffn_norm": (width,),
                "attn_q": (width, width), "attn_k": (kv, width), "attn_v": (kv, width), "attn_output": (width, width),
                "ffn_gate": (2 * width, width), "ffn_up": (2 * width, width), "ffn_down": (width, 2 * width),
            }.items()
        }  # fmt: skip
    for name, shape in shapes.items():
        if name != skip:
            ones = np.ones(shape, np.float32) if len(shape) == 1 else 0.05 * random.standard_normal(shape)
            writer.add_tensor(f"{name}.weight", ones.astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.fixture(scope="session")
def make_gguf(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    def make(name: str = "made.gguf", **changes: Any) -> Path:
        return build_gguf(tmp_path_factory.mktemp("gguf") / name, **changes)

    return make


@pytest.fixture(scope="session")
def tiny(make_gguf: Callable[..., Path]) -> Path:
    return make_gguf("tiny.gguf")


@pytest.fixture(scope="session")
def tiny_repo(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """`tiny_repo("qwen3", dtype="bfloat16")`: a tiny model as a Hugging Face folder, made once. Only to be read."""
    pytest.importorskip("torch", reason="torch is not installed: pip install 'freehold[reference]'")
    pytest.importorskip("transformers", reason="transformers is not installed: pip install 'freehold[reference]'")
    import tiny_models

    made: dict[str, Path] = {}

    def repo(family: str, **options: Any) -> Path:
        key = json.dumps([family, options], sort_keys=True)
        if key not in made:
            made[key] = tiny_models.make(family, tmp_path_factory.mktemp(family) / family, **options)
        return made[key]

    return repo


@pytest.fixture(scope="session")
def original_says(tiny_repo: Callable[..., Path]) -> Callable[..., Any]:
    """`original_says(folder, questions)`: what transformers answers, in this process, once per folder."""
    from freehold.own.parity.reference import Task, answers

    asked: dict[Path, Any] = {}

    def says(folder: Path, questions: Any) -> Any:
        if folder not in asked:
            asked[folder] = answers(Task(str(folder), questions))
        return asked[folder]

    return says


@pytest.fixture(scope="session")
def engine_needed() -> None:
    pytest.importorskip("xllamacpp", reason="xllamacpp is not installed: pip install 'freehold[own]'")


class Worker(NamedTuple):
    process: "subprocess.Popen[bytes]"
    url: str
    key: str


@pytest.fixture(scope="session")
def start_worker(engine_needed: None) -> Iterator[Callable[..., Worker]]:
    """Starts llama.cpp's worker without a steward. A worker that says no has `url` empty and its words in `key`."""
    started: list[subprocess.Popen[bytes]] = []

    def start(path: Path, **changes: Any) -> Worker:
        spec = EngineSpec("tiny", path, 512, **changes)
        plan = LlamaCpp(drain=10.0).plan(spec, read_header(path), "engine-key-for-tests")
        pipe = subprocess.PIPE
        process = subprocess.Popen(
            plan.argv, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, env=plan.env, start_new_session=True
        )
        started.append(process)
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(plan.message)
        process.stdin.flush()
        words = json.loads(process.stdout.readline())
        return Worker(process, words.get("url", ""), plan.api_key if "url" in words else words["error"])

    yield start
    for process in started:
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                stream.close()
        process.wait(10)


@pytest.fixture(scope="session")
def worker(start_worker: Callable[..., Worker], tiny: Path) -> Worker:
    return start_worker(tiny)


def alive(pid: int) -> bool:
    """Whether a process exists and is not a zombie."""
    try:
        os.kill(pid, 0)
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except (ProcessLookupError, FileNotFoundError):
        return False


@pytest.fixture(scope="session")
def is_alive() -> Callable[[int], bool]:
    return alive
