"""`freehold bench`: what a request costs here, measured on a gateway of its own in front of `freehold fake`.

A temporary gateway with keys, limits, journal, ledger and metrics on gets the load; the same load goes to the fake
directly, so that the difference is the gateway. All of it shares this machine, and the load generator is Python too:
latencies are upper bounds, CPU per request is what to compare. The comparison with nginx is `make bench`.
"""

import asyncio
import contextlib
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import msgspec
from msgspec import Struct

from freehold.cli import output
from freehold.cli.load import Load, Outcome, cpu_seconds, run
from freehold.errors import EngineError

START_SECONDS = 30.0
SETTLE_SECONDS = 1.5
"""After the load, so that what the steward spends on its entries is counted too."""
WARM_UP = 200
MODEL = "gpt-4o-mini"


class _Started(Struct):
    """The line that `up --json` and `fake --json` print when they are ready."""

    url: str


@click.command()
@click.argument("name", required=False)
@click.option("--requests", "-n", type=click.IntRange(1, 1_000_000), help="How many: 2000, of a model 240.")
@click.option("--connections", "-c", type=click.IntRange(1, 1000), default=10, show_default=True, help="At a time.")
@click.option("--streamed", type=click.FloatRange(0, 1), default=0.0, show_default=True, help="Share that is streamed.")
@click.option("--seconds", type=click.FloatRange(1, 600), default=60.0, show_default=True, help="Longest duration.")
@click.option(
    "--output",
    "output_tokens",
    type=click.IntRange(1, 4096),
    default=32,
    show_default=True,
    help="A model's answers, tokens.",
)
@click.option("--config", type=click.Path(path_type=Path), help="Configuration file that names the model.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(
    name: str | None,
    requests: int | None,
    connections: int,
    streamed: float,
    seconds: float,
    output_tokens: int,
    config: Path | None,
    as_json: bool,
) -> None:
    """Measure what the gateway costs on this machine, or what the owned model NAME does on it.

    Without NAME: starts a scripted provider and a gateway of its own on loopback, sends requests of 1 KB, and stops
    both. Nothing of your configuration, keys or ledger is used.

    With NAME: asks own/NAME, through the gateway if one runs, at several concurrencies and prompt lengths; the figures
    are kept for routing and planning.
    """
    if name is not None:
        from freehold.cli.bench_model import Bounds, bench

        bench(name, Bounds(requests or 240, seconds, output_tokens), config=config, as_json=as_json)
        return
    requests = requests or 2000
    with tempfile.TemporaryDirectory(prefix="freehold-bench-") as folder:
        result = measure(Path(folder), requests, connections, streamed, seconds)
    if as_json:
        output.emit(result)
    else:
        _show(result)
    if result["failed"]:
        sys.exit(1)


def measure(folder: Path, requests: int, connections: int, streamed: float, seconds: float) -> dict[str, Any]:
    """Returns the figures; times are milliseconds, CPU is microseconds per request. Raises EngineError."""
    key = "fh-" + secrets.token_urlsafe(24)
    with _process(folder, ["fake", "--port", "0", "--json"]) as (fake, _):
        (folder / "freehold.yaml").write_text(_configuration(fake, key))
        words = ["up", "--config", str(folder / "freehold.yaml"), "--port", "0", "--json"]
        with _process(folder, words) as (gateway, pid):
            through = Load(gateway, key, f"openai/{MODEL}", requests, connections, streamed, seconds)
            direct = msgspec.structs.replace(through, url=fake, model=MODEL)
            _warm_up("the scripted provider", direct)
            _warm_up("the gateway", through)
            alone = _loaded("directly", direct)
            _rest(pid)
            before = cpu_seconds(pid)
            outcome = _loaded("through the gateway", through)
            time.sleep(SETTLE_SECONDS)
            cpu = cpu_seconds(pid) - before
    return _figures(through, outcome, alone, cpu)


def _warm_up(who: str, load: Load) -> None:
    """Sends a little before anything is measured. Raises EngineError when not one answer comes."""
    first = asyncio.run(run(msgspec.structs.replace(load, requests=1)))
    if not first.latencies:
        raise EngineError(f"{who} does not answer: {next(iter(first.errors))}", hint="freehold doctor")
    asyncio.run(run(msgspec.structs.replace(load, requests=WARM_UP, seconds=10.0)))


