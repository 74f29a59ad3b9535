"""The adapter for llama.cpp embedded through the `xllamacpp` wheel: no compiler, no separate binary.

It always runs in a child process (llamacpp_worker.py). The wheel has no way to unload a model, and a crash in native
code must not take the gateway along; a child is unloaded by ending it, and its crash is an exit status.

One server does chat, completions and embeddings at once: with `embedding` on and mean pooling, llama.cpp switches
per batch. An embedding input must fit into one batch, hence `batch_of`. A model that was trained to rank does nothing
else (`kind_of`).

LoRA weights are loaded with the model, at scale 0; a request names those it wants by their place in the list. New ones
need a new start: the weights of the base are in the page cache then. Routes, fields and metrics:
https://github.com/ggml-org/llama.cpp/blob/master/tools/server/README.md
"""

import importlib.metadata
import importlib.util
import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import msgspec
from msgspec import Struct

from freehold.errors import EngineError
from freehold.own.engine import (
    NO_GPUS,
    EngineSpec,
    Format,
    Host,
    Installed,
    LaunchPlan,
    Lora,
    Loras,
    Missing,
    Probe,
    Progress,
)
from freehold.own.engines import metrics
from freehold.own.engines.defaults import Defaults
from freehold.own.engines.server import environment as allowed
from freehold.own.gguf import ModelFile, read_header
from freehold.own.memory import needed
from freehold.own.tools import IN_WORDS

HINT = "pip install 'freehold[own]'"
WORKER = "freehold.own.engines.llamacpp_worker"
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
RANK = 4
"""`pooling_type` of models that rank."""
CAN = {"embed": ["count", "embeddings"], "rerank": ["rerank"]}
COUNTERS: dict[str, tuple[str, ...]] = {
    "generated": ("llamacpp:tokens_predicted_total",),
    "prompt": ("llamacpp:prompt_tokens_total",),
    "steps": ("llamacpp:n_decode_total",),
    "running": ("llamacpp:requests_processing",),
    "waiting": ("llamacpp:requests_deferred",),
}
"""Tokens are added when a request ends; batches as they are computed."""


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
    pooling: Literal["mean", "rank", "own"]
    """By mean where the file itself names no pooling."""
    loras: list[str]
    projector: str | None
    chat_template: str | None
    """Instead of the file's own, where llama.cpp cannot work with that one; see `mended_template`."""
    ends: list[str]
    """Texts that end an answer, where a request names none; see `told_ends`."""
    drain: float
    """Seconds that running requests may go on after SIGTERM."""
    memory_limit: int
    """Bytes of its own memory past which allocations fail; pages of the file do not count."""


_ENDS_WITH_EOS = re.compile(r"\{%-?\s*else\s*-?%\}\s*\{\{-?\s*eos_token\s*-?\}\}\s*\{%-?\s*endif\s*-?%\}\s*$")


def mended_template(template: object) -> str | None:
    """Returns Phi 3's template without its last branch, None for any other: then the file's own is used.

    llama.cpp takes for the start of an answer what a template adds for `add_generation_prompt`. Phi 3's writes the end
    token where it is not asked for, both begin with `<|`, and the rest, `assistant|>`, is no token: JSON schemas and
    forced tools fail. We always ask for an answer, so that branch is never what a model reads.
    """
    if not isinstance(template, str) or not _ENDS_WITH_EOS.search(template):
        return None
    return _ENDS_WITH_EOS.sub("{% endif %}", template)


TOLD_END = "<|END_OF_TURN_TOKEN|>"


def told_ends(template: object) -> list[str]:
    """Returns the end of Command R's turns, nothing for any other template.

    llama.cpp's parser of answers works out from the template that this token is part of an answer's text. So it is
    shown, and then refused behind a JSON answer ("does not match the expected peg-native format"; b11549). As a stop
    sequence it is cut off again.
    """
    return [TOLD_END] if isinstance(template, str) and TOLD_END in template else []


class LlamaCpp(Defaults):
    """See `freehold.own.engine.Adapter`."""

    name = "llamacpp"
    formats: frozenset[Format] = frozenset({"gguf"})
    loras: Loras = "static"
    health = Probe("/health")
    facts: Probe | None = Probe("/props")
    metrics: Probe | None = Probe("/metrics")

    def __init__(self, *, drain: float = 30.0) -> None:
        self._drain = drain

    def probe(self) -> Installed | Missing:
        if importlib.util.find_spec("xllamacpp") is None:
            return Missing("the embedded engine, xllamacpp, is not installed", HINT)
        return Installed(importlib.metadata.version("xllamacpp"))

    def plan(self, spec: EngineSpec, model: ModelFile, api_key: str, host: Host = NO_GPUS) -> LaunchPlan:
        if spec.path is None or spec.path.is_dir():
            raise _refused(f"{spec.name} is no GGUF file", "convert it: freehold pull does, or choose another engine")
        check_loras(spec, model)
        batch = batch_of(model, spec.context)
        tokens = spec.context * spec.parallel
        cache = min(PROMPT_CACHE, 2 * model.kv_cache(tokens))
        need = needed(model, tokens, batch, cache + beside(spec))
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
            pooling="rank" if kind_of(model) == "rerank" else "mean" if model.pooling is None else "own",
            loras=[str(lora.path) for lora in spec.adapters],
            projector=str(spec.projector) if spec.projector else None,
            chat_template=mended_template(model.metadata.get("tokenizer.chat_template")),
            ends=told_ends(model.metadata.get("tokenizer.chat_template")),
            drain=self._drain,
            memory_limit=need + need // 4 + ADDRESS_SPACE,
        )
        return LaunchPlan(
            argv=[sys.executable, "-m", WORKER, spec.name],
            env=environment(os.environ) | dict(spec.env),
            message=msgspec.json.encode(message) + b"\n",
            api_key=api_key,
            memory=spec.memory or need,
            mapped=model.weights,
            gpu_memory=gpu_share(spec, model),
            ready_timeout=30.0 + model.size / LOAD_RATE,
        )

    def warm_up(self, spec: EngineSpec, model: ModelFile) -> Probe:
        return warm_up(spec, model)

    def fields(self, spec: EngineSpec, lora: Lora | None = None) -> dict[str, Any]:
        return fields(spec, lora)

    def capabilities(self, spec: EngineSpec, model: ModelFile, facts: Mapping[str, Any]) -> list[str]:
        return capabilities(spec, model, facts)

    def progress(self, body: bytes) -> Progress:
        return metrics.progress(body, COUNTERS)


