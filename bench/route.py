"""`make bench-route`: what the router is worth on public outcomes, beside baselines that know next to nothing.

Reads ../shared/data/routing next to the repository: RouteLLM's MMLU answers (2 models), MMLU-Pro (29), ZeroEval (60).
Every table over five seeds, at random and with whole domains held out; the last line is one line of JSON. Some eight
minutes on one core. `python -m bench.route --seeds 2 zeroeval` for a part of it.
"""

import argparse
import json
import os
import sys
import time
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

DATA = Path(__file__).parents[2] / "shared" / "data" / "routing"
FILES = ("routellm_mmlu", "mmlu_pro", "zeroeval")
ANCHORS = {
    "mmlu_pro": [
        ("Meta-Llama-3_1-8B-Instruct", "gemini-1.5-pro-002"),
        ("Meta-Llama-3_1-70B-Instruct", "gemini-1.5-pro-002"),
    ],
    "zeroeval": [
        ("Meta-Llama-3.1-8B-Instruct", "claude-3-5-sonnet-20241022"),
        ("gemma-2-9b-it", "gpt-4o-2024-08-06"),
        ("claude-3-5-sonnet-20241022", "o1-mini-2024-09-12"),
    ],
}
"""Pairs that others have figures for; the rest is chosen by rule (measure/routing/pairs.py)."""


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m bench.route", description=__doc__.split("\n")[0] if __doc__ else None
    )
    parser.add_argument("files", nargs="*", metavar="NAME", help=f"of {', '.join(FILES)}; all where none is named")
    parser.add_argument("--seeds", type=int, default=5)
    options = parser.parse_args()
    if unknown := [name for name in options.files if name not in FILES]:
        raise SystemExit(f"error: {unknown[0]} is none of {', '.join(FILES)}")
    if not DATA.exists():
        raise SystemExit(
            f"error: there is no {DATA}: the figures are of public data that is kept beside the repository"
        )
    from freehold.measure.routing.evaluate import evaluate
    from freehold.measure.routing.report import markdown

    begin = time.process_time()
    told = {}
    for name in options.files or FILES:
        path = DATA / f"{name}.csv.gz"
        report = evaluate([path], asked=ANCHORS.get(name, []), seeds=options.seeds, say=say)
        report.train = [path.name]
        print(markdown(report), flush=True)
        for table in report.tables:
            for split in table.splits:
                where = f"{table.kind} {split.split}"
                told[where] = {
                    "apgr": {f"{one.weak} / {one.strong}": mean(one.routers, "apgr") for one in split.pairs},
                    "pools": {
                        one.pool: {
                            "aiq": mean(one.routers, "aiq"),
                            "zero_aiq": round(one.about["zero_aiq"].mean, 4),
                            "saved": mean(one.routers, "saved"),
                        }
                        for one in split.pools
                    },
                }
    say(f"{time.process_time() - begin:.0f} s of CPU time")
    print(json.dumps(told))


def mean(routers: dict, name: str) -> float | None:  # type: ignore[type-arg]
    figures = routers.get("freehold", {})
    return round(figures[name].mean, 4) if name in figures else None


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
