"""Trains the injection model that ships, from the templates and sentences beside this file and ordinary texts.

    injection/templates.txt   what attacks and their look-alikes are made of, in the concepts of likeness.txt
    injection/attacks.txt     attacks written one by one; injection/benign.txt look-alikes: even lines are learnt from,
                              odd lines are kept aside for the figures, and so are injection/blind.txt, third.txt and
                              fourth.txt
    tests/support/said.py     attacks and look-alikes that the rules were written with
    ../shared                 ordinary questions, and requests that programs sent to models, and with them Python's own
                              help and library: half of them, by a hash, to learn what is no attack; the other half
                              for the figures

Each template is filled many times by a seeded generator with the words of src/freehold/check/detect/likeness.txt; a
logistic regression is fitted to the features of check/detect/likeness.py and its scores are made probabilities
(Platt 1999) on templates that it was not fitted on (four folds over templates). The file that ships is then fitted on
all. About a minute on one core; one seed and one version of Python give one file. How good it is, and what it cannot
see: injection.md.

    pip install numpy
    python models/train_injection.py                     # figures, and the file that ships
    python models/train_injection.py --figures           # figures of the file that is there
"""

import argparse
import gzip
import json
import pydoc_data.topics
import random
import sys
import sysconfig
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from ahocorasick_rs import BytesAhoCorasick

from freehold.check.detect import Rules, scan
from freehold.check.detect.likeness import SHORT, Model, Words, features, named, plain, shipped, spans, words
from freehold.check.detect.view import View

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(Path(__file__).parent), str(ROOT / "tests" / "support")]

from said import ATTACKS, HARMLESS  # noqa: E402

from train_moderation import fill, half, platt, public_texts  # noqa: E402

HERE = Path(__file__).with_name("injection")
OUT = ROOT / "src" / "freehold" / "check" / "detect" / "likeness.bin"
SHARED = ROOT.parent / "shared"
LARGEST = 300_000
FILLS = 30
FOLDS = 4
LEAST_SOURCES = 2
"""A feature that fewer templates and texts have is left out."""
PENALTY = 3e-4
WRITTEN_WEIGHT = 1.5
PIECE = 4096
PLAIN_TOTAL = 220.0
"""What a sentence written one by one weighs where a template weighs 1, and what all ordinary texts do together."""
SMALLEST = 0.02
"""Weights nearer to 0 do not ship."""
MISSING = "`../shared` is not here: ordinary texts are part of what the model is learnt from"


class Row(NamedTuple):
    found: frozenset[str]
    attack: bool
    source: int
    weight: float


def sections(path: Path) -> Iterator[tuple[str, str]]:
    name = ""
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("=="):
            name = line[2:].strip()
        elif line.strip() and not line.startswith("#"):
            yield name, line.strip()


def written(path: Path, *, learnt: bool) -> list[str]:
    """The sentences of a file to learn from, or those that are kept aside."""
    counts: dict[str, int] = {}
    found = []
    for name, line in sections(path):
        counts[name] = counts.get(name, 0) + 1
        if (counts[name] % 2 == 0) == learnt:
            found.append(line.replace("\\n", "\n").replace("\\u200b", "\u200b"))
    return found


def blind(name: str, kind: str) -> list[str]:
    return [line.replace("\\n", "\n") for section, line in sections(HERE / name) if section == kind]


def requests(folder: Path) -> list[str]:
    """What programs sent to models, their system messages and tools included."""
    with gzip.open(folder / "recorded" / "exchanges.jsonl.gz", "rt", encoding="utf-8") as file:
        sent = [json.loads(line).get("request") for line in file]
    return sorted({one if isinstance(one, str) else json.dumps(one, ensure_ascii=False) for one in sent if one})


def technical() -> list[str]:
    """Pieces of Python's own help and library: what speaks of rules, prompts and hidden things without any harm."""
    folder = Path(sysconfig.get_paths()["stdlib"])
    texts = [
        *pydoc_data.topics.topics.values(),
        *(path.read_text(errors="replace") for path in sorted(folder.glob("*.py"))),
    ]
    return [text[start : start + PIECE] for text in texts for start in range(0, len(text), PIECE)]


