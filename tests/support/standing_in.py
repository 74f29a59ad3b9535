"""An engine that behaves, or misbehaves, to order; a running steward; and a gateway worker that does as it is told."""

import asyncio
import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from freehold.own.budget import Budget
from freehold.own.engine import EngineSpec, Host, Installed, LaunchPlan, Lora, Missing, Probe
from freehold.own.gguf import ModelFile
from freehold.own.link import Report, Row, Want, reachable
from freehold.own.steward import Policy, Steward

STAND_IN = r"""
import json, os, signal, subprocess, sys, threading
mode, starts = sys.argv[1:3]
with open(starts, "a") as file:
    file.write("%d\n" % os.getpid())
key = json.loads(sys.stdin.readline())["api_key"]
if mode == "exits":
    sys.stderr.write("assert failed: no such layer\n")
    sys.exit(7)
if mode == "silent":
    signal.pause()
if mode == "garbage":
    print("hello, world", flush=True)
    signal.pause()
if mode == "refuses":
    print(json.dumps({"error": "this is no model"}), flush=True)
    sys.exit(3)
if mode == "elsewhere":
    print(json.dumps({"url": "http://0.0.0.0:1"}), flush=True)
    signal.pause()
if mode == "deaf":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
if mode == "parent":
    child = subprocess.Popen([sys.executable, "-S", "-c", "import signal; signal.pause()"])
    with open(starts, "a") as file:
        file.write("%d\n" % child.pid)
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.rfile.read(int(self.headers.get("content-length", 0)))
        if self.path in ("/sleep", "/wake"):
            with open(starts, "a") as file:
                file.write(self.path[1:] + "\n")
        if self.command == "POST" and os.path.exists(starts + ".stuck"):
            signal.pause() if threading.current_thread() is threading.main_thread() else threading.Event().wait()
        wedged = mode == "wedged" and self.command == "POST"
        right = self.headers["authorization"] == "Bearer " + key
        body = b'{"choices": [{"text": "a"}]}' if self.command == "POST" else b"{}"
        self.send_response(500 if wedged else 200 if right else 401)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    do_POST = do_GET
    def log_message(self, *args):
        sys.stderr.write("a line for the log\n")
server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
if mode != "deaf":
    def end(*args):
        with open(starts, "a") as file:
            file.write("drained\n")
        os._exit(0)
    signal.signal(signal.SIGTERM, end)
threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
print(json.dumps({"url": "http://127.0.0.1:%d" % server.server_port}), flush=True)
server.serve_forever()
"""


class StandIn:
    """An adapter whose engine does what `modes` says for its name; `starts` has a line per start."""

    name = "stand-in"
    formats = frozenset({"gguf"})
    loras = "none"
    sleep_levels: tuple[int, ...] = ()
    health = Probe("/health")
    facts = Probe("/props")
    metrics = None

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.modes: dict[str, str] = {}
        self.missing = False
        self.ready_timeout = 10.0
        self.memory: dict[str, int] = {}
        """Bytes that a name's engine is said to need."""

    def probe(self) -> Installed | Missing:
        return Missing("no such engine here", "pip install it") if self.missing else Installed("1")

    def plan(self, spec: EngineSpec, model: ModelFile, api_key: str, host: Host) -> LaunchPlan:
        return LaunchPlan(
            argv=[sys.executable, "-S", "-c", STAND_IN, self.modes.get(spec.name, "good"), str(self.file(spec.name))],
            env=dict(os.environ),
            message=json.dumps({"api_key": api_key}).encode() + b"\n",
            api_key=api_key,
            memory=self.memory.get(spec.name, 100 << 20),
            mapped=model.weights,
            ready_timeout=self.ready_timeout,
        )

    def warm_up(self, spec: EngineSpec, model: ModelFile) -> Probe:
        return Probe("/v1/completions", b"{}", timeout=5.0)

    def capabilities(self, spec: EngineSpec, model: ModelFile, facts: Mapping[str, Any]) -> list[str]:
        return ["chat"]

    def fields(self, spec: EngineSpec, lora: Lora | None = None) -> dict[str, Any]:
        return {"model": lora.name if lora else spec.name}

    def sleep(self, level: int) -> tuple[Probe, ...]:
        return (Probe("/sleep", b""),)

    def wake(self, spec: EngineSpec, level: int) -> tuple[Probe, ...]:
        return (Probe("/wake", b""),)

    def load_lora(self, spec: EngineSpec, lora: Lora) -> Probe | None:
        return Probe(f"/load/{lora.name}", b"")

    def unload_lora(self, spec: EngineSpec, lora: Lora) -> Probe | None:
        return Probe(f"/unload/{lora.name}", b"")

    def stick(self, name: str) -> None:
        """From now on the engine takes requests and answers none, and its health page says that all is well."""
        self.file(name).with_name(f"{name}.starts.stuck").touch()

    def unstick(self, name: str) -> None:
        self.file(name).with_name(f"{name}.starts.stuck").unlink()

    def file(self, name: str) -> Path:
        return self._folder / f"{name}.starts"

    def starts(self, name: str) -> list[str]:
        return self.file(name).read_text().split() if self.file(name).exists() else []


