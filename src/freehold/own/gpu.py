"""What nvidia-smi says of the GPUs: memory in all, free, and by process. Nothing where there is none.

`--query-gpu` and `--query-compute-apps` with `--format=csv,noheader,nounits` give MiB; the fields are documented by
`nvidia-smi --help-query-gpu`. A field may read `[N/A]`, `[Not Supported]` or `[Insufficient Permissions]`, and inside a
container the processes may be hidden or carry the host's ids: what cannot be read is left out.
"""

import shutil
import subprocess

from freehold.own.engine import Gpu

MAX_GPUS = 256
_MIB = 1 << 20


def gpus(timeout: float = 5.0) -> tuple[Gpu, ...]:
    """Returns the GPUs, or () where there are none or nothing is known of them. Blocks up to 2 x `timeout` seconds."""
    command = shutil.which("nvidia-smi")
    if command is None:
        return ()
    form = "--format=csv,noheader,nounits"
    said = _run([command, "--query-gpu=index,uuid,name,memory.total,memory.free", form], timeout)
    if not said:
        return ()
    return read(said, _run([command, "--query-compute-apps=gpu_uuid,pid,used_memory", form], timeout))


def read(said: str, processes: str = "") -> tuple[Gpu, ...]:
    """Parses the two answers. A line that is no GPU is passed over."""
    by_uuid: dict[str, dict[int, int]] = {}
    for line in processes.splitlines():
        fields = _fields(line)
        if len(fields) == 3 and fields[1].isdigit() and fields[2].isdigit():
            own = by_uuid.setdefault(fields[0], {})
            own[int(fields[1])] = own.get(int(fields[1]), 0) + int(fields[2]) * _MIB
    found = []
    for line in said.splitlines()[:MAX_GPUS]:
        fields = _fields(line)
        if len(fields) < 5 or not (fields[0].isdigit() and fields[-1].isdigit() and fields[-2].isdigit()):
            continue
        total, free = int(fields[-2]) * _MIB, int(fields[-1]) * _MIB
        if total > 0 and free <= total:
            # A name may hold a comma.
            name = ", ".join(fields[2:-2])[:100]
            found.append(Gpu(int(fields[0]), name, total, free, by_uuid.get(fields[1], {})))
    return tuple(found)


def _fields(line: str) -> list[str]:
    return [field.strip() for field in line.split(",")]


def _run(command: list[str], timeout: float) -> str:
    try:
        done = subprocess.run(command, capture_output=True, timeout=timeout, check=True)  # noqa: S603
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout[: 1 << 20].decode(errors="replace")
