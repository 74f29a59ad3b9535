"""`make bench`: what a request costs, against nginx as a plain reverse proxy in the same run.

One gateway worker pinned to one core, with keys, limits, journal, ledger and metrics on; an instant upstream
(`freehold fake`) and the load on the other core. CPU per request is the CPU time of all of the gateway's processes
(parent, worker, steward) over the run, ledger ingestion included, divided by the requests answered. Shared machines
are noisy: compare ratios within one run, not seconds between runs. The last line on stdout is one line of JSON.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from bench import pairs
from bench.load import Latency, chat_body, latency, wrk
from bench.processes import PYTHON, Process, cpu_seconds, memory_mb, need, quiet_cpu, wait_for

KEY = "fh-bench-0123456789abcdef"
EVENTS = 64
GATEWAY_CORE, LOAD_CORE = 0, 1

NGINX = """
{user}
worker_processes 1; daemon off; pid {folder}/nginx.pid; error_log {folder}/nginx.err;
events {{ worker_connections 4096; }}
http {{
  access_log off; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  client_max_body_size 50m; client_body_buffer_size 1m; keepalive_requests 100000000;
  upstream fake {{ server 127.0.0.1:{upstream}; keepalive 256; keepalive_requests 100000000; }}
  server {{
    listen 127.0.0.1:{port};
    location / {{
      proxy_pass http://fake; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffering off;
    }}
  }}
}}
"""

CONFIG = """
server: {{port: 0, workers: 1}}
box: false
discover: false
providers:
  openai:    {{base_url: "http://127.0.0.1:{upstream}/v1", api_key: "upstream-secret-key"}}
  anthropic: {{base_url: "http://127.0.0.1:{upstream}", api_key: "upstream-secret-key"}}
  gemini:    {{base_url: "http://127.0.0.1:{upstream}", api_key: "upstream-secret-key"}}
keys:
  - {{name: bench, key: "{key}", requests_per_minute: 100000000, tokens_per_minute: 100000000000}}
"""


class Bench:
    """The servers of one run, and how each is measured."""

    def __init__(self, stack: ExitStack, folder: Path, seconds: int) -> None:
        self.folder = folder
        self.seconds = seconds
        self.gateway_log = folder / "freehold.log"
        fake = Process(
            [PYTHON, "-m", "freehold", "fake", "--port", "0", "--json"], core=LOAD_CORE, log=folder / "fake.log"
        )
        stack.callback(fake.stop)
        self.upstream = str(fake.line()["url"])
        port = int(self.upstream.rsplit(":", 1)[1])

        (folder / "nginx.conf").write_text(nginx_config(folder, port))
        self.nginx = Process(
            [need("nginx", "nginx-light"), "-c", str(folder / "nginx.conf")],
            core=GATEWAY_CORE,
            log=folder / "nginx.log",
        )
        stack.callback(self.nginx.stop)
        self.nginx_url = f"http://127.0.0.1:{port + 1}"
        wait_for(self.nginx_url)

        (folder / "freehold.yaml").write_text(CONFIG.format(upstream=port, key=KEY))
        started = time.perf_counter()
        self.gateway = Process(
            [PYTHON, "-m", "freehold", "up", "--config", str(folder / "freehold.yaml"), "--json"],
            core=GATEWAY_CORE,
            log=self.gateway_log,
            env={"FREEHOLD_HOME": str(folder / "home")},
        )
        stack.callback(self.gateway.stop)
        self.url = str(self.gateway.line()["url"])
        self.ready_seconds = time.perf_counter() - started
        quiet_cpu(self.gateway.tree())

    def cost(
        self, process: Process, url: str, body: str, headers: dict[str, str] | None = None, connections: int = 32
    ) -> tuple[float, float]:
        """Returns (CPU microseconds per request of the whole process tree, requests per second)."""
        pids = process.tree()
        before = quiet_cpu(pids)
        load = wrk(
            url, body, headers or {}, seconds=self.seconds, connections=connections, core=LOAD_CORE, folder=self.folder
        )
        after = quiet_cpu(pids)
        if load.errors:
            raise RuntimeError(
                f"{load.errors} of {load.requests} requests to {url} failed: {self.gateway_log.read_text()[-2000:]}"
            )
        return (after - before) / load.requests * 1e6, load.rate


def nginx_config(folder: Path, upstream: int) -> str:
    user = "user root;" if os.geteuid() == 0 else ""
    return NGINX.format(folder=folder, upstream=upstream, port=upstream + 1, user=user)


def auth() -> dict[str, str]:
    return {"Authorization": f"Bearer {KEY}"}


def import_ms(*command: str, runs: int = 7) -> float:
    """Median wall time of a fresh process, less the bare interpreter's for an import; milliseconds."""
    times = []
    for _ in range(runs):
        begin = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        times.append((time.perf_counter() - begin) * 1000)
    return statistics.median(times)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--seconds", type=int, default=3, help="length of each load")
    parser.add_argument("--rounds", type=int, default=5, help="times each load is run, in turn; the median counts")
    parser.add_argument(
        "--soak", type=int, default=0, help="requests for the memory row; 1000000 for the published table"
    )
    options = parser.parse_args()
    if len(os.sched_getaffinity(0)) < 2:
        raise SystemExit("error: two cores are needed, one for the gateway and one for the load")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="freehold-bench-")))
        report(Bench(stack, folder, options.seconds), options.rounds, options.soak)


