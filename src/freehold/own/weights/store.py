"""The store of weights: FREEHOLD_HOME/models. What is in it was hashed and its headers were read before it got in.

Layout and locking are in disk.py, contents in blobs.py, the types in types.py. Writers of records take the store's
lock for milliseconds; readers take none. Two processes with the same store are safe, stewards and pulls alike.

    store = open_store()
    with store.hold("pull org/name") as hold:
        with store.incoming(hold, sha256=..., size=...) as file:
            ...file.write(chunk)...
            ref = file.finish()
        version = store.add("name", source=..., artefacts=(Artefact(..., files={"model.gguf": ref}),))
    artefact = store.choose(version)
    store.check_unchanged(version, artefact)
    path = store.model_path(version, artefact)
"""

import contextlib
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from msgspec import structs

from freehold.errors import EngineError
from freehold.home import home
from freehold.own.weights import blobs, choice, integrity, trees
from freehold.own.weights.blobs import Incoming, Progress
from freehold.own.weights.disk import Hold, Places, locked
from freehold.own.weights.inspect import inspect
from freehold.own.weights.records import Records, State, no_version
from freehold.own.weights.types import (
    Artefact,
    FileRef,
    Format,
    Source,
    Verdict,
    Version,
    artefact_id,
    check_artefact,
    check_name,
    is_sha256,
    split_name,
)

__all__ = [
    "Artefact",
    "FileRef",
    "Hold",
    "Incoming",
    "Source",
    "Store",
    "Version",
    "artefact_id",
    "open_store",
    "split_name",
]


def open_store() -> "Store":
    """Returns this installation's store, FREEHOLD_HOME/models."""
    return Store(home() / "models")


