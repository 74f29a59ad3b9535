"""The GGUF file: a header (keys, table of tensors), then the data, tensor by tensor.

The result appears under its name only when it is whole and on the disk; until then it is NAME.partial.
"""

import os
import shutil
import struct
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from freehold.errors import EngineError
from freehold.own.convert.encode import encode
from freehold.own.convert.problems import refuse
from freehold.own.convert.tensors import Planned

ALIGNMENT = 32
VERSION = 3
Progress = Callable[[int, int, str], None]
"""Called with bytes written, bytes of all, and what is being written."""
Add = Callable[[Any], None]
"""Adds keys to a gguf.GGUFWriter."""
Header = Callable[[Path, Sequence[Planned]], None]
"""Writes everything before the data."""


def write(out: Path, header: Header, tensors: Sequence[Planned], progress: Progress | None) -> int:
    """Writes the file and returns its size in bytes. Raises EngineError: no room, or values that cannot be stored."""
    total = sum(one.bytes for one in tensors)
    check_room(out, total)
    partial = out.with_name(f"{out.name}.partial")
    try:
        header(partial, tensors)
        with partial.open("r+b") as file:
            file.seek(0, os.SEEK_END)
            _pad(file)
            done = 0
            for tensor in tensors:
                if progress is not None:
                    progress(done, total, tensor.name)
                _data(file, tensor)
                done += tensor.bytes
            file.flush()
            os.fsync(file.fileno())
            size = file.tell()
        os.replace(partial, out)
    except OSError as error:
        raise EngineError(
            f"{out.name} cannot be written: {error.strerror}",
            code="disk_full" if error.errno in (28, 122) else "cannot_write",
            retry="no",
            hint="make room on the disk, or remove old models: freehold weights gc",
        ) from None
    finally:
        partial.unlink(missing_ok=True)
    if progress is not None:
        progress(total, total, "")
    return size


def check_room(out: Path, needed: int) -> None:
    """Raises EngineError when the disk of `out` has less than `needed` bytes free."""
    free = shutil.disk_usage(out.parent).free
    if free < needed:
        raise EngineError(
            f"{out.name} needs {needed / 1e9:.1f} GB, the disk has {free / 1e9:.1f} GB free",
            code="disk_full",
            retry="no",
            hint="make room on the disk, or remove old models: freehold weights gc",
        )


def add_keys(prefix: str, values: Mapping[str, Any]) -> Add:
    """Returns what writes `values` under `prefix`: str, bool, int (uint32), float (float32) or a list of one."""

    def add(writer: Any) -> None:
        for key, value in values.items():
            name = prefix + key
            if isinstance(value, str):
                writer.add_string(name, value)
            elif isinstance(value, bool):
                writer.add_bool(name, value)
            elif isinstance(value, int):
                writer.add_uint32(name, value)
            elif isinstance(value, float):
                writer.add_float32(name, value)
            else:
                writer.add_array(name, value)

    return add


def new_header(arch: str, keys: Sequence[Add]) -> Header:
    """Returns the header of a new model, laid out by the gguf package."""

    def header(path: Path, tensors: Sequence[Planned]) -> None:
        import numpy as np
        from gguf import GGMLQuantizationType, GGUFWriter

        writer = GGUFWriter(path, arch)
        try:
            for add in keys:
                add(writer)
            for one in tensors:
                kind = GGMLQuantizationType[one.kind]
                writer.add_tensor_info(one.name, one.shape, np.dtype(np.float32), one.bytes, kind)
            writer.write_header_to_file()
            writer.write_kv_data_to_file()
            writer.write_ti_data_to_file()
        finally:
            writer.close()

    return header


def kept_header(pairs: bytes, count: int) -> Header:
    """Returns a header with `count` key-value pairs that are taken over as they are, as bytes."""

    def header(path: Path, tensors: Sequence[Planned]) -> None:
        from gguf import GGMLQuantizationType

        table = bytearray()
        offset = 0
        for one in tensors:
            name = one.name.encode()
            sizes = [*reversed(one.shape)]
            kind = GGMLQuantizationType[one.kind].value
            table += struct.pack("<Q", len(name)) + name
            table += struct.pack(f"<I{len(sizes)}QIQ", len(sizes), *sizes, kind, offset)
            offset += one.bytes + -one.bytes % ALIGNMENT
        path.write_bytes(b"GGUF" + struct.pack("<IQQ", VERSION, len(tensors), count) + pairs + bytes(table))

    return header


def _data(file: Any, tensor: Planned) -> None:
    written = 0
    for part, dtype in tensor.parts():
        data = encode(tensor.name, part, dtype, tensor.kind)
        written += data.nbytes
        if written > tensor.bytes:
            break
        file.write(memoryview(data).cast("B") if data.size else b"")
    if written != tensor.bytes:
        raise refuse(
            f"tensor {tensor.name} came to {written} bytes, {list(tensor.shape)} of {tensor.kind} is {tensor.bytes}"
        )
    _pad(file)


def _pad(file: Any) -> None:
    file.write(b"\0" * (-file.tell() % ALIGNMENT))
