"""`python -m bench.own_kill`: engines killed and engines that hang, while clients go on asking.

Killed: `kill -9` to the engine's process at a random moment of its work. Every request must be answered or end with a
typed error (a JSON error, or an error event in its stream), the gateway's processes must be the same afterwards, and
the engine must be back. Wedged: llama.cpp stopped by SIGSTOP in the middle of its work, which from outside is what a
hung GPU looks like; and a stand-in whose /health says 200 while no token comes. The time until it is taken out of
service is compared with `engines.stall`.
"""

import argparse
import json
import os
import random
import signal
import statistics
import tempfile
import threading
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

from bench.own_host import Host, Told, end_at_sigterm, percentile, table
from bench.own_swap import CONTEXT, copies
from bench.processes import PYTHON

STALL = 4.0
STANDIN = Path(__file__).parents[1] / "tests" / "support" / "standin_engine.py"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.own_kill")
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--wedges", type=int, default=10, help="of each kind")
    parser.add_argument("--stall", type=float, default=STALL, help="engines.stall in seconds")
    parser.add_argument("--clients", type=int, default=6)
    options = parser.parse_args()
    end_at_sigterm()
    figures: dict[str, float] = {}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="freehold-kill-")))
        figures |= kills(stack, folder / "kills", options.kills, options.clients)
        figures |= wedges(stack, folder / "wedges", options.wedges, options.stall)
        figures |= hangs(stack, folder / "hangs", options.wedges, options.stall)
    print(json.dumps({name: round(value, 4) for name, value in figures.items()}))
    if figures["lost"] or figures["wedge_lost"] or figures["gateway_restarts"]:
        raise SystemExit(1)


class Clients:
    """Threads that ask until they are told to stop, and keep what they were told."""

    def __init__(self, host: Host, model: str, count: int, tokens: int = 64) -> None:
        self.told: list[Told] = []
        self.running = 0
        self._host, self._model, self._tokens = host, model, tokens
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(seed,)) for seed in range(count)]
        for thread in self._threads:
            thread.start()

    def stop(self) -> list[Told]:
        self._stop.set()
        for thread in self._threads:
            thread.join(180)
            assert not thread.is_alive(), "a client still waits for its answer"
        return self.told

    def _ask(self, seed: int) -> None:
        rng = random.Random(seed)
        while not self._stop.is_set():
            tokens = rng.randint(1, self._tokens)
            told = self._host.ask(
                self._model, f"{seed} " * rng.randint(1, 50), tokens=tokens, stream=rng.random() < 0.7
            )
            self.told.append(told)
            if told.kind == "error":
                time.sleep(0.05)


def kills(stack: ExitStack, folder: Path, count: int, clients: int) -> dict[str, float]:
    """`kill -9`, again and again. Returns the figures; prints them as a table."""
    folder.mkdir(parents=True)
    file = copies(folder, None)[0]
    host = Host(stack, folder, f"own:\n  - {{path: {file}, name: a, context: {CONTEXT}, load: pinned}}\n", workers=2)
    host.wait_ready("a")
    rng = random.Random(20261121)
    back = []
    load = Clients(host, "own/a", clients)
    try:
        for number in range(count):
            pid = host.engines()["a"]["pid"]
            time.sleep(rng.uniform(0.1, 0.6))
            os.kill(pid, signal.SIGKILL)
            back.append(host.wait_ready("a", 400.0, not_pid=pid))
            if number % 10 == 9:
                print(f"{number + 1} killed, {len(load.told)} requests told", flush=True)
    finally:
        told = load.stop()
    after = host.ask("own/a", "after all")
    kinds = Counter(answer.kind for answer in told)
    codes = Counter(answer.code for answer in told if answer.kind == "error")
    restarts = len(set(host.pids) ^ set(host.children()))
    for answer in [answer for answer in told if answer.kind == "lost"][:5]:
        print(f"lost: {answer.code}")
    table(
        [
            (f"engine killed {count} times under {clients} clients: requests", f"{len(told)}", ""),
            ("  answered", f"{kinds['ok']}", ""),
            ("  ended with a typed error", f"{kinds['error']} {dict(codes)}", ""),
            ("  lost: neither", f"{kinds['lost']}", "0"),
            ("  processes of the gateway that ended", f"{restarts}", "0"),
            ("  back in service, median", f"{statistics.median(back):.2f} s", ""),
            ("  back in service, longest", f"{max(back):.2f} s", ""),
            ("  answers again afterwards", after.kind, "ok"),
        ]
    )
    return {
        "kills": count,
        "requests": len(told),
        "answered": kinds["ok"],
        "errors": kinds["error"],
        "lost": kinds["lost"],
        "gateway_restarts": restarts,
        "back_median_s": statistics.median(back),
        "back_max_s": max(back),
        "after": after.kind == "ok",
    }


