"""The kernel's own count of what the egress process sent: nftables counters for its user, by address and port.

    table inet freehold_PID
      chain out (output hook): every packet whose socket belongs to the egress process's user is counted: in all, and
      by protocol, address and port, in sets that the kernel fills itself

Nobody here writes these numbers, so they can disagree with what was written down. The table is made before the egress
process starts and read until after it has ended. `meta skuid` is the user of the socket that a packet belongs to
(nftables wiki, "Matching packet metainformation"); a few packets of a connection's end have no socket any more and are
not counted. Bytes are of whole IP packets.
"""

import os
import pwd
import shutil
import subprocess
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec import Struct

from freehold.errors import ConfigError
from freehold.home import write_private

PREFIX: Final = "freehold_"
USER: Final = "freehold-egress"
"""A user of this name is taken for the egress process where there is one."""
_FREE: Final = range(61184, 65520)
"""Numbers that systemd, too, gives to users who exist for a while (systemd, UIDS-GIDS)."""
_TABLE: Final = """
table inet {table} {{
  counter total {{ }}
  set four {{ type inet_proto . ipv4_addr . inet_service; flags dynamic; size 65535; counter; }}
  set six {{ type inet_proto . ipv6_addr . inet_service; flags dynamic; size 65535; counter; }}
  chain out {{
    type filter hook output priority 0; policy accept;
    meta skuid {user} counter name total
    meta skuid {user} meta nfproto ipv4 update @four {{ meta l4proto . ip daddr . th dport }}
    meta skuid {user} meta nfproto ipv6 update @six {{ meta l4proto . ip6 daddr . th dport }}
  }}
}}
"""


class Flow(Struct, frozen=True):
    """What went to one place. `protocol`: tcp, udp, or a number."""

    protocol: str
    address: str
    port: int
    packets: int
    bytes: int


class Counted(Struct):
    """The counters of a run. `bytes` and `packets`: all that its user sent, whatever it was."""

    user: int
    table: str
    bytes: int = 0
    packets: int = 0
    flows: list[Flow] = []


class Witness:
    """The table of one run."""

    def __init__(self, user: int, run: int) -> None:
        """Makes the table. Raises ConfigError where there is no nft, or it is not permitted."""
        self.user = user
        self.table = f"{PREFIX}{run}"
        _nft("-f", "-", given=_TABLE.format(table=self.table, user=user))

    def read(self) -> Counted:
        """Returns the counters as they are now. Raises ConfigError."""
        listed = _nft("-j", "list", "table", "inet", self.table)
        return counted(listed, self.user, self.table)

    def end(self) -> None:
        """Removes the table."""
        remove(self.table)


def remove(table: str) -> None:
    """Removes a table, if it is there."""
    nft = shutil.which("nft")
    if nft is not None and table.startswith(PREFIX):
        subprocess.run([nft, "delete", "table", "inet", table], capture_output=True, timeout=30)  # noqa: S603


def counted(listed: bytes, user: int, table: str) -> Counted:
    """Reads what `nft -j list table` prints. Raises ConfigError for what is none of ours."""
    try:
        things = msgspec.json.decode(listed)["nftables"]
        found = Counted(user, table)
        for thing in things:
            if (counter := thing.get("counter")) and counter["name"] == "total":
                found.bytes, found.packets = counter["bytes"], counter["packets"]
            for one in (thing.get("set") or {}).get("elem", ()):
                found.flows.append(_flow(one["elem"]))
    except (msgspec.MsgspecError, KeyError, TypeError, ValueError) as error:
        raise ConfigError(f"nft printed what cannot be read: {error}") from error
    return found


def _flow(element: dict[str, Any]) -> Flow:
    protocol, address, port = element["val"]["concat"]
    counter = element["counter"]
    return Flow(str(protocol), str(address), int(port), counter["packets"], counter["bytes"])


def _nft(*arguments: str, given: str | None = None) -> bytes:
    nft = shutil.which("nft")
    if nft is None:
        raise unseen("nft is not installed", "install nftables")
    try:
        ran = subprocess.run(  # noqa: S603
            [nft, *arguments], input=given.encode() if given else None, capture_output=True, timeout=30
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise unseen(f"nft cannot be run: {error}", "check nftables") from error
    if ran.returncode != 0:
        reason = ran.stderr.decode(errors="replace").strip().splitlines()
        raise unseen(f"nft refuses: {reason[0] if reason else 'without a word'}", "start freehold as root")
    return ran.stdout


def unseen(reason: str, hint: str) -> ConfigError:
    return ConfigError(
        f"what leaves cannot be counted by the kernel: {reason}",
        key="server.egress",
        hint=f"{hint}; or --no-witness, which runs without the kernel's counters and the user of its own",
    )


def free_user() -> int:
    """Returns the user for an egress process: the one made for it, else a number that nobody has and no process runs
    under."""
    try:
        return pwd.getpwnam(USER).pw_uid
    except KeyError:
        pass
    taken = {one.pw_uid for one in pwd.getpwall()} | _running()
    return next(number for number in _FREE if number not in taken)


def _running() -> set[int]:
    found = set()
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                found.add(os.stat(f"/proc/{name}").st_uid)
            except OSError:
                continue
    return found


class Run(Struct):
    """`egress/NAME.json`: one run of an egress process, and the kernel's count as it was read last."""

    name: str
    pid: int
    began: int
    """Unix time in nanoseconds."""
    user: int = 0
    witnessed: bool = False
    ended: int = 0
    """0: it runs, or nobody saw its end."""
    counted: Counted | None = None
    starts: int = 0
    """How often the egress process was started."""
    removed: int = 0
    """When its record was removed, because its accounts had agreed; 0: it is there."""

    def save(self, folder: Path) -> None:
        write_private(folder / f"{self.name}.json", msgspec.json.encode(self))


def runs(folder: Path) -> list[Run]:
    """Returns the runs that a folder knows of, oldest first. Raises OSError for an unreadable folder."""
    found = []
    for path in sorted(folder.glob("*.json")) if folder.is_dir() else ():
        try:
            found.append(msgspec.json.decode(path.read_bytes(), type=Run))
        except (msgspec.MsgspecError, FileNotFoundError):
            continue
    return sorted(found, key=lambda run: run.began)


def latest(run: Run) -> Counted | None:
    """Returns the counters of a run as they are now, where it still runs and they may be read; None elsewhere."""
    if run.ended or run.counted is None or not run.witnessed:
        return None
    try:
        return counted(_nft("-j", "list", "table", "inet", run.counted.table), run.user, run.counted.table)
    except ConfigError:
        return None


def recover(folder: Path) -> None:
    """Ends the runs whose parent was killed: reads their counters once more and removes their tables."""
    for run in runs(folder):
        if run.ended or os.path.exists(f"/proc/{run.pid}"):
            continue
        if run.counted is not None and run.witnessed:
            try:
                listed = _nft("-j", "list", "table", "inet", run.counted.table)
                run.counted = counted(listed, run.user, run.counted.table)
            except ConfigError:
                pass
            remove(run.counted.table)
        written = [path.stat().st_mtime_ns for path in folder.glob(f"{run.name}.*json*")]
        run.ended = max(run.began + 1, *written)
        run.save(folder)
