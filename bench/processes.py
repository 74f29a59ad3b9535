"""Processes under measurement: started, pinned, their CPU time read from the kernel's accounting, ended by id."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterable
from pathlib import Path

PYTHON = sys.executable


class Process:
    """A child with everything it starts; `cpu` counts the whole tree."""

    def __init__(
        self,
        command: list[str],
        *,
        core: int | None,
        env: dict[str, str] | None = None,
        log: Path,
        cwd: Path | None = None,
    ) -> None:
        def pin() -> None:
            if core is not None:
                os.sched_setaffinity(0, {core})

        self._log = log.open("wb")
        self.popen = subprocess.Popen(
            command,
            env={**os.environ, **(env or {})},
            stdout=subprocess.PIPE,
            stderr=self._log,
            preexec_fn=pin,
            start_new_session=True,
            cwd=cwd,
        )

    def line(self) -> dict[str, object]:
        """Reads the one JSON line that our own commands print when ready."""
        assert self.popen.stdout is not None
        text = self.popen.stdout.readline()
        if not text:
            raise RuntimeError(f"{self.popen.args} ended: {Path(self._log.name).read_text()[-2000:]}")
        value: dict[str, object] = json.loads(text)
        return value

    def tree(self) -> list[int]:
        return descendants(self.popen.pid)

    def stop(self) -> None:
        if self.popen.poll() is None:
            self.popen.send_signal(signal.SIGTERM)
            try:
                self.popen.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(self.popen.pid, signal.SIGKILL)
                self.popen.wait()
        if self.popen.stdout is not None:
            self.popen.stdout.close()
        self._log.close()


def descendants(pid: int) -> list[int]:
    """The process and all its children, as the kernel has them now."""
    found, queue = [], [pid]
    while queue:
        current = queue.pop()
        found.append(current)
        try:
            for task in Path(f"/proc/{current}/task").iterdir():
                queue += [int(child) for child in (task / "children").read_text().split()]
        except OSError:
            continue
    return found


def cpu_seconds(pids: Iterable[int]) -> float:
    """CPU seconds used so far: user and system, from the scheduler's nanosecond accounting of every thread."""
    total = 0
    for pid in pids:
        try:
            for task in Path(f"/proc/{pid}/task").iterdir():
                total += int((task / "schedstat").read_text().split()[0])
        except OSError:
            continue
    return total / 1e9


def memory_mb(pid: int) -> float:
    """Resident memory in MB, shared pages counted in part (PSS) where the kernel says so."""
    try:
        for text in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if text.startswith("Rss:"):
                return int(text.split()[1]) / 1024
    except OSError:
        pass
    return 0.0


def wait_for(url: str, seconds: float = 60.0, headers: dict[str, str] | None = None) -> None:
    """Waits until something answers at `url`, whatever it says."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            urllib.request.urlopen(urllib.request.Request(url, headers=headers or {}), timeout=2)
            return
        except urllib.error.HTTPError:
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def need(program: str, package: str) -> str:
    """Returns the path of a system program, installing its Debian package where that is possible."""
    path = shutil.which(program)
    if path is None and os.geteuid() == 0 and shutil.which("apt-get"):
        print(f"installing {package}", file=sys.stderr)
        subprocess.run(["apt-get", "update", "-qq"], check=True, stdout=subprocess.DEVNULL)
        subprocess.run(["apt-get", "install", "-y", "-qq", package], check=True, stdout=subprocess.DEVNULL)
        path = shutil.which(program)
    if path is None:
        raise SystemExit(f"error: {program} is needed\nhint: apt-get install {package}")
    return path


def quiet_cpu(pids: Iterable[int], seconds: float = 1.0) -> float:
    """Waits until a process tree has done its leftover work (ledger ingestion); returns its CPU seconds then."""
    pids = list(pids)
    before = cpu_seconds(pids)
    for _ in range(60):
        time.sleep(seconds)
        now = cpu_seconds(pids)
        if now - before < 0.02 * seconds:
            return now
        before = now
    return before
