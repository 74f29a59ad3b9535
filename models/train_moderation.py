"""Trains the moderation model that ships, from the templates beside this file and public questions without harm.

    moderation/harmful.txt   templates of what is to be flagged, under the categories they belong to
    moderation/benign.txt    templates of what looks like it and is harmless, and of plain talk
    moderation/slots.txt     words for the slots that are no concepts of the lexicon
    ../shared/data           public questions that nobody would flag, half of them: plain text without harm

Each template is filled many times by a seeded generator, with words from src/freehold/check/moderate/lexicon.txt; a
logistic regression per category is fitted to the features of check/moderate/features.py; its scores are made
probabilities (Platt 1999) and thresholds are chosen on templates that it was not fitted on (four folds over templates,
never over rows). The file that ships is then fitted on all of them. About two minutes on one core; one seed gives one
file. How good it is, and what it cannot see: moderation.md.

    pip install numpy
    python models/train_moderation.py                    # figures, and the file that ships
    python models/train_moderation.py --figures          # figures only
"""

import argparse
import csv
import gzip
import json
import random
import re
import sys
import time
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np

from freehold.check.moderate.features import HOT, features, stretches
from freehold.check.moderate.fold import fold
from freehold.check.moderate.lexicon import Lexicon, default
from freehold.check.moderate.linear import Linear, save
from freehold.dialects.moderations import CATEGORIES

HERE = Path(__file__).with_name("moderation")
OUT = Path(__file__).resolve().parents[1] / "src" / "freehold" / "check" / "moderate" / "default.bin"
LARGEST = 1_000_000
DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
PUBLIC = ("routellm_mmlu", "mmlu_pro", "zeroeval")
PLAIN_WEIGHT = 0.04
"""What a stretch of a public text weighs, where a template weighs 1."""
FILLS = 28
FOLDS = 4
LEAST_TEMPLATES = 2
"""A feature that fewer templates have is left out."""
PENALTY = 2e-4
QUANTUM = 1 / 256
_SLOT = re.compile(r"\{([A-Za-z0-9]+)\}")
_GLUED = re.compile(r"\{[A-Z]+\}(?:[^\s{(]*\{[A-Z]+\})+")
_UNSPACED = re.compile("[\u3040-\u30ff\u3400-\u9fff]")
_CHOICE = re.compile(r"\(([^()]*\|[^()]*)\)")
OPENERS = (
    "",
    "",
    "",
    "",
    "",
    "",
    "please ",
    "hey, ",
    "so ",
    "ok, ",
    "lol ",
    "honestly ",
    "hello. ",
    "hi! ",
    "quick question: ",
    "urgent: ",
)
CLOSERS = ("", "", "", "", "", ".", "!", "?", " please", " thanks", " asap", ". thanks!", " lol")


class Template(NamedTuple):
    text: str
    labels: frozenset[str]


def templates(path: Path) -> list[Template]:
    found, labels = [], frozenset[str]()
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("=="):
            labels = frozenset(line[2:].split()) & frozenset(CATEGORIES)
        elif line.strip() and not line.startswith("#"):
            found.append(Template(line.strip(), labels))
    return found


def slots(path: Path) -> dict[str, list[str]]:
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line and not line.startswith("#")]
    return {
        name: [word.strip() for word in words.split(",")] for name, _, words in (line.partition(":") for line in lines)
    }


def fill(text: str, words: dict[str, list[str]], rng: random.Random) -> str:
    while (found := _CHOICE.search(text)) is not None:
        text = text[: found.start()] + rng.choice(found[1].split("|")) + text[found.end() :]
    text = _GLUED.sub(lambda match: " ".join(_glued(match.group(), words, rng)), text)
    text = _SLOT.sub(lambda match: rng.choice(words[match[1]]).removesuffix("*"), text)
    return rng.choice(OPENERS) + " ".join(text.split()) + rng.choice(CLOSERS)


