"""Is everything in the store what it was, and what may go.

`check_unchanged` is for every start of an engine: a stat a file. `verify` reads everything. `collect` removes what no
record and no living hold names; its caller has the store's lock, so nothing can be added meanwhile.
"""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from msgspec import Struct

from freehold.errors import EngineError
from freehold.own.weights.blobs import Progress, hash_file, is_sound, remove_tree, stamp
from freehold.own.weights.disk import WORKROOM, held
from freehold.own.weights.types import Artefact, FileRef, Version, folder_name, split_name

if TYPE_CHECKING:
    from freehold.own.weights.store import Store


class Damage(Struct, frozen=True):
    """One file that is not what it was. `file` is its name in the artefact; empty where a record itself is damaged."""

    name: str
    version: str
    artefact: str
    file: str
    sha256: str
    problem: Literal["missing", "damaged", "record", "pinned"]
    found: str
    hint: str


class Freed(Struct, frozen=True):
    """What was removed. `kept_for` tells which living processes kept something that no record refers to."""

    blobs: int = 0
    bytes: int = 0
    trees: int = 0
    partial: int = 0
    kept_for: tuple[str, ...] = ()


def check_unchanged(store: "Store", version: Version, artefact: Artefact) -> None:
    pinned = store.pins(version.name).get(version.version, {}).get(artefact.id)
    if pinned is not None and pinned != artefact.digest:
        raise EngineError(
            f"the record of {version.full_name} is not what was pinned",
            code="weights_changed",
            retry="no",
            hint=f"freehold weights unpin {version.full_name} accepts it as it is now",
        )
    for name, file in artefact.files.items():
        if not (store.places.blobs / file.sha256).exists():
            raise _changed(version, name, "weights_missing", "is missing in the store")
        if not is_sound(store.places, file.sha256, file.size):
            raise _changed(version, name, "weights_changed", "was changed since it came into the store")


def _changed(version: Version, name: str, code: str, what: str) -> EngineError:
    return EngineError(
        f"{version.full_name}: {name} {what}",
        code=code,
        retry="no",
        hint=f"freehold weights verify {version.name} shows all; {again(version)}",
    )


def again(version: Version) -> str:
    """Returns the hint how to get a version's files again."""
    if version.source.kind == "made":
        return "make it again"
    return f"freehold pull {version.source.reference} gets it again"


def verify(store: "Store", text: str | None, progress: Progress | None = None) -> list[Damage]:
    """Hashes each content once. Raises EngineError (no_such_model) for a name that is not there."""
    found: list[Damage] = []
    seen: dict[str, str | None] = {}
    for version in _versions(store, text, found):
        pins = store.pins(version.name).get(version.version, {})
        for artefact in version.artefacts:
            if pins.get(artefact.id, artefact.digest) != artefact.digest:
                what = "the record is not what was pinned"
                hint = f"freehold weights unpin {version.full_name} accepts it as it is now"
                found.append(Damage(version.name, version.version, artefact.id, "", "", "pinned", what, hint))
            for name, file in artefact.files.items():
                if file.sha256 not in seen:
                    seen[file.sha256] = _look(store, file, progress)
                problem = seen[file.sha256]
                if problem is not None:
                    kind: Literal["missing", "damaged"] = "missing" if problem == "missing" else "damaged"
                    found.append(
                        Damage(
                            version.name, version.version, artefact.id, name, file.sha256, kind, problem, again(version)
                        )
                    )
    return found


def to_verify(store: "Store", text: str | None) -> int:
    """Returns the bytes that `verify` will read."""
    files = {
        file.sha256: file.size
        for version in _versions(store, text, [])
        for artefact in version.artefacts
        for file in artefact.files.values()
    }
    return sum(files.values())


def _look(store: "Store", file: FileRef, progress: Progress | None) -> str | None:
    """Returns what is wrong with a content, None where it is sound."""
    path = store.places.blobs / file.sha256
    try:
        sha256, size = hash_file(path, progress)
    except FileNotFoundError:
        return "missing"
    except OSError as error:
        return f"cannot be read: {error.strerror or error}"
    if sha256 == file.sha256:
        stamp(store.places, path, sha256)
        return None
    # a pull must not take it for sound: without a stamp it is hashed, found wrong and fetched again
    (store.places.stamps / file.sha256).unlink(missing_ok=True)
    return f"has the sha256 {sha256}" if size == file.size else f"has {size} bytes instead of {file.size}"


