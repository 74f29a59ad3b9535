"""Which weights of the store are those that a reference names. Asks nobody: the records say where they came from.

A branch or tag, or none, means whatever it stood for when it was pulled; `Version.also` has references that were found
to mean a version that was there already.
"""

from msgspec import structs

from freehold.errors import ConfigError
from freehold.own.weights.choice import fits
from freehold.own.weights.disk import locked
from freehold.own.weights.reference import Reference, parse
from freehold.own.weights.store import Store, Version
from freehold.own.weights.types import check_name, shown

FORMATS = ("gguf", "safetensors")
MOST = 16
"""References that a version keeps besides the first."""


def pulled(reference: str | Reference, store: Store, *, name: str | None = None) -> Version | None:
    """Returns what an earlier pull of `reference` brought, asking nobody; None where there is nothing of the kind.

    A branch or tag, or none, means whatever it stood for then. For whoever only wants weights to be there.
    """
    wanted = parse(reference) if isinstance(reference, str) else reference
    name = check_name(name or wanted.name)
    if name not in store.names():
        return None
    current = store.find(name)
    for version in [current, *reversed(store.versions(name))]:
        if came_from(version, wanted) and _holds(version, wanted.quantisation):
            return version
    return None


def quantisation_of(wanted: Reference) -> str | None:
    """Returns the quantisation, or the file, that a reference asks to be served; a format is none."""
    asked = wanted.quantisation
    return None if asked is None or asked.lower() in FORMATS else asked


def came_from(version: Version, wanted: Reference) -> bool:
    """Whether a version was pulled from where `wanted` points, in whatever quantisation."""
    return any(_same(version, known, wanted) for known in (version.source.reference, *version.also))


def note(store: Store, version: Version, wanted: Reference) -> Version:
    """Writes down that `wanted` means this version too, where that is not known. Raises EngineError: no_such_model."""
    if came_from(version, wanted):
        return version
    with locked(store.places):
        found = store.records.read(version.name, version.version)
        found = structs.replace(found, also=(*found.also[1 - MOST :], wanted.text))
        store.records.write(found)
        store.records.touch()
    return found


def _same(version: Version, known: str, wanted: Reference) -> bool:
    try:
        source = parse(known)
    except ConfigError:  # a folder that is gone
        return version.source.kind == "folder" and known == str(wanted.path)
    if (source.kind, source.repo, source.tag, source.url, source.path) != (
        wanted.kind, wanted.repo, wanted.tag, wanted.url and shown(wanted.url), wanted.path,
    ):  # fmt: skip
        return False
    return wanted.revision is None or wanted.revision in (source.revision, version.source.revision)


def _holds(version: Version, asked: str | None) -> bool:
    if asked is None:
        return True
    return any(asked.lower() == one.format or fits(one, asked) for one in version.artefacts)
