"""`make test-noninterference`: canaries of every label, sent everywhere, looked for where they may not be.

A gateway is started in front of a world that keeps every byte it is sent (sinks.py), and asked at each of its
endpoints, at each label, in each way that a request can take, while providers fail, workers are killed and the
configuration changes (drive.py). Then all that left it or that it wrote down is searched (examine.py).
docs/noninterference.md says what that shows and what it does not.

Where the machine allows it, all runs in a network and mount namespace of its own, with hosts that have names, a name
server, and public addresses; else on ports of loopback, and then nothing is fetched and no names are asked.
"""

import argparse
import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "support")]

from drive import Drive
from examine import Examination, table
from fill import Filler
from house import House, configuration, house
from markers import Markers
from sinks import LABELS, PUBLIC_ADDRESS, WEB, Sink, World, world

from freehold import __version__
from freehold.egress.pieces import record
from freehold.egress.records import FOLDER, Fetched, Sent
from freehold.egress.witness import runs
from freehold.home import located

APART, NAMES = "FREEHOLD_TEST_APART", "FREEHOLD_TEST_NAMES"
KEPT = {
    "responses.db": Sink("kept responses", "restricted", None, None),
    "cache": Sink("cache", "confidential", frozenset({"phi"}), None),
}
"""Files that keep what was said, because somebody asked for it (house.py). Everything else keeps nothing."""


class Mutant(NamedTuple):
    """Where it must be noticed that something is broken (hooks/sitecustomize.py), and the parts that show it."""

    sink: str
    parts: tuple[str, ...]
    way: str = ""
    """How requests get their label, where that matters."""


MUTANTS = {
    "flow": Mutant("provider public", ("calibrate", "direct")),
    "claims": Mutant("provider public", ("calibrate", "direct"), "claim"),
    "blind": Mutant("provider public", ("calibrate", "direct"), "found"),
    "forgetful": Mutant("provider public", ("calibrate", "conversations")),
    "talkative": Mutant("stdout and stderr", ("calibrate",)),
    "cores": Mutant("working folder and cores", ("calibrate", "breaks")),
    "lost": Mutant("files in FREEHOLD_HOME", ("calibrate", "direct")),
}
FEW = ("chat", "responses", "embeddings")
"""Rows that are enough to notice a mutant."""


def into_namespace() -> bool:
    """Starts this program anew in a namespace of its own, where that is possible; returns whether it is in one."""
    if os.environ.get(APART):
        shutil.rmtree(os.environ.pop(NAMES, ""), ignore_errors=True)  # what is mounted stays
        return os.environ[APART] == "yes"
    resolver = Path(tempfile.mkdtemp(prefix="freehold-names-")) / "resolv.conf"
    resolver.write_text("nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")
    steps = f"ip link set lo up && ip addr add {PUBLIC_ADDRESS}/32 dev lo && mount --bind {resolver} /etc/resolv.conf"
    command = ["unshare", "--map-root-user", "--mount", "--net", "sh", "-c"]
    try:
        possible = subprocess.run([*command, steps], capture_output=True, timeout=20, check=False).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        possible = False
    os.environ[APART], os.environ[NAMES] = "yes" if possible else "no", str(resolver.parent)
    if possible:
        again = [sys.executable, *sys.argv]
        os.execvp(command[0], [*command, steps + ' && exec "$@"', "-", *again])
    shutil.rmtree(resolver.parent)
    return False


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--short", action="store_true", help="a part of all combinations, in under a minute")
    parser.add_argument("--mutant", choices=sorted(MUTANTS), default="", help="break something: a leak must be found")
    parser.add_argument("--strict", action="store_true", help="a gateway that was started with --strict-egress")
    parser.add_argument("--list-mutants", action="store_true", help="print their names")
    parser.add_argument("--seed", type=int, default=secrets.randbits(32), help="which combinations --short takes")
    parser.add_argument("--keep", type=Path, help="a folder that keeps everything that was written")
    parser.add_argument("--only", nargs="*", default=[], metavar="PART", help="these parts of the run (drive.py)")
    parser.add_argument(
        "--out", type=Path, help="where the results go; FREEHOLD_HOME/noninterference.json for a full run"
    )
    return parser.parse_args()


