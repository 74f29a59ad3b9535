"""Number formats of GGUF tensors: which type a tensor gets, and its bytes.

Norms, biases, routers and anything of one dimension stay F32, as llama.cpp expects. A row that is not a multiple of a
type's block (32 elements for the types here) cannot be stored in it and stays F16.
"""

from typing import Any

from freehold.own.convert.checkpoint import numbers
from freehold.own.convert.problems import refuse

BLOCK = 32
FILE_TYPES = {
    "F32": 0, "F16": 1, "Q4_0": 2, "Q4_1": 3, "Q8_0": 7, "Q5_0": 8, "Q5_1": 9, "BF16": 32, "MXFP4": 38,
}  # fmt: skip
"""general.file_type by kind (enum llama_ftype of llama.h)."""
PLAIN = ("F32", "F16", "BF16")
MAX_F16 = 65504.0
_ROUTERS = ("ffn_gate_inp.weight", "ffn_gate_inp_shexp.weight")


def kind_of(name: str, shape: tuple[int, ...], kind: str, exact: frozenset[str] = frozenset()) -> str:
    """Returns the type for tensor `name` of a file of type `kind`."""
    short = name.split(".", 2)[2] if name.startswith("blk.") else name
    if len(shape) < 2 or short.endswith(("_norm.weight", ".bias")) or short in _ROUTERS or short in exact:
        return "F32"
    if kind not in PLAIN and shape[-1] % BLOCK:
        return "F16"
    return kind


def size_of(shape: tuple[int, ...], kind: str) -> int:
    """Returns the bytes of a tensor of `shape` in `kind`."""
    from gguf import GGML_QUANT_SIZES, GGMLQuantizationType

    block, per_block = GGML_QUANT_SIZES[GGMLQuantizationType[kind]]
    elements = 1
    for one in shape:
        elements *= one
    return elements // block * per_block


def encode(name: str, array: Any, dtype: str, kind: str) -> Any:
    """Returns `array` of the stored type `dtype` as an array whose bytes are of type `kind`.

    Raises EngineError for values that are not numbers, and for those that F16 cannot hold.
    """
    import numpy as np

    if dtype == "raw":
        return array
    check_finite(name, array, dtype)
    if dtype == kind:
        return np.ascontiguousarray(array)
    values = numbers(np.ascontiguousarray(array), dtype)
    if kind == "F32":
        return values
    if kind == "BF16":
        bits = values.view(np.uint32)
        return ((bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) >> np.uint32(16)).astype(
            np.uint16
        )
    if kind == "F16":
        if values.size and max(float(values.max()), -float(values.min())) > MAX_F16:
            raise refuse(f"tensor {name} has values too large for F16", "convert with outtype bf16 or f32")
        return values.astype(np.float16)
    from gguf import GGMLQuantizationType, quants

    return quants.quantize(values, GGMLQuantizationType[kind])


def check_finite(name: str, array: Any, dtype: str) -> None:
    """Raises EngineError when `array` holds a value that is not a finite number."""
    import numpy as np

    if dtype == "BF16":
        good = not array.size or int((array & np.uint16(0x7FFF)).max()) < 0x7F80
    elif dtype in ("F8_E4M3", "F8_E5M2"):
        good = bool(np.isfinite(numbers(array, dtype)).all())
    elif array.dtype.kind == "f":
        good = bool(np.isfinite(array).all())
    else:
        good = True
    if not good:
        raise refuse(f"tensor {name} holds values that are not finite numbers (NaN or infinity)")
