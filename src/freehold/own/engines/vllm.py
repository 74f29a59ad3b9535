"""The adapter for vLLM.

Read in its documentation and source: `vllm serve --help` (vllm/entrypoints/openai/cli_args.py),
https://docs.vllm.ai/en/latest/features/lora/, https://docs.vllm.ai/en/latest/features/sleep_mode/,
https://docs.vllm.ai/en/latest/usage/metrics/, https://docs.vllm.ai/en/latest/usage/security/.

- The key guards /v1 only. Sleeping, waking and metrics are open to whoever reaches loopback; the routes for sleeping
  come with others that run methods by name, so they are switched on (VLLM_SERVER_DEV_MODE) only where `sleep` is asked.
- LoRA weights can be loaded while it runs only where it was started for LoRA, with a rank at least theirs.
- Its /health answers 200 while the engine hangs (issues 36960, 39863): health is judged by tokens.
- Told to end, it cuts running requests.
- Tools need a parser named at launch; it is chosen for families whose parser is known.
"""

import json
from collections.abc import Mapping
from typing import Any, ClassVar

from freehold.own.engine import NO_GPUS, EngineSpec, Host, LaunchPlan, Probe
from freehold.own.engines.adapting import Adapting
from freehold.own.engines.server import SLEEP, share_of_gpu, task_of
from freehold.own.gguf import ModelFile

RANKS = (8, 16, 32, 64, 128, 256, 320, 512)
"""Values that --max-lora-rank takes."""
PARSERS = {
    "llama": "llama3_json",
    "qwen2": "hermes",
    "qwen3": "hermes",
    "mistral": "mistral",
    "mixtral": "mistral",
    "deepseek_v3": "deepseek_v3",
    "gpt_oss": "openai",
}
"""By model_type. https://docs.vllm.ai/en/latest/features/tool_calling/"""


class Vllm(Adapting):
    """See `freehold.own.engine.Adapter`."""

    name = "vllm"
    load_path = "/v1/load_lora_adapter"
    unload_path = "/v1/unload_lora_adapter"
    executable = "vllm"
    package = "vllm"
    install = "pip install vllm (a CUDA machine; https://docs.vllm.ai/en/latest/getting_started/installation/)"
    able = frozenset({"completions", "logprobs", "schema"})
    counters: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "generated": ("vllm:generation_tokens_total",),
        "prompt": ("vllm:prompt_tokens_total",),
        "running": ("vllm:num_requests_running",),
        "waiting": ("vllm:num_requests_waiting",),
        "cache": ("vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc"),
    }

    def plan(self, spec: EngineSpec, model: ModelFile, api_key: str, host: Host = NO_GPUS) -> LaunchPlan:
        path = self.weights(spec)
        need = self.gpu_need(spec, model)
        argv = [self.command(spec), "serve", str(path), "--served-model-name", self.called(spec)]
        argv += ["--host", "127.0.0.1", "--port", "${PORT}", "--disable-uvicorn-access-log"]
        argv += ["--max-model-len", str(spec.context), "--max-num-seqs", str(spec.parallel)]
        share = share_of_gpu(need, host)
        if share is not None:
            argv += ["--gpu-memory-utilization", str(share)]
        if spec.remote_code:
            argv.append("--trust-remote-code")
        if self._parser(model) and "--tool-call-parser" not in spec.args:
            argv += ["--enable-auto-tool-choice", "--tool-call-parser", PARSERS[model.architecture]]
        argv += self._loras(spec)
        env = self.environment(spec, VLLM_API_KEY=api_key, VLLM_NO_USAGE_STATS="1")
        if spec.adapters:
            env["VLLM_ALLOW_RUNTIME_LORA_UPDATING"] = "True"
        if spec.sleep:
            argv.append("--enable-sleep-mode")
            env["VLLM_SERVER_DEV_MODE"] = "1"
        return self.launch(spec, model, argv, env, api_key, gpu_memory=need)

    def _loras(self, spec: EngineSpec) -> list[str]:
        if not spec.adapters:
            return []
        rank = self.rank(spec)
        fitting = next((one for one in RANKS if one >= rank), None)
        if fitting is None:
            raise self.refuse(f"takes LoRA weights up to rank {RANKS[-1]}, not {rank}")
        modules = [json.dumps({"name": lora.name, "path": str(lora.path)}) for lora in spec.adapters]
        most = str(len(spec.adapters))
        return ["--enable-lora", "--max-loras", most, "--max-lora-rank", str(fitting), "--lora-modules", *modules]

    def _parser(self, model: ModelFile) -> str | None:
        return PARSERS.get(model.architecture) if model.template and task_of(model) == "generate" else None

    def capabilities(self, spec: EngineSpec, model: ModelFile, facts: Mapping[str, Any]) -> list[str]:
        able = set(super().capabilities(spec, model, facts))
        if "chat" in able and (self._parser(model) or "--enable-auto-tool-choice" in spec.args):
            able.add("tools")
        if not spec.adapters:
            able.discard("lora_runtime")
        return sorted(able)

    def asleep(self, level: int) -> Probe:
        return Probe(f"/sleep?level={level}", b"", timeout=SLEEP)

    def wake(self, spec: EngineSpec, level: int) -> tuple[Probe, ...]:
        """From level 2 the weights are read again, in place, before the cache is taken."""
        if level != 2:
            return (Probe("/wake_up", b"", timeout=SLEEP),)
        return (
            Probe("/wake_up?tags=weights", b"", timeout=SLEEP),
            Probe("/collective_rpc", b'{"method":"reload_weights"}', timeout=SLEEP),
            Probe("/wake_up?tags=kv_cache", b"", timeout=SLEEP),
        )