def _rest(pid: int) -> None:
    """Waits until what happens once after a start (price data is loaded then) is over: it is no request's cost."""
    end = time.monotonic() + 10.0
    before = cpu_seconds(pid)
    while time.monotonic() < end:
        time.sleep(0.5)
        now = cpu_seconds(pid)
        if now - before < 0.02:
            return
        before = now


def _figures(load: Load, outcome: Outcome, alone: Outcome, cpu: float) -> dict[str, Any]:
    answered = len(outcome.latencies)
    p50, p99 = outcome.percentile(0.5), outcome.percentile(0.99)
    direct50, direct99 = alone.percentile(0.5), alone.percentile(0.99)
    return {
        "requests": answered,
        "failed": outcome.failed + alone.failed,
        "errors": {**alone.errors, **outcome.errors},
        "connections": load.connections,
        "streamed": load.streamed,
        "seconds": round(outcome.seconds, 3),
        "requests_per_second": round(answered / outcome.seconds, 1) if outcome.seconds else None,
        "cpu_us_per_request": round(cpu * 1e6 / answered, 1) if answered else None,
        "latency_ms": {"p50": _rounded(p50), "p99": _rounded(p99)},
        "direct_latency_ms": {"p50": _rounded(direct50), "p99": _rounded(direct99)},
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)


def _loaded(label: str, load: Load) -> Outcome:
    with output.progress(f"{load.requests:,} requests {label}"):
        return asyncio.run(run(load))


def _configuration(fake: str, key: str) -> str:
    """Everything on that a real team has on, with limits that are counted and never met."""
    limits = {"requests_per_minute": 1_000_000_000, "tokens_per_minute": 1_000_000_000_000}
    config = {
        "box": False,
        "discover": False,
        "providers": {"openai": {"base_url": f"{fake}/v1", "api_key": key}},
        "keys": [{"name": "bench", "key": key, **limits}],
    }
    return msgspec.json.encode(config).decode()


@contextlib.contextmanager
def _process(folder: Path, words: list[str]) -> Iterator[tuple[str, int]]:
    """Starts a verb, yields its URL and process id once it says that it is ready, and stops it."""
    log = folder / f"{words[0]}.log"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("FREEHOLD_")}
    environment["FREEHOLD_HOME"] = str(folder / "home")
    with log.open("wb") as stderr:
        process = subprocess.Popen(  # noqa: S603 our own command, no shell
            [sys.executable, "-m", "freehold", *words],
            stdout=subprocess.PIPE,
            stderr=stderr,
            stdin=subprocess.DEVNULL,
            env=environment,
            process_group=0,
        )
    try:
        yield _ready(process, words[0], log), process.pid
    finally:
        _stop(process)


def _ready(process: "subprocess.Popen[bytes]", verb: str, log: Path) -> str:
    """Returns the URL that the process prints. Raises EngineError with its last words when it prints none."""
    import select

    assert process.stdout is not None
    told, _, _ = select.select([process.stdout], [], [], START_SECONDS)
    line = process.stdout.readline() if told else b""
    try:
        return msgspec.json.decode(line, type=_Started).url.rstrip("/")
    except msgspec.DecodeError as error:
        last = log.read_text(errors="replace").strip().splitlines()[-1:]
        why = last[0] if last else f"it said nothing within {START_SECONDS:g} s"
        raise EngineError(f"freehold {verb} did not start: {why}", hint="freehold doctor") from error


def _stop(process: "subprocess.Popen[bytes]") -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    if process.stdout is not None:
        process.stdout.close()


def _show(result: dict[str, Any]) -> None:
    latency, direct = result["latency_ms"], result["direct_latency_ms"]
    streamed = f", {result['streamed']:.0%} streamed" if result["streamed"] else ""
    rows = [
        ("requests", f"{result['requests']:,} over {result['connections']} connections{streamed}"),
        ("CPU per request", f"{result['cpu_us_per_request']} us, gateway and steward together"),
        ("latency p50", f"{latency['p50']} ms, {direct['p50']} ms without the gateway"),
        ("latency p99", f"{latency['p99']} ms, {direct['p99']} ms without the gateway"),
        ("throughput", f"{result['requests_per_second']} requests/s"),
    ]
    output.table(["what", "figure"], rows)
    output.say("load, provider and gateway share this machine: latencies are upper bounds, CPU is what to compare")
    for error, count in list(result["errors"].items())[:5]:
        output.warn(f"{count} requests failed: {error}")
