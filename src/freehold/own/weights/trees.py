"""Folders for engines: links to blobs under the names that a repository gives them.

A tree is checked each time it is asked for, file by file against the blobs, and made anew when anything in it is not as
it was made: what an engine is given is what was verified.
"""

import os
import secrets
from pathlib import Path, PurePosixPath

from freehold.errors import EngineError
from freehold.own.weights.blobs import remove_tree
from freehold.own.weights.disk import Places, link, locked
from freehold.own.weights.types import Artefact, Version, check_file_name, folder_name


def place(places: Places, version: Version, artefact: Artefact) -> Path:
    return places.trees / folder_name(version.name) / version.version / artefact.id


def tree(places: Places, version: Version, artefact: Artefact) -> Path:
    """Returns the folder of an artefact, made where it is missing. Raises EngineError (weights_missing)."""
    folder = place(places, version, artefact)
    if _as_made(places, folder, artefact):
        return folder
    with locked(places):
        if not _as_made(places, folder, artefact):
            _make(places, folder, version, artefact)
    return folder


def _as_made(places: Places, folder: Path, artefact: Artefact) -> bool:
    found = set()
    for parent, folders, files in os.walk(folder):
        here = Path(parent)
        if any((here / name).is_symlink() for name in folders):
            return False
        for name in files:
            path = here / name
            relative = path.relative_to(folder).as_posix()
            file = artefact.files.get(relative)
            try:
                if file is None or not path.samefile(places.blobs / file.sha256):
                    return False
            except OSError:
                return False
            found.add(relative)
    return len(found) == len(artefact.files)


def _make(places: Places, folder: Path, version: Version, artefact: Artefact) -> None:
    new = places.trees / f".new-{secrets.token_hex(6)}"
    old = places.trees / f".old-{secrets.token_hex(6)}"
    try:
        for name, file in artefact.files.items():
            path = new / PurePosixPath(check_file_name(name))
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            blob = places.blobs / file.sha256
            if not blob.is_file():
                raise EngineError(
                    f"{version.full_name}: {name} is missing in the store",
                    code="weights_missing",
                    retry="no",
                    hint=f"freehold pull {version.source.reference}",
                )
            link(blob, path, seen_from=folder / PurePosixPath(name).parent)
        folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if folder.exists() or folder.is_symlink():
            folder.rename(old)
        new.rename(folder)
    finally:
        remove_tree(new)
        remove_tree(old)
