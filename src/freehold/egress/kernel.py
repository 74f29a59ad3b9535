"""What is asked of the Linux kernel that Python 3.11 has no words for: namespaces, capabilities, death with the parent.

Numbers are those of linux/sched.h, linux/capability.h, linux/prctl.h and linux/sockios.h, the same on all machines that
Python runs on. Each function raises OSError with the kernel's own reason.
"""

import ctypes
import fcntl
import os
import signal
import socket
import struct
import sys
from collections.abc import Collection
from pathlib import Path
from typing import Final

CHOWN, DAC_OVERRIDE, DAC_READ_SEARCH, FOWNER, KILL = 0, 1, 2, 3, 5
NET_BIND_SERVICE, NET_ADMIN, IPC_LOCK, SYS_ADMIN, SYS_NICE, SYS_RESOURCE = 10, 12, 14, 21, 23, 24

_NEWUSER, _NEWNET = 0x10000000, 0x40000000
_SET_PDEATHSIG, _SET_KEEPCAPS, _CAPBSET_DROP, _SET_NO_NEW_PRIVS = 1, 8, 24, 38
_CAPABILITY_VERSION: Final = 0x20080522
_GET_FLAGS, _SET_FLAGS, _UP = 0x8913, 0x8914, 1


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _checked(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def die_with_parent(number: signal.Signals) -> None:
    """Asks the kernel to send `number` when the parent dies, however it dies (Linux; elsewhere nothing happens)."""
    if sys.platform == "linux":
        parent = os.getppid()
        _libc().prctl(_SET_PDEATHSIG, int(number), 0, 0, 0)
        if os.getppid() != parent:
            os.kill(os.getpid(), number)


def new_network() -> bool:
    """Puts this process into a network namespace of its own, in which only loopback is up. Returns whether a user
    namespace came with it, as it does for whoever may not make one otherwise."""
    libc = _libc()
    user, group = os.geteuid(), os.getegid()
    own = bool(libc.unshare(_NEWNET) != 0)
    if own:
        _checked(libc.unshare(_NEWUSER | _NEWNET), "a network namespace cannot be made")
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
        Path("/proc/self/gid_map").write_text(f"{group} {group} 1")
    _raise_loopback()
    return own


def _raise_loopback() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        asked = fcntl.ioctl(any_socket, _GET_FLAGS, struct.pack("16sH14x", b"lo", 0))
        (flags,) = struct.unpack_from("H", asked, 16)
        fcntl.ioctl(any_socket, _SET_FLAGS, struct.pack("16sH14x", b"lo", flags | _UP))


def no_new_privileges() -> None:
    """From now on no program that is started gives more rights than there are, by setuid or otherwise."""
    _checked(_libc().prctl(_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs")


def keep_capabilities(kept: Collection[int]) -> None:
    """Gives up every capability but these, of this process and of whatever it starts."""
    _bound(kept)
    _set(sum(1 << number for number in kept) & _permitted())


def _bound(kept: Collection[int]) -> None:
    libc = _libc()
    last = int(Path("/proc/sys/kernel/cap_last_cap").read_text())
    for number in range(last + 1):
        if number not in kept:
            libc.prctl(_CAPBSET_DROP, number, 0, 0, 0)  # who may not, has nothing to lose either: no_new_privs


def _permitted() -> int:
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("CapPrm:"))
    return int(line.split()[1], 16)


def _set(mask: int) -> None:
    header = struct.pack("II", _CAPABILITY_VERSION, 0)
    low, high = mask & 0xFFFFFFFF, mask >> 32
    data = struct.pack("6I", low, low, 0, high, high, 0)
    _checked(_libc().capset(header, data), "capset")


def become(user: int, kept: Collection[int] = ()) -> None:
    """Makes this process one of `user`, a number, and a group of the same number, with these capabilities left."""
    libc = _libc()
    _checked(libc.prctl(_SET_KEEPCAPS, 1, 0, 0, 0), "keepcaps")
    _bound(kept)
    os.setgroups([])
    os.setresgid(user, user, user)
    os.setresuid(user, user, user)
    _set(sum(1 << number for number in kept) & _permitted())
    no_new_privileges()
