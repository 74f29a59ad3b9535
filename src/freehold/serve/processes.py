"""Small facts about processes that worker, steward and parent share."""

import ctypes
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path

import msgspec

from freehold.call.providers import load_config, rows
from freehold.config import deployed
from freehold.config import load as config_load
from freehold.config.load import Loaded, loads
from freehold.config.problems import file_error
from freehold.home import write_private
from freehold.own.catalog import engine_specs
from freehold.own.weights.store import open_store
from freehold.serve.rehearsal import rehearse

_PR_SET_PDEATHSIG = 1


def die_with_parent(number: signal.Signals) -> None:
    """Asks the kernel to send `number` when the parent dies, however it dies (Linux; elsewhere nothing happens)."""
    if sys.platform == "linux":
        parent = os.getppid()
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, int(number), 0, 0, 0)
        if os.getppid() != parent:
            os.kill(os.getpid(), number)


class Snapshotted:
    """The configuration as the parent last checked it: workers load this copy, so all of them get the same one.

    It is freehold.yaml and what `freehold deploy` has added (config/deployed.py). The copies hold the files as they
    were written, with `${VARIABLES}` unexpanded, readable by the owner only.
    """

    def __init__(self, original: Path | None, copy: Path, overrides: Mapping[str, str | int] | None = None) -> None:
        """`overrides` are fields of `server` given on the command line."""
        self.original = original
        self.deployed = deployed.path_in(os.environ)
        self._copy = copy
        self._deployed_copy = copy.with_name(deployed.FILE)
        self._overrides = dict(overrides or {})

    def take(self) -> Loaded:
        """Checks the originals, model files too, and copies them. Raises ConfigErrors and leaves the copies as they
        were."""
        content = b""
        if self.original is not None:
            try:
                content = self.original.read_bytes()
            except OSError:
                return load_config(self.original, os.environ)  # raises with the reason, in the words of the loader
        added = _content(self.deployed)
        loaded = self._checked(content, added)
        engine_specs(loaded.config, loaded.path, sources=loaded.sources)
        rehearse(loaded)
        write_private(self._copy, content)
        write_private(self._deployed_copy, added)
        return loaded

    def load(self) -> Loaded:
        """Returns the configuration that `take` accepted last."""
        return self._checked(_content(self._copy), _content(self._deployed_copy))

    def _checked(self, content: bytes, added: bytes) -> Loaded:
        entries = deployed.parse(added, self.deployed) if added else []
        if self.original is None:
            loaded = config_load.load(None, os.environ)
        else:
            loaded = loads(
                content,
                os.environ,
                file=str(self.original),
                path=self.original,
                providers=rows().keys(),
                pulled={*open_store().names(), *deployed.names(entries)},
            )
        return self._overridden(deployed.merge(loaded, entries))

    def _overridden(self, loaded: Loaded) -> Loaded:
        if not self._overrides:
            return loaded
        server = msgspec.structs.replace(loaded.config.server, **self._overrides)
        return msgspec.structs.replace(loaded, config=msgspec.structs.replace(loaded.config, server=server))


def _content(path: Path) -> bytes:
    """Returns what a file holds; nothing where there is none. Raises ConfigErrors."""
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return b""
    except OSError as error:
        raise file_error(path, f"the file cannot be read: {error.strerror or error}") from None
