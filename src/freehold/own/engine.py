"""The adapter contract: how any engine is described, launched, judged and stopped.

An engine runs weights and speaks the OpenAI dialect on loopback. An adapter is data and pure functions about one kind
of engine; it starts nothing and sends nothing itself. The steward drives the life that all engines share:

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
PULLING    no engine yet: its weights are on their way, `error` says from where

`TRANSITIONS` is this picture as a table.

There are three kinds of launch (`LaunchPlan.kind`), and `freehold.own.life` makes one thing of them:

worker   our own child. It reads one JSON message on stdin and says on stdout where it listens.
server   somebody else's server. Its command line is given a free port; it is asked until it is ready.
daemon   a server that runs already and belongs to somebody else. To launch is to have it load the model, to stop is
         to have it unload the model. There is no process to kill.
"""

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal, Protocol

from msgspec import Struct, field

from freehold.own.gguf import ModelFile

Format = Literal["gguf", "safetensors"]
Kind = Literal["worker", "server", "daemon"]
Loras = Literal["none", "static", "runtime"]
"""static: LoRA weights are named at launch, another set is another launch. runtime: they come and go while it runs."""
Capability = Literal[
    "chat", "completions", "embeddings", "rerank", "transcription",
    "tools", "tools_in_words", "schema", "vision", "logprobs", "count", "lora_static", "lora_runtime",
]  # fmt: skip
"""The first five are routes under /v1 (rerank: /v1/rerank, transcription: /v1/audio/transcriptions). `tools_in_words`:
the template knows no tools, so they are told in words (own/tools/). `schema`: an answer can be held to a JSON schema.
`count`: POST /v1/messages/count_tokens answers."""


class State(StrEnum):
    ABSENT = "absent"
    STARTING = "starting"
    WARMING = "warming"
    READY = "ready"
    DRAINING = "draining"
    SLEEPING = "sleeping"
    STOPPED = "stopped"
    FAILED = "failed"
    PULLING = "pulling"


TRANSITIONS: dict[State, frozenset[State]] = {
    State.ABSENT: frozenset({State.STARTING, State.STOPPED}),
    State.STARTING: frozenset({State.WARMING, State.FAILED, State.DRAINING}),
    State.WARMING: frozenset({State.READY, State.FAILED, State.DRAINING}),
    State.READY: frozenset({State.DRAINING, State.SLEEPING, State.FAILED}),
    State.SLEEPING: frozenset({State.WARMING, State.DRAINING, State.FAILED}),
    State.DRAINING: frozenset({State.STOPPED}),
    State.FAILED: frozenset({State.STARTING, State.STOPPED}),
    State.STOPPED: frozenset({State.STARTING}),
    State.PULLING: frozenset(),
}


class Lora(Struct, frozen=True):
    """LoRA weights on a base model, asked for as `own/NAME`. `path` is what the engine takes: a GGUF file for
    llama.cpp, a folder as peft writes it elsewhere."""

    name: str
    path: Path
    scale: float = 1.0


class EngineSpec(Struct, frozen=True):
    """One engine that should run, served as `own/NAME`. Two equal specs mean: nothing to do.

    `path` is a GGUF file or a folder of safetensors; None for an engine that has its model already (`url`).
    `context` is tokens per request; `parallel` requests are decoded together, each with its own context. `threads`
    None lets the adapter choose. `port` 0 lets the operating system choose. `stamp` is (size, mtime in ns) of the file,
    so that a file replaced under the same name is a changed spec.

    `load`: when it is loaded: "start" with the gateway, "demand" when the first request comes, "pinned" with the
    gateway and never evicted. `idle` is the number of seconds without a request after which it is unloaded, or put to
    sleep where `sleep` is a level (1: weights to RAM, 2: weights dropped); None: never. `memory` is the need in bytes
    where the owner declares it. `args` are added to the engine's command line; `command` is the whole of it for the
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
    remote_code: bool = False
    """A person has allowed the engine to run Python code found beside the weights."""
    weights: str = ""
    """Which weights of the store, as `NAME@vN/ARTEFACT`; empty for what lies elsewhere."""


class Probe(Struct, frozen=True):
    """One HTTP request that an engine must answer with a status of 200 to 299; `body` None makes it a GET.

    `loading` are the statuses that mean "not yet" where readiness is waited for.
    """

    path: str
    body: bytes | None = None
    timeout: float = 10.0
    method: str | None = None
    loading: tuple[int, ...] = (503,)


class LaunchPlan(Struct, frozen=True):
    """How to bring one engine to life.

    `argv` and the values of `env` may hold ${PORT}, filled in when the port is chosen (`port` 0 lets us choose), and
    ${FILES}, a private folder that holds `files` as long as the engine lives: text, or a link to a path. `api_key` is
    what requests carry, empty for an engine that knows no keys.

    worker   `message` is written to its stdin, which then stays open: end of file tells it that its parent is gone. It
             answers on stdout with one JSON line, `{"url": ...}` when it listens or `{"error": ...}` when it never
             will.
    server   `ready` is asked until it is answered with 2xx; `setup` is sent once after that. `elsewhere`: the process
             that listens may be no descendant of ours, as with a container.
    daemon   it listens at `origin`. `ready` tells whether it is there, `setup` loads the model, `teardown` unloads it,
             `loaded` is asked every few seconds; its answer, as JSON without spaces, holds `sign` while the model is
             loaded.

    `memory` is the expected need of RAM in bytes, `mapped` the part of it that is the file itself. `gpu_memory` is the
    need in bytes on each of `gpus` GPUs. `ready_timeout` is in seconds. `drains`: told to end, it lets requests finish
    first; one that does not is told only when nobody waits for it any more.
    """

    argv: list[str]
    env: dict[str, str]
    message: bytes
    api_key: str
    memory: int
    mapped: int
    ready_timeout: float
    kind: Kind = "worker"
    port: int = 0
    origin: str = ""
    ready: Probe | None = None
    setup: tuple[Probe, ...] = ()
    teardown: tuple[Probe, ...] = ()
    loaded: Probe | None = None
    sign: bytes = b""
    files: dict[str, bytes | Path] = {}
    inside: bool = False
    """Its working directory is the folder of `files`, for an engine that tells others the path it was given."""
    elsewhere: bool = False
    facts: Probe | None = None
    """Asked instead of the adapter's `facts`, where what to ask depends on the model."""
    hint: str | None = None
    """What a person can do when it does not come up."""
    gpu_memory: int = 0
    gpus: int = 1
    drains: bool = True


