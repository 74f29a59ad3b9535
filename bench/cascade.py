"""`python -m bench.cascade`: what a cascade's checks are worth, on the model in the box. Part of `make bench-route`.

Messages of the BANKING77 test split, which no part of the model was chosen by, go through a running gateway. First each
is asked of own/banking77 alone, with log-probabilities: how often it is right, and how well its log-probabilities tell.
Then the same messages go through routes with a cascade, and the headers of the answers say who answered. The better
model is the fake, which knows no intents; what it would get right is assumed (`BETTER`), as its price would be: the
share escalated is the share of the rented price that is still paid, because an owned token costs nothing here.

    escalated      answers of the first model that were doubted
    right, shown   of those that were released
    false pass     of its wrong answers, released        false doubt    of its right answers, doubted
    right, all     with the better model right on `BETTER` of what it gets, against `BETTER` of asking it at once;
                   models fail on the same messages more often than that, so
    at worst       all that the better model gets wrong in these messages is among those it is asked

Chance is the yardstick: escalating as many at random leaves "right, shown" where it was.
"""

import csv
import json
import math
import random
import statistics
import sys
import tempfile
import time
import urllib.request
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

from bench.processes import PYTHON, Process
from freehold.check.confidence import Confidence, confidence

DATA = Path(__file__).resolve().parents[2] / "shared" / "data" / "banking77_test.csv"
KEY = "fh-bench-0123456789abcdef"
ROWS = 300
SEED = 1
BETTER = 0.95
"""Assumed of the second model: what fine-tuned encoders reach on this test split is 0.93 to 0.94."""
BOX = "own/banking77"
HEADS = ("escalated", "right, shown", "false pass", "false doubt", "right, all", "at worst", "ms")
ROUTES: dict[str, str] = {
    "schema (form only)": "checks: [complete, schema]",
    "logprobs over -1.5": "checks: [logprobs], logprob: -1.5",
    "logprobs over -0.7": "checks: [logprobs], logprob: -0.7",
    "logprobs over -0.3": "checks: [logprobs], logprob: -0.3",
    "logprobs over -0.1": "checks: [logprobs], logprob: -0.1",
    "agree, 3 samples, 2 alike": "checks: [agree], samples: 3, agreement: 0.6",
    "agree, 5 samples, 5 alike": "checks: [agree], samples: 5, agreement: 0.99",
}
CONFIG = """
server: {{port: 0, workers: 1}}
discover: false
breaker: {{failures: 1000000}}
providers:
  openai: {{base_url: "{fake}/v1", api_key: sk-bench}}
keys: [{{name: bench, key: "{key}"}}]
models:
{routes}
"""


class Asked(NamedTuple):
    """One message, and what the first model says to it by itself."""

    text: str
    right: bool
    sure: Confidence
    mean: float
    milliseconds: float


class Figures(NamedTuple):
    """Of one check. Shares of 0 to 1; milliseconds of answers that were released."""

    escalated: float
    shown: float
    false_pass: float
    false_doubt: float
    whole: float
    worst: float
    milliseconds: float


def measure(rows: int = ROWS) -> dict[str, Any]:
    """Prints the table; returns the figures, an empty dict where the data are not there."""
    if not DATA.exists():
        print(f"cascades: skipped, {DATA.name} is not beside the repository", flush=True)
        return {}
    with DATA.open(encoding="utf-8", newline="") as file:
        messages = [(row["text"], row["category"]) for row in csv.DictReader(file)]
    chosen = random.Random(SEED).sample(messages, min(rows, len(messages)))
    with ExitStack() as stack:
        url = _gateway(stack, Path(stack.enter_context(tempfile.TemporaryDirectory())))
        asked = [_alone(url, text, intent) for text, intent in chosen]
        right = sum(one.right for one in asked) / len(asked)
        print(f"\nCascades: {len(asked)} messages of BANKING77's test split, {BOX} first, right on {right:.3f};")
        print(f"assumed of the better model: right on {BETTER}. Area under the curve of right against wrong answers:")
        areas = {
            "5 % quantile of log-probabilities": area([one.sure.least for one in asked], asked),
            "margin": area([one.sure.margin or 0.0 for one in asked], asked),
            "mean of log-probabilities": area([one.mean for one in asked], asked),
        }
        print("  " + ", ".join(f"{name} {value:.3f}" for name, value in areas.items()) + "\n")
        print(f"{'check':28}" + "".join(f"{name:>13}" for name in HEADS))
        alone = statistics.median(one.milliseconds for one in asked)
        _show("none: the first alone", Figures(0.0, right, 1.0, 0.0, right, right, alone))
        found = {}
        for number, name in enumerate(ROUTES):
            found[name] = figures = _through(url, f"check{number}", asked)
            _show(name, figures)
        _show("all: the better alone", Figures(1.0, math.nan, 0.0, 1.0, BETTER, BETTER, math.nan))
    return {
        "rows": len(asked),
        "right": right,
        "areas": areas,
        "checks": {name: figures._asdict() for name, figures in found.items()},
    }


