"""`python -m bench.own_swap`: two small models, room for one, and every request wants the other.

Three things are measured in one run. The load: the engine's process alone, from its start to its first token, as the
steward starts it. The swap: a request for the model that is not loaded, one after another, so that each one unloads
the other model and loads its own; what it takes beyond the load and a bare answer is the cost of swapping. And loss:
clients that ask for both models at once, while the steward collates them; every request must be answered.
"""

import argparse
import asyncio
import json
import shutil
import statistics
import tempfile
import threading
import time
from contextlib import ExitStack
from pathlib import Path

from bench.own_host import Host, Told, end_at_sigterm, percentile, table

CONTEXT, PARALLEL = 512, 2


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.own_swap")
    parser.add_argument("--swaps", type=int, default=1000, help="swaps to make, one after another")
    parser.add_argument("--seconds", type=float, default=30.0, help="of clients that ask for both at once")
    parser.add_argument("--clients", type=int, default=6)
    parser.add_argument("--model", type=Path, help="a GGUF file; the model in the box without it")
    options = parser.parse_args()
    end_at_sigterm()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="freehold-swap-")))
        figures = run(stack, folder, options.swaps, options.seconds, options.clients, options.model)
    print(json.dumps({name: round(value, 4) for name, value in figures.items()}))
    if figures["lost"] or figures["errors"]:
        raise SystemExit(1)


def run(
    stack: ExitStack, folder: Path, swaps: int, seconds: float, clients: int, model: Path | None = None
) -> dict[str, float]:
    """Returns the figures; prints them as a table."""
    files = copies(folder, model)
    loads, ends = asyncio.run(bare_loads(files[0], folder))
    load = statistics.median(loads)
    settings = f"context: {CONTEXT}, parallel: {PARALLEL}, load: demand, memory: 1GiB"  # of 1.5: room for one
    own = "".join(f"  - {{path: {file}, name: {file.stem}, {settings}}}\n" for file in files)
    rest = f"engines: {{memory: 1.5GiB, queue: 60}}\nown:\n{own}"
    host = Host(stack, folder / "gateway", rest)
    told: list[Told] = [host.ask("own/a", "first")]
    answers = [host.ask("own/a", f"warm {index}") for index in range(20)]
    bare = statistics.median(answer.seconds for answer in answers)
    times = []
    for index in range(swaps):
        answer = host.ask("own/b" if index % 2 == 0 else "own/a", f"request {index}")
        told.append(answer)
        times.append(answer.seconds)
        if answer.kind != "ok":
            print(f"request {index}: {answer.kind} {answer.code} {answer.text}", flush=True)
    beyond = [taken - load - bare for taken in times]
    alternating = len(told)
    numbers = lives(host)
    told += together(host, seconds, clients)
    changed = lives(host) - numbers
    lost = [answer for answer in told if answer.kind == "lost"]
    errors = [answer for answer in told if answer.kind == "error"]
    for answer in [*lost, *errors][:5]:
        print(f"{answer.kind}: {answer.code} {answer.text}")
    both = told[alternating:]
    rows = [
        ("load: process start to first token, bare, median", f"{load * 1000:.0f} ms", ""),
        ("unload: told to end to its end, bare, median", f"{statistics.median(ends) * 1000:.0f} ms", ""),
        ("an answer of the model that is loaded, median", f"{bare * 1000:.1f} ms", ""),
        (f"request that swaps, median of {swaps}", f"{statistics.median(times) * 1000:.0f} ms", ""),
        ("  beyond load and answer, median", f"{statistics.median(beyond) * 1000:.0f} ms", "under 300 ms"),
        ("  beyond load and answer, p95", f"{percentile(beyond, 0.95) * 1000:.0f} ms", ""),
        (f"{clients} clients asking for both, {seconds:g} s: requests", f"{len(both)}", ""),
        ("  loads meanwhile", f"{changed}", "far fewer than requests"),
        ("requests lost, of all", f"{len(lost)} of {len(told)}", "0"),
        ("requests answered with an error", f"{len(errors)}", "0"),
    ]
    table(rows)
    return {
        "load_s": load,
        "answer_s": bare,
        "swap_s": statistics.median(times),
        "beyond_s": statistics.median(beyond),
        "beyond_p95_s": percentile(beyond, 0.95),
        "swaps": swaps,
        "requests": len(told),
        "loads_together": changed,
        "lost": len(lost),
        "errors": len(errors),
    }


def copies(folder: Path, model: Path | None) -> list[Path]:
    """Two models that differ in name only."""
    from freehold.own.catalog import box_file

    source = model or box_file()
    if source is None:
        raise SystemExit("error: this installation has no model in the box\nhint: --model FILE.gguf")
    return [Path(shutil.copyfile(source, folder / f"{name}.gguf")) for name in ("a", "b")]


async def bare_loads(file: Path, folder: Path, runs: int = 7) -> tuple[list[float], list[float]]:
    """Seconds from starting the engine to its first token, without a gateway; and from telling it to end to its end."""
    from freehold.own.engine import EngineSpec
    from freehold.own.engines import adapter, describe
    from freehold.own.life import BoundedLog, launch

    llama = adapter("llamacpp")
    spec = EngineSpec("a", file, CONTEXT, parallel=PARALLEL)
    model = await asyncio.to_thread(describe, spec)
    times, ends = [], []
    for _ in range(runs):
        plan = llama.plan(spec, model, "bench-key")
        began = time.monotonic()
        life = await launch(plan, BoundedLog(folder / "bare.log"))
        try:
            await life.answering()
            await life.ask(llama.warm_up(spec, model))
            times.append(time.monotonic() - began)
        finally:
            began = time.monotonic()
            await life.stop(5.0)
            await life.end()
            ends.append(time.monotonic() - began)
    return times, ends


def together(host: Host, seconds: float, clients: int) -> list[Told]:
    """Clients that ask for either model, at once."""
    told: list[Told] = []
    end = time.monotonic() + seconds

    def client(seed: int) -> None:
        count = seed
        while time.monotonic() < end:
            count += 1
            name = "own/a" if (count // 2 + seed) % 2 else "own/b"
            told.append(host.ask(name, f"client {seed}, {count}", stream=count % 2 == 0, tokens=1 + count % 8))

    threads = [threading.Thread(target=client, args=(seed,)) for seed in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return told


def lives(host: Host) -> int:
    """How many times an engine was loaded, as the steward numbers their lives."""
    return sum(int(entry.get("number", 0)) for entry in host.engines().values())


if __name__ == "__main__":
    main()
