"""`make bench-peers`: the same load on other gateways, in turn, with the same upstream, in one run.

LiteLLM (PyPI) and the Portkey gateway (npm) are installed into folders of their own under .peers/. Each runs as its
documentation says for one process, without a database, pinned to one core; the upstream and the load have the other.
What this leaves out: features of theirs that were off (LiteLLM's database and caches, Portkey's guardrails), more
workers, and anything but one kind of request. Freehold runs as it always does: keys, limits, journal, ledger, metrics.
"""

import argparse
import json
import math
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

from bench.__main__ import EVENTS, GATEWAY_CORE, KEY, LOAD_CORE, Bench, auth, nginx_version
from bench.load import chat_body, wrk
from bench.processes import Process, cpu_seconds, quiet_cpu, wait_for

FOLDER = Path(__file__).parents[1] / ".peers"
LITELLM = "litellm[proxy]==1.108.5"
PORTKEY = "@portkey-ai/gateway@1.15.2"
VERSION = "import importlib.metadata as m; print(m.version('litellm'))"
MODEL, STREAM_MODEL = "fake", f"fake-events-{EVENTS}"


class Row(NamedTuple):
    name: str
    chat_us: float
    chat_rate: float
    event_us: float


class Peer(NamedTuple):
    """A running gateway and how it wants to be asked."""

    name: str
    process: Process
    url: str
    headers: dict[str, str]
    prefix: str = ""


def install_litellm() -> Path:
    """Installs with uv, which can be told that a CA bundle a few days older than the one asked for will do."""
    environment = FOLDER / "litellm"
    if not (environment / "bin" / "litellm").exists():
        print(f"installing {LITELLM}", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", str(environment)], check=True)
        binaries = environment / "bin"
        subprocess.run([str(binaries / "pip"), "install", "--quiet", "uv"], check=True)
        (FOLDER / "overrides.txt").write_text("certifi>=2026.1\n")
        command = [str(binaries / "uv"), "pip", "install", "--quiet", "--python", str(binaries / "python")]
        subprocess.run([*command, "--override", str(FOLDER / "overrides.txt"), LITELLM], check=True)
    return environment / "bin" / "litellm"


def install_portkey() -> Path:
    folder = FOLDER / "portkey"
    script = folder / "node_modules" / "@portkey-ai" / "gateway" / "build" / "start-server.js"
    if not script.exists():
        print(f"installing {PORTKEY}", file=sys.stderr)
        folder.mkdir(parents=True, exist_ok=True)
        command = ["npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", str(folder), PORTKEY]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return script


@contextmanager
def litellm(upstream: str, folder: Path) -> Iterator[Peer]:
    config = folder / "litellm.yaml"
    models = [
        {
            "model_name": name,
            "litellm_params": {"model": f"openai/{name}", "api_base": f"{upstream}/v1", "api_key": "x"},
        }
        for name in (MODEL, STREAM_MODEL)
    ]
    config.write_text(json.dumps({"model_list": models, "general_settings": {"master_key": KEY}}))
    port = 18999
    command = [str(install_litellm()), "--config", str(config), "--port", str(port), "--host", "127.0.0.1"]
    quiet = {"LITELLM_LOG": "ERROR", "LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_TELEMETRY": "False"}
    process = Process([*command, "--num_workers", "1"], core=GATEWAY_CORE, env=quiet, log=folder / "litellm.log")
    try:
        wait_for(f"http://127.0.0.1:{port}/health/liveliness", 180)
        version = subprocess.run(
            [
                str(FOLDER / "litellm" / "bin" / "python"),
                "-c",
                "import importlib.metadata as m; print(m.version('litellm'))",
            ],
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        yield Peer(f"LiteLLM proxy {version}, 1 worker", process, f"http://127.0.0.1:{port}", auth())
    finally:
        process.stop()


@contextmanager
def portkey(upstream: str, folder: Path) -> Iterator[Peer]:
    port = 18787
    script = install_portkey()
    version = json.loads((script.parents[1] / "package.json").read_text())["version"]
    process = Process(
        ["node", str(script), f"--port={port}", "--headless"],
        core=GATEWAY_CORE,
        env={"TRUSTED_CUSTOM_HOSTS": "127.0.0.1,localhost", "NODE_ENV": "production"},
        log=folder / "portkey.log",
    )
    try:
        wait_for(f"http://127.0.0.1:{port}/", 60)
        headers = {**auth(), "x-portkey-provider": "openai", "x-portkey-custom-host": f"{upstream}/v1"}
        yield Peer(f"Portkey gateway {version}", process, f"http://127.0.0.1:{port}", headers)
    finally:
        process.stop()


def measure(peer: Peer, seconds: int, folder: Path) -> Row:
    url = peer.url + "/v1/chat/completions"
    figures = []
    for model, stream in ((MODEL, False), (STREAM_MODEL, True)):
        body = chat_body(peer.prefix + model, stream=stream)
        wrk(url, body, peer.headers, seconds=2, connections=10, core=LOAD_CORE, folder=folder)
        pids = peer.process.tree()
        before = cpu_seconds(pids)
        load = wrk(url, body, peer.headers, seconds=seconds, connections=10, core=LOAD_CORE, folder=folder)
        if load.errors or not load.requests:
            print(f"{peer.name}, {model}: {load.errors} of {load.requests} requests failed", file=sys.stderr)
            figures.append((math.nan, math.nan))
            continue
        figures.append(((quiet_cpu(pids) - before) / load.requests * 1e6, load.rate))
    return Row(peer.name, figures[0][0], figures[0][1], figures[1][0] / EVENTS)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.peers")
    parser.add_argument("--seconds", type=int, default=10)
    seconds = parser.parse_args().seconds
    rows: list[Row] = []
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="freehold-peers-")))
        bench = Bench(stack, folder, seconds)
        peers = [
            Peer(nginx_version() + ", plain proxy", bench.nginx, bench.nginx_url, {}),
            Peer(f"Freehold {metadata.version('freehold')}, 1 worker", bench.gateway, bench.url, auth(), "openai/"),
        ]
        rows += [measure(peer, seconds, folder) for peer in peers]
        for start in (portkey, litellm):
            with start(bench.upstream, folder) as peer:
                rows.append(measure(peer, seconds, folder))
    print(f"{platform.machine()}, {os.cpu_count()} cores, one for the gateway, one for upstream and load;")
    print(f"Python {platform.python_version()}, Node {node_version()}, {time.strftime('%Y-%m-%d')}; 10 connections\n")
    print("| gateway | chat, CPU us per request | requests/s on one core | stream, CPU us per event |")
    print("|---|---|---|---|")
    for row in rows:
        print(f"| {row.name} | {shown(row.chat_us, 0)} | {shown(row.chat_rate, 0)} | {shown(row.event_us, 1)} |")
    print(json.dumps({row.name: [None if math.isnan(value) else round(value, 1) for value in row[1:]] for row in rows}))


def shown(value: float, places: int) -> str:
    return "every request failed" if math.isnan(value) else f"{value:,.{places}f}"


def node_version() -> str:
    return subprocess.run(["node", "--version"], capture_output=True, text=True, check=True).stdout.strip().lstrip("v")


if __name__ == "__main__":
    main()
