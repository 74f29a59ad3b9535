"""The adapter for `mlx_lm.server`, for Apple machines.

Read in https://github.com/ml-explore/mlx-lm (mlx_lm/server.py, mlx_lm/SERVER.md):

- It knows no keys: loopback is its only guard.
- A model's name in a request makes it load that model, from the hub if need be; the name `default_model` means the one
  of the command line. So every request gets that name.
- /health answers before the weights are loaded; there are no metrics.
"""

import os
from typing import Any

from freehold.own.engine import NO_GPUS, EngineSpec, Host, LaunchPlan, Lora, Probe
from freehold.own.engines.server import LOAD_RATE, OFFLINE, WARM_UP, Server, environment, smallest
from freehold.own.gguf import ModelFile

DEFAULT = "default_model"
PROCESS = 500 << 20


class Mlx(Server):
    """See `freehold.own.engine.Adapter`."""

    name = "mlx"
    executable = "mlx_lm.server"
    package = "mlx_lm"
    install = "pip install mlx-lm (an Apple machine)"
    metrics: Probe | None = None
    able = frozenset({"completions", "logprobs", "tools"})

    def plan(self, spec: EngineSpec, model: ModelFile, api_key: str, host: Host = NO_GPUS) -> LaunchPlan:
        argv = [self.command(spec), "--model", str(self.weights(spec)), "--host", "127.0.0.1", "--port", "${PORT}"]
        argv += ["--decode-concurrency", str(spec.parallel), "--log-level", "WARNING"]
        if spec.remote_code:
            argv.append("--trust-remote-code")
        env = environment(os.environ) | OFFLINE | dict(spec.env)
        need = spec.memory or PROCESS + model.weights + model.kv_cache(spec.context * spec.parallel)
        return self.launch(spec, model, argv, env, "", memory=need, ready_timeout=60.0 + model.size / LOAD_RATE)

    def fields(self, spec: EngineSpec, lora: Lora | None = None) -> dict[str, Any]:
        return {"model": DEFAULT}

    def warm_up(self, spec: EngineSpec, model: ModelFile) -> Probe:
        return smallest(DEFAULT, "generate", WARM_UP + model.size / LOAD_RATE)