def wedges(stack: ExitStack, folder: Path, count: int, stall: float) -> dict[str, float]:
    """llama.cpp stopped in the middle of its work."""
    folder.mkdir(parents=True)
    file = copies(folder, None)[0]
    entry = f"{{path: {file}, name: a, context: {CONTEXT}, load: pinned, parallel: 2}}"
    rest = f"engines: {{stall: {stall}}}\nown:\n  - {entry}\n"
    host = Host(stack, folder, rest)
    host.wait_ready("a")
    load = Clients(host, "own/a", 4, tokens=200)
    times = []
    try:
        for _ in range(count):
            pid = host.engines()["a"]["pid"]
            time.sleep(random.uniform(0.3, 1.0))
            os.kill(pid, signal.SIGSTOP)
            began = time.monotonic()
            until_gone(host, "a", pid, 20 * stall)
            times.append(time.monotonic() - began)
            host.wait_ready("a", 400.0, not_pid=pid)
    finally:
        told = load.stop()
    return _told_of(f"llama.cpp stopped {count} times", "wedge", told, times, stall)


def hangs(stack: ExitStack, folder: Path, count: int, stall: float) -> dict[str, float]:
    """A stand-in that answers some requests and then none, while its /health stays well."""
    folder.mkdir(parents=True)
    command = json.dumps([PYTHON, str(STANDIN), "plain", "--port", "${PORT}", "--name", "${NAME}"])
    faults = '{STANDIN: "wedges=12,pace=0.02"}'
    entry = f"{{name: s, engine: command, command: {command}, context: 512, load: pinned, env: {faults}}}"
    rest = f"engines: {{stall: {stall}}}\nown:\n  - {entry}\n"
    host = Host(stack, folder, rest)
    host.wait_ready("s")
    times = []
    load = Clients(host, "own/s", 2, tokens=4)
    try:
        for _ in range(count):
            pid = host.engines()["s"]["pid"]
            silent = len(load.told)
            began = time.monotonic()
            while serves(host, "s", pid) and time.monotonic() - began < 40 * stall:
                if len(load.told) != silent:
                    silent, began = len(load.told), time.monotonic()
                time.sleep(0.02)
            times.append(time.monotonic() - began)
            host.wait_ready("s", 400.0, not_pid=pid)
    finally:
        told = load.stop()
    return _told_of(f"a stand-in hung {count} times, /health well", "hang", told, times, stall)


def serves(host: Host, name: str, pid: int) -> bool:
    """Whether requests go to the process."""
    entry = host.engines().get(name) or {}
    return entry.get("state") == "ready" and entry.get("pid") == pid


def until_gone(host: Host, name: str, pid: int, seconds: float) -> None:
    """Waits until the process is out of service."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if not serves(host, name, pid):
            return
        time.sleep(0.01)
    raise RuntimeError(f"{name} is still in service after {seconds} s: {host.engines().get(name)}\n{host.log_tail()}")


def _told_of(title: str, key: str, told: list[Told], times: list[float], stall: float) -> dict[str, float]:
    kinds = Counter(answer.kind for answer in told)
    codes = Counter(answer.code for answer in told if answer.kind == "error")
    for answer in [answer for answer in told if answer.kind == "lost"][:5]:
        print(f"lost: {answer.code}")
    table(
        [
            (f"{title}, stall {stall:g} s: out of service, median", f"{statistics.median(times):.2f} s", ""),
            ("  95th percentile", f"{percentile(times, 0.95):.2f} s", ""),
            ("  longest", f"{max(times):.2f} s", f"at most {2 * stall:g} s"),
            ("  requests answered", f"{kinds['ok']}", ""),
            ("  ended with a typed error", f"{kinds['error']} {dict(codes)}", ""),
            ("  lost: neither", f"{kinds['lost']}", "0"),
        ]
    )
    return {f"{key}_median_s": statistics.median(times), f"{key}_max_s": max(times), f"{key}_lost": kinds["lost"]}


if __name__ == "__main__":
    main()
