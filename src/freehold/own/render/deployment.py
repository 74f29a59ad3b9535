"""What is to run elsewhere, resolved: the entry of the configuration, the pinned weights of the store, the need."""

import re
from itertools import pairwise
from pathlib import Path

from msgspec import Struct, field

from freehold.config.checks_own import own_name, pulled_name
from freehold.config.load import Loaded
from freehold.config.schema import Owned
from freehold.config.sizes import parse_size
from freehold.errors import ConfigError, EngineError, redact
from freehold.own.gguf import read_header
from freehold.own.memory import needed
from freehold.own.render.weights import Weights, from_disk, from_store, on_volume
from freehold.own.stock import asked
from freehold.own.weights.store import Store, split_name
from freehold.own.weights.types import Format, shown

DEFAULT_CONTEXT = 8192
FORMATS: dict[str, Format] = {
    "llamacpp": "gguf",
    "llama-server": "gguf",
    "vllm": "safetensors",
    "sglang": "safetensors",
    "transformers": "safetensors",
}
"""Engines that can be written for other machines, and what they read. Embedded llama.cpp becomes llama-server there."""
ON_GPU = frozenset({"vllm", "sglang"})
HOST_MEMORY = 6 << 30
"""RAM of an engine on a GPU besides its weights, which pass through the page cache while they load."""
BATCH = 2048
PROMPT_CACHE = 256 << 20
"""RAM for old prompts; llama-server takes 8 GiB unless told."""
ALL_LAYERS = 999
_SECRET = re.compile(r"(?:^|_)(?:KEY|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIALS?)(?:_|$)", re.IGNORECASE)
_SECRET_FLAG = re.compile(r"--?[a-z-]*(?:api-?key|token|secret|password)\b(?!-)", re.IGNORECASE)
_SPLITS = ("--tensor-parallel-size", "-tp", "--tp-size", "--tp", "--pipeline-parallel-size", "-pp", "--pp-size")


class Lora(Struct, frozen=True):
    """LoRA weights on the deployment's model; `local` is where they are on this machine."""

    name: str
    local: Path
    scale: float = 1.0


class Deployment(Struct, frozen=True):
    """`context` is tokens per request. `memory` is RAM in bytes for one replica, `gpus` are its GPUs.

    `secrets` are names of environment variables whose values are not ours to write; `env` are the others.
    `adapter_source` is where the adapters are on the other side, one file or folder of each adapter's name in it.
    """

    name: str
    engine: str
    weights: Weights
    context: int
    parallel: int
    memory: int
    cpus: int
    gpus: int = 0
    gpu_layers: int = 0
    threads: int | None = None
    adapters: tuple[Lora, ...] = ()
    adapter_source: str | None = None
    args: tuple[str, ...] = ()
    env: dict[str, str] = field(default_factory=dict)
    secrets: tuple[str, ...] = ()
    remote_code: bool = False

    @property
    def slug(self) -> str:
        """The name as Kubernetes, Ray and SkyPilot take it."""
        return slug(self.name)

    def shown(self, name: str) -> str:
        """The file or folder that the other side has for an adapter, in `adapter_source`."""
        return f"{name}.gguf" if self.weights.format == "gguf" else name


def slug(name: str) -> str:
    """Returns a DNS label (RFC 1123) for a name: lower case, at most 50 characters, beginning with a letter."""
    plain = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    return (plain if plain[:1].isalpha() else f"m-{plain}")[:50].strip("-")


def describe(
    text: str,
    loaded: Loaded,
    store: Store,
    *,
    engine: str | None = None,
    weights: str | None = None,
    adapters: str | None = None,
    gpus: int | None = None,
) -> Deployment:
    """Returns what `NAME[@vN]` is, from its entry under `own:` or, where it has none, from the store alone.

    `engine` replaces the configured one: what llama.cpp runs here may be vLLM's there. `weights` and `adapters` say
    where those are on the other side. `gpus` replaces the number worked out from engine and arguments.

    Raises EngineError for a model that is not there, was not pulled, or is not for that engine; ConfigError for a
    secret on the command line.
    """
    name, version = split_name(text)
    index, owned = _entry(name, loaded)
    kind = _engine(name, owned, engine)
    folder = loaded.path.parent if loaded.path is not None else Path()
    version = version or (asked(store, name, owned).version if owned.path is None else None)
    found = _weights(name, version, owned, FORMATS[kind], folder, store)
    held = on_volume(found, weights) if weights is not None else found
    context = _context(name, owned, version, store)
    count = _gpus(owned, kind) if gpus is None else gpus
    env, secrets = _environment(owned, index, loaded)
    return Deployment(
        name=name,
        engine=kind,
        weights=held,
        context=context,
        parallel=owned.parallel,
        memory=parse_size(owned.memory) if owned.memory else _memory(held, kind, context * owned.parallel, count),
        cpus=owned.threads or (8 if count else 4),
        gpus=count,
        gpu_layers=owned.gpu_layers or (ALL_LAYERS if count and FORMATS[kind] == "gguf" else 0),
        threads=owned.threads,
        adapters=tuple(Lora(one.name, folder / Path(one.path).expanduser(), one.scale) for one in owned.adapters),
        adapter_source=adapters,
        args=_args(owned, index, loaded),
        env=env,
        secrets=secrets,
        remote_code=owned.remote_code,
    )


