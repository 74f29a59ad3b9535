"""The adapter for `transformers serve`: the reference that others are measured against, not an engine for load.

Read in transformers 5.23 (cli/serve.py, cli/serving/*.py) and run in our tests:

- It knows no keys: loopback is its only guard.
- Named on the command line, a model is loaded before it listens; another name in a request is a 400, and no name means
  that model. `@` in a path would be taken for a revision, and the path is the `model` of every answer: so it is a link
  with a harmless name in the folder where the engine works.
- Fields unknown to the OpenAI client's types (top_k) are a 422. response_format, tool_choice, logprobs, n, user and
  penalties are accepted and ignored: no schema, no logprobs.
- A stream ends without `data: [DONE]`; its last event bears finish_reason and usage.
- Continuous batching takes most of the machine's memory for its cache (15 GB for a model of 90,000 parameters) unless
  it is told how many blocks: as many as `context` x `parallel` tokens need.
- /health is 503 when the thread that batches has died.
- uvicorn finishes running requests when told to end. There are no metrics and no embeddings.
"""

import importlib.util
from typing import Any

from freehold.own.engine import NO_GPUS, EngineSpec, Host, Installed, LaunchPlan, Lora, Missing, Probe
from freehold.own.engines.server import LOAD_RATE, OVERHEAD, WARM_UP, Server, task_of
from freehold.own.gguf import ModelFile

NEEDS = ("transformers", "torch", "accelerate", "fastapi", "uvicorn", "openai", "pydantic")
BLOCK = 32
"""Tokens in a block of the cache."""
BATCH = 2048
"""Most tokens worked on at a time."""
PROCESS = 700 << 20
"""RAM of Python with torch, measured on Linux without a GPU."""
START = 90.0
"""Seconds to import torch and transformers from a slow disk."""


class Transformers(Server):
    """See `freehold.own.engine.Adapter`."""

    name = "transformers"
    executable = "transformers"
    package = "transformers"
    install = "pip install 'freehold[reference]'"
    metrics: Probe | None = None
    able = frozenset({"completions"})
    drains = True

    def probe(self) -> Installed | Missing:
        for package in NEEDS:
            if importlib.util.find_spec(package) is None:
                return Missing(f"`transformers serve` needs {package}, which is not installed", self.install)
        return super().probe()

    def plan(self, spec: EngineSpec, model: ModelFile, api_key: str, host: Host = NO_GPUS) -> LaunchPlan:
        path = self.weights(spec)
        argv = [self.command(spec), "serve", "model", "--host", "127.0.0.1", "--port", "${PORT}"]
        argv += ["--device", "auto" if host.gpus else "cpu"]
        if task_of(model) == "generate":
            blocks = -(-spec.context // BLOCK) * spec.parallel
            argv += ["--continuous-batching", "--cb-block-size", str(BLOCK), "--cb-num-blocks", str(blocks)]
            argv += ["--cb-max-batch-tokens", str(max(spec.parallel, min(BATCH, spec.context * spec.parallel)))]
        if spec.remote_code:
            argv.append("--trust-remote-code")
        env = self.environment(spec)
        if spec.threads:
            env["OMP_NUM_THREADS"] = str(spec.threads)
        work = model.weights + model.kv_cache(spec.context * spec.parallel)
        return self.launch(
            spec,
            model,
            argv,
            env,
            "",
            memory=(spec.memory or PROCESS + work) if not host.gpus else PROCESS + OVERHEAD,
            gpu_memory=(spec.memory or work + OVERHEAD) if host.gpus else 0,
            ready_timeout=START + model.size / LOAD_RATE,
            files={"model": path},
            inside=True,
        )

    def fields(self, spec: EngineSpec, lora: Lora | None = None) -> dict[str, Any]:
        return {"model": None}

    def warm_up(self, spec: EngineSpec, model: ModelFile) -> Probe:
        """The first request starts the thread that batches."""
        if task_of(model) == "transcribe":
            return self.health
        return Probe("/v1/completions", b'{"prompt":"a","max_tokens":1,"temperature":0}', timeout=WARM_UP)
