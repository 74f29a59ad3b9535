"""The adapter for TensorRT-LLM's `trtllm-serve`.

Read in its documentation and source: https://nvidia.github.io/TensorRT-LLM/latest/commands/trtllm-serve.html,
tensorrt_llm/commands/serve.py, tensorrt_llm/serve/openai_server.py.

- It knows no keys: loopback is its only guard.
- What has no flag goes in a file of options: statistics, and LoRA weights, which are chosen by a request's
  `lora_request` and cannot be added later.
- /metrics is JSON: a list of the iterations since the last question.
- The memory for its cache is a share of what is free once the weights are loaded.
"""

from typing import Any

import msgspec

from freehold.own.engine import NO_GPUS, EngineSpec, Host, LaunchPlan, Lora, Loras, Progress
from freehold.own.engines.server import OVERHEAD, Server, rank_of
from freehold.own.gguf import ModelFile

MAX_SHARE = 0.9


class TrtLlm(Server):
    """See `freehold.own.engine.Adapter`."""

    name = "trtllm"
    loras: Loras = "static"
    executable = "trtllm-serve"
    package = "tensorrt_llm"
    install = "pip install tensorrt-llm (a CUDA machine; https://nvidia.github.io/TensorRT-LLM/installation/)"
    able = frozenset({"completions", "logprobs", "schema"})

    def plan(self, spec: EngineSpec, model: ModelFile, api_key: str, host: Host = NO_GPUS) -> LaunchPlan:
        path = self.weights(spec)
        options: dict[str, Any] = {"enable_iter_perf_stats": True}
        if spec.adapters:
            for lora in spec.adapters:
                if lora.scale != 1.0:
                    raise self.refuse(f"applies LoRA {lora.name} as it was trained: its scale must be 1")
            options["lora_config"] = {
                "lora_dir": [str(lora.path) for lora in spec.adapters],
                "max_lora_rank": max(rank_of(lora) for lora in spec.adapters),
                "max_loras": len(spec.adapters),
            }
        argv = [self.command(spec), str(path), "--host", "127.0.0.1", "--port", "${PORT}", "--backend", "pytorch"]
        argv += ["--max_seq_len", str(spec.context), "--max_batch_size", str(spec.parallel)]
        argv += ["--extra_llm_api_options", "${FILES}/options.yaml"]
        share = self._cache_share(spec, model, host)
        if share is not None:
            argv += ["--kv_cache_free_gpu_memory_fraction", str(share)]
        if spec.remote_code:
            argv.append("--trust_remote_code")
        files = {"options.yaml": msgspec.json.encode(options)}
        need = self.gpu_need(spec, model)
        return self.launch(spec, model, argv, self.environment(spec), "", gpu_memory=need, files=files)

    def _cache_share(self, spec: EngineSpec, model: ModelFile, host: Host) -> float | None:
        if not host.gpus:
            return None
        left = min(gpu.free for gpu in host.gpus) - model.weights - OVERHEAD // 2
        cache = model.kv_cache(spec.context * spec.parallel)
        return round(min(MAX_SHARE, max(0.01, cache / left)), 3) if left > 0 else MAX_SHARE

    def fields(self, spec: EngineSpec, lora: Lora | None = None) -> dict[str, Any]:
        chosen = {}
        if lora is not None:
            number = [one.name for one in spec.adapters].index(lora.name) + 1
            chosen = {
                "lora_request": {"lora_name": lora.name, "lora_int_id": number, "lora_path": str(lora.path)},
            }
        return {"model": self.called(spec)} | chosen

    def progress(self, body: bytes) -> Progress:
        try:
            iterations = msgspec.json.decode(body)
            last = iterations[-1]
            cache = last.get("kvCacheStats") or {}
            most = cache.get("maxNumBlocks")
            return Progress(
                steps=_number(last.get("iter")),
                running=_number(last.get("numActiveRequests")),
                waiting=_number(last.get("numQueuedRequests")),
                cache=_number(cache.get("usedNumBlocks", 0) / most) if most else None,
            )
        except (msgspec.DecodeError, LookupError, TypeError, AttributeError):
            return Progress()


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
