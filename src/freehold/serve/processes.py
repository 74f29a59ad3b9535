"""Small facts about processes that worker, steward and parent share."""

import ctypes
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path

import msgspec

from freehold.call.providers import load_config, rows
from freehold.config.load import Loaded, loads
from freehold.home import write_private
from freehold.own.catalog import engine_specs

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

    The copy holds the file as it was written, with `${VARIABLES}` unexpanded, readable by the owner only.
    """

    def __init__(self, original: Path | None, copy: Path, overrides: Mapping[str, str | int] | None = None) -> None:
        """`overrides` are fields of `server` given on the command line."""
        self.original = original
        self._copy = copy
        self._overrides = dict(overrides or {})

    def take(self) -> Loaded:
        """Checks the original, model files too, and copies it. Raises ConfigErrors and leaves the copy as it was."""
        if self.original is None:
            return self.load()
        try:
            content = self.original.read_bytes()
        except OSError:
            return load_config(self.original, os.environ)  # raises with the reason, in the words of the loader
        loaded = self._checked(content)
        engine_specs(loaded.config, loaded.path, sources=loaded.sources)
        write_private(self._copy, content)
        return loaded

    def load(self) -> Loaded:
        """Returns the configuration that `take` accepted last."""
        if self.original is None:
            return self._overridden(load_config(None, os.environ))
        return self._checked(self._copy.read_bytes())

    def _checked(self, content: bytes) -> Loaded:
        return self._overridden(
            loads(content, os.environ, file=str(self.original), path=self.original, providers=rows().keys())
        )

    def _overridden(self, loaded: Loaded) -> Loaded:
        if not self._overrides:
            return loaded
        server = msgspec.structs.replace(loaded.config.server, **self._overrides)
        return msgspec.structs.replace(loaded, config=msgspec.structs.replace(loaded.config, server=server))