def _glued(run: str, words: dict[str, list[str]], rng: random.Random) -> list[str]:
    """Slots without a space between: words of a script that is written so, or else words with spaces."""
    unspaced = [[word for word in words[name] if _UNSPACED.search(word)] for name in _SLOT.findall(run)]
    if all(unspaced):
        left = iter(unspaced)
        return [_SLOT.sub(lambda _: rng.choice(next(left)), run)]
    return [rng.choice(words[name]).removesuffix("*") for name in _SLOT.findall(run)]


def beside(
    text: str, harms: bool, harmless: list[str], plain: list[str], words: dict[str, list[str]], rng: random.Random
) -> str:
    """With a harmless sentence before or after it: of any kind, where it is harmless itself, else plain talk."""
    other = fill(rng.choice(plain if harms else harmless), words, rng)
    if harms and not HOT.isdisjoint(_SLOT.findall(other)):
        return text
    return f"{other}. {text}" if rng.random() < 0.5 else f"{text}. {other}"


def seen(text: str, lexicon: Lexicon) -> set[str]:
    """All that the model is shown of a text, its stretches together."""
    folded = fold(text, lexicon.knows)
    found: set[str] = set()
    for stretch in stretches(lexicon.items(folded), folded):
        found |= features(stretch)
    return found


def plain_texts(folder: Path) -> list[str]:
    """Every other one of the public texts, which nobody would flag, by a hash; the rest is for the figures."""
    return [text for text in public_texts(folder) if half(text) == 0]


def half(text: str) -> int:
    return zlib.crc32(text.encode()) & 1


def public_texts(folder: Path) -> list[str]:
    found = [row["text"] for row in csv.DictReader((folder / "banking77_train.csv").open(encoding="utf-8"))]
    clinc = json.loads((folder / "clinc150_full.json").read_text(encoding="utf-8"))
    found += [text for part in clinc.values() for text, _ in part]
    for name in PUBLIC:
        with gzip.open(folder / "routing" / f"{name}.csv.gz", "rt", encoding="utf-8", newline="") as file:
            found += [row.get("prompt") or row["question"] for row in csv.DictReader(file)]
    return sorted(set(found))


class Rows(NamedTuple):
    names: list[str]
    starts: np.ndarray
    columns: np.ndarray
    labels: np.ndarray
    template: np.ndarray
    weight: np.ndarray


def rows(
    all_templates: list[Template], words: dict[str, list[str]], lexicon: Lexicon, public: list[str], seed: int
) -> Rows:
    rng = random.Random(seed)
    sets, labels, template = [], [], []
    harmless = [one.text for one in all_templates if not one.labels]
    plain = harmless[next(place for place, text in enumerate(harmless) if text == "{HOWTO} {WORK}") :]
    for place, one in enumerate(all_templates):
        target = [category in one.labels for category in CATEGORIES]
        texts = [fill(one.text, words, rng) for _ in range(FILLS)]
        texts += [beside(text, bool(one.labels), harmless, plain, words, rng) for text in texts[::2]]
        kept = {frozenset(seen(text, lexicon)) for text in texts}
        for found in sorted(kept, key=sorted):
            if found or not one.labels:
                sets.append(found)
                labels.append(target)
                template.append(place)
    for place, text in enumerate(public, len(all_templates)):
        folded = fold(text, lexicon.knows)
        for found in map(features, stretches(lexicon.items(folded), folded)):
            sets.append(found)
            labels.append([False] * len(CATEGORIES))
            template.append(place)
    having: dict[str, set[int]] = {}
    for found, place in zip(sets, template, strict=True):
        for name in found:
            having.setdefault(name, set()).add(place)
    names = sorted(name for name, places in having.items() if len(places) >= LEAST_TEMPLATES)
    column = {name: place for place, name in enumerate(names)}
    starts, columns = [0], []
    for found in sets:
        columns += sorted(column[name] for name in found if name in column)
        starts.append(len(columns))
    counts = np.bincount(template)
    weight = np.where(np.array(template) < len(all_templates), 1.0 / counts[template], PLAIN_WEIGHT)
    return Rows(
        names,
        np.array(starts),
        np.array(columns, dtype=np.int32),
        np.array(labels, dtype=np.float32),
        np.array(template),
        weight.astype(np.float32),
    )