def compare(bench: Bench, chat: str, bodies: dict[str, str], rounds: int) -> dict[str, tuple[float, float]]:
    """CPU microseconds and rate of every kind of load, each the median of `rounds` taken in turn with all others.

    In turn, because a shared machine is slower at one time than at another: then it is for all of them.
    """
    runs: dict[str, list[tuple[float, float]]] = {name: [] for name in bodies}
    for _ in range(rounds):
        for name, body in bodies.items():
            if name == "nginx":
                runs[name].append(bench.cost(bench.nginx, bench.nginx_url + chat, body))
            else:
                runs[name].append(bench.cost(bench.gateway, bench.url + chat, body, auth()))
    return {
        name: (statistics.median(r[0] for r in run), statistics.median(r[1] for r in run)) for name, run in runs.items()
    }


def report(bench: Bench, rounds: int, soak: int) -> None:
    figures: dict[str, float] = {}
    chat, plain = "/v1/chat/completions", chat_body("openai/fake")
    bodies = {
        "nginx": plain,
        "chat": plain,
        "few": chat_body("openai/fake-events-1", stream=True),
        "many": chat_body(f"openai/fake-events-{EVENTS}", stream=True),
        "across": chat_body("anthropic/fake"),
        "across_many": chat_body(f"anthropic/fake-events-{EVENTS}", stream=True),
    }
    rows: list[tuple[str, str, str]] = []

    def row(name: str, value: str, goal: str = "") -> None:
        rows.append((name, value, goal))
        print(f"{name:58} {value:>22}   {goal}", flush=True)

    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, {nginx_version()}\n")
    costs = compare(bench, chat, bodies, rounds)
    nginx_us, nginx_rate = costs["nginx"]
    own_us, own_rate = costs["chat"]
    few_us, many_us, across_us, across_many = (costs[name][0] for name in ("few", "many", "across", "across_many"))
    row("nginx reverse proxy, chat", f"{nginx_us:.1f} us {nginx_rate:.0f}/s")
    row("Freehold, chat", f"{own_us:.1f} us {own_rate:.0f}/s")
    row("  times nginx", f"{own_us / nginx_us:.2f}", "at most 5, 4 if possible")
    row(f"Freehold, streamed, {EVENTS} events", f"{many_us:.0f} us")
    row("  per relayed event (all of the request's cost)", f"{many_us / EVENTS:.1f} us", "at most 20")
    row("  per relayed event (marginal)", f"{(many_us - few_us) / (EVENTS - 1):.1f} us")
    row("Freehold, chat client to Anthropic upstream", f"{across_us:.1f} us")
    row("  more than the pass-through", f"{across_us - own_us:.1f} us", "at most 60")
    row("  streamed, per event", f"{across_many / EVENTS:.1f} us", "at most 40")
    figures |= {"nginx_us": nginx_us, "chat_us": own_us, "chat_ratio": own_us / nginx_us, "chat_rate": own_rate}
    figures |= {"relay_event_us": many_us / EVENTS, "relay_event_marginal_us": (many_us - few_us) / (EVENTS - 1)}
    figures |= {"translated_us": across_us, "translated_extra_us": across_us - own_us}
    figures |= {"translated_event_us": across_many / EVENTS}

    direct = [latency(bench.upstream + chat, plain, {}, rate=1000, connections=10, seconds=5) for _ in range(3)]
    through = [latency(bench.url + chat, plain, auth(), rate=1000, connections=10, seconds=5) for _ in range(3)]
    added = Latency(best(through, 0) - best(direct, 0), best(through, 1) - best(direct, 1))
    figures |= {"added_p50_ms": added.p50, "added_p99_ms": added.p99}
    row("added latency, 10 connections, 1,000/s, p50", f"{added.p50:.2f} ms", "under 0.5")
    row("added latency, 10 connections, 1,000/s, p99", f"{added.p99:.2f} ms", "under 3")

    figures["ready_seconds"] = bench.ready_seconds
    row("freehold up without an engine, ready after", f"{bench.ready_seconds:.2f} s", "under 1")
    bare = import_ms(PYTHON, "-c", "pass")
    figures["import_ms"] = import_ms(PYTHON, "-c", "import freehold") - bare
    figures["help_ms"] = import_ms(str(Path(PYTHON).with_name("freehold")), "--help")
    row("import freehold, over the bare interpreter", f"{figures['import_ms']:.0f} ms", "under 60")
    row("freehold --help, the whole process", f"{figures['help_ms']:.0f} ms", "under 150")
    figures |= pairs.table(lambda path, body: bench.cost(bench.gateway, bench.url + path, body, auth()), row)
    memory(bench, figures, row, soak, plain)
    print(json.dumps({name: round(value, 3) for name, value in figures.items()}))


