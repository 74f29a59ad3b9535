"""A small predictor, learnt in a second from made-up prompts: `coder` is good at code, `clerk` at letters."""

import random

import pytest

from freehold.decide.predict import Predictor
from freehold.measure.routing.fit import fit

CODE = ["def", "return", "loop", "array", "pointer", "python", "function", "compile", "index", "string", "recursion"]
DESK = ["letter", "invoice", "customer", "apology", "meeting", "contract", "salary", "holiday", "refund", "sign"]
PLAIN = ["please", "would", "the", "a", "of", "and", "with", "for", "this", "that", "about", "when", "you", "is"]


def prompt(rng: random.Random, words: list[str]) -> str:
    chosen = [rng.choice(words if rng.random() < 0.4 else PLAIN) for _ in range(rng.randint(8, 60))]
    return " ".join(chosen).capitalize() + rng.choice(("?", ".", "", "!"))


def world(seed: int = 0, rows: int = 600) -> tuple[list[str], dict[str, list[float | None]], list[str]]:
    """Prompts, outcomes of five models of rising ability in two tastes, and the tasks."""
    rng = random.Random(seed)
    texts, tasks = [], []
    outcomes: dict[str, list[float | None]] = {name: [] for name in ("coder", "clerk", "weak", "fair", "org/strong")}
    for _ in range(rows):
        code = rng.random() < 0.5
        texts.append(prompt(rng, CODE if code else DESK))
        tasks.append("code" if code else "desk")
        for name, p in {
            "coder": 0.9 if code else 0.3,
            "clerk": 0.3 if code else 0.9,
            "weak": 0.25,
            "fair": 0.55,
            "org/strong": 0.9,
        }.items():
            outcomes[name].append(float(rng.random() < p))
    return texts, outcomes, tasks


@pytest.fixture(scope="session")
def small() -> Predictor:
    texts, outcomes, tasks = world()
    return fit(texts, outcomes, tasks=tasks, made="made-up prompts")
