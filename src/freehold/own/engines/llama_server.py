"""The adapter for `llama-server`, llama.cpp's own binary: for GPUs that the wheel was not built for.

Flags and routes: https://github.com/ggml-org/llama.cpp/blob/master/tools/server/README.md. The HTTP surface is that of
our worker, so fields, metrics and capabilities are taken from its adapter. The key goes by LLAMA_API_KEY, because a
command line can be read by every user of the machine.
"""

import os
from collections.abc import Mapping
from typing import Any, ClassVar

from freehold.own.engine import NO_GPUS, EngineSpec, Host, LaunchPlan, Lora, Loras, Probe
from freehold.own.engines import llamacpp
from freehold.own.engines.server import LOAD_RATE, Server, environment
from freehold.own.gguf import ModelFile
from freehold.own.memory import needed


class LlamaServer(Server):
    """See `freehold.own.engine.Adapter`."""

    name = "llama-server"
    formats = frozenset({"gguf"})
    loras: Loras = "static"
    facts: Probe | None = Probe("/props")
    counters: ClassVar[Mapping[str, tuple[str, ...]]] = llamacpp.COUNTERS
    executable = "llama-server"
    install = "install llama.cpp (brew install llama.cpp, winget install llama.cpp, or its release page)"
    takes_projector = True

    def plan(self, spec: EngineSpec, model: ModelFile, api_key: str, host: Host = NO_GPUS) -> LaunchPlan:
        path = self.weights(spec)
        llamacpp.check_loras(spec, model)
        kind = llamacpp.kind_of(model)
        tokens, batch = spec.context * spec.parallel, llamacpp.batch_of(model, spec.context)
        argv = [self.command(spec), "--model", str(path), "--alias", spec.name]
        argv += ["--host", "127.0.0.1", "--port", "${PORT}", "--metrics", "--jinja", "--sse-ping-interval", "-1"]
        argv += ["--ctx-size", str(tokens), "--parallel", str(spec.parallel), "--n-gpu-layers", str(spec.gpu_layers)]
        argv += ["--batch-size", str(batch), "--ubatch-size", str(batch)]
        if spec.threads:
            argv += ["--threads", str(spec.threads)]
        if kind == "embed":
            argv.append("--embeddings")
        elif kind == "rerank":
            argv.append("--reranking")
        for end in llamacpp.told_ends(model.metadata.get("tokenizer.chat_template")):
            argv += ["--reverse-prompt", end]
        for lora in spec.adapters:
            argv += ["--lora", str(lora.path)]
        if spec.adapters:
            argv.append("--lora-init-without-apply")
        if spec.projector:
            argv += ["--mmproj", str(spec.projector)]
        gpu = llamacpp.gpu_share(spec, model)
        return self.launch(
            spec,
            model,
            argv,
            environment(os.environ) | {"LLAMA_API_KEY": api_key} | dict(spec.env),
            api_key,
            memory=spec.memory or needed(model, tokens, batch, llamacpp.beside(spec)),
            mapped=model.weights,
            gpu_memory=gpu,
            ready_timeout=30.0 + model.size / LOAD_RATE,
        )

    def warm_up(self, spec: EngineSpec, model: ModelFile) -> Probe:
        return llamacpp.warm_up(spec, model)

    def fields(self, spec: EngineSpec, lora: Lora | None = None) -> dict[str, Any]:
        return llamacpp.fields(spec, lora)

    def capabilities(self, spec: EngineSpec, model: ModelFile, facts: Mapping[str, Any]) -> list[str]:
        able = llamacpp.capabilities(spec, model, facts)
        generates = llamacpp.kind_of(model) == "generate"
        return [one for one in able if not (generates and one == "embeddings")]
