"""The adapter for SGLang.

Read in its documentation: https://docs.sglang.io/docs/advanced_features/server_arguments,
https://docs.sglang.io/docs/advanced_features/lora, https://docs.sglang.io/docs/advanced_features/sglang_for_rl (sleep),
https://docs.sglang.io/docs/references/production_metrics; the key in python/sglang/srt/utils (add_api_key_middleware).

- The key has no environment variable; it goes in the file of --config, which nobody else can read. It guards
  everything but /health and /metrics.
- A request chooses LoRA weights by `lora_path`, the name under which they were loaded.
- Releasing memory drops the weights unless --enable-weights-cpu-backup keeps them in RAM: levels 2 and 1.
- Told to end, it finishes running requests.
"""

import json
from collections.abc import Mapping
from typing import Any, ClassVar

import msgspec

from freehold.own.engine import NO_GPUS, EngineSpec, Host, LaunchPlan, Lora, Probe
from freehold.own.engines.adapting import Adapting
from freehold.own.engines.server import OVERHEAD, SLEEP, share_of_gpu, task_of
from freehold.own.gguf import ModelFile


class Sglang(Adapting):
    """See `freehold.own.engine.Adapter`."""

    name = "sglang"
    load_path = "/load_lora_adapter"
    unload_path = "/unload_lora_adapter"
    executable = "sglang"
    package = "sglang"
    install = "pip install sglang (a CUDA machine; https://docs.sglang.io/docs/get-started/install)"
    able = frozenset({"completions", "logprobs", "schema"})
    drains = True
    counters: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "generated": ("sglang:generation_tokens_total",),
        "prompt": ("sglang:prompt_tokens_total",),
        "running": ("sglang:num_running_reqs",),
        "waiting": ("sglang:num_queue_reqs",),
        "cache": ("sglang:token_usage",),
    }

    def plan(self, spec: EngineSpec, model: ModelFile, api_key: str, host: Host = NO_GPUS) -> LaunchPlan:
        path = self.weights(spec)
        need = self.gpu_need(spec, model)
        argv = [self.command(spec), "serve", "--model-path", str(path), "--served-model-name", self.called(spec)]
        argv += ["--host", "127.0.0.1", "--port", "${PORT}", "--enable-metrics", "--config", "${FILES}/sglang.yaml"]
        argv += ["--context-length", str(spec.context), "--max-running-requests", str(spec.parallel)]
        share = share_of_gpu(max(0, need - OVERHEAD), host)
        if share is not None:
            argv += ["--mem-fraction-static", str(share)]
        if spec.remote_code:
            argv.append("--trust-remote-code")
        if task_of(model) in ("embed", "rerank"):
            argv.append("--is-embedding")
        if spec.sleep:
            argv.append("--enable-memory-saver")
        if spec.sleep == 1:
            argv.append("--enable-weights-cpu-backup")
        argv += self._loras(spec)
        files = {"sglang.yaml": msgspec.json.encode({"api-key": api_key})}
        return self.launch(spec, model, argv, self.environment(spec), api_key, gpu_memory=need, files=files)

    def _loras(self, spec: EngineSpec) -> list[str]:
        if not spec.adapters:
            return []
        rank = self.rank(spec)
        paths = [json.dumps({"lora_name": lora.name, "lora_path": str(lora.path)}) for lora in spec.adapters]
        argv = ["--enable-lora", "--max-lora-rank", str(rank), "--max-loras-per-batch", str(len(spec.adapters) + 1)]
        return [*argv, "--lora-target-modules", "all", "--lora-paths", *paths]

    def fields(self, spec: EngineSpec, lora: Lora | None = None) -> dict[str, Any]:
        chosen = {"lora_path": lora.name if lora is not None else None} if spec.adapters or lora else {}
        return {"model": self.called(spec)} | chosen

    def asleep(self, level: int) -> Probe:
        return Probe("/release_memory_occupation", b"{}", timeout=SLEEP)

    def wake(self, spec: EngineSpec, level: int) -> tuple[Probe, ...]:
        awake = (Probe("/resume_memory_occupation", b"{}", timeout=SLEEP),)
        if level != 2:
            return awake
        body = msgspec.json.encode({"model_path": str(spec.path)})
        return (*awake, Probe("/update_weights_from_disk", body, timeout=SLEEP))
