"""What the kernel says about processes: descendants, memory, who listens where. Linux's /proc; elsewhere, nothing.

A child that calls setsid, or whose parent ends, leaves the group that we could signal. Two traces remain. Parenthood:
our keeper adopts orphans (PR_SET_CHILD_SUBREAPER), so that they stay below it. And the environment: every engine
carries `MARK`, which its children inherit. A process that hides from both by clearing its environment after the keeper
was killed is beyond reach without control groups.
"""

import os
import signal
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from msgspec import Struct

MARK = "FREEHOLD_ENGINE"
ROUNDS = 8
"""A process that forks while it is hunted needs several rounds; more than these would be a fork bomb."""
_PROC = Path("/proc")
_LISTEN = "0A"
_LOOPBACK = ("0100007F", "00000000000000000000000001000000", "0000000000000000FFFF00000100007F")
"""127.0.0.1, ::1 and ::ffff:127.0.0.1 as the kernel prints them on little-endian machines."""


class Used(Struct, frozen=True):
    """Bytes of RAM: `private` to the processes, and `mapped` from files, which the kernel can drop and share."""

    private: int
    mapped: int


class Listener(Struct, frozen=True):
    """A listening TCP socket."""

    loopback: bool
    inode: int


def descendants(pid: int) -> list[int]:
    """Returns the living processes below `pid`, `pid` itself not among them: nearer before farther, older first."""
    children: dict[int, list[int]] = {}
    for one, parent in _parents():
        children.setdefault(parent, []).append(one)
    found = sorted(children.get(pid, []))
    for one in found:
        found += sorted(children.get(one, []))
    return found


def marked(mark: str) -> list[int]:
    """Returns the living processes of this user that carry `mark`."""
    wanted = f"{MARK}={mark}".encode()
    found = []
    for entry in _numbered():
        with suppress(OSError):
            if wanted in (_PROC / str(entry) / "environ").read_bytes().split(b"\0"):
                found.append(entry)
    return [pid for pid in found if pid != os.getpid() and not _zombie(pid)]


def kill_below(pid: int) -> bool:
    """Sends SIGKILL to everything below the living process `pid`, not to itself. Returns whether nothing was left."""
    return _hunt(lambda: descendants(pid))


def kill_marked(mark: str) -> bool:
    """Sends SIGKILL to everything that carries `mark`. Returns whether nothing was left."""
    return _hunt(lambda: marked(mark))


def _hunt(find: Callable[[], list[int]]) -> bool:
    for _ in range(ROUNDS):
        found = find()
        if not found:
            return True
        for pid in found:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
    return False


def used(pids: Iterable[int]) -> Used | None:
    """Returns the memory of these processes together; None where the system does not say."""
    private = mapped = 0
    known = False
    for pid in pids:
        with suppress(OSError, ValueError, IndexError):
            fields = dict(line.split(":", 1) for line in (_PROC / str(pid) / "status").read_text().splitlines())
            private += 1024 * sum(int(fields[key].split()[0]) for key in ("RssAnon", "RssShmem") if key in fields)
            mapped += 1024 * int(fields["RssFile"].split()[0]) if "RssFile" in fields else 0
            known = known or "RssAnon" in fields
    return Used(private, mapped) if known else None


def listeners(port: int) -> list[Listener] | None:
    """Returns who listens on `port` of this machine; None where the system does not say."""
    found = []
    known = False
    for table in ("tcp", "tcp6"):
        with suppress(OSError, ValueError, IndexError):
            for line in (_PROC / "net" / table).read_text().splitlines()[1:]:
                fields = line.split()
                address, _, local = fields[1].rpartition(":")
                if fields[3] == _LISTEN and int(local, 16) == port:
                    found.append(Listener(loopback=address in _LOOPBACK, inode=int(fields[9])))
            known = True
    return found if known else None


def holds(pids: Iterable[int], inode: int) -> bool:
    """Whether one of these processes has the socket `inode` open."""
    wanted = f"socket:[{inode}]"
    for pid in pids:
        with suppress(OSError):
            for descriptor in os.listdir(_PROC / str(pid) / "fd"):
                with suppress(OSError):
                    if os.readlink(_PROC / str(pid) / "fd" / descriptor) == wanted:
                        return True
    return False


def _numbered() -> Iterator[int]:
    with suppress(OSError):
        yield from (int(name) for name in os.listdir(_PROC) if name.isdigit())


def _parents() -> Iterator[tuple[int, int]]:
    for pid in _numbered():
        with suppress(OSError, ValueError, IndexError):
            # The name in parentheses may hold anything, so what counts begins after the last of them.
            state, parent = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()[:2]
            if state not in "ZX":
                yield pid, int(parent)


def _zombie(pid: int) -> bool:
    try:
        return (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except (OSError, IndexError):
        return True
