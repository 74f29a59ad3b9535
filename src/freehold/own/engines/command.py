"""The adapter for any command that ends in a server which speaks the OpenAI dialect, a container for one.

    command: [my-server, --port, "${PORT}", --weights, "${MODEL}", --name, "${NAME}"]
    env: {MY_SERVER_KEY: "${API_KEY}"}

No shell is involved: each word is one argument. ${PORT} must be there, the rest may. A server that is told a key is
asked with it; one that is not stands open to whoever reaches loopback. It is ready when GET /v1/models says so.
"""

import os
import re
from collections.abc import Mapping
from typing import Any

import msgspec

from freehold.own.engine import NO_GPUS, EngineSpec, Host, Installed, LaunchPlan, Missing, Probe
from freehold.own.engines.server import WARM_UP, Server, environment, find, smallest, task_of
from freehold.own.gguf import ModelFile

KNOWN = ("PORT", "MODEL", "NAME", "API_KEY")
_NAME = re.compile(r"\$\{([^}]*)\}")


class Command(Server):
    """See `freehold.own.engine.Adapter`."""

    name = "command"
    formats = frozenset({"gguf", "safetensors"})
    health = Probe("/v1/models", loading=(203, 404, 500, 502, 503))
    metrics: Probe | None = None
    able = frozenset({"completions"})

    def probe(self) -> Installed | Missing:
        return Installed("whatever the command is")

    def plan(self, spec: EngineSpec, model: ModelFile, api_key: str, host: Host = NO_GPUS) -> LaunchPlan:
        words = [*spec.command, *(value for _, value in spec.env)]
        if not spec.command:
            raise self.refuse("needs a command", 'command: [my-server, --port, "${PORT}"]')
        unknown = sorted({name for word in words for name in _NAME.findall(word)} - set(KNOWN))
        if unknown:
            raise self.refuse(f"knows no ${{{unknown[0]}}}", f"one of {', '.join(f'${{{name}}}' for name in KNOWN)}")
        if not any("${PORT}" in word for word in words):
            raise self.refuse("must be told its port", 'write "${PORT}" where the port belongs')
        if find(spec.command[0], dict(spec.env).get("PATH")) is None:
            raise self.refuse(f"{spec.command[0]} is not there, or not executable", "give its whole path")
        values = {"MODEL": str(spec.path or spec.model or ""), "NAME": self.called(spec), "API_KEY": api_key}

        def filled(word: str) -> str:
            return _NAME.sub(lambda found: values.get(found[1], found[0]), word)

        env = environment(os.environ) | {name: filled(value) for name, value in spec.env}
        return self.launch(
            spec,
            model,
            [filled(word) for word in spec.command],
            env,
            api_key if any("${API_KEY}" in word for word in words) else "",
            memory=spec.memory or model.weights,
            gpu_memory=0,
            elsewhere=True,
        )

    def warm_up(self, spec: EngineSpec, model: ModelFile) -> Probe:
        if task_of(model) == "generate":
            body = {"model": self.called(spec), "messages": [{"role": "user", "content": "a"}], "max_tokens": 1}
            return Probe("/v1/chat/completions", msgspec.json.encode(body), timeout=WARM_UP)
        return smallest(self.called(spec), task_of(model))

    def capabilities(self, spec: EngineSpec, model: ModelFile, facts: Mapping[str, Any]) -> list[str]:
        """What it can do besides chat is not known, and chat is what the warm-up has shown."""
        if task_of(model) == "generate":
            return ["chat"]
        return super().capabilities(spec, model, facts)
