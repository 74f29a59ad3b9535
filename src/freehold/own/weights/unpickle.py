"""The child that reads pickles: `python -m freehold.own.weights.unpickle`. See pickled.py for its parent.

It reads one line of JSON from stdin, a `Task`, and writes one line to stdout: a `Told`, or a `Refusal`. When stdin
ends, its parent is gone and it ends too.

Strangers' bytes are given to one function: torch.load(weights_only=True, mmap=True). Its unpickler knows tensors and
plain containers and refuses every other name, so no code in a file runs. Should that ever fail, what the child could do
is little: its environment holds no keys, it may use so much memory, time and disk, and it may neither connect nor start
a program (an audit hook, which cannot be taken back; on Linux, where the kernel lets it, a network namespace of its
own besides).
"""

import contextlib
import ctypes
import errno
import os
import re
import resource
import sys
import threading
from pathlib import Path
from typing import Any, NoReturn

import msgspec
from msgspec import Struct

from freehold.own.engines.llamacpp_worker import die_with_parent

NAMES = {
    "float64": "F64", "float32": "F32", "float16": "F16", "bfloat16": "BF16", "float8_e4m3fn": "F8_E4M3",
    "float8_e5m2": "F8_E5M2", "int64": "I64", "int32": "I32", "int16": "I16", "int8": "I8", "uint8": "U8",
    "uint16": "U16", "uint32": "U32", "uint64": "U64", "bool": "BOOL",
}  # fmt: skip
"""torch's types as safetensors calls them."""
INSIDE = ("state_dict", "model_state_dict", "model", "module")
"""Where training programs keep the weights, among other things that a checkpoint holds."""
CHUNK = 16 << 20
MOST_INDEX = 64 << 20
_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000
_FORBIDDEN = (
    "socket.", "subprocess.", "os.system", "os.exec", "os.posix_spawn", "os.fork", "os.spawn", "os.startfile",
    "os.putenv", "ctypes.", "pty.",
)  # fmt: skip
_GLOBAL = re.compile(r"GLOBAL ([\w.]+)")


class Pickled(Struct):
    """One pickle: `path` to read, called `name`, and `out`, the safetensors file to write."""

    name: str
    path: str
    out: str


class Task(Struct):
    """`index` is the path of the repository's index, "" where it has none. Bytes and seconds."""

    files: list[Pickled]
    index: str
    memory: int
    seconds: int
    disk: int


class Told(Struct):
    """What was made. `tensors` are the names in each file of the task."""

    tensors: list[list[str]]
    torch: str


class Refusal(Struct):
    error: str
    code: str
    hint: str | None = None


class Refused(Exception):
    """The files are not what they should be."""

    def __init__(self, message: str, code: str = "bad_weights", hint: str | None = None) -> None:
        super().__init__(message)
        self.said = Refusal(message, code, hint)


def main() -> int:
    """Returns the exit status: 0 done, 1 refused."""
    die_with_parent()
    answer = os.dup(1)
    os.set_inheritable(answer, False)
    os.dup2(2, 1)
    line = sys.stdin.buffer.readline(16 << 20)
    if not line:
        return 0
    task = msgspec.json.decode(line, type=Task)
    _leave_network()
    threading.Thread(target=_watch_parent, daemon=True).start()
    said: Told | Refusal
    try:
        said = _work(task)
    except Refused as refused:
        said = refused.said
    except MemoryError:
        said = Refusal("there is not enough memory to read it", "no_memory", "free some and pull again")
    except OSError as error:
        code = "disk_full" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "bad_weights"
        said = Refusal(f"it could not be read or written: {error.strerror or error}", code)
    with os.fdopen(answer, "wb") as out:
        out.write(msgspec.json.encode(said) + b"\n")
    sys.stderr.flush()
    os._exit(0 if isinstance(said, Told) else 1)


def _work(task: Task) -> Told:
    import torch

    torch.set_num_threads(1)
    _limit(task)
    sys.addaudithook(_forbid)
    made = []
    for one in task.files:
        tensors = _checked(one, _loaded(one))
        _write(Path(one.out), tensors)
        made.append(sorted(tensors))
    _check_index(task, made)
    return Told(made, str(torch.__version__))


