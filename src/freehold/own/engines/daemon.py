"""What the adapters of daemons share: a server that runs already, is found by its URL, and has its own weights."""

import os
from urllib.parse import urlsplit

from freehold.own.engine import EngineSpec, Format, LaunchPlan, Probe
from freehold.own.engines.server import Server
from freehold.own.gguf import ModelFile

LOAD = 600.0
"""Seconds for the daemon to load a model."""


class Daemon(Server):
    """The contract's defaults for a daemon."""

    formats: frozenset[Format] = frozenset()
    metrics: Probe | None = None
    url = ""
    drains = True

    def origin(self, spec: EngineSpec) -> str:
        """Returns `http://HOST:PORT`. Raises EngineError for what is no such URL."""
        parts = urlsplit(spec.url or self.url)
        try:
            valid = parts.scheme in ("http", "https") and bool(parts.hostname) and not parts.username
            _ = parts.port
        except ValueError:
            valid = False
        if not valid or parts.query or parts.path.strip("/"):
            raise self.refuse(f"cannot be reached at {spec.url!r}", f"url: {self.url}")
        return f"{parts.scheme}://{parts.netloc}"

    def attach(
        self,
        spec: EngineSpec,
        *,
        api_key: str,
        ready: Probe,
        setup: tuple[Probe, ...],
        teardown: tuple[Probe, ...],
        loaded: Probe,
        sign: bytes,
        hint: str,
    ) -> LaunchPlan:
        """Returns the plan. Its memory is not ours to count: the daemon evicts as it likes."""
        self._refuse_ours(spec)
        return LaunchPlan(
            argv=[], env={}, message=b"", memory=0, mapped=0, ready_timeout=LOAD, kind="daemon",
            api_key=api_key, origin=self.origin(spec), ready=ready, setup=setup, teardown=teardown, loaded=loaded,
            sign=sign, drains=self.drains, hint=hint,
        )  # fmt: skip

    def _refuse_ours(self, spec: EngineSpec) -> None:
        if spec.path is not None:
            raise self.refuse("has weights of its own", "give model: NAME as it knows it, and no path")
        for what, given in (("LoRA weights", spec.adapters), ("a projector", spec.projector), ("args", spec.args)):
            if given:
                raise self.refuse(f"takes no {what} from us: it decides that itself")

    def key(self, spec: EngineSpec, variable: str) -> str:
        """Returns the key of the daemon: what `env` of the model says, or our own environment."""
        return dict(spec.env).get(variable) or os.environ.get(variable, "")


def embeds(name: str, model: ModelFile) -> bool:
    """Whether a model is for embeddings, by its name: a daemon tells only once it is loaded."""
    return any(word in name.lower() for word in ("embed", "minilm", "bge-", "e5-", "gte-"))