def memory(bench: Bench, figures: dict[str, float], row: "object", soak: int, body: str) -> None:
    """Worker memory at the start, half-way and at the end of `soak` requests."""
    assert callable(row)
    worker = max(bench.gateway.tree()[1:], key=lambda pid: cpu_seconds([pid]))
    figures["worker_mb"] = memory_mb(worker)
    row("worker memory, resident", f"{figures['worker_mb']:.0f} MB", "under 90")
    if not soak:
        return
    sizes, done, began = [], 0, time.monotonic()
    while done < soak and time.monotonic() - began < 900:
        load = wrk(
            bench.url + "/v1/chat/completions",
            body,
            auth(),
            seconds=10,
            connections=32,
            core=LOAD_CORE,
            folder=bench.folder,
        )
        done += load.requests
        sizes.append((done, memory_mb(worker)))
    half = [size for size in sizes if size[0] >= done / 2]
    figures |= {"soak_requests": done, "soak_mb": sizes[-1][1], "soak_slope_mb": half[-1][1] - half[0][1]}
    row(f"worker memory after {done:,} requests", f"{sizes[-1][1]:.0f} MB", "under 90")
    row("  growth over the second half", f"{figures['soak_slope_mb']:+.1f} MB", "none")


def best(runs: list[Latency], index: int) -> float:
    """The median of the runs: one run may meet a noisy neighbour."""
    return statistics.median(run[index] for run in runs)


def nginx_version() -> str:
    out = subprocess.run([need("nginx", "nginx-light"), "-v"], capture_output=True, text=True, check=True).stderr
    return out.strip().removeprefix("nginx version: ")


if __name__ == "__main__":
    main()
