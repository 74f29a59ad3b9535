"""The same GGUF behind bare llama.cpp and behind Freehold, in one run, in turn.

Both servers hold the model the whole time and only one is asked at a time. Rounds are short and alternate which goes
first, because a shared machine is slower at one time than at another. A round's throughput is the tokens of all its
answers over its seconds; the ratio is the median of the rounds' ratios. The time to the first token is taken request by
request, the two in turn, with a prompt that both have in their cache, so that what is left is the way there and back.
"""

import asyncio
import json
import os
import statistics
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

from bench.own import row
from bench.own_model import build
from bench.processes import PYTHON, Process
from freehold.call.transport import Origin, Pool
from freehold.own.engine import EngineSpec
from freehold.own.engines.describe import describe
from freehold.own.engines.llamacpp import LlamaCpp
from freehold.own.measuring import Sample, Target, ask, prompt_of

KEY = "fh-bench-0123456789abcdef"
CONTEXT, PARALLEL = 1024, 4
WIDTH, LAYERS = 384, 8
"""20 million parameters: llama.cpp takes one thread for it, which leaves the other core to gateway and client, as a
machine with cores to spare would."""
ROUNDS = 20
TOKENS = 48
FIRSTS = 150
CONFIG = """
server: {{port: 0, workers: 1}}
box: false
discover: false
own:
  - {{path: "{path}", name: same, context: {context}, parallel: {parallel}}}
keys:
  - {{name: bench, key: "{key}"}}
"""


def run(stack: ExitStack, folder: Path) -> dict[str, float]:
    """Prints the rows; returns the figures."""
    file = folder / "same.gguf"
    parameters = build(file, width=WIDTH, layers=LAYERS)
    bare, gateway = _bare(stack, file), _gateway(stack, folder, file)
    asyncio.run(_ready(bare, gateway))
    figures: dict[str, float] = {"parameters": parameters}
    row(f"model of {parameters / 1e6:.0f} million parameters, Q8_0, {file.stat().st_size >> 20} MiB", "")
    for many in (1, PARALLEL):
        ratio, alone, through = asyncio.run(_throughput(bare, gateway, many))
        figures |= {f"ratio_{many}": ratio, f"bare_rate_{many}": alone, f"rate_{many}": through}
        row(f"  llama.cpp alone, {many} at a time", f"{alone:.1f} tokens/s")
        row(f"  behind Freehold, {many} at a time", f"{through:.1f} tokens/s")
        row("    times llama.cpp alone, median of rounds", f"{ratio:.3f}", "at least 0.97")
    direct, through = asyncio.run(_first(bare, gateway))
    alone, added = statistics.median(direct), statistics.median(through) - statistics.median(direct)
    fastest = _fastest(through) - _fastest(direct)
    figures |= {"first_bare_ms": alone, "added_first_ms": added, "added_first_fastest_ms": fastest}
    row("  time to the first token, llama.cpp alone, median", f"{alone:.2f} ms")
    row("  added by Freehold, median", f"{added:.2f} ms", "under 1")
    row("  added by Freehold, at the fastest tenth", f"{fastest:.2f} ms", "what is left where nobody else computes")
    return figures


def _fastest(times: list[float]) -> float:
    return sorted(times)[len(times) // 10]


def _bare(stack: ExitStack, file: Path) -> Target:
    plan = LlamaCpp().plan(spec := EngineSpec("same", file, CONTEXT, PARALLEL), describe(spec), "")
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.own_bare", str(file)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=os.environ | {"GOMP_SPINCOUNT": plan.env.get("GOMP_SPINCOUNT", "")},
    )
    stack.callback(process.wait, 20)
    stack.callback(process.kill)
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(plan.message)
    process.stdin.flush()
    return Target(json.loads(process.stdout.readline())["url"], "", "bare")


def _gateway(stack: ExitStack, folder: Path, file: Path) -> Target:
    config = folder / "freehold.yaml"
    config.write_text(CONFIG.format(path=file, context=CONTEXT, parallel=PARALLEL, key=KEY))
    process = Process(
        [PYTHON, "-m", "freehold", "up", "--config", str(config), "--json"],
        core=None,
        log=folder / "freehold.log",
        env={"FREEHOLD_HOME": str(folder / "home")},
    )
    stack.callback(process.stop)
    return Target(str(process.line()["url"]), KEY, "own/same")


async def _ready(*targets: Target) -> None:
    """Waits until each has answered with a token."""
    for target in targets:
        deadline = time.monotonic() + 60
        while (error := (await _one(target, 8, 1)).error) is not None:
            if time.monotonic() > deadline:
                raise RuntimeError(f"{target.url} does not answer: {error}")
            await asyncio.sleep(0.3)


async def _one(target: Target, words: int, tokens: int) -> Sample:
    pool = Pool(Origin.parse(target.url), connect_timeout=5.0, limit=1)
    try:
        return await ask(pool, target, prompt_of(words), tokens)
    finally:
        pool.shut()


async def _throughput(bare: Target, gateway: Target, many: int) -> tuple[float, float, float]:
    """Returns (median ratio of the rounds, bare tokens/s, tokens/s behind Freehold)."""
    rates: dict[str, list[float]] = {bare.url: [], gateway.url: []}
    for number in range(ROUNDS):
        for target in (bare, gateway) if number % 2 else (gateway, bare):
            rates[target.url].append(await _round(target, many))
    ratios = [through / alone for alone, through in zip(rates[bare.url], rates[gateway.url], strict=True)]
    return statistics.median(ratios), statistics.median(rates[bare.url]), statistics.median(rates[gateway.url])


async def _round(target: Target, many: int) -> float:
    began = time.monotonic()
    samples = await asyncio.gather(*(_one(target, 16, TOKENS) for _ in range(many)))
    seconds = time.monotonic() - began
    if wrong := [sample.error for sample in samples if sample.error]:
        raise RuntimeError(f"{target.url}: {wrong[0]}")
    return sum(sample.output for sample in samples) / seconds


async def _first(bare: Target, gateway: Target) -> tuple[list[float], list[float]]:
    """Returns times to the first token in milliseconds, bare and behind Freehold, the first tenth left out."""
    prompt = prompt_of(8)
    times: dict[str, list[float]] = {bare.url: [], gateway.url: []}
    pools = {target.url: Pool(Origin.parse(target.url), connect_timeout=5.0, limit=1) for target in (bare, gateway)}
    try:
        for number in range(FIRSTS):
            for target in (bare, gateway) if number % 2 else (gateway, bare):
                sample = await ask(pools[target.url], target, prompt, 2)
                if sample.first is None:
                    raise RuntimeError(f"{target.url}: {sample.error}")
                times[target.url].append(sample.first * 1000)
    finally:
        for pool in pools.values():
            pool.shut()
    tail = FIRSTS // 10
    return times[bare.url][tail:], times[gateway.url][tail:]
