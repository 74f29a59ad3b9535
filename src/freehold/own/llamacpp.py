"""The adapter for llama.cpp embedded through the `xllamacpp` wheel: no compiler, no separate binary.

It always runs in a child process (llamacpp_worker.py). The wheel has no way to unload a model, and a crash in native
code must not take the gateway along; a child is unloaded by ending it, and its crash is an exit status.

One server does chat, completions and embeddings at once: with `embedding` on and mean pooling, llama.cpp switches
per batch. An embedding input must fit into one batch, hence `batch_of`.
"""

import importlib.metadata
import importlib.util
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from freehold.own.engine import EngineSpec, Installed, LaunchPlan, Missing, Probe
from freehold.own.gguf import ModelFile
from freehold.own.memory import needed

HINT = "pip install 'freehold[own]'"
WORKER = "freehold.own.llamacpp_worker"
MAX_THREADS = 8
BATCH = 512
MAX_BATCH = 2048
LOGITS = 256 << 20
"""Bytes that the output buffer of one batch may take before the batch is made smaller."""
PROMPT_CACHE = 256 << 20
"""Most bytes of old prompts kept to save reading them again."""
PARAMETERS_PER_THREAD = 20_000_000
ADDRESS_SPACE = 3 << 30
"""Thread stacks and allocator arenas that are set aside without being used."""
SPIN = {"GOMP_SPINCOUNT": "1000"}
"""Waiting threads sleep after some microseconds. The default burns a core for milliseconds at each barrier: on two busy
cores, one answer of a 50-million-parameter model took 11 s of CPU instead of 4."""
LOAD_RATE = 50 << 20
"""Bytes a second that the slowest disk worth waiting for delivers."""
WARM_UP = 60.0
"""Seconds for the first token: weights on a slow disk are read now."""
ONLY_EMBED = frozenset(
    {"bert", "nomic-bert", "nomic-bert-moe", "jina-bert-v2", "jina-bert-v3", "modern-bert", "t5encoder"}
)
_KEPT = ("PATH", "HOME", "LANG", "TMPDIR", "TZ", "VIRTUAL_ENV", "FREEHOLD_HOME", "LD_LIBRARY_PATH", "LD_PRELOAD")
_KEPT_PREFIXES = ("LC_", "PYTHON", "CUDA_", "HIP_", "ROCR_", "GGML_", "NVIDIA_", "VK_", "OMP_", "GOMP_")


class WorkerMessage(Struct):
    """What the worker reads from its stdin: everything, the key included, so that no command line shows it."""

    name: str
    path: str
    api_key: str
    context: int
    parallel: int
    threads: int
    batch: int
    gpu_layers: int
    port: int
    prompt_cache_mib: int
    pooling: bool
    """Whether to pool by mean: the file itself names no pooling."""
    drain: float
    """Seconds that running requests may go on after SIGTERM."""
    memory_limit: int
    """Bytes of its own memory past which allocations fail; pages of the file do not count."""


class LlamaCpp:
    """See `freehold.own.engine.Adapter`."""

    name = "llamacpp"
    health = Probe("/health")
    facts = Probe("/props")

    def __init__(self, *, drain: float = 30.0) -> None:
        self._drain = drain

    def probe(self) -> Installed | Missing:
        if importlib.util.find_spec("xllamacpp") is None:
            return Missing("the embedded engine, xllamacpp, is not installed", HINT)
        return Installed(importlib.metadata.version("xllamacpp"))

    def plan(self, spec: EngineSpec, model: ModelFile, api_key: str) -> LaunchPlan:
        batch = batch_of(model, spec.context)
        tokens = spec.context * spec.parallel
        cache = min(PROMPT_CACHE, 2 * model.kv_cache(tokens))
        need = needed(model, tokens, batch, cache)
        message = WorkerMessage(
            name=spec.name,
            path=str(spec.path),
            api_key=api_key,
            context=spec.context,
            parallel=spec.parallel,
            threads=spec.threads or default_threads(model.parameters),
            batch=batch,
            gpu_layers=spec.gpu_layers,
            port=spec.port,
            prompt_cache_mib=max(1, cache >> 20),
            pooling=model.pooling is None,
            drain=self._drain,
            memory_limit=need + need // 4 + ADDRESS_SPACE,
        )
        return LaunchPlan(
            argv=[sys.executable, "-m", WORKER, spec.name],
            env=environment(os.environ),
            message=msgspec.json.encode(message) + b"\n",
            api_key=api_key,
            memory=need,
            mapped=model.weights,
            ready_timeout=30.0 + model.size / LOAD_RATE,
        )

    def warm_up(self, model: ModelFile) -> Probe:
        if model.architecture in ONLY_EMBED:
            return Probe("/v1/embeddings", b'{"input":"a"}', timeout=WARM_UP)
        return Probe("/v1/completions", b'{"prompt":"a","max_tokens":1,"temperature":0}', timeout=WARM_UP)

    def capabilities(self, spec: EngineSpec, model: ModelFile, facts: Mapping[str, Any]) -> list[str]:
        if model.architecture in ONLY_EMBED:
            return ["embeddings", "count"]
        able = ["completions", "embeddings", "schema", "count"]
        if model.template:
            able.append("chat")
            template = facts.get("chat_template_caps")
            if isinstance(template, dict) and template.get("supports_tools"):
                able.append("tools")
        return sorted(able)


def batch_of(model: ModelFile, context: int) -> int:
    """Returns tokens worked on at a time: the whole context if its logits stay small, so that it can be embedded."""
    if model.architecture in ONLY_EMBED:
        return max(BATCH, context)
    affordable = LOGITS // (4 * max(1, model.vocabulary or 1))
    return max(BATCH, min(context, MAX_BATCH, affordable))


def environment(env: Mapping[str, str]) -> dict[str, str]:
    """Returns what an engine may see of our environment: no provider's key, whatever it is called."""
    return SPIN | {name: value for name, value in env.items() if name in _KEPT or name.startswith(_KEPT_PREFIXES)}


def default_threads(parameters: int) -> int:
    """Returns one thread per physical core that this process may use, at most 8, and fewer for a small model.

    A thread waits at a barrier several times per layer. With 2 million parameters on 2 busy cores a second thread made
    an answer 2 to 60 times slower; with 50 million it began to pay.
    """
    usable = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set(range(os.cpu_count() or 1))
    cores = {_core(cpu) for cpu in usable}
    return max(1, min(MAX_THREADS, len(cores), parameters // PARAMETERS_PER_THREAD))


def _core(cpu: int) -> str:
    """Returns something equal for hardware threads of one core."""
    try:
        return Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list").read_text()
    except OSError:
        return str(cpu)
