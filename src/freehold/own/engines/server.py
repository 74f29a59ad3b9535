"""What the adapters of servers share: environment, memory, the smallest request, defaults of the contract."""

import importlib.metadata
import importlib.util
import json
import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

import msgspec

from freehold.errors import EngineError
from freehold.own.engine import (
    EngineSpec,
    Format,
    Host,
    Installed,
    LaunchPlan,
    Lora,
    Missing,
    Probe,
    Progress,
)
from freehold.own.engines import metrics
from freehold.own.engines.defaults import Defaults
from freehold.own.gguf import ModelFile

Task = Literal["generate", "embed", "rerank", "transcribe"]

LOAD_RATE = 50 << 20
"""Bytes a second that the slowest disk worth waiting for delivers."""
START = 600.0
"""Seconds that a GPU engine may take to start besides reading the weights: compiling takes minutes."""
WARM_UP = 120.0
PROCESS = 2 << 30
"""RAM of a Python process with torch and a driver's context."""
OVERHEAD = 2 << 30
"""GPU memory for the driver's context, activations and graphs."""
SLEEP = 120.0
"""Seconds that it may take to move the weights."""

_KEPT = (
    "PATH", "HOME", "USER", "LANG", "TMPDIR", "TZ", "VIRTUAL_ENV", "FREEHOLD_HOME", "LD_LIBRARY_PATH", "LD_PRELOAD",
    "XDG_CACHE_HOME", "HF_HOME", "DYLD_LIBRARY_PATH",
)  # fmt: skip
_KEPT_PREFIXES = (
    "LC_", "PYTHON", "CUDA_", "HIP_", "ROCR_", "ROCM_", "GGML_", "NVIDIA_", "VK_", "OMP_", "GOMP_", "MKL_", "TORCH",
    "TRITON_", "NCCL_", "VLLM_", "SGLANG_", "SGL_", "TRTLLM_", "TLLM_", "MLX_",
)  # fmt: skip
_SECRET = ("KEY", "TOKEN", "SECRET", "PASSWORD", "CREDENTIAL")
OFFLINE = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "DO_NOT_TRACK": "1",
}
"""Weights come from the store: an engine has nothing to look up, and tells nobody that it runs."""


def environment(env: Mapping[str, str]) -> dict[str, str]:
    """Returns what an engine may see of our environment: no provider's key, whatever it is called."""
    return {
        name: value
        for name, value in env.items()
        if (name in _KEPT or name.startswith(_KEPT_PREFIXES)) and not any(word in name for word in _SECRET)
    }


def task_of(model: ModelFile) -> Task:
    """Returns what a model is for, by the name of its class in config.json, or by what its GGUF header says."""
    classes = " ".join(model.metadata.get("architectures", ()))
    if "ForSequenceClassification" in classes or "Reranker" in classes or model.pooling == 4:
        return "rerank"
    if "Whisper" in classes or "ForSpeechSeq2Seq" in classes or "ForCTC" in classes:
        return "transcribe"
    generates = any(word in classes for word in ("ForCausalLM", "ForConditionalGeneration", "LMHeadModel"))
    if classes and not generates and classes.endswith(("Model", "EmbeddingModel", "ForMaskedLM", "Encoder")):
        return "embed"
    return "generate"


def smallest(name: str, task: Task, timeout: float = WARM_UP) -> Probe:
    """Returns the smallest request that makes the model `name` work."""
    bodies: dict[Task, tuple[str, dict[str, Any]]] = {
        "generate": ("/v1/completions", {"prompt": "a", "max_tokens": 1, "temperature": 0}),
        "embed": ("/v1/embeddings", {"input": "a"}),
        "rerank": ("/v1/rerank", {"query": "a", "documents": ["a"]}),
        "transcribe": ("/v1/models", {}),
    }
    path, body = bodies[task]
    if not body:
        return Probe(path, timeout=timeout)
    return Probe(path, msgspec.json.encode({"model": name} | body), timeout=timeout)


def rank_of(lora: Lora) -> int:
    """Returns the rank of a LoRA folder as peft writes it. Raises EngineError when it is none."""
    try:
        config = json.loads((lora.path / "adapter_config.json").read_bytes()[: 1 << 20])
        rank = config["r"]
        if not isinstance(rank, int) or not 0 < rank <= 4096:
            raise ValueError(rank)
    except (OSError, ValueError, KeyError, TypeError):
        raise EngineError(
            f"LoRA {lora.name}: {lora.path} is no folder with an adapter_config.json as peft writes it",
            code="bad_weights",
            retry="no",
            hint="give the folder that holds adapter_config.json and adapter_model.safetensors",
        ) from None
    return rank


def share_of_gpu(need: int, host: Host) -> float | None:
    """Returns the share of a GPU's memory that `need` bytes are, between 5 % and 95 %; None without a known GPU."""
    if not host.gpus:
        return None
    total = min(gpu.total for gpu in host.gpus)
    return round(min(0.95, max(0.05, need / total)), 3) if total else None


