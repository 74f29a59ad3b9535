"""The few things the log does to files, in one place, so that tests can end the process in the middle of each."""

import contextlib
import os
from pathlib import Path


class Files:
    """Every method raises OSError. What it did is on the disk only after `sync`, but for `add_line` and `create`."""

    def write(self, descriptor: int, data: bytes, offset: int) -> None:
        """Writes all of `data` at `offset`."""
        view = memoryview(data)
        while view:
            written = os.pwrite(descriptor, view, offset)
            offset += written
            view = view[written:]

    def sync(self, descriptor: int) -> None:
        os.fdatasync(descriptor)

    def cut(self, descriptor: int, length: int) -> None:
        os.ftruncate(descriptor, length)

    def cut_file(self, path: Path, length: int) -> None:
        os.truncate(path, length)

    def create(self, path: Path) -> int:
        """Returns the descriptor of a new file, readable by its owner only, that the folder will not forget."""
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            self.sync_folder(path.parent)
        except OSError:
            os.close(descriptor)
            with contextlib.suppress(OSError):
                path.unlink()
            raise
        return descriptor

    def add_line(self, path: Path, line: bytes) -> None:
        """Appends a line to a file, made where it is not there."""
        fresh = not path.exists()
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            end = os.fstat(descriptor).st_size
            try:
                self.write(descriptor, line + b"\n", end)
                self.sync(descriptor)
            except OSError:
                self.cut(descriptor, end)
                raise
        finally:
            os.close(descriptor)
        if fresh:
            self.sync_folder(path.parent)

    def sync_folder(self, path: Path) -> None:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
