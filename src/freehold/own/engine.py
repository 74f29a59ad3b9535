"""The adapter contract: how any engine is described, launched, judged and stopped.

An engine runs weights and speaks the OpenAI dialect on loopback. An adapter is data and pure functions about one kind
of engine; it starts nothing itself. The steward drives the life that all engines share:

    ABSENT ──> STARTING ──> WARMING ──> READY ──> DRAINING ──> STOPPED
                  │            │          │
                  │            │          ├──> SLEEPING ──> WARMING
                  └────────────┴──────────┴──> FAILED ──> STARTING (after a pause)

STARTING   the process runs, weights load
WARMING    it listens; a one-token answer must come before anybody else may ask
READY      it has answered
DRAINING   no new requests; those running may end
SLEEPING   the process lives, its memory is given back; waking is faster than loading
FAILED     it ended or never came up; `error` says why and whether it will be tried again

`TRANSITIONS` is this picture as a table.
"""

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol

from msgspec import Struct, field

from freehold.own.gguf import ModelFile


class State(StrEnum):
    ABSENT = "absent"
    STARTING = "starting"
    WARMING = "warming"
    READY = "ready"
    DRAINING = "draining"
    SLEEPING = "sleeping"
    STOPPED = "stopped"
    FAILED = "failed"


TRANSITIONS: dict[State, frozenset[State]] = {
    State.ABSENT: frozenset({State.STARTING, State.STOPPED}),
    State.STARTING: frozenset({State.WARMING, State.FAILED, State.DRAINING}),
    State.WARMING: frozenset({State.READY, State.FAILED, State.DRAINING}),
    State.READY: frozenset({State.DRAINING, State.SLEEPING, State.FAILED}),
    State.SLEEPING: frozenset({State.WARMING, State.DRAINING, State.FAILED}),
    State.DRAINING: frozenset({State.STOPPED}),
    State.FAILED: frozenset({State.STARTING, State.STOPPED}),
    State.STOPPED: frozenset({State.STARTING}),
}


class Lora(Struct, frozen=True):
    """LoRA weights on a base model, asked for as `own/NAME`. `path` is what the engine takes: a GGUF file for llama.cpp,
    a folder as peft writes it elsewhere."""

    name: str
    path: Path
    scale: float = 1.0


class EngineSpec(Struct, frozen=True):
    """One engine that should run, served as `own/NAME`. Two equal specs mean: nothing to do.

    `path` is a GGUF file or a folder of safetensors; None for an engine that has its model already (`url`).
    `context` is tokens per request; `parallel` requests are decoded together, each with its own context. `threads`
    None lets the adapter choose. `port` 0 lets the operating system choose. `stamp` is (size, mtime in ns) of the file,
    so that a file replaced under the same name is a changed spec.

    `load`: when it is loaded: "start" with the gateway, "demand" when the first request comes, "pinned" with the gateway
    and never evicted. `idle` is the number of seconds without a request after which it is unloaded, or put to sleep
    where `sleep` is a level (1: weights to RAM, 2: weights dropped); None: never. `memory` is the need in bytes where
    the owner declares it. `args` are added to the engine's command line; `command` is the whole of it for the
    `command` engine, with ${PORT}, ${MODEL}, ${NAME} and ${API_KEY} filled in.
    """

    name: str
    path: Path | None
    context: int
    parallel: int = 4
    threads: int | None = None
    gpu_layers: int = 0
    port: int = 0
    stamp: tuple[int, int] = (0, 0)
    engine: str = "llamacpp"
    load: str = "start"
    idle: float | None = None
    sleep: int | None = None
    memory: int | None = None
    projector: Path | None = None
    adapters: tuple[Lora, ...] = ()
    args: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    env: tuple[tuple[str, str], ...] = ()
    url: str | None = None
    model: str | None = None
    """What the engine calls the model, where that is not `name`."""


class LaunchPlan(Struct, frozen=True):
    """How to start one process.

    `message` is written to its stdin, which then stays open: end of file tells it that its parent is gone. It answers
    on stdout with one JSON line, `{"url": ...}` when it listens or `{"error": ...}` when it never will. `memory` is
    the expected need in bytes, `mapped` the part of it that is the file itself; `ready_timeout` is in seconds.
    """

    argv: list[str]
    env: dict[str, str]
    message: bytes
    api_key: str
    memory: int
    mapped: int
    ready_timeout: float


class Installed(Struct, frozen=True):
    version: str


class Missing(Struct, frozen=True):
    """`hint` is the command that installs the engine."""

    reason: str
    hint: str


class Probe(Struct, frozen=True):
    """One HTTP request that an engine must answer with 200; `body` None makes it a GET."""

    path: str
    body: bytes | None = None
    timeout: float = 10.0


class Adapter(Protocol):
    """What the steward must know about one kind of engine."""

    name: str
    health: Probe
    facts: Probe
    """Asked once when the engine is warm; the JSON answer goes to `capabilities`."""

    def probe(self) -> Installed | Missing:
        """Returns whether the engine is installed, without importing it."""

    def plan(self, spec: EngineSpec, model: ModelFile, api_key: str) -> LaunchPlan:
        """Returns how to launch `spec`. Raises EngineError when it cannot run this model."""

    def warm_up(self, model: ModelFile) -> Probe:
        """Returns the smallest request that makes this model work: one token, or one embedding."""

    def capabilities(self, spec: EngineSpec, model: ModelFile, facts: Mapping[str, Any]) -> list[str]:
        """Returns what this engine does with this model: chat, completions, embeddings, tools, schema, count."""


class Published(Struct, omit_defaults=False):
    """One entry of run/engines.json. `since` is Unix time of the last transition; `base_url` ends in /v1."""

    state: State
    base_url: str = ""
    api_key: str = ""
    pid: int | None = None
    since: float = 0.0
    context: int | None = None
    capabilities: list[str] = field(default_factory=list)
    error: str | None = None
