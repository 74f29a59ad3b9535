"""The records on the disk: which versions a name has, which one is current, which are pinned.

Each file is replaced in one step, so a reader sees the old record or the new one and needs no lock. Writers hold the
store's lock; `touch` after the last write of a change tells watchers.
"""

import contextlib
import difflib
import os
from pathlib import Path

import msgspec
from msgspec import Struct, structs

from freehold.errors import EngineError
from freehold.own.weights.blobs import remove_tree
from freehold.own.weights.disk import Places, replace
from freehold.own.weights.types import Version, check_artefact, folder_name, is_sha256, is_version, model_name


class State(Struct):
    """One name's state.json. `last` is the highest number ever given, so that none is given twice. `pins` maps a
    version to its artefacts' digests at the moment it was pinned."""

    current: str
    last: int
    pins: dict[str, dict[str, str]] = {}


class Records:
    def __init__(self, places: Places) -> None:
        self._places = places

    def names(self) -> list[str]:
        try:
            found = [model_name(path.name) for path in self._places.records.iterdir() if path.name[0] != "."]
        except FileNotFoundError:
            return []
        return sorted(name for name in found if self._state_file(name).exists())

    def numbers(self, name: str) -> list[str]:
        """Returns the versions of a name, oldest first, whether their records can be read or not.

        One above `last` is what a killed process left: the next version takes its place.
        """
        folder = self._places.records / folder_name(name)
        found = [path.stem for path in folder.glob("v*.json") if is_version(path.stem)]
        with contextlib.suppress(EngineError):
            state = self.state_or_none(name)
            found = [one for one in found if state is not None and int(one[1:]) <= state.last]
        return sorted(found, key=lambda one: int(one[1:]))

    def state(self, name: str) -> State:
        """Raises EngineError: no_such_model, store_damaged."""
        state = self.state_or_none(name)
        if state is None:
            raise no_model(name, self.names())
        return state

    def state_or_none(self, name: str) -> State | None:
        path = self._state_file(name)
        try:
            return msgspec.json.decode(path.read_bytes(), type=State)
        except FileNotFoundError:
            return None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise _damaged(path, error) from error

    def read(self, name: str, version: str) -> Version:
        """Raises EngineError: no_such_model, store_damaged."""
        path = self._file(name, version)
        try:
            found = msgspec.json.decode(path.read_bytes(), type=Version)
            for artefact in found.artefacts:
                check_artefact(artefact)
        except FileNotFoundError:
            self.state(name)
            raise no_version(name, version, self.numbers(name)) from None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, EngineError) as error:
            raise _damaged(path, error) from error
        if (found.name, found.version) != (name, version):
            raise _damaged(path, ValueError(f"it is the record of {found.full_name[:200]}"))
        return found

    def write(self, version: Version) -> None:
        path = self._file(version.name, version.version)
        path.parent.mkdir(mode=0o700, exist_ok=True)
        replace(path, msgspec.json.format(msgspec.json.encode(version)) + b"\n")

    def write_state(self, name: str, state: State) -> None:
        replace(self._state_file(name), msgspec.json.encode(state) + b"\n")
        self.touch()

    def touch(self) -> None:
        """Tells watchers. The change has happened by now, so a disk without room for a new file is no failure."""
        try:
            replace(self._places.changed, b"")
        except (EngineError, OSError):
            with contextlib.suppress(OSError):
                os.utime(self._places.changed)

    def prune(self) -> None:
        """Removes what killed processes left half written; the caller has the lock, so nobody writes now."""
        for folder in self._places.records.iterdir():
            if folder.is_dir() and not (folder / "state.json").exists():
                remove_tree(folder)
        for path in (*self._places.records.glob(".*.*.*"), *self._places.records.glob("*/.*"), *self._stamps()):
            path.unlink(missing_ok=True)

    def _stamps(self) -> list[Path]:
        return [path for path in self._places.stamps.iterdir() if not is_sha256(path.name)]

    def forget(self, name: str, gone: list[str]) -> None:
        """Takes versions out: first nothing points at them, then they go."""
        left = [one for one in self.numbers(name) if one not in gone]
        if left:
            state = self._state_left(name, left)
            current = state.current if state.current in left else left[-1]
            pins = {number: digests for number, digests in state.pins.items() if number in left}
            self.write_state(name, structs.replace(state, current=current, pins=pins))
        else:
            self._state_file(name).unlink()
        for number in gone:
            self._file(name, number).unlink(missing_ok=True)
        if not left:
            remove_tree(self._places.records / folder_name(name))
        self.touch()

    def _state_left(self, name: str, left: list[str]) -> State:
        try:
            return self.state(name)
        except EngineError:
            return State(left[-1], int(left[-1][1:]))

    def _file(self, name: str, version: str) -> Path:
        return self._places.records / folder_name(name) / f"{version}.json"

    def _state_file(self, name: str) -> Path:
        return self._places.records / folder_name(name) / "state.json"


def no_model(name: str, names: list[str]) -> EngineError:
    close = difflib.get_close_matches(name, names, 1)
    hint = (
        f"did you mean {close[0]}?" if close else "freehold weights list shows what is there, freehold pull gets more"
    )
    return EngineError(f"there are no weights named {name!r}", code="no_such_model", retry="no", hint=hint)


def no_version(name: str, version: str, have: list[str]) -> EngineError:
    hint = f"it has {', '.join(have)}" if have else f"freehold weights verify {name}"
    return EngineError(f"there is no {name}@{version}", code="no_such_model", retry="no", hint=hint)


def _damaged(path: Path, error: Exception) -> EngineError:
    return EngineError(
        f"{path}: the record is damaged: {error}",
        code="store_damaged",
        retry="no",
        hint="freehold weights rm the model and pull it again",
    )