def seen(text: str, all_words: Words, wakes: Callable[[bytes], Iterable[int]]) -> Iterator[frozenset[str]]:
    """What the model is shown of a text, stretch by stretch: those around `wakes`."""
    low = View(text).low
    for start, end in spans(low, sorted(wakes(low))):
        yield frozenset(map(named, features(all_words.items(plain(low[start:end])))))


def rows(all_words: Words, plain_texts: list[str], seed: int) -> tuple[list[Row], int]:
    rng = random.Random(seed)
    slots = {**all_words.concepts, "MY": ["my", "our", "the"]}
    made: list[Row] = []
    source = 0

    def add(found: Iterable[frozenset[str]], attack: bool, weight: float) -> None:
        nonlocal source
        some = sorted({one for one in found if one}, key=sorted)
        made.extend(Row(one, attack, source, weight / len(some)) for one in some)
        source += 1

    everywhere = _from_the_start
    for name, line in sections(HERE / "templates.txt"):
        texts = [fill(line, slots, rng).lower() for _ in range(FILLS)]
        add((one for text in texts for one in seen(text, all_words, everywhere)), name == "attack", 1.0)
    for path, attack in ((HERE / "attacks.txt", True), (HERE / "benign.txt", False)):
        for text in (*written(path, learnt=True), *(ATTACKS if attack else HARMLESS)):
            add(seen(text, all_words, everywhere), attack, WRITTEN_WEIGHT)
    count = source
    waking = _wakes(all_words)
    shown = [[one for one in seen(text, all_words, waking if len(text) > SHORT else everywhere) if one]
             for text in plain_texts]  # fmt: skip
    shown = [some for some in shown if some]
    for some in shown:
        add(some, False, PLAIN_TOTAL / len(shown))
    return made, count


def _from_the_start(low: bytes) -> list[int]:
    return list(range(0, len(low), 100))


def _wakes(all_words: Words) -> Callable[[bytes], list[int]]:
    automaton = BytesAhoCorasick(list(all_words.waking))

    def wakes(low: bytes) -> list[int]:
        seen_at = {start for _, start, _ in automaton.find_matches_as_indexes(low, overlapping=True)}
        return [place for place in seen_at if all_words.wakes(low, place)]

    return wakes


def fit(columns: list[np.ndarray], labels: np.ndarray, weight: np.ndarray, width: int) -> tuple[np.ndarray, float]:
    """Weights and bias by Adam over all rows at once, with an L2 penalty."""
    starts = np.cumsum([0, *map(len, columns)])
    flat = np.concatenate(columns) if columns else np.zeros(0, np.int64)
    row_of = np.repeat(np.arange(len(columns)), np.diff(starts))
    weight = weight / weight.sum()
    w, b = np.zeros(width), -1.0
    first, second = np.zeros(width + 1), np.zeros(width + 1)
    steps = 300
    for step in range(1, steps + 1):
        logits = np.bincount(row_of, w[flat], len(columns)) + b
        error = (1 / (1 + np.exp(-logits)) - labels) * weight
        gradient = np.append(np.bincount(flat, error[row_of], width) + PENALTY * w, error.sum())
        first += 0.1 * (gradient - first)
        second += 0.01 * (gradient**2 - second)
        change = (first / (1 - 0.9**step)) / (np.sqrt(second / (1 - 0.99**step)) + 1e-9)
        rate = 0.1 if step < steps * 0.6 else 0.02
        w, b = w - rate * change[:-1], b - rate * change[-1]
    return w, float(b)


