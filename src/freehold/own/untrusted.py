"""Opening a file of weights that nobody has looked at yet: what its readers (gguf.py, weights/safetensors.py) share."""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from freehold.errors import EngineError


def bad_weights(name: str, message: str) -> EngineError:
    """Returns the error for a file that is not what it should be."""
    return EngineError(
        f"{name}: {message}",
        code="bad_weights",
        retry="no",
        hint="get the file again, or check where it came from",
    )


@contextmanager
def opened(path: Path, name: str, kind: str) -> Iterator[tuple[int, int]]:
    """Gives a descriptor for reading and the size in bytes. A pipe or a device is refused, and never waited for.

    Raises EngineError (code bad_weights) for what is no plain file, OSError when it cannot be opened.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        state = os.fstat(descriptor)
        if not stat.S_ISREG(state.st_mode):
            raise bad_weights(name, f"not a {kind} file: not even a plain file")
        yield descriptor, state.st_size
    finally:
        os.close(descriptor)
