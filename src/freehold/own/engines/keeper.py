"""The process between the steward and a server that is not ours: `python -I keeper.py COMMAND ...`.

It starts the command, and sees to it that nothing of the command outlives it:

- it adopts every orphan below it (PR_SET_CHILD_SUBREAPER), also one that left the process group with setsid;
- when the command ends, it kills what is left below it, and ends with the command's own status or signal;
- when its stdin ends, the steward is gone, and it kills everything; the kernel kills the command if the keeper itself
  is killed (PR_SET_PDEATHSIG).

SIGTERM and SIGINT are passed on to the command. It imports the standard library only, to start in a few milliseconds.
Where the system is not Linux, orphans are not adopted, and the process group is all that is killed.
"""

import ctypes
import os
import resource
import select
import signal
import subprocess
import sys
import time
from contextlib import suppress

PATIENCE = 5.0
"""Seconds to hunt for processes that do not want to die."""
NOT_STARTED = 127
_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36


def main(command: list[str]) -> int:
    """Returns the exit status of the command; ends by its signal where a signal ended it."""
    linux = sys.platform == "linux"
    libc = ctypes.CDLL(None, use_errno=True) if linux else None
    if libc is not None:
        libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    wake, waker = os.pipe()
    os.set_blocking(waker, False)
    signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
    passed: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, _: passed.append(number))
    signal.signal(signal.SIGCHLD, lambda *_: None)

    def before() -> None:
        if libc is not None:
            libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)

    try:
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, preexec_fn=before)  # noqa: S603
    except OSError as error:
        sys.stderr.write(f"error: {command[0]} cannot be started: {error.strerror}\n")
        return NOT_STARTED
    status: int | None = None
    while status is None:
        readable, _, _ = select.select([0, wake], [], [])
        if wake in readable:
            os.read(wake, 4096)
        while passed:
            with suppress(ProcessLookupError):
                os.kill(child.pid, passed.pop())
        status = reap(child.pid)
        if status is None and 0 in readable and not os.read(0, 4096):
            end_all(linux)
            return 0
    end_all(linux, group=False)
    if status < 0:
        end_by(-status)
    return status


def end_by(number: int) -> None:
    """Ends this process as the command ended, without a core file of its own."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    if number != signal.SIGKILL:
        signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)


def reap(pid: int) -> int | None:
    """Collects everything that has ended; returns the status of `pid` if it was among them, negative for a signal."""
    found = None
    while True:
        try:
            one, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return found
        if one == 0:
            return found
        if one == pid:
            found = os.waitstatus_to_exitcode(status)


def end_all(linux: bool, *, group: bool = True) -> None:
    """Kills everything below this process; orphans of the killed land below it and are killed in turn."""
    if not linux:
        if group:
            os.killpg(0, signal.SIGKILL)
        return
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        with suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        left = below()
        if not left:
            return
        for pid in left:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.002)


def below() -> list[int]:
    """Returns the living processes below this one."""
    parents = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            with suppress(OSError, IndexError, ValueError), open(f"/proc/{name}/stat") as file:
                state, parent = file.read().rpartition(")")[2].split()[:2]
                if state not in "ZX":
                    parents[int(name)] = int(parent)
    found = []
    for pid in parents:
        above = pid
        while above in parents and above != os.getpid():
            above = parents[above]
        if above == os.getpid() and pid != above:
            found.append(pid)
    return found


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