def train(all_words: Words, plain_texts: list[str], seed: int) -> dict[str, object]:
    made, count = rows(all_words, plain_texts, seed)
    having: dict[str, set[int]] = {}
    for row in made:
        for name in row.found:
            having.setdefault(name, set()).add(row.source)
    names = sorted(name for name, sources in having.items() if len(sources) >= LEAST_SOURCES)
    place = {name: number for number, name in enumerate(names)}
    columns = [np.array(sorted(place[one] for one in row.found if one in place), np.int64) for row in made]
    labels, weight = np.array([float(row.attack) for row in made]), np.array([row.weight for row in made])
    source = np.array([row.source for row in made])
    fold = np.array([random.Random(f"{seed} {one}").randrange(FOLDS) for one in range(source.max() + 1)])[source]
    held = np.zeros(len(made))
    for number in range(FOLDS):
        inside = fold != number
        w, b = fit(
            [one for one, keep in zip(columns, inside, strict=True) if keep], labels[inside], weight[inside], len(names)
        )
        for row in np.flatnonzero(~inside):
            held[row] = w[columns[row]].sum() + b
    slope, shift = platt(held, labels, weight)
    p = 1 / (1 + np.exp(-(slope * held + shift)))
    for what, chosen in (("templates and sentences", source < count), ("ordinary stretches", source >= count)):
        attack, on = labels[chosen] > 0, p[chosen] >= 0.5
        print(f"held out, {what}: recall {np.average(on, weights=weight[chosen] * attack) if attack.any() else 0:.3f}, "
              f"false alarms {np.average(on, weights=weight[chosen] * ~attack):.4f}")  # fmt: skip
    w, b = fit(columns, labels, weight, len(names))
    kept = {
        name: round(float(one * slope), 2) for name, one in zip(names, w, strict=True) if abs(one * slope) >= SMALLEST
    }
    print(f"{count} templates and sentences, {len(made)} rows, {len(kept)} of {len(names)} features")
    return {"words": all_words.id, "bias": round(b * slope + shift, 3), "weights": kept}


def figures(shared: Path) -> None:
    """What rules and model together find on what neither was made from."""
    rules = Rules()

    def flagged(text: str) -> bool:
        return any(one.type in ("prompt_injection", "exfiltration", "hidden_unicode") for one in scan(text, rules))

    sets: list[tuple[str, list[str]]] = [
        ("attacks kept aside", written(HERE / "attacks.txt", learnt=False)),
        ("attacks learnt from", written(HERE / "attacks.txt", learnt=True)),
        ("attacks, second set", blind("blind.txt", "attack")),
        ("attacks, third set", blind("third.txt", "attack")),
        ("attacks, fourth set", blind("fourth.txt", "attack")),
        ("attacks of the tests", list(ATTACKS)),
        ("look-alikes kept aside", written(HERE / "benign.txt", learnt=False)),
        ("look-alikes learnt from", written(HERE / "benign.txt", learnt=True)),
        ("look-alikes, second set", blind("blind.txt", "harmless")),
        ("look-alikes, third set", blind("third.txt", "harmless")),
        ("look-alikes, fourth set", blind("fourth.txt", "harmless")),
        ("look-alikes of the tests", list(HARMLESS)),
    ]
    if shared.is_dir():
        sets += [
            ("ordinary questions, other half", [text for text in public_texts(shared / "data") if half(text)]),
            ("recorded requests, other half", [text for text in requests(shared) if half(text)]),
        ]
    sets.append((f"pieces of {PIECE} of Python's own", [text for text in technical() if half(text)]))
    for name, texts in sets:
        on = sum(map(flagged, texts))
        print(f"{name:32} {on:5} of {len(texts):6} flagged {on / len(texts):7.2%}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, default=SHARED)
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--figures", action="store_true", help="write no file")
    options = parser.parse_args()
    if not options.figures:
        if not options.shared.is_dir():
            sys.exit(MISSING)
        ordinary = [*public_texts(options.shared / "data"), *requests(options.shared), *technical()]
        learnt = train(words(), [text for text in ordinary if not half(text)], options.seed)
        data = zlib.compress(json.dumps(learnt, separators=(",", ":"), sort_keys=True).encode(), 9)
        if len(data) > LARGEST:
            sys.exit(f"{len(data):,} bytes are more than {LARGEST:,}: they do not ship")
        Model(words(), learnt)
        options.out.write_bytes(data)
        shipped.cache_clear()
        print(f"{len(data):,} bytes")
    figures(options.shared)


if __name__ == "__main__":
    main()
