"""One function for all targets, and what comes out of it."""

from collections.abc import Callable
from importlib import import_module
from typing import Any

from msgspec import Struct, field

from freehold.own.render.deployment import Deployment

TARGETS: dict[str, str] = {
    "ray-serve": "freehold.own.render.ray_serve",
    "kserve": "freehold.own.render.kserve",
    "k8s": "freehold.own.render.k8s",
    "skypilot": "freehold.own.render.skypilot",
}
"""Target: the module whose `write` makes its text."""


class Options(Struct, frozen=True):
    """`storage` is a storage class, `accelerator` a GPU type as the target names it (`L4`, `H100`). `host` is where
    Ray's proxies listen. `llm` asks KServe for an LLMInferenceService."""

    namespace: str = "default"
    replicas: int = 1
    image: str | None = None
    storage: str | None = None
    accelerator: str | None = None
    host: str = "127.0.0.1"
    llm: bool = False


class Rendered(Struct, frozen=True):
    """`text` is what to apply, `notes` what to do before or to know, each a line or a command. `provider` is the entry
    under `providers:` by which this gateway uses the endpoint, `model` its name there."""

    text: str
    notes: list[str]
    provider: dict[str, dict[str, Any]]
    model: str
    extra: list[str] = field(default_factory=list)
    """Names of further models at the endpoint: adapters."""

    @property
    def config(self) -> dict[str, Any]:
        """Returns what to add to freehold.yaml."""
        return {"providers": self.provider}

    @property
    def deployments(self) -> list[str]:
        """Returns the names by which a client can ask for it: `provider/model`."""
        name = next(iter(self.provider))
        return [f"{name}/{model}" for model in (self.model, *self.extra)]


def render(target: str, deployment: Deployment, options: Options) -> Rendered:
    """Returns a deployment in the words of `target`, a key of TARGETS.

    Raises EngineError for what that target cannot do with this deployment.
    """
    write: Callable[[Deployment, Options], Rendered] = import_module(TARGETS[target]).write
    return write(deployment, options)


def provider(
    deployment: Deployment, suffix: str, base_url: str, *, key: bool, timeouts: dict[str, float] | None = None
) -> dict[str, dict[str, Any]]:
    """Returns the entry under `providers:` for an endpoint. It is owned: what may stay at home may go there."""
    facts = {"context": deployment.context}
    entry: dict[str, Any] = {"base_url": base_url, "dialect": "chat", "owned": True}
    if key:
        entry["api_key"] = f"${{{key_variable(deployment)}}}"
    if timeouts:
        entry["timeouts"] = timeouts
    entry["models"] = dict.fromkeys((deployment.name, *(one.name for one in deployment.adapters)), facts)
    return {f"{deployment.slug}-{suffix}": entry}


def key_variable(deployment: Deployment) -> str:
    """The environment variable in which this gateway finds the endpoint's key."""
    return deployment.slug.upper().replace("-", "_") + "_KEY"