class Server(Defaults):
    """The contract's defaults for a foreign server. An adapter says what differs."""

    name = ""
    formats: frozenset[Format] = frozenset({"safetensors"})
    health = Probe("/health")
    facts: Probe | None = None
    metrics: Probe | None = Probe("/metrics")
    counters: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    executable = ""
    package = ""
    install = ""
    able: frozenset[str] = frozenset({"completions", "logprobs"})
    """What it does with every model that generates, besides chat."""
    drains = False
    takes_projector = False

    def probe(self) -> Installed | Missing:
        """By the name of the package in our own environment, else by the executable on the PATH."""
        if self.package and importlib.util.find_spec(self.package) is not None:
            try:
                return Installed(importlib.metadata.version(self.package))
            except importlib.metadata.PackageNotFoundError:
                return Installed("of unknown version")
        found = find(self.executable)
        if found is None:
            return Missing(f"{self.executable} is not installed", self.install)
        return Installed(f"of unknown version ({found})")

    def command(self, spec: EngineSpec) -> str:
        """Returns the path of the executable. Raises EngineError when there is none."""
        found = find(self.executable, dict(spec.env).get("PATH"))
        if found is None:
            raise EngineError(
                f"{self.executable} is not installed", code="engine_missing", retry="no", hint=self.install
            )
        return found

    def weights(self, spec: EngineSpec) -> Path:
        """Returns the path of the weights. Raises EngineError for weights in another format than it takes."""
        if spec.path is None:
            raise self.refuse("needs the weights: give path or pull")
        kind = "gguf" if spec.path.suffix == ".gguf" else "safetensors"
        if kind not in self.formats:
            raise self.refuse(f"does not take {kind}, only {' and '.join(sorted(self.formats))}")
        return spec.path

    def refuse(self, message: str, hint: str | None = None) -> EngineError:
        return EngineError(f"{self.name} {message}", code="engine_refused", retry="no", hint=hint)

    def environment(self, spec: EngineSpec, **more: str) -> dict[str, str]:
        return environment(os.environ) | OFFLINE | more | dict(spec.env)

    def launch(
        self, spec: EngineSpec, model: ModelFile, argv: list[str], env: dict[str, str], api_key: str, **more: Any
    ) -> LaunchPlan:
        """Returns the plan of a server, with the values that most share; `more` replaces them."""
        if spec.projector is not None and not self.takes_projector:
            raise self.refuse("takes no projector file: a vision model's folder holds it already")
        if spec.adapters and self.loras == "none":
            raise self.refuse("takes no LoRA weights besides a model", "use llamacpp, vllm or sglang")
        plan = LaunchPlan(
            argv=[*argv, *spec.args],
            env=env,
            message=b"",
            api_key=api_key,
            memory=PROCESS,
            mapped=0,
            ready_timeout=START + model.size / LOAD_RATE,
            kind="server",
            port=spec.port,
            ready=self.health,
            drains=self.drains,
            hint=f"read its log; the command was: {Path(argv[0]).name} with model {spec.name}",
        )
        return msgspec.structs.replace(plan, **more)

    def gpu_need(self, spec: EngineSpec, model: ModelFile) -> int:
        """Returns bytes on a GPU: weights, cache for all requests, and what comes on top."""
        return spec.memory or model.weights + model.kv_cache(spec.context * spec.parallel) + OVERHEAD

    def called(self, spec: EngineSpec) -> str:
        """Returns the name under which the engine knows the model."""
        return spec.model or spec.name

    def fields(self, spec: EngineSpec, lora: Lora | None = None) -> dict[str, Any]:
        return {"model": lora.name if lora is not None else self.called(spec)}

    def warm_up(self, spec: EngineSpec, model: ModelFile) -> Probe:
        return smallest(self.called(spec), task_of(model))

    def capabilities(self, spec: EngineSpec, model: ModelFile, facts: Mapping[str, Any]) -> list[str]:
        task = task_of(model)
        if task != "generate":
            return {"embed": ["embeddings"], "rerank": ["rerank"], "transcribe": ["transcription"]}[task]
        able = set(self.able)
        if model.template:
            able.add("chat")
        if model.metadata.get("vision"):
            able.add("vision")
        if self.loras != "none":
            able.add(f"lora_{self.loras}")
        return sorted(able)

    def progress(self, body: bytes) -> Progress:
        return metrics.progress(body, self.counters)


def find(executable: str, path: str | None = None) -> str | None:
    """Returns where `executable` is: beside our own Python first, then on `path` or the PATH."""
    beside = Path(sys.executable).parent / executable
    if path is None and beside.is_file() and os.access(beside, os.X_OK):
        return str(beside)
    return shutil.which(executable, path=path)
