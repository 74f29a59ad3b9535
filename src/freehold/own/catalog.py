"""Which engines should run: the `own:` entries of the configuration, the model in the box, and what was pulled.

    configured   a file, a folder, a server that runs already, or weights of the store; loaded with the gateway
    the box      own/banking77
    the store    every name in it that no entry mentions, loaded when it is asked for; and every version that is not the
                 one in force, as own/NAME@vN

Every path is resolved and every header read here, so a mistake is told before anything starts. A path is relative to
the configuration file's folder, `~` is the home folder. Headers are cached by (path, size, mtime), because a large
vocabulary takes a tenth of a second to step over and this is asked again and again.
"""

import functools
import importlib.util
import re
from collections.abc import Container, Iterable
from importlib.resources import files
from pathlib import Path

from msgspec import Struct, structs

from freehold.config.checks_own import ATTACHED, BOX, own_name
from freehold.config.problems import Sources
from freehold.config.schema import Config, Owned
from freehold.config.sizes import parse_size
from freehold.errors import ConfigError, EngineError
from freehold.own.engine import EngineSpec, Lora
from freehold.own.engines.describe import describe
from freehold.own.gguf import ModelFile, read_header
from freehold.own.stock import Stocked, asked, ready, stocked
from freehold.own.weights.store import Store, open_store
from freehold.own.weights.types import shown

__all__ = ["BOX", "Served", "box_file", "engine_specs", "model_file", "reasons", "served", "unpulled", "words"]

DEFAULT_CONTEXT = 8192
"""Tokens per request where nothing is configured, or the model's own context if that is shorter."""
UNKNOWN_CONTEXT = 2048
_ENTRY = re.compile(r"own\[(\d+)\]")


class Served(Struct, frozen=True):
    """A name that can be asked for as `own/NAME`, and the engine behind it. `listed`: in lists of models."""

    name: str
    engine: str
    context: int
    listed: bool = True


def engine_specs(
    config: Config,
    path: Path | None,
    broken: list[ConfigError] | None = None,
    sources: Sources | None = None,
    store: Store | None = None,
) -> list[EngineSpec]:
    """Returns one spec per owned model; `path` is where the configuration came from, None for the defaults.

    `sources` lets a mistake name its line. `store` is this installation's where it is not given.

    With `broken`, a list that takes the mistakes, the other models are returned: a file that vanishes while the
    gateway runs must stop neither its other models nor a change of its keys.

    Otherwise raises ConfigError, naming the entry, for a file that is missing, unreadable or no model, for a context
    the model does not have, for weights that are not there, and for a name used twice.
    """
    return list(_Specs(config, path, broken, sources, store or open_store()).found.values())


def served(specs: Iterable[EngineSpec], store: Store | None = None) -> dict[str, Served]:
    """Returns every name that can be asked for, LoRA weights and versions included."""
    found: dict[str, Served] = {}
    for spec in specs:
        name, at, _ = spec.name.partition("@")
        found[spec.name] = Served(spec.name, spec.name, spec.context, listed=not at)
        for lora in spec.adapters:
            found.setdefault(lora.name, Served(lora.name, spec.name, spec.context, listed=not at))
        if spec.weights and not at:
            version = spec.weights.rpartition("/")[0].rpartition("@")[2]
            full = f"{name}@{version}"
            found.setdefault(full, Served(full, spec.name, spec.context, listed=False))
    return found


def unpulled(config: Config, store: Store | None = None) -> dict[str, str]:
    """Returns what entries say should be pulled and is not in the store, in the quantisation and revision that they
    name: references by name."""
    store = store or open_store()
    wanted = {(name := own_name(owned)): asked(store, name, owned).pull for owned in config.own}
    return {name: reference for name, reference in wanted.items() if reference is not None}


def reasons(config: Config, broken: Iterable[ConfigError]) -> dict[str, str]:
    """Returns why entries cannot be served, by name, of what `engine_specs` put into `broken`."""
    found: dict[str, str] = {}
    for error in broken:
        if (entry := _ENTRY.match(error.key)) is not None:
            found.setdefault(own_name(config.own[int(entry[1])]), error.message)
    return found


def words(config: Config) -> dict[str, list[str]]:
    """Returns what entries allow a pull to do, as options of `freehold pull`, by name."""
    found = {own_name(one): [one.pickles and "--pickles", one.remote_code and "--remote-code"] for one in config.own}
    return {name: [word for word in options if word] for name, options in found.items()}


def box_file() -> Path | None:
    """Returns the model in the box, None where this installation has none."""
    found = Path(str(files("freehold.own"))) / "box" / f"{BOX}.gguf"
    return found if found.is_file() else None


def model_file(path: Path) -> ModelFile:
    """Like `read_header`, reading an unchanged file once."""
    state = path.stat()
    return _header(path, state.st_size, state.st_mtime_ns)


