"""What tests of strict mode and the air gap need of the machine, and skips that say what is missing."""

import functools
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest


@functools.cache
def _namespace() -> str:
    """Why there can be no network namespace; empty where there can."""
    if shutil.which("unshare") is None:
        return "unshare (util-linux) is not installed"
    alone = subprocess.run(["unshare", "-n", "true"], capture_output=True)
    if alone.returncode == 0:
        return ""
    with_user = subprocess.run(["unshare", "-Ur", "-n", "true"], capture_output=True)
    return "" if with_user.returncode == 0 else with_user.stderr.decode(errors="replace").strip()


@functools.cache
def _nft() -> str:
    """Why nothing can be counted; empty where it can."""
    if os.geteuid() != 0:
        return "only root can count by user"
    if shutil.which("nft") is None:
        return "nft is not installed (apt-get install nftables)"
    tried = subprocess.run(["nft", "list", "tables"], capture_output=True)
    return tried.stderr.decode(errors="replace").strip() if tried.returncode else ""


needs_namespace = pytest.mark.skipif(bool(_namespace()), reason=f"no network namespace can be made: {_namespace()}")
needs_witness = pytest.mark.skipif(bool(_nft() or _namespace()), reason=f"no witness: {_nft() or _namespace()}")


def below(pid: int) -> Iterator[int]:
    """The processes below one, nearer before farther."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except (OSError, IndexError):
                continue
            children.setdefault(parent, []).append(int(entry.name))
    waiting = list(children.get(pid, ()))
    while waiting:
        one = waiting.pop(0)
        yield one
        waiting += children.get(one, [])


def network(pid: int) -> str:
    """The network namespace of a process; empty where it has ended."""
    try:
        return os.readlink(f"/proc/{pid}/ns/net")
    except OSError:
        return ""


def inside(pid: int) -> list[int]:
    """The processes below one that are in another network namespace than it."""
    return [one for one in below(pid) if network(one) not in ("", network(pid))]


def entered(pid: int, script: str, *arguments: str) -> str:
    """Runs Python code in the namespaces of a process, as it stands there: what it prints."""
    user = [] if os.geteuid() == 0 else ["-U", "--preserve-credentials"]
    done = subprocess.run(
        ["nsenter", "-t", str(pid), "-n", *user, shutil.which("python3") or "python3", "-c", script, *arguments],
        capture_output=True,
        timeout=30,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def tables() -> list[str]:
    """The names of our nftables tables."""
    listed = json.loads(subprocess.run(["nft", "-j", "list", "tables"], capture_output=True, check=True).stdout)
    names = [one["table"]["name"] for one in listed["nftables"] if "table" in one]
    return [name for name in names if name.startswith("freehold_")]