def fit(data: Rows, chosen: np.ndarray, steps: int = 130) -> tuple[np.ndarray, np.ndarray]:
    """Weights and biases by Adam over all rows at once, with an L2 penalty. A row weighs what its template gives it."""
    width, kinds = len(data.names), data.labels.shape[1]
    lengths = np.diff(data.starts)
    row_of = np.repeat(np.arange(len(lengths)), lengths)
    keep = chosen[row_of]
    columns, row_of = data.columns[keep], row_of[keep]
    weight = np.where(chosen, data.weight, 0)[:, None]
    weight = weight / weight.sum()
    w, b = np.zeros((width, kinds), np.float32), np.full(kinds, -2.0, np.float32)
    moments = [np.zeros_like(w), np.zeros_like(w), np.zeros_like(b), np.zeros_like(b)]
    order = np.argsort(columns, kind="stable")
    by_column, rows_by_column = columns[order], row_of[order]
    column_starts = np.searchsorted(by_column, np.arange(width + 1))
    row_starts = np.searchsorted(row_of, np.arange(len(lengths) + 1))
    for step in range(1, steps + 1):
        logits = sums(w, columns, row_starts) + b
        error = (1 / (1 + np.exp(-logits)) - data.labels) * weight
        gradients = sums(error, rows_by_column, column_starts) + PENALTY * 0.05 * w, error.sum(0)
        rate = 0.2 if step < steps * 0.6 else 0.04
        for place, (value, gradient) in enumerate(zip((w, b), gradients, strict=True)):
            first, second = moments[2 * place], moments[2 * place + 1]
            first += 0.1 * (gradient - first)
            second += 0.01 * (gradient**2 - second)
            value -= rate * (first / (1 - 0.9**step)) / (np.sqrt(second / (1 - 0.99**step)) + 1e-8)
    return w, b


