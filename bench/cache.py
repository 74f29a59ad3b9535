"""`make bench-cache`: the semantic cache on labelled questions (same intent: same answer), and what look-ups cost.

banking77 and clinc150 of ../shared/data. A question counts as answered wrongly where the most alike one in the cache is
of another intent. Thresholds are calibrated on one half of the questions and shown on the other half, which calibration
has not seen. `guard`: numbers, names, negations, question words and code must be the same. Writes bench/CACHE.md.
"""

import csv
import json
import os
import sys
import tempfile
import time
from pathlib import Path

from freehold.decide.binomial import upper
from freehold.errors import ConfigError
from freehold.record.cache import CacheStore, Partition
from freehold.serve.cache.similar import Index, calibrated, written
from freehold.serve.cache.trials import SECRET, Asked, Trial, nearest_trials
from freehold.serve.cache.words import Words

DATA = Path(__file__).parents[2] / "shared" / "data"
TARGETS = (0.01, 0.02, 0.05, 0.1)
CONFIDENCE = 0.95
PAGE = Path(__file__).parent / "CACHE.md"


def banking77() -> tuple[list[Asked], list[Asked]]:
    """What is in the cache, and what is asked."""

    def rows(name: str) -> list[Asked]:
        with (DATA / f"banking77_{name}.csv").open(newline="", encoding="utf-8") as file:
            return [Asked(row["text"].strip(), row["category"]) for row in csv.DictReader(file)]

    return rows("train"), rows("test")


def clinc150() -> tuple[list[Asked], list[Asked]]:
    """The same; questions out of scope have no answer, so each is its own."""
    data = json.loads((DATA / "clinc150_full.json").read_text("utf-8"))
    cached = [Asked(text, intent) for text, intent in data["train"][::2]]
    asked = [Asked(text, intent) for text, intent in data["test"]]
    alone = [Asked(text, f"oos {number}") for number, (text, _) in enumerate(data["oos_test"])]
    mixed = sorted(asked + alone, key=lambda row: row.text[::-1])  # so that both halves have some of each
    return cached, mixed


def split(trials: list[Trial]) -> tuple[list[Trial], list[Trial]]:
    """One half to calibrate, the other to show."""
    return trials[::2], trials[1::2]


def table(name: str, trials: dict[bool, list[Trial]]) -> list[str]:
    """The rows of one set of questions; its trials by whether there was a guard."""
    lines = []
    for guarded in (False, True):
        first, second = split(trials[guarded])
        for target in TARGETS:
            lines.append(_row(name, guarded, target, first, second))
    return lines


def _row(name: str, guarded: bool, target: float, first: list[Trial], second: list[Trial]) -> str:
    head = f"| {name} | {'yes' if guarded else 'no'} | {target:.0%} | "
    try:
        made = calibrated(first, name=name, by="words", false_hits=target, confidence=CONFIDENCE, made="", source="")
    except ConfigError:
        return head + "too few pairs | | | | |"
    if made.threshold is None:
        return head + "**none** | | | | |"
    hits = [trial for trial in second if trial.likeness >= made.threshold]
    wrong = sum(trial.wrong for trial in hits)
    most = upper(wrong, len(hits), 1 - CONFIDENCE)
    kept = "yes" if wrong <= target * len(hits) else "no"
    return (
        head + f"{made.threshold:.3f} | {made.bound:.2%} | {len(hits) / len(second):.1%} | {wrong} of {len(hits)}"
        f" ({wrong / max(len(hits), 1):.2%}, at most {most:.2%}) | {kept} |"
    )


def curve(name: str, found: dict[bool, list[Trial]]) -> list[str]:
    """False hits at fixed thresholds, with and without the guard, on all questions: what the guard is worth."""
    both = [found[False], found[True]]
    lines = []
    for threshold in (0.95, 0.9, 0.85, 0.8, 0.7, 0.6, 0.5):
        cells = []
        for trials in both:
            hits = [trial for trial in trials if trial.likeness >= threshold]
            wrong = sum(trial.wrong for trial in hits)
            cells.append(f"{len(hits) / len(trials):.1%} | {wrong} of {len(hits)} ({wrong / max(1, len(hits)):.1%})")
        lines.append(f"| {name} | {threshold:.2f} | {' | '.join(cells)} |")
    return lines


def costs(questions: list[Asked]) -> list[str]:
    """CPU of the look-ups, in one process."""
    lines = []
    with tempfile.TemporaryDirectory() as folder:
        store, partition, now = CacheStore(Path(folder)), Partition("key bench", "internal"), time.time()
        digests = [os.urandom(32) for _ in range(2000)]
        for digest in digests:
            store.keep(digest, partition, "bench", now, now + 3600, os.urandom(2048), 1 << 30)
        lines.append(
            f"| exact, 2,000 answers of 2 KB: hit | {_each(lambda d: store.find(d, partition, now), digests)} |"
        )
        absent = [os.urandom(32) for _ in digests]
        lines.append(f"| exact: miss | {_each(lambda d: store.find(d, partition, now), absent)} |")
        store.close()
    words, index = Words(SECRET), Index()
    looked = [one for row in questions[:4000] if (one := words.look(row.text)) is not None]
    known = looked[: len(looked) // 2]
    index.add([(n, n.to_bytes(8, "little"), written(one)) for n, one in enumerate(known)])
    lines.append(f"| similar: reading a question | {_each(words.look, [row.text for row in questions[:4000]])} |")
    others = looked[len(known) :]
    lines.append(f"| similar: nearest of {len(known):,} questions | {_each(lambda q: index.nearest(q, 0.8), others)} |")
    return lines


def _each(work, items) -> str:  # type: ignore[no-untyped-def]
    began = time.process_time()
    for item in items:
        work(item)
    return f"{(time.process_time() - began) / len(items) * 1e6:.0f} us"


def main() -> int:
    """Prints the page and writes it."""
    if not DATA.is_dir():
        print(f"skipped: {DATA} is not there", file=sys.stderr)
        return 0
    sets = {"banking77": banking77(), "clinc150": clinc150()}
    trials = {
        name: {guarded: nearest_trials(cached, asked, guarded=guarded) for guarded in (False, True)}
        for name, (cached, asked) in sets.items()
    }
    lines = [
        "# The semantic cache, measured",
        "",
        "<!-- Written by make bench-cache. -->",
        "",
        "Same intent counts as same answer; the cache holds the training part (of clinc150 every other question), the",
        "test part is asked, clinc150's out-of-scope questions included. Threshold and bound are from one half of what",
        f"is asked, by likeness of words at confidence {CONFIDENCE:g}; the last three columns from the other half.",
        "`none`: no threshold could be shown to be safe, so the semantic cache would stay closed.",
        "",
        "| questions | guard | false hits at most | threshold | bound | coverage | wrong, held out | kept |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, found in trials.items():
        lines += table(name, found)
    lines += [
        "",
        "What the guard (numbers, names, negations, question words, code must be the same) is worth, all questions:",
        "",
        "| questions | threshold | coverage without | wrong without | coverage with | wrong with |",
        "|---|---|---|---|---|---|",
    ]
    for name, found in trials.items():
        lines += curve(name, found)
    lines += ["", "CPU of one look-up:", "", "| what | CPU |", "|---|---|"]
    lines += costs(sets["banking77"][0])
    page = "\n".join(lines) + "\n"
    print(page)
    PAGE.write_text(page, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