def main() -> int:
    given = arguments()
    if given.list_mutants:
        say("\n".join(MUTANTS))
        return 0
    apart = into_namespace()
    say(f"seed {given.seed}, " + ("in a namespace of its own" if apart else "on ports of loopback: nothing is fetched"))
    if given.strict and not apart:
        say("NOT TESTED: strict mode needs a network namespace, and none can be made here")
        return 0
    if given.keep is not None:
        given.keep.mkdir(parents=True, exist_ok=True)
        return run(given, given.keep.resolve(), apart)
    with tempfile.TemporaryDirectory(prefix="freehold-noninterference-") as folder:
        return run(given, Path(folder), apart)


def run(given: argparse.Namespace, folder: Path, apart: bool) -> int:
    markers = Markers(LABELS)
    filler = Filler(markers)
    with world(folder, apart=apart) as outside:
        configured = configuration(outside.bases, folder)
        with house(folder / "gateway", outside, configured, given.mutant, strict=given.strict) as inside:
            mutant = MUTANTS.get(given.mutant)
            names, parts = (FEW, mutant.parts) if mutant else ((), ("calibrate", *given.only) if given.only else ())
            way = mutant.way if mutant else ""
            short = given.short or mutant is not None
            drive = Drive(inside, outside, filler, short=short, seed=given.seed, names=names, way=way)
            for part, seconds in drive.all(parts):
                say(f"{part}: {seconds:.1f} s, answers {dict(sorted(drive.statuses.get(part, {}).items()))}")
        ended = inside.process.returncode
        found = Examination(markers, KEPT)
        found.all(inside, outside, drive, folder)
    say(f"{len(filler.sent)} requests, {sum(filler.canaries.values())} canaries, {drive.broken} broken off\n")
    say(table(found.findings, filler.canaries) + "\n")
    for leak in found.leaks:
        say(f"LEAK {leak.label} in {leak.sink}: {leak.hits} of {len(leak.requests)} requests; {leak.example}")
    trouble = found.unseen()
    trouble += (
        [f"{len(drive.failed)} requests failed in the gateway, such as {drive.failed[0]}"] if drive.failed else []
    )
    if ended:
        trouble.append(f"the gateway ended with {ended}: " + (inside.folder / "said").read_text()[-2000:])
    if given.strict:
        trouble += went_another_way(outside, inside)
    for line in trouble:
        say(line)
    say("seen as: " + ", ".join(f"{form} ({count})" for form, count in found.forms().most_common()))
    if mutant is not None:
        return 0 if any(leak.sink == mutant.sink for leak in found.leaks) else 1
    failures = [f"{leak.label} in {leak.sink}" for leak in found.leaks] + trouble
    cells = [one for one in found.findings if not one.cleared]
    results = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "version": __version__,
        "passed": len(cells) - len(found.leaks),
        "failed": len(failures),
        "canaries": sum(filler.canaries.values()),
        "sinks": found.sinks,
        "failures": failures,
        "scope": scope(given, apart),
    }
    partly = given.short or given.strict or given.only
    out = given.out or (None if partly else located(os.environ) / "noninterference.json")
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(results, indent=1) + "\n")
        say(f"results in {out}")
    return 1 if failures else 0


def scope(given: argparse.Namespace, apart: bool) -> str:
    """How much of all there is was run, in words for a report."""
    parts = ["short"] if given.short else []
    parts += [f"only {' '.join(given.only)}"] if given.only else []
    parts = parts or ["full"]
    parts += ["strict egress"] if given.strict else []
    return ", ".join([*parts, *([] if apart else ["without a namespace, so nothing was fetched"])])


def went_another_way(outside: World, inside: House) -> list[str]:
    """What reached a provider without the egress process having written it down; empty where nothing did."""
    folder = inside.home / FOLDER
    (run,) = runs(folder)
    lines = list(record(folder, run.name))
    sent, fetched = (sum(isinstance(line, kind) for line in lines) for kind in (Sent, Fetched))
    got = {name: len(provider.kept.requests) for name, provider in outside.providers.items()}
    fetches = got.pop(WEB.name)
    arrived = f"{sum(got.values())} requests and {fetches} fetches arrived"
    say(f"{arrived}; the egress process wrote down {sent} and {fetched}")
    enough = 0 < sum(got.values()) <= sent and fetches <= fetched and None not in lines
    return [] if enough else ["not all that arrived is in the egress process's record"]


def say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