def _entry(name: str, loaded: Loaded) -> tuple[int | None, Owned]:
    for index, owned in enumerate(loaded.config.own):
        if own_name(owned) == name:
            return index, owned
    return None, Owned(name=name)


def _engine(name: str, owned: Owned, chosen: str | None) -> str:
    kind = chosen or owned.engine or "llamacpp"
    if kind not in FORMATS:
        raise EngineError(
            f"own/{name} runs in {kind}, which cannot be written for other machines",
            code="not_renderable",
            retry="no",
            hint=f"choose another with --engine: {', '.join(FORMATS)}",
        )
    return kind


def _weights(name: str, version: str | None, owned: Owned, format: Format, folder: Path, store: Store) -> Weights:
    projector = folder / Path(owned.projector).expanduser() if owned.projector else None
    if owned.path is not None:
        return from_disk(folder / Path(owned.path).expanduser(), name, format, projector)
    wanted = asked(store, name, owned).pull if version is None and format == "gguf" else None
    if name not in store.names() or wanted is not None:
        raise EngineError(
            f"own/{name} was not pulled, so nothing says which files it is",
            code="not_pulled",
            retry="no",
            hint=_to_pull(name, wanted or owned.pull) if owned.pull else "freehold weights list shows what is there",
        )
    found = store.find(f"{name}@{version}" if version else name)
    quantisation = asked(store, name, owned).quantisation if format == "gguf" else owned.quantisation
    return from_store(store, found, store.choose(found, quantisation, format))


def _to_pull(name: str, reference: str) -> str:
    return f"freehold pull {shown(reference)}" + ("" if pulled_name(reference) == name else f" --name {name}")


def _context(name: str, owned: Owned, version: str | None, store: Store) -> int:
    if owned.context is not None:
        return owned.context
    pulled = store.find(f"{name}@{version}" if version else name) if owned.path is None else None
    longest = pulled.context if pulled is not None else None
    return min(DEFAULT_CONTEXT, longest or DEFAULT_CONTEXT)


def _gpus(owned: Owned, engine: str) -> int:
    """How many GPUs one replica takes: what its arguments split the model over, else one where the engine wants any."""
    words = [word for arg in owned.args for word in arg.split("=", 1)]
    count = 1
    for flag, value in pairwise(words):
        if flag in _SPLITS and value.isdecimal():
            count *= int(value)
    return count if engine in ON_GPU or owned.gpu_layers or count > 1 else 0


def _memory(weights: Weights, engine: str, tokens: int, gpus: int) -> int:
    if gpus:
        return weights.size + HOST_MEMORY
    if weights.format == "gguf":
        return needed(read_header(weights.local), tokens, BATCH, PROMPT_CACHE) * 5 // 4
    return 2 * weights.size + HOST_MEMORY


def _environment(owned: Owned, index: int | None, loaded: Loaded) -> tuple[dict[str, str], tuple[str, ...]]:
    """Variables to write, and the names of those that are secrets: by their name, their look, or because the
    configuration took them from the environment."""
    plain: dict[str, str] = {}
    hidden: list[str] = []
    for name, value in owned.env.items():
        given = ("own", index, "env", name) in loaded.sources.variables
        if given or _SECRET.search(name) or redact(value) != value:
            hidden.append(name)
        else:
            plain[name] = value
    return plain, tuple(hidden)


def _args(owned: Owned, index: int | None, loaded: Loaded) -> tuple[str, ...]:
    for number, arg in enumerate(owned.args):
        path = ("own", index or 0, "args", number)
        if path in loaded.sources.variables or _SECRET_FLAG.match(arg) or redact(arg) != arg:
            raise ConfigError(
                "a secret on the engine's command line would be written in clear",
                where=loaded.sources.where(path),
                key=f"own[{index}].args[{number}]",
                hint="give it as a variable under env: only its name is written then",
            )
    return tuple(owned.args)
