"""`make bench-own`: what the owned side costs and stands, against the engine alone. `python -m bench.own [PART ...]`

    same    the same GGUF behind bare llama.cpp and behind Freehold: throughput, time to the first token
    swap    two models that take turns in the memory of one: time of a swap, requests lost
    kill    engines killed and wedged under load: requests answered, ended with an error, lost

Each part is a module bench/own_PART.py with `run(stack, folder) -> dict[str, float]`, which prints its rows through
`row`. The last line on stdout is one line of JSON with all figures.
"""

import argparse
import importlib
import importlib.util
import json
import os
import platform
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PARTS = ("same", "swap", "kill")


def row(name: str, value: str, goal: str = "") -> None:
    """Prints one line of the table."""
    print(f"{name:62} {value:>24}   {goal}", flush=True)


def versions() -> str:
    """What was measured, on what, for the head of the table."""
    held = []
    for package in ("freehold", "xllamacpp", "gguf", "transformers", "torch"):
        try:
            held.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            continue
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 30)
    cores = len(os.sched_getaffinity(0))
    return (
        f"{platform.machine()}, {cores} cores, {memory:.0f} GiB, Python {platform.python_version()}, {', '.join(held)}"
    )


def main() -> None:
    there = [part for part in PARTS if importlib.util.find_spec(f"bench.own_{part}") is not None]
    parser = argparse.ArgumentParser(prog="python -m bench.own", description="What the owned side costs and stands.")
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(there)}; all of them without any")
    chosen = parser.parse_args().parts or there
    if unknown := set(chosen) - set(there):
        parser.error(f"there is no part {', '.join(sorted(unknown))}")
    print(versions() + "\n")
    figures: dict[str, float] = {}
    for part in chosen:
        run: Callable[[ExitStack, Path], dict[str, float]] = importlib.import_module(f"bench.own_{part}").run
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="freehold-bench-")))
            figures |= {f"{part}_{name}": value for name, value in run(stack, folder).items()}
        print()
    print(json.dumps({name: round(value, 4) for name, value in figures.items()}))


if __name__ == "__main__":
    main()
