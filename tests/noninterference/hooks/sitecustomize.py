"""Breaks Freehold on purpose, in the processes of one test run: so that it is shown that the run would notice.

Python imports this file at its start because the test puts the folder into PYTHONPATH. `FREEHOLD_TEST_MUTANT` says
what is broken; nothing is where it is empty. The product knows nothing of this.
"""

import os
import sys


def _rebind(module: str, name: str, new: object) -> None:
    """Replaces a function where it is defined and wherever it has been imported already."""
    import importlib

    old = getattr(importlib.import_module(module), name)
    for loaded in list(sys.modules.values()):
        if loaded is not None and getattr(loaded, name, None) is old:
            setattr(loaded, name, new)


def _flow() -> None:
    """`may_flow` says yes to everything."""
    _rebind("freehold.labels.lattice", "may_flow", lambda label, sink: None)


def _claims() -> None:
    """What clients claim is not heard."""
    from freehold.labels.rules import Rules

    Rules._claim = lambda self, claimed: self.default  # type: ignore[method-assign]


def _blind() -> None:
    """The detectors find nothing."""
    _rebind("freehold.check.detect.rules", "scan", lambda text, rules: [])


def _forgetful() -> None:
    """Conversations have no high-water mark."""
    from freehold.serve.safety.marks import Marks

    Marks.look = lambda self, *_: None  # type: ignore[method-assign]


def _talkative() -> None:
    """Every request is written to the log."""
    from freehold.serve.exchange import Exchange

    read = Exchange.read

    async def loud(self: Exchange, limit: int) -> bytes:
        body = await read(self, limit)
        sys.stderr.write(body[:100000].decode("latin-1") + "\n")
        sys.stderr.flush()
        return body

    Exchange.read = loud  # type: ignore[method-assign]


def _lost() -> None:
    """What could not be carried is written down in the client's own words."""
    import freehold.serve.lost as lost

    _rebind("freehold.serve.lost", "known", lost.named)


def _cores() -> None:
    """A process that is killed may leave its memory in a file."""
    _rebind("freehold.serve.processes", "no_cores", lambda: None)


def _bugs() -> None:
    """No mutant but what happens to everybody: a request with a certain header meets an exception that holds its body,
    in a place where somebody catches it or where nobody does."""
    import asyncio
    import threading

    from freehold.serve.exchange import Exchange

    read = Exchange.read

    def fail(body: bytes) -> None:
        raise ValueError(body.decode("latin-1"))

    async def later(body: bytes) -> None:
        fail(body)

    async def broken(self: Exchange, limit: int) -> bytes:
        body = await read(self, limit)
        kind = self.headers.get(b"x-break")
        if kind == b"raise":
            fail(body)
        elif kind == b"task":
            task = asyncio.get_running_loop().create_task(later(body))
            del task
        elif kind == b"callback":
            asyncio.get_running_loop().call_soon(fail, body)
        elif kind == b"thread":
            threading.Thread(target=fail, args=(body,), name=body[:20].decode("latin-1")).start()
        return body

    Exchange.read = broken  # type: ignore[method-assign]


_mutant = os.environ.get("FREEHOLD_TEST_MUTANT")
if _mutant is not None and "freehold" in sys.orig_argv:
    _bugs()
    if _mutant:
        globals()[f"_{_mutant}"]()
