"""Small facts about processes that worker, steward and parent share."""

import os
import resource
import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NoReturn

import msgspec

from freehold.call.providers import load_config, rows
from freehold.config import deployed
from freehold.config import load as config_load
from freehold.config.load import Loaded, loads
from freehold.config.problems import file_error
from freehold.egress.kernel import die_with_parent
from freehold.errors import FreeholdError
from freehold.home import write_private
from freehold.own.catalog import engine_specs
from freehold.own.weights.store import open_store
from freehold.serve.rehearsal import rehearse

__all__ = ["Snapshotted", "die_with_parent", "run_child"]


def no_cores() -> None:
    """Lets this process, and all that it starts, leave no core file in a crash: prompts and keys would be in it."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


class Snapshotted:
    """The configuration as the parent last checked it: workers load this copy, so all of them get the same one.

    It is freehold.yaml and what `freehold deploy` has added (config/deployed.py). The copies hold the files as they
    were written, with `${VARIABLES}` unexpanded, readable by the owner only.
    """

    def __init__(
        self,
        original: Path | None,
        copy: Path,
        overrides: Mapping[str, str | int] | None = None,
        *,
        reading: Path | None = None,
        env: Mapping[str, str] | None = None,
    ) -> None:
        """`overrides` are fields of `server` given on the command line. `reading` is the file to read in the place of
        the original, which has its name in errors: the one without keys, in strict mode. `env` is for `${VARIABLES}`,
        this process's own where it is not given."""
        self.original = original
        self._reading = reading or original
        self._env = os.environ if env is None else env
        self.deployed = deployed.path_in(os.environ)
        self._copy = copy
        self._deployed_copy = copy.with_name(deployed.FILE)
        self._overrides = dict(overrides or {})

    def take(self) -> Loaded:
        """Checks the originals, model files too, and copies them. Raises ConfigErrors and leaves the copies as they
        were."""
        content = self._read()
        added = _content(self.deployed)
        loaded = self._checked(content, added)
        engine_specs(loaded.config, loaded.path, sources=loaded.sources)
        rehearse(loaded)
        write_private(self._copy, content)
        write_private(self._deployed_copy, added)
        return loaded

    def checked(self) -> Loaded:
        """Returns the configuration as the originals have it now, and writes nothing. Raises ConfigErrors."""
        return self.check(self._read())

    def _read(self) -> bytes:
        try:
            return self._reading.read_bytes() if self._reading is not None else b""
        except OSError:
            load_config(self._reading, self._env)  # raises with the reason, in the words of the loader
            raise

    def check(self, content: bytes) -> Loaded:
        """Returns what this content of the file would mean, and writes nothing. Raises ConfigErrors."""
        return self._checked(content, _content(self.deployed))

    def load(self) -> Loaded:
        """Returns the configuration that `take` accepted last."""
        return self._checked(_content(self._copy), _content(self._deployed_copy))

    def _checked(self, content: bytes, added: bytes) -> Loaded:
        entries = deployed.parse(added, self.deployed) if added else []
        if self.original is None:
            loaded = config_load.load(None, self._env)
        else:
            loaded = loads(
                content,
                self._env,
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


def run_child(body: Callable[[], None], blocked: set[signal.Signals]) -> NoReturn:
    """The rest of a process that was just forked: runs `body` and ends with 0, 130 for SIGINT, else 1 with a reason on
    stderr. Signals that the parent waits for, `blocked` there, come again. It never returns, so that nothing of the
    parent is run twice."""
    status = 1
    try:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, blocked)
        body()
        status = 0
    except KeyboardInterrupt:
        status = 130
    except FreeholdError as error:
        sys.stderr.write(f"freehold: {error}\n")
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stderr.flush()
        os._exit(status)
