"""What of the store of weights can be served: every version of every name, with what a spec needs to know of it.

Reading the store means a small file per version. It is read again only when a record has changed, which one stat tells,
because workers ask whenever anything changes at all.
"""

import functools
import importlib.util
from pathlib import Path

from msgspec import Struct

from freehold.config.schema import Owned
from freehold.errors import ConfigError, EngineError
from freehold.own.weights.origin import FORMATS, pulled, quantisation_of
from freehold.own.weights.reference import QUANTISATIONS, Reference, parse, quantisation_name
from freehold.own.weights.store import Store, Version


class Stocked(Struct, frozen=True):
    """One version of a name. `current`: it is what the bare name stands for."""

    version: Version
    current: bool


class Ready(Struct, frozen=True):
    """One artefact of it: `weights` is its address in the store (`EngineSpec.weights`), `path` what an engine gets."""

    path: Path
    weights: str
    format: str
    context: int | None
    size: int
    projector: Path | None
    remote_code: bool


def stocked(store: Store) -> dict[str, list[Stocked]]:
    """Returns the versions by name, oldest first. A record that cannot be read is left out: `freehold weights verify`
    tells of it."""
    return _stocked(store.root, store.changed())


@functools.lru_cache(maxsize=4)
def _stocked(root: Path, _stamp: tuple[int, int]) -> dict[str, list[Stocked]]:
    store = Store(root)
    found: dict[str, list[Stocked]] = {}
    for name in store.names():
        try:
            current = store.current(name)
            versions = store.versions(name)
        except EngineError:
            continue
        found[name] = [Stocked(version, version.version == current) for version in versions]
    return found


class Asked(Struct, frozen=True):
    """What an entry wants of the store: `version` None is the current one. `pull` is the reference that has to be
    pulled first, None where nothing has to be."""

    version: str | None
    quantisation: str | None
    pull: str | None = None


def asked(store: Store, name: str, owned: Owned) -> Asked:
    """Returns what an entry says by `pull`, `quantisation` and `version`; a quantisation of its own, and a version,
    win over those of the reference. What its reference names and the store lacks is to be pulled, whatever else there
    is of that name. Cheap: nothing is read again before a record changes."""
    if owned.pull is None:
        return Asked(owned.version, owned.quantisation)
    return _asked(store.root, store.changed(), name, owned.pull, owned.quantisation, owned.version)


@functools.lru_cache(maxsize=1000)
def _asked(
    root: Path, _stamp: tuple[int, int], name: str, text: str, quantisation: str | None, version: str | None
) -> Asked:
    store = Store(root)
    there = name in stocked(store)
    try:
        reference, text = _with_quantisation(parse(text), text, quantisation)
        quantisation = quantisation or quantisation_of(reference)
        if not there or version is not None:
            return Asked(version, quantisation, None if there else text)
        found = pulled(reference, store, name=name)
    except ConfigError:  # a folder that is gone, or no reference: the pull says so
        return Asked(version, quantisation, None if there else text)
    except EngineError:
        return Asked(version, quantisation)
    if found is None:
        return Asked(None, quantisation, text)
    return Asked(None if found.version == store.current(name) else found.version, quantisation)


def _with_quantisation(reference: Reference, text: str, wanted: str | None) -> tuple[Reference, str]:
    """Asks a hub for the quantisation that the entry names beside its reference."""
    known = quantisation_name(wanted) if wanted else ""
    if reference.kind != "hub" or known not in QUANTISATIONS or (reference.quantisation or "").lower() in FORMATS:
        return reference, text
    revision = f"@{reference.revision}" if reference.revision else ""
    text = f"{reference.repo}{revision}:{known}"
    return parse(text), text


def ready(store: Store, version: Version, quantisation: str | None, engine: str | None) -> Ready:
    """Returns what would be served. Raises EngineError that says why nothing can.

    Without a named engine: a GGUF for llama.cpp. Weights of a family that cannot be converted are served as they came,
    by transformers, where it is installed.
    """
    wanted = "gguf" if engine in (None, "llamacpp", "llama-server") else None
    if engine is None and not any(one.format == "gguf" and not one.projector for one in version.artefacts):
        wanted = None
        if missing := [name for name in ("torch", "transformers") if importlib.util.find_spec(name) is None]:
            raise EngineError(
                f"{version.full_name} is of a family that llama.cpp cannot run, and {missing[0]} is not installed",
                hint="pip install 'freehold[reference]', or name another engine, such as vllm",
                code="engine_missing",
            )
    return _ready(store.root, store.changed(), version.full_name, quantisation, wanted)


@functools.lru_cache(maxsize=1000)
def _ready(root: Path, _stamp: tuple[int, int], full: str, quantisation: str | None, wanted: str | None) -> Ready:
    store = Store(root)
    version = store.find(full)
    artefact = store.choose(version, quantisation, "gguf" if wanted == "gguf" else None)
    projector = version.projector
    return Ready(
        store.model_path(version, artefact),
        f"{full}/{artefact.id}",
        artefact.format,
        version.context,
        artefact.size,
        store.model_path(version, projector) if projector is not None else None,
        version.remote_code,
    )
