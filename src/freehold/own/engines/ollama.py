"""The adapter for a running Ollama.

Read in https://docs.ollama.com/api (generate: a request without a prompt loads, `keep_alive` 0 unloads, -1 keeps;
ps; show) and https://docs.ollama.com/api/openai-compatibility. A request on the OpenAI routes carries no keep_alive
and leaves that of the load in force (server/sched.go, useLoadedRunner). It carries no context length either, so it gets
the daemon's own (the model's num_ctx, or OLLAMA_CONTEXT_LENGTH): a load with another would be undone by the next
request, which is why `context` is not passed on.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from freehold.own.engine import NO_GPUS, EngineSpec, Host, Installed, LaunchPlan, Missing, Probe
from freehold.own.engines.daemon import LOAD, Daemon, embeds
from freehold.own.engines.server import WARM_UP, find, smallest
from freehold.own.gguf import ModelFile

_CAPABILITIES = {"completion": ("chat", "completions", "schema"), "tools": ("tools",), "vision": ("vision",)}


class Ollama(Daemon):
    """See `freehold.own.engine.Adapter`."""

    name = "ollama"
    health = Probe("/api/version")
    executable = "ollama"
    install = "https://ollama.com/download, then: ollama serve"
    url = "http://127.0.0.1:11434"

    def probe(self) -> Installed | Missing:
        """A daemon may run in a container or on another machine, so the binary proves little: it is looked for only."""
        found = find(self.executable)
        return Installed(f"of unknown version ({found})") if found else Missing("ollama is not installed", self.install)

    def called(self, spec: EngineSpec) -> str:
        """The name as Ollama lists it: with its tag."""
        name = spec.model or spec.name
        return name if ":" in name.rpartition("/")[2] else f"{name}:latest"

    def plan(self, spec: EngineSpec, model: ModelFile, api_key: str, host: Host = NO_GPUS) -> LaunchPlan:
        name = self.called(spec)
        path = "/api/embed" if embeds(name, model) else "/api/generate"
        empty: dict[str, Any] = {"input": []} if path == "/api/embed" else {}
        load = {"model": name, "keep_alive": -1, "stream": False} | empty
        plan = self.attach(
            spec,
            api_key="",
            ready=self.health,
            setup=(Probe(path, msgspec.json.encode(load), timeout=LOAD),),
            teardown=(Probe(path, msgspec.json.encode({"model": name, "keep_alive": 0, "stream": False} | empty)),),
            loaded=Probe("/api/ps"),
            sign=b'"model":' + msgspec.json.encode(name),
            hint=f"ollama serve must run, and know the model: ollama pull {name}",
        )
        return msgspec.structs.replace(plan, facts=Probe("/api/show", msgspec.json.encode({"model": name})))

    def warm_up(self, spec: EngineSpec, model: ModelFile) -> Probe:
        name = self.called(spec)
        return smallest(name, "embed" if embeds(name, model) else "generate", WARM_UP)

    def capabilities(self, spec: EngineSpec, model: ModelFile, facts: Mapping[str, Any]) -> list[str]:
        """By `facts`, an answer to /api/show, where there is one; else what the kind of model always can."""
        said = facts.get("capabilities")
        if isinstance(said, list):
            able = {one for word in said if isinstance(word, str) for one in _CAPABILITIES.get(word, ())}
            return sorted(able | ({"embeddings"} if "embedding" in said else set()))
        if embeds(self.called(spec), model):
            return ["embeddings"]
        return ["chat", "completions", "schema"]