class Installed(Struct, frozen=True):
    version: str


class Missing(Struct, frozen=True):
    """`hint` is the command that installs the engine."""

    reason: str
    hint: str


class Gpu(Struct, frozen=True):
    """One GPU. Bytes; `processes` is memory by process id, as far as the driver tells."""

    index: int
    name: str
    total: int
    free: int
    processes: dict[int, int] = field(default_factory=dict)


class Host(Struct, frozen=True):
    """What a plan may depend on besides the model. No GPUs: none, or unknown."""

    gpus: tuple[Gpu, ...] = ()


NO_GPUS = Host()


class Progress(Struct, frozen=True):
    """What an engine says of its work; None where it says nothing.

    `generated` and `prompt` are tokens since it started, `steps` are batches computed since then. `running` and
    `waiting` are requests. `cache` is the used share of the key-value cache, 0 to 1.
    """

    generated: float | None = None
    prompt: float | None = None
    steps: float | None = None
    running: float | None = None
    waiting: float | None = None
    cache: float | None = None

    def moved(self, earlier: "Progress") -> bool:
        """Whether it has worked since `earlier`. Some engines count a request's tokens only when it ends, so that
        False alone is no proof of a standstill."""
        now = (self.generated, self.prompt, self.steps)
        return any(value is not None and value != old for value, old in zip(now, earlier.counts, strict=True))

    @property
    def counts(self) -> tuple[float | None, float | None, float | None]:
        return self.generated, self.prompt, self.steps


class Adapter(Protocol):
    """What the steward must know about one kind of engine. All of it is pure but `probe`, which looks at the disk."""

    name: str
    formats: frozenset[Format]
    """Empty: it takes no weights from us (daemons)."""
    loras: Loras
    sleep_levels: tuple[int, ...]
    health: Probe
    """Liveness: says that somebody listens, never that tokens come."""
    facts: Probe | None
    """Asked once when the engine is warm, unless the plan has a question of its own; the JSON answer goes to
    `capabilities`."""
    metrics: Probe | None
    """Its answer goes to `progress`."""

    def probe(self) -> Installed | Missing:
        """Returns whether the engine is installed, without importing it. May run `ENGINE --version`: some seconds."""

    def plan(self, spec: EngineSpec, model: ModelFile, api_key: str, host: Host = NO_GPUS) -> LaunchPlan:
        """Returns how to launch `spec`. Raises EngineError when it cannot run this model."""

    def warm_up(self, spec: EngineSpec, model: ModelFile) -> Probe:
        """Returns the smallest request that makes this model work: one token, or one embedding. It is also the probe
        that tells a wedged engine from a slow one."""

    def capabilities(self, spec: EngineSpec, model: ModelFile, facts: Mapping[str, Any]) -> list[str]:
        """Returns what this engine does with this model: words of `Capability`, sorted."""

    def fields(self, spec: EngineSpec, lora: Lora | None = None) -> dict[str, Any]:
        """Returns what a request's JSON body must hold for this engine to use the base model, or `lora` on it: the name
        under which the engine knows the model, and whatever chooses the LoRA. It replaces what the client wrote."""

    def progress(self, body: bytes) -> Progress:
        """Returns what an answer to `metrics` says. Never raises; garbage says nothing."""

    def load_lora(self, spec: EngineSpec, lora: Lora) -> Probe | None:
        """Returns the request that loads `lora`; None: only a launch with it in `spec.adapters` can."""

    def unload_lora(self, spec: EngineSpec, lora: Lora) -> Probe | None:
        """Returns the request that forgets `lora`; None as above."""

    def sleep(self, level: int) -> tuple[Probe, ...]:
        """Returns the requests, in order, that put the engine to sleep; none where it has no such level."""

    def wake(self, spec: EngineSpec, level: int) -> tuple[Probe, ...]:
        """Returns the requests that wake it from that level, the last of which returns when it can work again."""


class Published(Struct, omit_defaults=False):
    """One entry of run/engines.json. `since` is Unix time of the last transition; `base_url` ends in /v1.

    `fields` maps each served name (NAME and the names of its LoRAs) to what `Adapter.fields` says for it. `number` is
    that of the life that serves, so that an engine started again is seen to be another. `slots` is how many requests
    are worth sending it at a time from one worker, 0 where it knows better. `load` is when it is loaded. Where it is
    not running: `lasting` says that loading cannot succeed for now, `retry_at` is the Unix time of the next try, and
    `loads_in` the seconds that loading took last.
    """

    state: State
    base_url: str = ""
    api_key: str = ""
    pid: int | None = None
    since: float = 0.0
    context: int | None = None
    capabilities: list[str] = field(default_factory=list)
    error: str | None = None
    engine: str = ""
    fields: dict[str, dict[str, Any]] = field(default_factory=dict)
    number: int = 0
    slots: int = 0
    load: str = "start"
    lasting: bool = False
    retry_at: float | None = None
    loads_in: float = 0.0