def _loaded(one: Pickled) -> Any:
    import torch

    try:
        return torch.load(one.path, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:  # torch raises UnpicklingError, RuntimeError, and whatever a broken file leads to
        _explain(one, str(error), type(error).__name__)


def _explain(one: Pickled, words: str, kind: str) -> NoReturn:
    if (found := _GLOBAL.search(words)) is not None:
        raise Refused(
            f"{one.name} names {found[1][:100]}, which is code and no weights: torch refused it, and nothing of it ran",
            "pickle_refused",
            "no option allows this; tell the hub that the repository may be malicious",
        ) from None
    if "TorchScript" in words:
        raise Refused(
            f"{one.name} is a TorchScript program, no weights: torch refused to load it", "pickle_refused"
        ) from None
    if "mmap can only be used" in words:
        raise Refused(
            f"{one.name} is not in the format that torch.save has written since torch 1.6, and no other can be read "
            "without running what is in it",
            hint="ask for safetensors, or save it again with a newer torch",
        ) from None
    line = " ".join(words.partition("\n")[0].split())[:200]
    if kind == "UnpicklingError":
        raise Refused(f"{one.name} holds something else than weights: torch refused it ({line})", "pickle_refused")
    raise Refused(f"{one.name} cannot be read: {kind}: {line}") from None


def _checked(one: Pickled, value: Any) -> dict[str, Any]:
    """Returns the tensors by name, each of a known type and no larger than what is stored of it."""
    found = _tensors(value)
    if found is None:
        raise Refused(f"{one.name} holds no weights by name")
    stored = Path(one.path).stat().st_size
    total = 0
    for name, tensor in found.items():
        if not name.isprintable() or not name or len(name) > 500:
            raise Refused(f"{one.name}: {name[:80]!r} cannot be the name of a tensor")
        dense = tensor.device.type == "cpu" and str(tensor.layout) == "torch.strided" and not tensor.is_quantized
        if not dense or _dtype(tensor) not in NAMES:
            raise Refused(f"{one.name}: {name[:100]} is of a kind that safetensors do not have ({tensor.dtype})")
        size = tensor.numel() * tensor.element_size()
        total += size
        if size > tensor.untyped_storage().nbytes():
            raise Refused(f"{one.name}: {name[:100]} is larger than what is stored of it")
    if total > 2 * stored:
        raise Refused(f"{one.name}: its tensors take {total:,} bytes, and the file has {stored:,}")
    return found


def _tensors(value: Any) -> dict[str, Any] | None:
    import torch

    def weights(one: Any) -> bool:
        return (
            isinstance(one, dict)
            and bool(one)
            and all(isinstance(name, str) and isinstance(tensor, torch.Tensor) for name, tensor in one.items())
        )

    inside = [value.get(key) for key in INSIDE] if isinstance(value, dict) else []
    for one in (value, *inside):
        if weights(one):
            return {name: tensor.detach() for name, tensor in one.items()}
    return None


def _dtype(tensor: Any) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _write(out: Path, tensors: dict[str, Any]) -> None:
    """Writes a safetensors file, one tensor after the other, without holding more than one in memory."""
    order = sorted(tensors, key=lambda name: (-tensors[name].element_size(), name))
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    at = 0
    for name in order:
        size = tensors[name].numel() * tensors[name].element_size()
        header[name] = {
            "dtype": NAMES[_dtype(tensors[name])], "shape": list(tensors[name].shape), "data_offsets": [at, at + size]
        }  # fmt: skip
        at += size
    text = msgspec.json.encode(header)
    text += b" " * (-len(text) % 8)
    with out.open("xb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name in order:
            _write_one(file, tensors[name])


def _write_one(file: Any, tensor: Any) -> None:
    import torch

    if tensor.numel() == 0:
        return
    data = memoryview(tensor.contiguous().flatten().view(torch.uint8).numpy())
    for start in range(0, len(data), CHUNK):
        file.write(data[start : start + CHUNK])


def _check_index(task: Task, made: list[list[str]]) -> None:
    """Every tensor is in one file, and in the one that the repository's index names."""
    places: dict[str, str] = {}
    for one, names in zip(task.files, made, strict=True):
        for name in names:
            if name in places:
                raise Refused(f"{name[:100]} is in {places[name]} and in {one.name}")
            places[name] = one.name
    if not task.index:
        return
    path = Path(task.index)
    if path.stat().st_size > MOST_INDEX:
        raise Refused("the index is too long")
    try:
        told = msgspec.json.decode(path.read_bytes(), type=_Index).weight_map
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Refused(f"the index cannot be read: {error}") from None
    wrong = next((name for name, file in told.items() if places.get(name) != file), None)
    if wrong is not None:
        raise Refused(f"{wrong[:100]} is not in {told[wrong][:100]}, where the index has it")


class _Index(Struct):
    weight_map: dict[str, str]


# What the child may do


def _limit(task: Task) -> None:
    """Memory past what torch itself has taken by now, seconds of processor time, and bytes of one file."""
    for kind, limit in (
        (resource.RLIMIT_DATA, task.memory),
        (resource.RLIMIT_CPU, task.seconds),
        (resource.RLIMIT_FSIZE, task.disk),
        (resource.RLIMIT_CORE, 0),
    ):
        _, hard = resource.getrlimit(kind)
        if hard == resource.RLIM_INFINITY or limit < hard:
            resource.setrlimit(kind, (limit, limit))


def _forbid(event: str, arguments: tuple[Any, ...]) -> None:
    if event.startswith(_FORBIDDEN):
        raise PermissionError(f"{event} is not for whoever reads pickles")


def _leave_network() -> None:
    """Goes where there is no network but an own, dead loopback; not every kernel lets an ordinary user do so."""
    if sys.platform != "linux":
        return
    user, group = os.getuid(), os.getgid()
    if ctypes.CDLL(None, use_errno=True).unshare(_CLONE_NEWUSER | _CLONE_NEWNET) != 0:
        return
    with contextlib.suppress(OSError):
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
        Path("/proc/self/gid_map").write_text(f"{group} {group} 1")


def _watch_parent() -> None:
    while os.read(0, 4096):
        pass
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main())
