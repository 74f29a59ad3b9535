"""Pickles that a person allowed: safetensors are made of them, and they alone enter the store.

A pickle is a program: reading one the usual way runs what its author wrote. So none is fetched unless a person wrote
`--pickles` or `pickles: true` for that model, and none is ever read in this process. A child (unpickle.py) reads it
with torch's restricted unpickler, which refuses all that is not weights, and writes safetensors. What the child wrote
is read as defensively as any stranger's file when it gets into the store. The pickle itself is dropped after that.
"""

import contextlib
import importlib.util
import os
import signal
import site
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import msgspec
from msgspec import structs

from freehold.errors import EngineError
from freehold.own.weights.choose import PICKLE_INDEX
from freehold.own.weights.plan import Plan
from freehold.own.weights.store import Artefact, FileRef, Hold, Store
from freehold.own.weights.unpickle import Pickled, Refusal, Task, Told

MODULE = "freehold.own.weights.unpickle"
HINT = "pip install 'freehold[reference]'"
BASE_MEMORY = 2 << 30
"""Bytes for torch and its libraries; a mapped file counts too, and so does a copy of one tensor."""
BASE_TIME = 180
"""Seconds to start torch on a slow machine."""
RATE = 10 << 20
"""Bytes a second, read and written, on the slowest disk worth waiting for."""
_KEPT = ("PATH", "LANG", "TZ", "VIRTUAL_ENV", "LD_LIBRARY_PATH", "LD_PRELOAD", "PYTHONPATH", "PYTHONHOME")


def refuse_unreadable(plan: Plan) -> None:
    """Raises EngineError (missing_package) where the plan has pickles and there is nothing to read them with."""
    if not plan.pickles:
        return
    for package in ("torch", "numpy"):
        if importlib.util.find_spec(package) is None:
            raise EngineError(
                f"reading pickles needs {package}, which is not installed",
                code="missing_package",
                retry="no",
                hint=HINT,
            )


def unpickled(plan: Plan, refs: Mapping[str, FileRef], store: Store, hold: Hold) -> dict[str, FileRef]:
    """Makes safetensors of the plan's pickles, whose contents are `refs`. Returns the new files by name; blocks.

    Raises EngineError: pickle_refused for code in a file, bad_weights for what is none, no_memory, disk_full.
    """
    names = sorted(file.name for file in plan.files if file.part == "pickle" and file.name != PICKLE_INDEX)
    room = hold.workroom() / "unpickled"
    room.mkdir(mode=0o700)
    count = len(names)
    outs = (
        ["model.safetensors"]
        if count == 1
        else [f"model-{n:05}-of-{count:05}.safetensors" for n in range(1, count + 1)]
    )
    files = [
        Pickled(name, str(store.blob(refs[name].sha256)), str(room / out))
        for name, out in zip(names, outs, strict=True)
    ]
    index = str(store.blob(refs[PICKLE_INDEX].sha256)) if PICKLE_INDEX in refs else ""
    largest, whole = max(refs[name].size for name in names), sum(refs[name].size for name in names)
    task = Task(files, index, BASE_MEMORY + 3 * largest, BASE_TIME + 2 * whole // RATE, 2 * largest + (64 << 20))
    told = run(task, room)
    if count > 1:
        places = {name: out for out, tensors in zip(outs, told.tensors, strict=True) for name in tensors}
        outs.append("model.safetensors.index.json")
        (room / outs[-1]).write_bytes(msgspec.json.encode({"metadata": {}, "weight_map": places}))
    return {out: store.adopt(hold, room / out) for out in outs}


def described(plan: Plan, refs: Mapping[str, FileRef], artefact: Artefact) -> Artefact:
    """Returns an artefact that was made of pickles, saying so: their names and hashes are its evidence."""
    pickled = {file.name: refs[file.name].sha256 for file in plan.files if file.part == "pickle"}
    if not pickled or artefact.projector:
        return artefact
    evidence = {"pickles": pickled, "read_with": "torch.load(weights_only=True, mmap=True)"}
    return structs.replace(artefact, made="converted", evidence=evidence)


def drop(plan: Plan, refs: Mapping[str, FileRef], store: Store) -> None:
    """Takes the pickles out of the store; what cannot go now, `freehold weights gc` removes later."""
    with contextlib.suppress(EngineError, OSError):
        store.drop(refs[file.name].sha256 for file in plan.files if file.part == "pickle")


def made_of(artefact: Artefact) -> Mapping[str, Any]:
    """Returns the pickles that an artefact was made of: sha256 by name."""
    found = (artefact.evidence or {}).get("pickles")
    return found if isinstance(found, dict) else {}


def run(task: Task, room: Path) -> Told:
    """Runs the child, which may write into `room`. Raises its refusal, or EngineError that tells how it ended."""
    process = subprocess.Popen(  # noqa: S603, our own interpreter
        [sys.executable, "-m", MODULE],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env=environment(os.environ, room), cwd=room, start_new_session=True,
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    words: deque[str] = deque(maxlen=20)
    listener = threading.Thread(target=_listen, args=(process.stderr, words), daemon=True)
    listener.start()
    late = threading.Event()
    timer = threading.Timer(task.seconds, _end_late, (process, late))
    timer.daemon = True
    timer.start()
    try:
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(msgspec.json.encode(task) + b"\n")
            process.stdin.flush()
        line = process.stdout.readline()
        if not line.endswith(b"\n"):
            status = process.wait()
            listener.join(1.0)
            raise _ended(status, words, task, late.is_set())
    finally:
        timer.cancel()
        _kill(process)
        process.wait()
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
    if line.startswith(b'{"error"'):
        refusal = msgspec.json.decode(line, type=Refusal)
        raise EngineError(refusal.error, code=refusal.code, retry="no", hint=refusal.hint)
    return msgspec.json.decode(line, type=Told)


def environment(env: Mapping[str, str], room: Path) -> dict[str, str]:
    """Returns what the child may see: where Python and its libraries are, and no home, no token, no proxy."""
    kept = {name: value for name, value in env.items() if name in _KEPT or name.startswith("LC_")}
    base = site.getuserbase()
    return kept | {"HOME": str(room), "TMPDIR": str(room), "PYTHONUSERBASE": base, "OMP_NUM_THREADS": "1"}


def _ended(status: int, words: deque[str], task: Task, late: bool) -> EngineError:
    names = ", ".join(one.name for one in task.files[:3])
    if late or status == -signal.SIGXCPU:
        message = f"reading {names} took more than {task.seconds} s and was ended"
    elif status == -signal.SIGKILL:
        message = f"reading {names} was killed, most likely because the machine has no memory left"
    elif status == -signal.SIGXFSZ:
        message = f"{names}: what was to be written is larger than the file it comes from"
    elif status < 0:
        message = f"reading {names} crashed ({signal.Signals(-status).name})"
    else:
        last = next((one for one in reversed(words) if one.strip()), "")
        message = f"reading {names} ended with status {status}" + (f": {last[:200]}" if last else "")
    return EngineError(message, code="bad_weights", retry="no", hint="ask for safetensors or GGUF of this model")


def _end_late(process: "subprocess.Popen[bytes]", late: threading.Event) -> None:
    late.set()
    _kill(process)


def _kill(process: "subprocess.Popen[bytes]") -> None:
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)


def _listen(pipe: IO[bytes] | None, words: deque[str]) -> None:
    if pipe is None:
        return
    with contextlib.suppress(ValueError, OSError):
        for raw in pipe:
            words.append(raw.decode(errors="replace").rstrip())
