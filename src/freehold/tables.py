"""Tables of fixed size in a file that all workers of a host have mapped: how one is opened, or made where it is not."""

import fcntl
import hashlib
import mmap
import os
from pathlib import Path


def shared_table(descriptor: int, size: int, head: bytes, rest: bytes = b"") -> mmap.mmap:
    """Maps the file, emptied first where it has another size or does not begin with `head`; `rest` then follows it.

    Nobody else makes it at the same time. Raises OSError.
    """
    fcntl.lockf(descriptor, fcntl.LOCK_EX)
    try:
        if os.fstat(descriptor).st_size != size or os.pread(descriptor, len(head), 0) != head:
            os.ftruncate(descriptor, 0)
            os.ftruncate(descriptor, size)
            os.pwrite(descriptor, head + rest, 0)
        return mmap.mmap(descriptor, size)
    finally:
        fcntl.lockf(descriptor, fcntl.LOCK_UN)


def this_boot() -> bytes:
    """Eight bytes that are others after the machine was started again, as times of its monotonic clock are."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_bytes()
    except OSError:
        boot = b"unknown"
    return hashlib.sha256(boot).digest()[:8]