@functools.lru_cache(maxsize=64)
def _header(path: Path, size: int, mtime: int) -> ModelFile:
    return read_header(path)


class _Specs:
    """The specs of one configuration, built once."""

    def __init__(
        self,
        config: Config,
        path: Path | None,
        broken: list[ConfigError] | None,
        sources: Sources | None,
        store: Store,
    ) -> None:
        self._folder = path.parent if path is not None else Path()
        self._file = str(path) if path is not None else ""
        self._broken = broken
        self._sources = sources
        self._store = store
        self._stock = stocked(store)
        self._unpulled = unpulled(config, store)
        self.found: dict[str, EngineSpec] = {}
        if config.box and (file := box_file()) is not None:
            self._add("box", Owned(path=str(file), name=BOX))
        for index, owned in enumerate(config.own):
            self._add(f"own[{index}]", owned)
        self._add_stock({own_name(owned) for owned in config.own})

    def _add(self, key: str, owned: Owned) -> None:
        name = own_name(owned)
        try:
            if name in self.found:
                raise ConfigError(
                    f"own/{name} is already {self.found[name].path or self.found[name].engine}",
                    where=self._where(key),
                    key=f"{key}.path",
                    hint="give one another name",
                )
            if name in self._unpulled:
                return
            spec = self._spec(key, name, owned)
            self.found[name] = spec
            for other in self._others(name, owned):
                self._add_other(key, other, owned)
            if owned.canary is not None and (tried := f"{name}@{owned.canary.version}") in self.found:
                self.found[tried] = structs.replace(self.found[tried], load=spec.load)
        except ConfigError as error:
            if self._broken is None:
                raise
            self._broken.append(error)

    def _add_other(self, key: str, one: Stocked, owned: Owned) -> None:
        """A version that is not in force: in the quantisation that the model is asked for, where it has that. What is
        wrong with one that nobody tries stops nothing."""
        full = one.version.full_name
        try:
            try:
                spec = self._version(key, full, owned)
            except ConfigError as error:
                if not isinstance(error.__cause__, EngineError) or error.__cause__.code != "no_such_quantisation":
                    raise
                spec = self._version(key, full, structs.replace(owned, pull=None, quantisation=None))
        except ConfigError as error:
            if owned.canary is not None and owned.canary.version == one.version.version:
                raise
            if self._broken is not None:
                self._broken.append(ConfigError(f"own/{full}: {error.message}", hint=error.hint))
            return
        self.found.setdefault(full, structs.replace(spec, load="demand"))

    def _add_stock(self, configured: Container[str]) -> None:
        """What was pulled and is not configured. A configured name stands for what its entry says or for nothing; its
        versions can be asked for all the same."""
        for name, versions in self._stock.items():
            if name in self.found:
                continue
            for one in versions:
                full = name if one.current and name not in configured else one.version.full_name
                try:
                    spec = self._from_stock(full, one, Owned(name=name), load="demand")
                except EngineError as error:
                    if self._broken is not None:
                        self._broken.append(ConfigError(f"own/{full}: {error.message}", hint=error.hint))
                    continue
                self.found[full] = spec

    def _others(self, name: str, owned: Owned) -> list[Stocked]:
        """The versions that are not in force, of weights that have versions."""
        if owned.path is not None:
            return []
        force = asked(self._store, name, owned).version
        return [one for one in self._stock.get(name, []) if not _in_force(one, force)]

    def _spec(self, key: str, name: str, owned: Owned) -> EngineSpec:
        if owned.path is not None:
            return self._from_disk(key, name, owned)
        if owned.engine in ATTACHED or (owned.engine == "command" and name not in self._stock):
            context = owned.context or DEFAULT_CONTEXT
            return self._settings(key, owned, EngineSpec(name, None, context, model=owned.model or name))
        return self._version(key, name, owned)

    def _from_disk(self, key: str, name: str, owned: Owned) -> EngineSpec:
        file = self._path(key, owned.path or "")
        where = self._where(key)
        try:
            engine = owned.engine or ("llamacpp" if not file.is_dir() else _engine_of_folders(file))
            spec = EngineSpec(name, file, 1, engine=engine)
            model = describe(spec) if file.is_dir() else model_file(file)
            state = file.stat()
        except EngineError as error:
            hint = _format_hint(file) or error.hint
            raise ConfigError(error.message, where=where, key=f"{key}.path", hint=hint) from error
        except OSError as error:
            hint = _missing_hint(file) if isinstance(error, FileNotFoundError) else "check its permissions"
            raise ConfigError(
                f"{file}: {error.strerror or error}", where=where, key=f"{key}.path", hint=hint
            ) from error
        _check_format(key, where, engine, "safetensors" if file.is_dir() else "gguf")
        context = self._context(key, owned, model.context, file.name)
        stamp = (state.st_size, state.st_mtime_ns)
        return self._settings(key, owned, structs.replace(spec, context=context, stamp=stamp))

    def _version(self, key: str, name: str, owned: Owned) -> EngineSpec:
        """The weights of the store that are in force for `name`, or those of `NAME@vN`."""
        bare, _, number = name.partition("@")
        wanted = number or asked(self._store, bare, owned).version
        where = self._where(key)
        versions = self._stock.get(bare)
        if versions is None:
            hint = (
                f"freehold pull {shown(owned.pull)} --name {bare}" if owned.pull else f"freehold pull ... --name {bare}"
            )
            raise ConfigError(f"own/{bare} has not been pulled yet", where=where, key=key, hint=hint)
        one = next((v for v in versions if _in_force(v, wanted)), None)
        if one is None:
            have = ", ".join(v.version.version for v in versions)
            raise ConfigError(f"own/{bare} has no version {wanted}", where=where, key=f"{key}.version", hint=have)
        try:
            return self._settings(key, owned, self._from_stock(name, one, owned, load=owned.load or "start"))
        except EngineError as error:
            raise ConfigError(error.message, where=where, key=key, hint=error.hint) from error

    def _from_stock(self, name: str, one: Stocked, owned: Owned, *, load: str) -> EngineSpec:
        wanted = asked(self._store, one.version.name, owned).quantisation
        found = ready(self._store, one.version, wanted, owned.engine)
        longest = found.context
        context = owned.context or min(DEFAULT_CONTEXT, longest or UNKNOWN_CONTEXT)
        return EngineSpec(
            name,
            found.path,
            context,
            engine=owned.engine or ("llamacpp" if found.format == "gguf" else "transformers"),
            load=load,
            weights=found.weights,
            projector=found.projector,
            remote_code=found.remote_code,
        )

    def _settings(self, key: str, owned: Owned, spec: EngineSpec) -> EngineSpec:
        return structs.replace(
            spec,
            engine=owned.engine or spec.engine,
            parallel=owned.parallel,
            threads=owned.threads,
            gpu_layers=owned.gpu_layers,
            load=owned.load or spec.load,
            idle=owned.idle,
            sleep=owned.sleep,
            memory=parse_size(owned.memory) if owned.memory is not None else None,
            projector=self._path(key, owned.projector) if owned.projector else spec.projector,
            adapters=tuple(Lora(one.name, self._path(key, one.path), one.scale) for one in owned.adapters),
            args=tuple(owned.args),
            command=tuple(owned.command),
            env=tuple(sorted(owned.env.items())),
            url=owned.url,
            model=owned.model or spec.model,
            remote_code=owned.remote_code or spec.remote_code,
        )

    def _path(self, key: str, text: str) -> Path:
        try:
            return (self._folder / Path(text).expanduser()).absolute()
        except RuntimeError as error:
            raise ConfigError(f"{text}: {error}", key=f"{key}.path", hint="write the whole path") from error

    def _context(self, key: str, owned: Owned, longest: int | None, file: str) -> int:
        if owned.context is None:
            return min(DEFAULT_CONTEXT, longest or UNKNOWN_CONTEXT)
        if longest is not None and owned.context > longest:
            raise ConfigError(
                f"{file} was made for {longest} tokens, not {owned.context}",
                where=self._where(key),
                key=f"{key}.context",
                hint=f"context: {longest}",
            )
        return owned.context

    def _where(self, key: str) -> str:
        if self._sources is not None and key.startswith("own["):
            return self._sources.where(("own", int(key[4 : key.index("]")]), "path"))
        return self._file