class Bench:
    """A running steward and what its engines.json says."""

    def __init__(self, folder: Path, model: Path, adapter: Any, policy: Policy, stall: float = 30.0) -> None:
        self.adapter = adapter
        self.run_dir = folder / "run"
        self.run_dir.mkdir()
        self._model = model
        self.stop = asyncio.Event()
        self.budget = Budget(folder)
        self.steward = Steward(
            [], self.run_dir, adapters={"stand-in": adapter}, policy=policy, budget=self.budget, stall=stall
        )
        self.task = asyncio.create_task(self.steward.run(self.stop))

    def spec(self, name: str, **changes: Any) -> EngineSpec:
        return EngineSpec(name, changes.pop("path", self._model), 512, engine="stand-in", **changes)

    def file(self) -> dict[str, Any]:
        path = self.run_dir / "engines.json"
        return json.loads(path.read_bytes()) if path.exists() else {}

    async def until(self, met: Callable[[dict[str, Any]], Any], seconds: float = 15.0) -> dict[str, Any]:
        """Returns engines.json as soon as `met` holds for it."""
        async with asyncio.timeout(seconds):
            while not met(found := self.file()):
                assert not self.task.done(), self.task.exception()
                await asyncio.sleep(0.01)
        return found

    async def state(self, name: str, state: str, seconds: float = 15.0) -> dict[str, Any]:
        found = await self.until(lambda engines: engines.get(name, {}).get("state") == state, seconds)
        return dict(found[name])


def zombie(pid: str) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


class LinkedWorker:
    """A gateway worker's end of the link. It acts on each table at once, and has in flight and waiting what it is told
    to have."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.tables: list[dict[str, Any]] = []
        self.rows: dict[tuple[str, int], Row] = {}
        self.wants: dict[str, Want] = {}
        self.deaf = False
        """It does not act on what it is told."""
        self._news = asyncio.Condition()

    async def __aenter__(self) -> "LinkedWorker":
        async with asyncio.timeout(10):
            while True:
                try:
                    with reachable(self._folder) as path:
                        self._reader, self._writer = await asyncio.open_unix_connection(path)
                    break
                except OSError:
                    await asyncio.sleep(0.01)
        self._task = asyncio.create_task(self._read())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        self._writer.close()
        await asyncio.sleep(0)

    async def _read(self) -> None:
        while line := await self._reader.readline():
            async with self._news:
                self.tables.append(json.loads(line))
                self._news.notify_all()
            if not self.deaf:
                self.report()

    @property
    def engines(self) -> dict[str, Any]:
        return dict(self.tables[-1]["engines"]) if self.tables else {}

    def report(self) -> None:
        seen = self.tables[-1]["sequence"] if self.tables else 0
        report = Report(seen, list(self.rows.values()), list(self.wants.values()))
        self._writer.write(msgspec.json.encode(report) + b"\n")

    def want(self, name: str, waiting: int = 1) -> None:
        self.wants[name] = Want(name, waiting, time.monotonic())
        self.report()

    def busy(self, name: str, inflight: int, **more: Any) -> None:
        """The engine that serves `name` now has so many requests of this worker."""
        number = self.engines[name]["number"]
        before = self.rows.get((name, number), Row(name, number))
        more = {"begun": before.begun + max(0, inflight - before.inflight), "last_start": time.monotonic()} | more
        self.rows[(name, number)] = msgspec.structs.replace(before, inflight=inflight, **more)
        self.report()

    async def until(self, met: Callable[[dict[str, Any]], Any], seconds: float = 15.0) -> dict[str, Any]:
        """Returns the table's engines as soon as `met` holds for them."""
        async with asyncio.timeout(seconds), self._news:
            await self._news.wait_for(lambda: self.tables and met(self.engines))
        return self.engines

    async def state(self, name: str, *states: str, seconds: float = 15.0) -> dict[str, Any]:
        found = await self.until(lambda engines: engines.get(name, {}).get("state") in states, seconds)
        return dict(found[name])

    def seen(self, name: str) -> list[str]:
        """The states that a name was in, each once in a row."""
        states = [table["engines"].get(name, {}).get("state", "none") for table in self.tables]
        return [state for place, state in enumerate(states) if not place or states[place - 1] != state]
