"""Which engines should run: the `own:` entries of the configuration and the model in the box, as EngineSpecs.

Every path is resolved and every header read here, so a mistake is told before anything starts. A path is relative to
the configuration file's folder, `~` is the home folder. Headers are cached by (path, size, mtime), because a large
vocabulary takes a tenth of a second to step over and this is asked again and again.
"""

import functools
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

from freehold.config.checks import BOX, own_name
from freehold.config.problems import Sources
from freehold.config.schema import Config, Owned
from freehold.errors import ConfigError, EngineError
from freehold.own.engine import EngineSpec
from freehold.own.gguf import ModelFile, read_header

__all__ = ["BOX", "box_file", "engine_specs", "model_file"]

DEFAULT_CONTEXT = 8192
"""Tokens per request where nothing is configured, or the model's own context if that is shorter."""
UNKNOWN_CONTEXT = 2048


def engine_specs(
    config: Config, path: Path | None, broken: list[ConfigError] | None = None, sources: Sources | None = None
) -> list[EngineSpec]:
    """Returns one spec per owned model; `path` is where the configuration came from, None for the defaults.

    `sources` lets a mistake name its line.

    With `broken`, a list that takes the mistakes, the other models are returned: a file that vanishes while the
    gateway runs must stop neither its other models nor a change of its keys.

    Otherwise raises ConfigError, naming the entry, for a file that is missing, unreadable or not GGUF, for a context
    the model does not have, and for a name used twice.
    """
    folder = path.parent if path is not None else Path()
    specs: dict[str, EngineSpec] = {}
    for key, name, owned, file in _entries(config, folder):
        where = _where(path, key, sources)
        try:
            if name in specs:
                raise ConfigError(
                    f"own/{name} is already {specs[name].path}",
                    where=where,
                    key=key,
                    hint="give one another name",
                )
            specs[name] = _spec(name, owned, file, where, key)
        except ConfigError as error:
            if broken is None:
                raise
            broken.append(error)
    return list(specs.values())


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


def _entries(config: Config, folder: Path) -> Iterator[tuple[str, str, Owned, Path]]:
    if config.box and (file := box_file()) is not None:
        yield "box", BOX, Owned(path=str(file)), file
    for index, owned in enumerate(config.own):
        key = f"own[{index}].path"
        try:
            file = folder / Path(owned.path or "").expanduser()
        except RuntimeError as error:
            raise ConfigError(f"{owned.path}: {error}", key=key, hint="write the whole path") from error
        yield key, own_name(owned), owned, file.absolute()


def _spec(name: str, owned: Owned, file: Path, where: str, key: str) -> EngineSpec:
    try:
        model = model_file(file)
        state = file.stat()
    except EngineError as error:
        raise ConfigError(error.message, where=where, key=key, hint=_format_hint(file) or error.hint) from error
    except OSError as error:
        hint = _missing_hint(file) if isinstance(error, FileNotFoundError) else "check its permissions"
        raise ConfigError(f"{file}: {error.strerror or error}", where=where, key=key, hint=hint) from error
    return EngineSpec(
        name=name,
        path=file,
        context=_context(owned, model, where, key),
        parallel=owned.parallel,
        threads=owned.threads,
        gpu_layers=owned.gpu_layers,
        stamp=(state.st_size, state.st_mtime_ns),
    )


def _context(owned: Owned, model: ModelFile, where: str, key: str) -> int:
    longest = model.context
    if owned.context is None:
        return min(DEFAULT_CONTEXT, longest or UNKNOWN_CONTEXT)
    if longest is not None and owned.context > longest:
        raise ConfigError(
            f"{model.path.name} was made for {longest} tokens, not {owned.context}",
            where=where,
            key=key.removesuffix("path") + "context",
            hint=f"context: {longest}",
        )
    return owned.context


def _missing_hint(file: Path) -> str:
    beside = sorted(found.name for found in file.parent.glob("*.gguf"))[:5] if file.parent.is_dir() else []
    if beside:
        return f"that folder holds {', '.join(beside)}"
    return "a path is relative to the folder of freehold.yaml; ~ is the home folder"


def _format_hint(file: Path) -> str | None:
    if file.suffix == ".safetensors":
        return "only GGUF files can be served for now; safetensors have to be converted"
    return None


def _where(path: Path | None, key: str, sources: Sources | None) -> str:
    if sources is not None and key.startswith("own["):
        return sources.where(("own", int(key[4 : key.index("]")]), "path"))
    return str(path) if path is not None else ""
