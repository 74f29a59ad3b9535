"""The inside: a process in a network namespace with loopback and nothing else, and no right to leave it.

Whoever may not make a network namespace alone makes a user namespace with it, and has no rights outside that. Root's
inside stays root's, so that files and devices are what they were, but gives up the capabilities by which it could enter
another namespace, trace another process or load a module. It is still the user who owns the system's files: see
docs/egress.md.
"""

import os
import signal
import sys
from collections.abc import Mapping, Sequence

from freehold.egress import kernel
from freehold.errors import ConfigError

_KEPT = frozenset(
    {
        kernel.CHOWN, kernel.DAC_OVERRIDE, kernel.FOWNER, kernel.KILL, kernel.NET_BIND_SERVICE, kernel.IPC_LOCK,
        kernel.SYS_NICE, kernel.SYS_RESOURCE,
    }
)  # fmt: skip
"""What engines and files of several owners may need; none of it leads to a network."""
CANNOT = 71
"""Exit status of an inside that could not be made; its reason goes through the pipe."""


def start(argv: Sequence[str], env: Mapping[str, str], unblocked: set[signal.Signals]) -> int:
    """Starts a program inside and returns its process. `argv[0]` is its path; descriptors that are inheritable stay
    open. Raises ConfigError where the namespace cannot be made."""
    if sys.platform != "linux":
        raise impossible("only Linux has network namespaces")
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        _inside(argv, env, unblocked, reader, writer)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        reason = pipe.read(2000).decode(errors="replace")
    if reason:
        os.waitpid(pid, 0)
        raise impossible(reason)
    return pid


def _inside(
    argv: Sequence[str], env: Mapping[str, str], unblocked: set[signal.Signals], reader: int, writer: int
) -> None:
    try:
        os.close(reader)
        if not kernel.new_network():
            kernel.keep_capabilities(_KEPT)
        kernel.no_new_privileges()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, unblocked)
        os.execve(argv[0], list(argv), dict(env))  # noqa: S606
    except BaseException as error:
        os.write(writer, str(error).encode()[:2000] or b"it is not known why")
    finally:
        os._exit(CANNOT)


def impossible(reason: str) -> ConfigError:
    return ConfigError(
        f"no network namespace can be made here: {reason}",
        key="server.egress",
        hint="allow user namespaces (sysctl user.max_user_namespaces, kernel.unprivileged_userns_clone), or in a "
        "container give it CAP_SYS_ADMIN; --air-gapped --no-namespace does without, and proves less",
    )