class Store:
    """Weights by name and version. Nothing is made on the disk before something is written."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.places = Places(root)
        self.records = Records(self.places)

    # reading

    def names(self) -> list[str]:
        """Returns all names, sorted."""
        return self.records.names()

    def versions(self, name: str) -> list[Version]:
        """Returns the versions of a name, oldest first. Raises EngineError: no_such_model, store_damaged."""
        name, _ = split_name(name)
        self.records.state(name)
        return [self.records.read(name, one) for one in self.records.numbers(name)]

    def find(self, text: str) -> Version:
        """Returns `NAME` (its current version) or `NAME@vN`. Raises EngineError: no_such_model, store_damaged."""
        name, version = split_name(text)
        return self.records.read(name, version or self.records.state(name).current)

    def current(self, name: str) -> str:
        """Returns the current version's number, such as `v3`."""
        return self.records.state(check_name(name)).current

    def everything(self, broken: list[EngineError] | None = None) -> list[Version]:
        """Returns the current version of every name. A record that cannot be read goes to `broken` if that is given."""
        found = []
        for name in self.names():
            try:
                found.append(self.find(name))
            except EngineError as error:
                if broken is None:
                    raise
                broken.append(error)
        return found

    def changed(self) -> tuple[int, int]:
        """Returns a value that differs after every change of a record: one stat, for whoever watches the store."""
        try:
            state = self.places.changed.stat()
        except FileNotFoundError:
            return (0, 0)
        return (state.st_mtime_ns, state.st_ino)

    def choose(self, version: Version, quantisation: str | None = None, format: Format | None = None) -> Artefact:
        """Returns the artefact that may serve; see choice.py. Raises EngineError, which says why none may."""
        return choice.choose(version, quantisation, format)

    def folder(self, version: Version, artefact: Artefact) -> Path:
        """Returns a folder with the artefact's files under their names. Raises EngineError (weights_missing)."""
        return trees.tree(self.places, version, artefact)

    def model_path(self, version: Version, artefact: Artefact) -> Path:
        """Returns what an engine is given: the GGUF file (the first of a split one), or the folder of safetensors."""
        folder = self.folder(version, artefact)
        if artefact.format != "gguf":
            return folder
        return folder / min(name for name in artefact.files if name.endswith(".gguf"))

    def blob(self, sha256: str) -> Path:
        """Returns the file with this content. Raises EngineError (weights_missing)."""
        path = self.places.blobs / sha256
        if not is_sha256(sha256) or not path.is_file():
            raise EngineError(f"the store has no content {sha256[:64]}", code="weights_missing", retry="no")
        return path

    def has(self, sha256: str, size: int | None = None) -> bool:
        """Whether this content is there and unchanged. `hold.keep` it first, if it is to stay."""
        return is_sha256(sha256) and blobs.is_sound(self.places, sha256, size)

    # contents on their way in

    def hold(self, why: str) -> Hold:
        """Returns a hold: what it `keep`s is safe from `gc` and `remove` until it is closed or its process ends."""
        return Hold(self.places, why)

    def use(self, hold: Hold, version: Version, artefact: Artefact) -> None:
        """Keeps an artefact's files and folder for an engine that runs on them."""
        contents = (file.sha256 for file in artefact.files.values())
        hold.keep(*contents, tree=trees.place(self.places, version, artefact))

    def incoming(
        self,
        hold: Hold,
        *,
        sha256: str | None = None,
        size: int | None = None,
        key: str | None = None,
        waiting: Callable[[], None] | None = None,
    ) -> Incoming:
        """Returns a resumable writer that hashes; see `Incoming`.

        `sha256` and `size` are what the other side announced, if it did. `key` names the content where there is no
        hash: a URL with its entity tag. `waiting` is called once when another process is fetching the same content;
        this one then waits, and has `done` if the other one succeeded.
        """
        if sha256 is not None and not is_sha256(sha256):
            raise EngineError(f"{sha256[:80]!r} is not a sha256", code="wrong_hash", retry="no")
        if sha256 is None and key is None:
            raise ValueError("either sha256 or key")
        return Incoming(self.places, hold, key=sha256 or key or "", sha256=sha256, size=size, waiting=waiting)

    def copy_in(self, hold: Hold, path: Path, progress: Progress | None = None) -> FileRef:
        """Copies a local file into the store."""
        state = path.stat()
        key = f"{path.absolute()} {state.st_size} {state.st_mtime_ns} {state.st_ino}"
        with self.incoming(hold, key=key, size=state.st_size) as incoming:
            return blobs.copy_in(incoming, path, progress)

    def adopt(self, hold: Hold, path: Path) -> FileRef:
        """Takes over a file made in `hold.workroom()`, without copying it. The file is gone afterwards."""
        return blobs.adopt(self.places, path, hold)

    # changing records

    def add(
        self,
        name: str,
        *,
        source: Source,
        artefacts: Sequence[Artefact],
        licence: str | None = None,
        architecture: str | None = None,
        parameters: int | None = None,
        context: int | None = None,
        template: bool = False,
        remote_code: bool = False,
    ) -> Version:
        """Adds weights whose blobs are in the store (and held), and makes them current unless the current version is
        pinned. Returns the version that has them.

        Where a version has all of this content already, that one is returned and nothing is added. Where the current
        version came from the same source at the same revision, artefacts it lacks are added to it.

        Raises EngineError: bad_record, bad_weights and others of `inspect`, weights_missing.
        """
        check_name(name)
        for artefact in artefacts:
            self._check(artefact, remote_code)
        with locked(self.places):
            state = self.records.state_or_none(name)
            known = self._readable(name) if state else []
            same = next((one for one in reversed(known) if _holds(one, artefacts, remote_code)), None)
            if same is None and state is not None:
                current = next((one for one in known if one.version == state.current), None)
                same = self._extend(current, source, artefacts, remote_code) if current else None
            number = (state.last if state else 0) + 1
            made = same or Version(
                name=name, version=f"v{number}", source=source, created=int(time.time()), artefacts=tuple(artefacts),
                licence=licence, architecture=architecture, parameters=parameters, context=context, template=template,
                remote_code=remote_code,
            )  # fmt: skip
            if same is None:
                self.records.write(made)
            pins = state.pins if state else {}
            current_now = state.current if state and state.current in pins else made.version
            self.records.write_state(name, State(current_now, max(number - (same is not None), 1), pins))
        return made

    def attach(self, name: str, version: str, artefact: Artefact) -> Version:
        """Adds an artefact to a version, or replaces the one with its id. Raises EngineError as `add` does."""
        with locked(self.places):
            found = self.records.read(check_name(name), version)
        self._check(artefact, found.remote_code)
        with locked(self.places):
            found = self.records.read(name, version)
            self._refuse_pinned_change(found, artefact)
            rest = tuple(one for one in found.artefacts if one.id != artefact.id)
            found = structs.replace(found, artefacts=(*rest, artefact))
            self.records.write(found)
            self.records.touch()
        return found

    def judge(
        self, name: str, version: str, artefact_id: str, verdict: Verdict, evidence: dict[str, Any] | None = None
    ) -> Version:
        """Notes what the parity gate found of an artefact. Raises EngineError: no_such_model, no_such_artefact."""
        with locked(self.places):
            found = self.records.read(check_name(name), version)
            found.artefact(artefact_id)
            judged = tuple(
                structs.replace(one, verdict=verdict, evidence=evidence) if one.id == artefact_id else one
                for one in found.artefacts
            )
            found = structs.replace(found, artefacts=judged)
            self.records.write(found)
            self.records.touch()
        return found

    def promote(self, name: str, version: str) -> None:
        """Makes a version the current one. Raises EngineError: no_such_model, pinned."""
        with locked(self.places):
            state = self.records.state(check_name(name))
            self.records.read(name, version)
            if state.current in state.pins and state.current != version:
                raise EngineError(
                    f"{name}@{state.current} is pinned",
                    code="pinned",
                    retry="no",
                    hint=f"freehold weights unpin {name}@{state.current}",
                )
            self.records.write_state(name, structs.replace(state, current=version))

    def pin(self, text: str) -> Version:
        """Pins `NAME[@vN]` to the content it has now: it is not removed without force, and while it is the current
        version nothing takes its place."""
        with locked(self.places):
            version = self.find(text)
            state = self.records.state(version.name)
            digests = {artefact.id: artefact.digest for artefact in version.artefacts}
            pins = state.pins | {version.version: digests}
            self.records.write_state(version.name, structs.replace(state, pins=pins))
        return version

    def unpin(self, text: str) -> list[str]:
        """Unpins `NAME@vN`, or all versions of `NAME`. Returns the full names of what was pinned until now."""
        name, only = split_name(text)
        with locked(self.places):
            self.find(text)
            state = self.records.state(name)
            pins = {number: digests for number, digests in state.pins.items() if only not in (None, number)}
            self.records.write_state(name, structs.replace(state, pins=pins))
        return [f"{name}@{number}" for number in state.pins if number not in pins]

    def pins(self, name: str) -> dict[str, dict[str, str]]:
        """Returns pinned versions, each with its artefacts' digests."""
        return self.records.state(check_name(name)).pins

    def remove(self, text: str, *, force: bool = False) -> integrity.Freed:
        """Removes `NAME` (all versions) or `NAME@vN`, and the contents nothing else refers to; what a running engine
        holds goes with a later `gc`. The newest version left becomes current.

        Raises EngineError: no_such_model, pinned (without `force`).
        """
        name, only = split_name(text)
        with locked(self.places):
            numbers = self.records.numbers(name)
            gone = [one for one in numbers if only in (None, one)]
            if not gone:
                self.records.state(name)
                raise no_version(name, only or "", numbers)
            pinned = [] if force else [one for one in gone if one in self.records.state(name).pins]
            if pinned:
                raise EngineError(
                    f"{name}@{pinned[0]} is pinned",
                    code="pinned",
                    retry="no",
                    hint=f"freehold weights rm {text} --force, or freehold weights unpin {name}@{pinned[0]}",
                )
            self.records.forget(name, gone)
            return integrity.collect(self, partial=False)

    # integrity

    def check_unchanged(self, version: Version, artefact: Artefact) -> None:
        """Raises EngineError (weights_changed, weights_missing) unless every file is what it was when it came in, and
        the record what it was when it was pinned. One stat a file, where nothing was touched."""
        integrity.check_unchanged(self, version, artefact)

    def verify(self, text: str | None = None, progress: Progress | None = None) -> list[integrity.Damage]:
        """Hashes every content of `NAME[@vN]`, or of everything; returns what is damaged or missing."""
        return integrity.verify(self, text, progress)

    def sweep(self) -> integrity.Freed:
        """Like `gc`, but leaves interrupted downloads, which can be continued."""
        with locked(self.places):
            return integrity.collect(self, partial=False)

    def drop(self, contents: Iterable[str]) -> None:
        """Removes contents that were brought in for nothing, unless a record or a living process refers to them."""
        with locked(self.places):
            integrity.drop(self, contents)

    def gc(self) -> integrity.Freed:
        """Removes contents, folders and interrupted downloads that no record and no living process refers to."""
        with locked(self.places):
            return integrity.collect(self, partial=True)

    def _readable(self, name: str) -> list[Version]:
        found = []
        for number in self.records.numbers(name):
            with contextlib.suppress(EngineError):
                found.append(self.records.read(name, number))
        return found

    def _check(self, artefact: Artefact, remote_code: bool) -> None:
        check_artefact(artefact)
        for name, file in artefact.files.items():
            if not self.has(file.sha256, file.size):
                raise EngineError(f"{name} is not in the store", code="weights_missing", retry="no")
        inspect(artefact, lambda file: self.places.blobs / file.sha256, remote_code=remote_code)

    def _extend(
        self, current: Version, source: Source, artefacts: Sequence[Artefact], remote_code: bool
    ) -> Version | None:
        """Adds what the current version lacks of another pull of the same revision; None where it is another source."""
        one, other = current.source, source
        if source.revision is None or remote_code != current.remote_code:
            return None
        if (one.kind, one.revision, one.endpoint) != (other.kind, other.revision, other.endpoint):
            return None
        ids = {artefact.id for artefact in current.artefacts}
        if any(
            artefact.id in ids and current.artefact(artefact.id).digest != artefact.digest for artefact in artefacts
        ):
            return None
        new = tuple(artefact for artefact in artefacts if artefact.id not in ids)
        found = structs.replace(current, artefacts=(*current.artefacts, *new))
        self.records.write(found)
        return found

    def _refuse_pinned_change(self, version: Version, artefact: Artefact) -> None:
        pinned = self.records.state(version.name).pins.get(version.version, {}).get(artefact.id)
        if pinned is not None and pinned != artefact.digest:
            raise EngineError(
                f"{artefact.id} of {version.full_name} is pinned to other content",
                code="pinned",
                retry="no",
                hint=f"freehold weights unpin {version.full_name}",
            )


def _holds(version: Version, artefacts: Iterable[Artefact], remote_code: bool) -> bool:
    """Whether a version has all of this content already."""
    there = {(one.id, one.digest) for one in version.artefacts}
    return version.remote_code == remote_code and all((one.id, one.digest) in there for one in artefacts)