def _in_force(one: Stocked, version: str | None) -> bool:
    return one.version.version == version if version else one.current


def _engine_of_folders(folder: Path) -> str:
    """What serves safetensors as they are. Raises EngineError that says what else can be done with them."""
    if importlib.util.find_spec("transformers") is not None and importlib.util.find_spec("torch") is not None:
        return "transformers"
    raise EngineError(
        f"{folder} holds safetensors, which llama.cpp cannot read",
        hint=f"freehold pull {folder} converts them; or pip install 'freehold[reference]' for engine: transformers",
        code="engine_missing",
    )


def _check_format(key: str, where: str, engine: str, form: str) -> None:
    from freehold.own.engines import adapter

    formats = adapter(engine).formats
    if formats and form not in formats:
        raise ConfigError(
            f"engine {engine} reads {' and '.join(sorted(formats))}, not {form}",
            where=where,
            key=f"{key}.engine",
            hint="leave engine out, or freehold pull the folder to convert it",
        )


def _missing_hint(file: Path) -> str:
    beside = sorted(found.name for found in file.parent.glob("*.gguf"))[:5] if file.parent.is_dir() else []
    if beside:
        return f"that folder holds {', '.join(beside)}"
    return "a path is relative to the folder of freehold.yaml; ~ is the home folder"


def _format_hint(file: Path) -> str | None:
    if file.suffix == ".safetensors":
        return f"give the folder with its config.json, or freehold pull {file.parent} to convert it"
    return None
