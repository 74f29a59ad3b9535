"""Conversion and quantisation in a child process: what they need in memory, and how they may end, is not ours.

The child is `python -m freehold.own.convert`. It reads one line of JSON, a `Task`, from its stdin, which stays open:
its end means that the parent is gone. On stdout it writes lines of JSON, {"progress": [done, of all, name]} in bytes,
and last {"report": {...}} or {"error": {...}}. stderr is for native code's words; those of llama.cpp's quantiser count
tensors, which is progress too.
"""

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
from collections import deque
from pathlib import Path
from typing import IO

import msgspec
from msgspec import Struct

from freehold.errors import EngineError
from freehold.own.convert.report import Report
from freehold.own.convert.writer import Progress

MODULE = "freehold.own.convert"
LAST_WORDS = 40
"""Lines of stderr that are kept."""
_STEP = re.compile(r"^\[\s*(\d+)/\s*(\d+)\]\s+(\S+)")
_KEPT = ("PATH", "HOME", "LANG", "TMPDIR", "TZ", "VIRTUAL_ENV", "FREEHOLD_HOME", "LD_LIBRARY_PATH", "LD_PRELOAD")
_KEPT_PREFIXES = ("LC_", "PYTHON", "OMP_", "GOMP_")


class Task(Struct, omit_defaults=True):
    """What the child does: `convert` a folder or `quantise` a file. See core.convert and quantise.quantise."""

    do: str
    source: str
    out: str
    kind: str = "auto"
    name: str | None = None
    licence: str | None = None
    link: str | None = None


class Refusal(Struct):
    """An EngineError on its way through a pipe."""

    message: str
    code: str
    hint: str | None = None


class Line(Struct, omit_defaults=True):
    """One line of the child's stdout."""

    progress: tuple[int, int, str] | None = None
    report: Report | None = None
    error: Refusal | None = None


def convert_apart(
    folder: Path,
    out: Path,
    *,
    outtype: str = "auto",
    name: str | None = None,
    licence: str | None = None,
    source: str | None = None,
    progress: Progress | None = None,
) -> Report:
    """Like core.convert, in a child process. Blocks; call it in a thread of its own."""
    return run(Task("convert", str(folder), str(out), outtype, name, licence, source), progress)


def quantise_apart(gguf: Path, out: Path, kind: str, *, progress: Progress | None = None) -> Report:
    """Like quantise.quantise, in a child process. Blocks; call it in a thread of its own."""
    return run(Task("quantise", str(gguf), str(out), kind), progress)


def run(task: Task, progress: Progress | None = None) -> Report:
    """Runs `task` in a child and returns its report. Raises the child's EngineError, or one that tells how it ended."""
    process = subprocess.Popen(  # noqa: S603, our own interpreter
        [sys.executable, "-m", MODULE],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={key: value for key, value in os.environ.items() if key in _KEPT or key.startswith(_KEPT_PREFIXES)},
        start_new_session=True,
    )
    words: deque[str] = deque(maxlen=LAST_WORDS)
    listener = threading.Thread(target=_listen, args=(process.stderr, words, progress), daemon=True)
    listener.start()
    try:
        return _outcome(process, task, progress, words, listener)
    finally:
        if process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        Path(f"{task.out}.partial").unlink(missing_ok=True)


def _outcome(
    process: "subprocess.Popen[bytes]",
    task: Task,
    progress: Progress | None,
    words: deque[str],
    listener: threading.Thread,
) -> Report:
    assert process.stdin is not None
    assert process.stdout is not None
    with contextlib.suppress(BrokenPipeError):
        process.stdin.write(msgspec.json.encode(task) + b"\n")
        process.stdin.flush()
    for raw in process.stdout:
        line = msgspec.json.decode(raw, type=Line)
        if line.progress is not None and progress is not None:
            progress(*line.progress)
        if line.report is not None:
            return line.report
        if line.error is not None:
            raise EngineError(line.error.message, code=line.error.code, retry="no", hint=line.error.hint)
    status = process.wait()
    listener.join(1.0)
    raise _ended(task, status, words)


def _ended(task: Task, status: int, words: deque[str]) -> EngineError:
    what = "conversion" if task.do == "convert" else "quantisation"
    if status == -signal.SIGKILL:
        message = f"the {what} was killed, most likely because the machine has no memory left"
    elif status < 0:
        message = f"the {what} crashed ({signal.Signals(-status).name})"
    else:
        message = f"the {what} ended with status {status} and said nothing"
    last = next((one for one in reversed(words) if one.strip()), "")
    return EngineError(
        message + (f": {last[:200]}" if last else ""),
        code="conversion_crashed",
        retry="no",
        hint="try again with more memory free; if it stays, pull a GGUF of this model instead",
    )


def _listen(pipe: IO[bytes] | None, words: deque[str], progress: Progress | None) -> None:
    if pipe is None:
        return
    with contextlib.suppress(ValueError, OSError):
        for raw in pipe:
            text = raw.decode(errors="replace").rstrip()
            words.append(text)
            match = _STEP.match(text)
            if match is not None and progress is not None:
                progress(int(match[1]), int(match[2]), match[3])


def main() -> int:
    """The child. Returns its exit status: 0 done, 1 refused, 2 no task."""
    from freehold.own.engines.llamacpp_worker import die_with_parent

    die_with_parent()
    answer = os.fdopen(os.dup(1), "wb", buffering=0)
    os.set_inheritable(answer.fileno(), False)
    os.dup2(2, 1)
    raw = sys.stdin.buffer.readline(1 << 20)
    if not raw:
        return 2
    threading.Thread(target=_watch_parent, daemon=True).start()

    def say(line: Line) -> None:
        answer.write(msgspec.json.encode(line) + b"\n")

    def progress(done: int, total: int, name: str) -> None:
        say(Line(progress=(done, total, name)))

    try:
        report = _do(msgspec.json.decode(raw, type=Task), progress)
    except EngineError as error:
        say(Line(error=Refusal(error.message, error.code, error.hint)))
        return 1
    except MemoryError:
        say(
            Line(error=Refusal("there is not enough memory for this", "no_memory", "free some, or use a smaller model"))
        )
        return 1
    say(Line(report=report))
    return 0


def _do(task: Task, progress: Progress) -> Report:
    source, out = Path(task.source), Path(task.out)
    if task.do == "quantise":
        from freehold.own.convert.quantise import quantise_here

        return quantise_here(source, out, task.kind, progress)
    from freehold.own.convert.core import convert

    return convert(
        source, out, outtype=task.kind, name=task.name, licence=task.licence, source=task.link, progress=progress
    )


def _watch_parent() -> None:
    while os.read(0, 4096):
        pass
    os._exit(3)