# what the HTTP surface of llama.cpp has in common, in our worker and in llama-server


def kind_of(model: ModelFile) -> Literal["generate", "embed", "rerank"]:
    """Returns what a model is for: ranking where its pooling says so, else by its architecture."""
    if model.pooling == RANK:
        return "rerank"
    return "embed" if model.architecture in ONLY_EMBED else "generate"


def warm_up(spec: EngineSpec, model: ModelFile) -> Probe:
    kind = kind_of(model)
    if kind == "rerank":
        return Probe("/v1/rerank", b'{"query":"a","documents":["a"]}', timeout=WARM_UP)
    if kind == "embed":
        return Probe("/v1/embeddings", b'{"input":"a"}', timeout=WARM_UP)
    return Probe("/v1/completions", b'{"prompt":"a","max_tokens":1,"temperature":0}', timeout=WARM_UP)


def fields(spec: EngineSpec, lora: Lora | None) -> dict[str, Any]:
    """Names every LoRA with its scale, 0 for those that are off.

    An empty list would also turn them off, and keep the cache: a prompt that was read with LoRA weights would be
    answered without them from what those weights made of it (seen with xllamacpp 2026.10.11549).
    """
    if not spec.adapters:
        return {"model": spec.name}
    wanted = lora.name if lora is not None else None
    scales = [lora.scale if lora is not None and one.name == wanted else 0.0 for one in spec.adapters]
    return {"model": spec.name, "lora": [{"id": number, "scale": scale} for number, scale in enumerate(scales)]}


def capabilities(spec: EngineSpec, model: ModelFile, facts: Mapping[str, Any]) -> list[str]:
    """By the server's own word on modalities and its template, where it gives one."""
    kind = kind_of(model)
    if kind != "generate":
        return CAN[kind]
    able = {"completions", "count", "embeddings", "logprobs", "lora_static", "schema"}
    if model.template:
        able |= {"chat", "tools"}
        template = facts.get("chat_template_caps")
        if not (isinstance(template, dict) and template.get("supports_tools")):
            able.add(IN_WORDS)
        modalities = facts.get("modalities")
        if isinstance(modalities, dict) and spec.projector:
            able |= {"vision"} if modalities.get("vision") else set()
            able |= {"transcription"} if modalities.get("audio") else set()
    return sorted(able)


def check_loras(spec: EngineSpec, model: ModelFile) -> None:
    """Raises EngineError for LoRA weights of another architecture, and for a file that holds none."""
    for lora in spec.adapters:
        try:
            header = read_header(lora.path)
        except OSError as error:
            raise _refused(f"LoRA {lora.name}: {lora.path}: {error.strerror}", "check its path") from error
        if header.metadata.get("general.type") != "adapter" or header.metadata.get("adapter.type") != "lora":
            raise _refused(f"LoRA {lora.name}: {lora.path.name} holds no LoRA weights", "give a LoRA in GGUF")
        if header.architecture != model.architecture:
            raise _refused(
                f"LoRA {lora.name} is for {header.architecture}, the model is {model.architecture}",
                "give weights that were trained on this model",
            )


def beside(spec: EngineSpec) -> int:
    """Returns bytes of what is loaded besides the model."""
    files = [lora.path for lora in spec.adapters] + ([spec.projector] if spec.projector else [])
    return sum(file.stat().st_size for file in files if file.is_file())


def gpu_share(spec: EngineSpec, model: ModelFile) -> int:
    """Returns bytes on the GPU for the layers that go there, with their part of the cache."""
    if not spec.gpu_layers:
        return 0
    layers = (model.layers or spec.gpu_layers) + 1
    whole = model.weights + model.kv_cache(spec.context * spec.parallel)
    return whole * min(spec.gpu_layers, layers) // layers


def _refused(message: str, hint: str) -> EngineError:
    return EngineError(message, code="engine_refused", retry="no", hint=hint)


def batch_of(model: ModelFile, context: int) -> int:
    """Returns tokens worked on at a time: the whole context if its logits stay small, so that it can be embedded."""
    if kind_of(model) != "generate":
        return max(BATCH, context)
    affordable = LOGITS // (4 * max(1, model.vocabulary or 1))
    return max(BATCH, min(context, MAX_BATCH, affordable))


def environment(env: Mapping[str, str]) -> dict[str, str]:
    """Returns what the worker may see of our environment."""
    return SPIN | allowed(env)


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
