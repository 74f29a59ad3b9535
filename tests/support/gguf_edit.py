"""Changes a GGUF file: other values for some keys, other numbers for some tensors. For tests that need a broken one."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

_SKIPPED = ("GGUF.", "general.architecture")


def edit(
    source: Path,
    target: Path,
    *,
    keys: Mapping[str, Any] | None = None,
    tensors: Mapping[str, Callable[[Any], Any]] | None = None,
) -> Path:
    """Writes `source` to `target` with changes. A key of None is left out; a tensor's function gets and gives numpy
    arrays of its stored type. What is named must be there."""
    import gguf

    keys, tensors = dict(keys or {}), dict(tensors or {})
    reader = gguf.GGUFReader(source)
    writer = gguf.GGUFWriter(target, reader.fields["general.architecture"].contents())
    for name, field in reader.fields.items():
        if name.startswith(_SKIPPED):
            continue
        value = keys.pop(name) if name in keys else field.contents()
        if value is None:
            continue
        kind, *inner = field.types
        writer.add_key_value(name, value, kind, inner[0] if inner else None)
    for tensor in reader.tensors:
        data = tensors.pop(tensor.name)(tensor.data) if tensor.name in tensors else tensor.data
        writer.add_tensor(tensor.name, data, raw_dtype=tensor.tensor_type)
    assert not keys, f"{source.name} has no {sorted(keys)}"
    assert not tensors, f"{source.name} has no {sorted(tensors)}"
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return target
