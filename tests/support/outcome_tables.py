"""Small tables of outcomes in every format, made up so that what there is to learn is known beforehand."""

import csv
import gzip
import json
import random
from pathlib import Path

EASY = ("apple", "bread", "chair", "door", "engine", "flower", "garden", "house")
HARD = ("integral", "manifold", "topology", "cohomology", "tensor", "spinor", "functor", "sheaf")
MODELS = {"small-7b": (0.97, 0.2), "middle-30b": (0.96, 0.5), "large-400b": (0.95, 0.9)}
"""P(right) on easy and on hard prompts."""


def rows(count: int, seed: int = 0) -> list[tuple[str, str, dict[str, int]]]:
    """(prompt, task, outcomes): words tell easy from hard."""
    chance = random.Random(seed)
    found = []
    for number in range(count):
        hard = chance.random() < 0.5
        words = [chance.choice(HARD if hard else EASY) for _ in range(8)]
        prompt = f"Question {number}: what is the {' '.join(words)}?"
        outcomes = {name: int(chance.random() < chances[hard]) for name, chances in MODELS.items()}
        found.append((prompt, ("maths" if hard else "home") + str(number % 3), outcomes))
    return found


def write(path: Path, header: list[str], lines: list[list[object]]) -> Path:
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "wt", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(lines)
    return path


def routellm(path: Path, count: int = 300, seed: int = 0) -> Path:
    """Two models, True and False, gzipped if `path` says so."""
    names = ["small-7b", "large-400b"]
    lines: list[list[object]] = [
        [prompt, *(str(bool(right[name])) for name in names), task] for prompt, task, right in rows(count, seed)
    ]
    return write(path, ["prompt", *names, "subject"], lines)


def mmlu_pro(path: Path, count: int = 300, seed: int = 0) -> Path:
    """Three models, 0, 1, 1.0 and some empty cells."""
    lines: list[list[object]] = []
    for number, (prompt, task, right) in enumerate(rows(count, seed)):
        cells: list[object] = [right["small-7b"], float(right["middle-30b"]), right["large-400b"]]
        if number % 40 == 7:
            cells[1] = ""
        lines.append([number, task, "made", prompt, json.dumps(["yes", "no", "perhaps"]), *cells])
    return write(path, ["question_id", "category", "src", "question", "options", *MODELS], lines)


def zeroeval(path: Path, count: int = 300, seed: int = 0) -> Path:
    """Three models with the lengths of their answers."""
    header = ["id", "task", "prompt", *(f"{name}|ok" for name in MODELS), *(f"{name}|out_chars" for name in MODELS)]
    lines: list[list[object]] = [
        [f"{task}:{number}", task[:5], prompt, *right.values(), 400, 500, 600.0]
        for number, (prompt, task, right) in enumerate(rows(count, seed))
    ]
    return write(path, header, lines)


def plain(path: Path, count: int = 300, seed: int = 0) -> Path:
    """Our own format: prompt, outcomes, a cost."""
    header = ["prompt", "small-7b|ok", "large-400b|ok", "large-400b|cost"]
    lines: list[list[object]] = [
        [prompt, right["small-7b"], right["large-400b"], 0.01] for prompt, _, right in rows(count, seed)
    ]
    return write(path, header, lines)
