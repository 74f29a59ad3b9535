"""The adapter for a running LM Studio, 0.4 or later.

Read in https://lmstudio.ai/docs/developer/rest (GET /api/v1/models with `loaded_instances`, POST /api/v1/models/load,
POST /api/v1/models/unload with `instance_id`) and https://lmstudio.ai/docs/developer/openai-compat. The first instance
of a model bears the model's key as its id. Where the server wants a token, LM_API_TOKEN holds it.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from freehold.own.engine import NO_GPUS, EngineSpec, Host, Installed, LaunchPlan, Missing, Probe
from freehold.own.engines.daemon import LOAD, Daemon, embeds
from freehold.own.engines.server import WARM_UP, find, smallest
from freehold.own.gguf import ModelFile

TOKEN = "LM_API_TOKEN"  # noqa: S105 - the name of a variable


class LmStudio(Daemon):
    """See `freehold.own.engine.Adapter`."""

    name = "lmstudio"
    health = Probe("/api/v1/models")
    facts: Probe | None = Probe("/api/v1/models")
    executable = "lms"
    install = "https://lmstudio.ai/download, then: lms server start"
    url = "http://127.0.0.1:1234"
    drains = False

    def probe(self) -> Installed | Missing:
        """The program may run on another machine: its command-line tool is looked for only."""
        found = find(self.executable)
        return Installed(f"of unknown version ({found})") if found else Missing("lms is not installed", self.install)

    def plan(self, spec: EngineSpec, model: ModelFile, api_key: str, host: Host = NO_GPUS) -> LaunchPlan:
        name = self.called(spec)
        load = {"model": name, "context_length": spec.context}
        return self.attach(
            spec,
            api_key=self.key(spec, TOKEN),
            ready=self.health,
            setup=(Probe("/api/v1/models/load", msgspec.json.encode(load), timeout=LOAD),),
            teardown=(Probe("/api/v1/models/unload", msgspec.json.encode({"instance_id": name}), timeout=60.0),),
            loaded=Probe("/api/v1/models"),
            sign=b'"id":' + msgspec.json.encode(name),
            hint=f"lms server start, and have the model: lms get {name}",
        )

    def warm_up(self, spec: EngineSpec, model: ModelFile) -> Probe:
        name = self.called(spec)
        return smallest(name, "embed" if embeds(name, model) else "generate", WARM_UP)

    def capabilities(self, spec: EngineSpec, model: ModelFile, facts: Mapping[str, Any]) -> list[str]:
        listed = facts.get("models")
        entries = [one for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []
        found = next((one for one in entries if one.get("key") == self.called(spec)), {})
        if found.get("type") == "embedding" or (not found and embeds(self.called(spec), model)):
            return ["embeddings"]
        able = {"chat", "completions", "schema"}
        said = found.get("capabilities")
        if isinstance(said, dict):
            able |= {"vision"} if said.get("vision") else set()
            able |= {"tools"} if said.get("trained_for_tool_use") else set()
        return sorted(able)