def _show(name: str, figures: Figures) -> None:
    *shares, milliseconds = figures
    print(f"{name:28}" + "".join(f"{share:>13.3f}" for share in shares) + f"{milliseconds:>13.1f}", flush=True)


def area(scores: Sequence[float], asked: Sequence[Asked]) -> float:
    """The probability that a right answer scores higher than a wrong one; 0.5 is chance."""
    right = [score for score, one in zip(scores, asked, strict=True) if one.right]
    wrong = [score for score, one in zip(scores, asked, strict=True) if not one.right]
    if not right or not wrong:
        return 0.5
    wins = sum((a > b) + 0.5 * (a == b) for a in right for b in wrong)
    return wins / (len(right) * len(wrong))


def _through(url: str, route: str, asked: Sequence[Asked]) -> Figures:
    released: list[Asked] = []
    doubted: list[Asked] = []
    times: list[float] = []
    for one in asked:
        began = time.perf_counter()
        deployment, _ = _post(url, {"model": route, **_conversation(one.text)})
        (released if deployment == BOX else doubted).append(one)
        if deployment == BOX:
            times.append(1000 * (time.perf_counter() - began))
    right = sum(one.right for one in asked)
    kept = sum(one.right for one in released)
    wrong = len(asked) - right
    return Figures(
        len(doubted) / len(asked),
        kept / len(released) if released else 1.0,
        (len(released) - kept) / wrong if wrong else 0.0,
        sum(one.right for one in doubted) / right if right else 0.0,
        (kept + BETTER * len(doubted)) / len(asked),
        (kept + max(0.0, len(doubted) - (1 - BETTER) * len(asked))) / len(asked),
        statistics.median(times) if times else 0.0,
    )


def _alone(url: str, text: str, intent: str) -> Asked:
    began = time.perf_counter()
    _, answer = _post(url, {"model": BOX, "logprobs": True, "top_logprobs": 2, **_conversation(text)})
    milliseconds = 1000 * (time.perf_counter() - began)
    choice = answer["choices"][0]
    sure = confidence(choice["logprobs"])
    if sure is None:
        raise RuntimeError("the model in the box gave no log-probabilities")
    tokens = [token["logprob"] for token in choice["logprobs"]["content"]]
    right = json.loads(choice["message"]["content"]) == {"intent": intent}
    return Asked(text, right, sure, statistics.fmean(tokens), milliseconds)


def _conversation(text: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}], "temperature": 0, "max_tokens": 16}


def _post(url: str, body: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    headers = {"authorization": f"Bearer {KEY}", "content-type": "application/json"}
    request = urllib.request.Request(url + "/v1/chat/completions", json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request, timeout=60) as answer:
        return str(answer.headers["x-freehold-deployment"]), json.load(answer)


def _gateway(stack: ExitStack, folder: Path) -> str:
    home = {"FREEHOLD_HOME": str(folder / "home")}
    fake = Process([PYTHON, "-m", "freehold", "fake", "--json"], core=None, log=folder / "fake.log", env=home)
    stack.callback(fake.stop)
    routes = "\n".join(
        f"  check{number}: {{among: [{BOX}, openai/fake], cascade: {{first: {BOX}, {rules}}}}}"
        for number, rules in enumerate(ROUTES.values())
    )
    config = folder / "freehold.yaml"
    config.write_text(CONFIG.format(fake=fake.line()["url"], key=KEY, routes=routes))
    gateway = Process(
        [PYTHON, "-m", "freehold", "up", "--config", str(config), "--json"],
        core=None,
        log=folder / "freehold.log",
        env=home,
    )
    stack.callback(gateway.stop)
    return str(gateway.line()["url"])


if __name__ == "__main__":
    print(json.dumps({"cascade": measure(int(sys.argv[1]) if len(sys.argv) > 1 else ROWS)}))