def _versions(store: "Store", text: str | None, broken: list[Damage]) -> Iterator[Version]:
    name, only = split_name(text) if text is not None else (None, None)
    for one in [name] if name is not None else store.names():
        try:
            if only is not None:
                yield store.find(f"{one}@{only}")
            else:
                yield from _readable(store, one, broken)
        except EngineError as error:
            if error.code != "store_damaged":
                raise
            broken.append(_broken(one, only or "", error))


def _readable(store: "Store", name: str, broken: list[Damage]) -> Iterator[Version]:
    store.current(name)
    for version in store.records.numbers(name):
        try:
            yield store.records.read(name, version)
        except EngineError as error:
            broken.append(_broken(name, version, error))


def _broken(name: str, version: str, error: EngineError) -> Damage:
    return Damage(name, version, "", "", "", "record", error.message, error.hint or "")


def collect(store: "Store", *, partial: bool) -> Freed:
    """Removes what nothing refers to; with `partial`, interrupted downloads too. A damaged record keeps everything,
    because nobody knows what it refers to: raises EngineError (store_damaged)."""
    places = store.places
    store.records.prune()
    contents, folders = _referred(store)
    kept = held(places)
    unused = [path for path in _entries(places.blobs) if path.name not in contents]
    gone = [path for path in unused if path.name not in kept.blobs]
    size = sum(path.lstat().st_size for path in gone)
    trees = [
        path
        for path in _entries(places.trees, depth=3)
        if str(path.relative_to(places.trees)) not in folders | kept.trees
    ]
    for path in trees:
        remove_tree(path)
    _prune(places.trees)
    for path in gone:
        path.unlink()
        (places.stamps / path.name).unlink(missing_ok=True)
    removed = [_drop_partial(path, kept.ids) for path in _entries(places.partial)] if partial else []
    dropped = [one for one in removed if one is not None]
    return Freed(
        blobs=len(gone),
        bytes=size + sum(dropped),
        trees=len(trees),
        partial=len(dropped),
        kept_for=tuple(sorted(kept.why)) if len(gone) < len(unused) else (),
    )


def drop(store: "Store", contents: Iterable[str]) -> None:
    """Removes those of `contents` that nothing refers to; its caller has the store's lock."""
    places = store.places
    for sha256 in set(contents) - _referred(store)[0] - held(places).blobs:
        (places.blobs / sha256).unlink(missing_ok=True)
        (places.stamps / sha256).unlink(missing_ok=True)


def _referred(store: "Store") -> tuple[set[str], set[str]]:
    contents, folders = set(), set()
    for name in store.names():
        for version in store.versions(name):
            for artefact in version.artefacts:
                contents |= {file.sha256 for file in artefact.files.values()}
                folders.add(f"{folder_name(name)}/{version.version}/{artefact.id}")
    return contents, folders


def _entries(folder: Path, depth: int = 1) -> list[Path]:
    found: Iterable[Path] = [folder]
    for _ in range(depth):
        found = [path for parent in found if parent.is_dir() and not parent.is_symlink() for path in parent.iterdir()]
    return sorted(found)


def _prune(trees: Path) -> None:
    """Removes empty folders, and what a killed process left half made: its caller has the lock, so nobody makes one."""
    for name in _entries(trees):
        if name.name.startswith("."):
            remove_tree(name)
            continue
        for folder in (*_entries(name), name):
            if folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()


def _drop_partial(path: Path, living: set[str]) -> int | None:
    """Returns the bytes of an interrupted download that was removed; None for one that somebody is writing."""
    import fcntl

    if path.is_dir():
        if path.name.removeprefix(WORKROOM) in living:
            return None
        size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
        remove_tree(path)
        return size
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.unlink()
        return os.fstat(descriptor).st_size
    except BlockingIOError:
        return None
    finally:
        os.close(descriptor)
