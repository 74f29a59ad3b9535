"""`quantise`: a GGUF file becomes a smaller one.

    Q8_0 Q4_0 Q4_1 Q5_0 Q5_1 MXFP4 F16 BF16 F32    here, with the gguf package's own quantisers, part by part
    Q2_K .. Q6_K, IQ4_XS, IQ4_NL                    by llama.cpp, through cyllama, always in a child process

The first kind keeps output weights (the embedding, where it serves as output) at 8 bits: they decide each token alone.
MXFP4 is for the feed-forward weights; everything else becomes Q8_0. A row that is not a multiple of a type's block
stays F16 (32 elements, here), or becomes a legacy type of about the same size (256 elements, the K kinds), with a note.
Keys are taken over as bytes, so nothing is lost that this does not know.
"""

import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from freehold.errors import EngineError
from freehold.own.convert.encode import FILE_TYPES, PLAIN, kind_of, size_of
from freehold.own.convert.problems import INSTALL, need_packages, refuse
from freehold.own.convert.report import Report
from freehold.own.convert.tensors import Parts, Planned, rows_of
from freehold.own.convert.writer import Progress, check_room, kept_header, write
from freehold.own.gguf import ModelFile, read_header
from freehold.own.quantisations import BITS

LEGACY = ("Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "MXFP4")
BY_LLAMA_CPP = {
    "Q2_K": 10, "Q3_K_S": 11, "Q3_K_M": 12, "Q3_K_L": 13, "Q4_K_S": 14, "Q4_K_M": 15, "Q5_K_S": 16, "Q5_K_M": 17,
    "Q6_K": 18, "IQ4_NL": 25, "IQ4_XS": 30,
}  # fmt: skip
"""Kinds that llama.cpp makes, with their numbers (enum llama_ftype of llama.h)."""
KINDS = (*LEGACY, *BY_LLAMA_CPP)
HEADER = 24
"""Bytes before the first key: magic, version, counts."""
Run = Callable[[Path, Path, str, Progress | None], None]


def quantise(gguf: Path, out: Path, kind: str, progress: Progress | None = None) -> Report:
    """Writes `gguf` as `out` in `kind`, one of KINDS or F16, BF16, F32.

    Raises EngineError: bad_weights for a file that is broken, split or quantised already, disk_full, missing_package,
    no_such_quantisation.
    """
    from freehold.own.convert.child import quantise_apart

    if kind.upper() in BY_LLAMA_CPP:
        return quantise_apart(gguf, out, kind, progress=progress)
    return quantise_here(gguf, out, kind, progress)


def quantise_here(gguf: Path, out: Path, kind: str, progress: Progress | None = None) -> Report:
    """Like `quantise`, all in this process: a crash of llama.cpp would end it."""
    started = time.monotonic()
    need_packages()
    kind = kind.upper()
    if kind not in KINDS and kind not in PLAIN:
        raise EngineError(
            f"{kind[:40]} is not a quantisation that can be made here",
            code="no_such_quantisation",
            retry="no",
            hint=f"one of {', '.join((*KINDS, *PLAIN))}",
        )
    model = read_header(gguf)
    _check(model, gguf)
    if kind in BY_LLAMA_CPP:
        check_room(out, int(model.parameters * BITS[kind] / 8))
        _by_llama_cpp(gguf, out, kind)
        made = read_header(out)
        notes = _fallbacks(out, kind)
    else:
        notes = _with_gguf(gguf, out, kind, progress)
        made = read_header(out)
    return Report(
        path=str(out),
        architecture=made.architecture,
        family=made.architecture,
        parameters=made.parameters,
        size=made.size,
        quantisation=kind,
        tensors=made.tensors,
        context=made.context or 0,
        vocabulary=made.vocabulary or 0,
        tokenizer=str(made.metadata.get("tokenizer.ggml.model") or ""),
        seconds=round(time.monotonic() - started, 3),
        notes=tuple(notes),
    )


def _check(model: ModelFile, gguf: Path) -> None:
    parts = model.metadata.get("split.count")
    if isinstance(parts, int) and parts > 1:
        raise refuse(f"{gguf.name} is one of {parts} parts of a model", "quantise the model before it is split")
    if model.quantisation not in PLAIN and model.quantisation != "MXFP4":
        raise refuse(
            f"{gguf.name} is quantised already ({model.quantisation}); quantising twice loses more than the size saves",
            "begin with the F16, BF16 or F32 file, or with the safetensors repository",
        )


def _with_gguf(gguf: Path, out: Path, kind: str, progress: Progress | None) -> list[str]:
    """Quantises with the gguf package's own functions. Returns notes."""
    reader = _reader(gguf)
    names = {one.name for one in reader.tensors}
    output = "output.weight" if "output.weight" in names else "token_embd.weight"
    experts = any("_exps." in name for name in names)
    planned = [_planned(one, kind, output, experts) for one in reader.tensors]
    odd = [one.name for one in planned if one.kind == "F16" and kind not in PLAIN]
    pairs, count = _pairs(reader, gguf, kind)
    write(out, kept_header(pairs, count), planned, progress)
    if not odd:
        return []
    return [f"{len(odd)} of {len(planned)} tensors stay F16: their rows are not a multiple of 32"]


def _reader(gguf: Path) -> Any:
    from gguf import GGUFReader

    try:
        return GGUFReader(gguf)
    except (ValueError, KeyError, IndexError, OverflowError) as error:
        raise refuse(f"{gguf.name} cannot be read: {str(error)[:120]}") from None


def _planned(tensor: Any, kind: str, output: str, experts: bool) -> Planned:
    shape = tuple(int(one) for one in reversed(tensor.shape))
    source = tensor.tensor_type.name
    wanted = kind_of(tensor.name, shape, _wanted(tensor.name, kind, output, experts))
    if source not in PLAIN or (source == "F32" and len(shape) < 2):
        wanted = source
    return Planned(tensor.name, shape, wanted, size_of(shape, wanted), _source(tensor, shape, source, wanted))


def _wanted(name: str, kind: str, output: str, experts: bool) -> str:
    if kind in PLAIN:
        return kind
    if kind == "MXFP4":
        return "MXFP4" if ("_exps." if experts else ".ffn_") in name else "Q8_0"
    return "Q8_0" if name == output else kind


def _source(tensor: Any, shape: tuple[int, ...], source: str, wanted: str) -> Callable[[], Parts]:
    def parts() -> Parts:
        import numpy as np

        if source not in PLAIN:
            yield tensor.data, "raw"
            return
        raw = np.ascontiguousarray(tensor.data).view(np.uint8).reshape(-1)
        data = raw.view({"F32": "<f4", "F16": "<f2", "BF16": "<u2"}[source]).reshape(shape)
        for part in rows_of(data):
            yield part, source

    return parts


def _pairs(reader: Any, gguf: Path, kind: str) -> tuple[bytes, int]:
    """Returns the key-value pairs of the file as bytes, with the new file type, and their number."""
    fields = [one for name, one in reader.fields.items() if not name.startswith("GGUF.")]
    end = reader.tensors[0].field.offset
    with gguf.open("rb") as file:
        pairs = bytearray(file.read(end)[HEADER:])
    added = {"general.file_type": FILE_TYPES[kind]}
    if kind not in PLAIN:
        added["general.quantization_version"] = 2
    count = len(fields)
    for key, value in added.items():
        field = reader.fields.get(key)
        if field is not None and field.types and field.types[0].name == "UINT32":
            struct.pack_into("<I", pairs, field.offset - HEADER + 8 + len(key) + 4, value)
        elif field is None:
            pairs += struct.pack("<Q", len(key)) + key.encode() + struct.pack("<II", 4, value)
            count += 1
    return bytes(pairs), count


def _by_llama_cpp(gguf: Path, out: Path, kind: str) -> None:
    try:
        from cyllama.llama import llama_cpp
    except ImportError as error:
        raise EngineError(
            f"{kind} is made by llama.cpp, through the package cyllama, which cannot be imported: {error}",
            code="missing_package",
            retry="no",
            hint=f"{INSTALL}, or ask for one of {', '.join(LEGACY)}, which need no llama.cpp",
        ) from None
    params = llama_cpp.LlamaModelQuantizeParams()
    params.ftype = BY_LLAMA_CPP[kind]
    partial = out.with_name(f"{out.name}.partial")
    try:
        llama_cpp.model_quantize(str(gguf), str(partial), params)
        partial.replace(out)
    except RuntimeError as error:
        raise refuse(
            f"llama.cpp could not quantise {gguf.name} to {kind}: {error}",
            f"its words are in the log; {', '.join(LEGACY)} are made without it",
        ) from None
    finally:
        partial.unlink(missing_ok=True)


def _fallbacks(out: Path, kind: str) -> list[str]:
    """Returns a note where rows did not fit the blocks of 256 elements that the K kinds have."""
    tensors = _reader(out).tensors
    matrices = [one for one in tensors if len(one.shape) > 1 and one.tensor_type.name != "F32"]
    other = [one for one in matrices if int(one.shape[0]) % 256 and one.tensor_type.name != kind]
    if not other:
        return []
    kinds = ", ".join(sorted({one.tensor_type.name for one in other}))
    return [
        f"{len(other)} of {len(matrices)} matrices have rows that are not a multiple of 256, so {kind} is not possible "
        f"there: they are {kinds}"
    ]
