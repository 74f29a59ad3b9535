"""Notices that freehold.yaml changed, and reloads it whole or not at all.

`changed` costs one `stat` while nothing happens. Editors replace files in several ways (write in place, rename over,
remove and create), so inode, size and time are compared, then the content's hash: a file that was only touched, or
written back as it was, is no change. A file that is gone for a moment is no change either.
"""

import hashlib
import os
from collections.abc import Collection, Mapping
from pathlib import Path

from freehold.config.load import Loaded, load

_Stamp = tuple[int, int, int]


class Watcher:
    """Watches one file. Both methods read the disk and belong off the event loop or on a slow timer."""

    def __init__(self, path: Path, env: Mapping[str, str], *, providers: Collection[str] | None = None) -> None:
        self.path = path
        self._env = env
        self._providers = providers
        self._stamp = _stamp(path)
        self._digest = _digest(path)

    def changed(self) -> bool:
        """Returns whether the content is another than when this was last asked (or since the start)."""
        stamp = _stamp(self.path)
        if stamp is None or stamp == self._stamp:
            return False
        digest = _digest(self.path)
        if digest is None:
            return False
        self._stamp = stamp
        self._digest, before = digest, self._digest
        return digest != before

    def reload(self) -> Loaded:
        """Returns the file as it is now, checked. Raises ConfigErrors: the caller keeps what it has."""
        return load(self.path, self._env, providers=self._providers)


def _stamp(path: Path) -> _Stamp | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _digest(path: Path) -> bytes | None:
    try:
        return hashlib.sha256(path.read_bytes()).digest()
    except OSError:
        return None