def sums(values: np.ndarray, places: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """The sum of `values[places]` in each of the stretches; 0 in one that is empty."""
    padded = np.vstack([values[places], np.zeros((1, values.shape[1]), values.dtype)])
    totals = np.add.reduceat(padded, starts[:-1], axis=0)
    totals[starts[1:] == starts[:-1]] = 0
    return totals


def platt(logits: np.ndarray, labels: np.ndarray, weight: np.ndarray) -> tuple[float, float]:
    """Slope and shift that make logits probabilities, with Platt's smoothed targets; Newton's method."""
    positive = float(labels.sum())
    target = np.where(labels > 0, (positive + 1) / (positive + 2), 1 / (len(labels) - positive + 2))
    a, b = 1.0, 0.0
    for _ in range(50):
        p = 1 / (1 + np.exp(-(a * logits + b)))
        slope = (p - target) * weight
        curve = p * (1 - p) * weight + 1e-12
        gradient = np.array([(slope * logits).sum(), slope.sum()])
        hessian = np.array([[(curve * logits**2).sum(), (curve * logits).sum()], [(curve * logits).sum(), curve.sum()]])
        change = np.linalg.solve(hessian + 1e-9 * np.eye(2), gradient)
        a, b = a - float(np.clip(change[0], -0.5, 0.5)), b - float(np.clip(change[1], -2, 2))
    return max(0.05, a), b


def threshold(p: np.ndarray, labels: np.ndarray, weight: np.ndarray) -> float:
    """The best F measure with recall counting twice, kept between 0.3 and 0.5: few templates do not decide alone."""
    there = (labels * weight).sum()

    def measure(limit: float) -> float:
        on = p >= limit
        return 5 * float((on * labels * weight).sum()) / float((on * weight).sum() + 4 * there + 1e-9)

    return round(max((0.3 + 0.02 * step for step in range(11)), key=measure), 2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--figures", action="store_true", help="write no file")
    options = parser.parse_args()
    begun = time.perf_counter()
    lexicon = default()
    harmful, benign = templates(HERE / "harmful.txt"), templates(HERE / "benign.txt")
    words = {**lexicon.words, **slots(HERE / "slots.txt")}
    public = plain_texts(options.data)
    data = rows(harmful + benign, words, lexicon, public, options.seed)
    print(f"{len(harmful)} + {len(benign)} templates, {len(data.labels)} rows, {len(data.names)} features")

    fold_of = np.array(
        [
            random.Random(f"{options.seed} {one.text}").randrange(FOLDS)
            for one in [*harmful, *benign, *(Template(text, frozenset()) for text in public)]
        ]
    )[data.template]
    held_out = np.zeros_like(data.labels)
    for number in range(FOLDS):
        w, b = fit(data, fold_of != number)
        held_out[fold_of == number] = (sums(w, data.columns, data.starts) + b)[fold_of == number]
    real = data.template >= len(harmful + benign)
    scales = [platt(held_out[:, k], data.labels[:, k], data.weight) for k in range(len(CATEGORIES))]
    p = 1 / (1 + np.exp(-np.stack([a * held_out[:, k] + b for k, (a, b) in enumerate(scales)], 1)))
    limits = [threshold(p[:, k], data.labels[:, k], data.weight) for k in range(len(CATEGORIES))]
    alarms = len(np.unique(data.template[real & (p >= limits).any(1)]))
    print(f"{alarms} of {len(public)} public texts flagged when held out, {alarms / len(public):.2%}")
    report(p[~real], limits, keep(data, ~real), harmful + benign)
    if options.figures:
        return
    w, b = fit(data, np.ones(len(data.labels), bool))
    a, shift = np.array([one[0] for one in scales]), np.array([one[1] for one in scales])
    whole = np.clip(np.round(w * a / QUANTUM), -32_000, 32_000).astype(int)
    kept = np.flatnonzero(np.abs(whole).max(1) >= 12)
    model = Linear(
        lexicon.id, QUANTUM, tuple(map(float, np.round(b * a + shift, 4))), tuple(limits),
        {data.names[place]: tuple(map(int, whole[place])) for place in kept},
    )  # fmt: skip
    size = save(model, options.out)
    print(f"{len(kept)} features kept, {size:,} bytes, {time.perf_counter() - begun:.0f} s")
    if size > LARGEST:
        sys.exit(f"more than {LARGEST:,} bytes do not ship")


def keep(data: Rows, rows_: np.ndarray) -> Rows:
    """Labels, templates and weights of some rows, for the figures."""
    return data._replace(labels=data.labels[rows_], template=data.template[rows_], weight=data.weight[rows_])


def report(p: np.ndarray, limits: list[float], data: Rows, all_templates: list[Template]) -> None:
    """Figures on templates that were not fitted on; each template weighs the same."""
    on = p >= np.array(limits)
    print(f"{'held-out templates':24}  precision  recall     F1  threshold  templates")
    for k, name in enumerate(CATEGORIES):
        right = (on[:, k] * data.labels[:, k] * data.weight).sum()
        said, there = (on[:, k] * data.weight).sum(), (data.labels[:, k] * data.weight).sum()
        f1 = 2 * right / (said + there)
        count = sum(name in one.labels for one in all_templates)
        print(f"{name:24}  {right / said:9.3f}  {right / there:6.3f}  {f1:5.3f}  {limits[k]:9.2f}  {count:9}")
    harm, flagged = data.labels.any(1), on.any(1)
    right = (harm * flagged * data.weight).sum()
    said, there = (flagged * data.weight).sum(), (harm * data.weight).sum()
    wrong = (flagged * ~harm * data.weight).sum() / (~harm * data.weight).sum()
    f1 = 2 * right / (said + there)
    print(f"{'flagged':24}  {right / said:9.3f}  {right / there:6.3f}  {f1:5.3f}  false alarms {wrong:.3f}")
    rate = np.bincount(data.template, (flagged != harm) * data.weight)[: len(all_templates)]
    for place in np.argsort(-rate)[:60]:
        one = all_templates[place]
        print(f"  {rate[place]:.2f}  {' '.join(sorted(one.labels)) or 'benign':40}  {one.text}", file=sys.stderr)


if __name__ == "__main__":
    main()
