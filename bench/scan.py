"""`make bench-scan`: how fast the detectors are, what they find, and what they take for something it is not.

1. Speed on one core: MB/s on whole texts and us per KB on texts of 1 KB, on prose, code and JSON without findings worth
   the name. CPU time, the best of several rounds, because neighbours share the machine.
2. Personal data: precision and recall per type on ../shared/data/presidio_synth_v2.json (made sentences with marked
   spans), for the types that rules claim, beside presidio-analyzer with its pattern recognisers, in one run. A span
   counts as found where it overlaps one of the same type.
3. Secrets drawn by lot in their formats (tests/support/made_secrets.py); false alarms on Python's standard library.
4. Injection and its harmless look-alikes: those of tests/support/said.py, which the rules were written with, and sets
   kept aside (models/injection.md says what each is worth).

presidio-analyzer is installed into build/presidio (about 500 MB with spaCy) where --presidio names no environment;
--without-presidio leaves it out. No part reaches for the network otherwise.
"""

import argparse
import json
import pydoc_data.topics
import statistics
import subprocess
import sys
import sysconfig
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from freehold.check.detect import Rules, scan

ROOT = Path(__file__).parents[1]
DATA = ROOT.parent / "shared" / "data" / "presidio_synth_v2.json"
INJECTION = ROOT / "models" / "injection"
PRESIDIO = "presidio-analyzer==2.2.366"
sys.path.insert(0, str(ROOT / "tests" / "support"))

CLAIMED = {
    "CREDIT_CARD": "credit_card", "PHONE_NUMBER": "phone", "EMAIL_ADDRESS": "email", "IBAN_CODE": "iban",
    "US_SSN": "us_ssn", "IP_ADDRESS": "ip_address", "US_DRIVER_LICENSE": "driver_license",
}  # fmt: skip
"""Types of the data that rules claim, by the name they have here. The others need a model or are no personal data by
themselves: PERSON, GPE, STREET_ADDRESS, ORGANIZATION, TITLE, NRP, AGE, ZIP_CODE, DATE_TIME, DOMAIN_NAME."""

Spans = list[list[tuple[str, int, int]]]


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--presidio", type=Path, help="an environment with presidio-analyzer")
    arguments.add_argument("--without-presidio", action="store_true")
    options = arguments.parse_args()
    rules = Rules()
    result = {
        "speed": speed(rules),
        "personal": personal(
            rules, None if options.without_presidio else options.presidio or ROOT / "build" / "presidio"
        ),
        "secrets": secrets(rules),
        "injection": injection(rules),
    }
    print(json.dumps(result))


def table(title: str, heads: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    cells = [list(heads), *[[f"{cell:.1f}" if isinstance(cell, float) else str(cell) for cell in row] for row in rows]]
    widths = [max(len(row[i]) for row in cells) for i in range(len(heads))]
    print(f"\n{title}")
    for row in cells:
        print(
            "  "
            + "  ".join(
                cell.rjust(w) if i else cell.ljust(w) for i, (cell, w) in enumerate(zip(row, widths, strict=True))
            )
        )


def best(run: Callable[[], object], rounds: int = 7) -> float:
    """Returns the least CPU seconds of several rounds."""
    times = []
    for _ in range(rounds):
        began = time.process_time()
        run()
        times.append(time.process_time() - began)
    return min(times)


def library() -> list[str]:
    """Returns the sources of Python's standard library, without its tests."""
    folder = Path(sysconfig.get_paths()["stdlib"])
    skip = {"test", "tests", "idle_test", "site-packages"}
    files = [path for path in sorted(folder.rglob("*.py")) if not skip.intersection(path.relative_to(folder).parts)]
    return [path.read_text(errors="replace") for path in files]


def clean_texts() -> dict[str, str]:
    prose = "\n".join(pydoc_data.topics.topics.values())
    records = [
        {"id": i, "name": f"item number {i}", "price": i * 1.25, "tags": ["alpha", "beta"], "active": i % 2 == 0,
         "at": f"2024-03-{i % 28 + 1:02}T10:{i % 60:02}:00Z"}
        for i in range(7000)
    ]  # fmt: skip
    docs = "\n".join(path.read_text() for path in sorted((ROOT / "docs").glob("*.md")))
    code = "\n".join(library())[:3_000_000]
    return {"prose (Python's help)": prose, "prose (our docs)": docs, "code (standard library)": code,
            "JSON": json.dumps(records), "questions": "\n".join(questions())}  # fmt: skip


def questions() -> list[str]:
    """What people ask assistants and banks, where the data is there; else the look-alikes of the tests."""
    from said import HARMLESS

    path = DATA.parent / "clinc150_full.json"
    if not path.exists():
        return list(HARMLESS) * 20
    return [text for text, _ in json.loads(path.read_text())["train"]]


def speed(rules: Rules) -> dict[str, dict[str, float]]:
    figures = {}
    for name, text in clean_texts().items():
        size = len(text.encode())
        pieces = [text[start : start + 1024] for start in range(0, min(len(text), 300_000), 1024)]
        scan(text, rules)
        whole = size / 1e6 / best(lambda text=text: scan(text, rules))  # type: ignore[misc]
        rounds = [[_timed(piece, rules) for piece in pieces] for _ in range(15)]
        each = sorted(min(times) * 1e6 for times in zip(*rounds, strict=True))
        figures[name] = {
            "mb": size / 1e6, "mb_per_s": whole, "us_per_kb": statistics.fmean(each), "us_median": each[len(each) // 2],
            "us_p95": each[int(len(each) * 0.95)],
        }  # fmt: skip
    table(
        "Speed, one core",
        ["text", "MB", "MB/s whole", "us per 1 KB text", "median", "95 %"],
        [[name, *figure.values()] for name, figure in figures.items()],
    )
    return figures


def _timed(text: str, rules: Rules) -> float:
    began = time.process_time()
    scan(text, rules)
    return time.process_time() - began


def personal(rules: Rules, environment: Path | None) -> dict[str, Any]:
    if not DATA.exists():
        print(f"\nskipped: {DATA} is not there")
        return {}
    records = json.loads(DATA.read_text())
    texts = [record["full_text"] for record in records]
    truth: Spans = [
        [
            (CLAIMED[s["entity_type"]], s["start_position"], s["end_position"])
            for s in record["spans"]
            if s["entity_type"] in CLAIMED
        ]
        for record in records
    ]
    began = time.process_time()
    ours: Spans = [[(one.type, one.start, one.end) for one in scan(text, rules)] for text in texts]
    figures: dict[str, Any] = {"freehold": _scores(truth, ours), "freehold_seconds": time.process_time() - began}
    columns = ["freehold"]
    theirs = _presidio(environment, texts)
    if theirs is not None:
        for least in (0.0, 0.4):
            found: Spans = [
                [(CLAIMED.get(kind, kind), start, end) for kind, start, end, score in row if score >= least]
                for row in theirs["found"]
            ]
            name = f"presidio >= {least}"
            figures[name] = _scores(truth, found)
            columns.append(name)
        figures["presidio_seconds"] = theirs["seconds"]
        spent = f"{theirs['seconds']:.1f} s of CPU, here {figures['freehold_seconds']:.2f} s"
        print(f"\npresidio-analyzer {theirs['version']}: {spent}")
    heads = ["type", "spans", *[f"{name}: {what}" for name in columns for what in ("P", "R", "exact")]]
    rows = [
        [
            kind,
            figures["freehold"][kind]["spans"],
            *[100 * figures[name][kind][what] for name in columns for what in ("precision", "recall", "exact")],
        ]
        for kind in CLAIMED.values()
    ]
    table(
        f"Personal data, {len(texts)} sentences, % (P precision, R recall, exact: recall with the same ends)",
        heads,
        rows,
    )
    return figures


def _scores(truth: Spans, found: Spans) -> dict[str, dict[str, float]]:
    scores = {}
    for kind in CLAIMED.values():
        spans = hits = exact = right = claims = 0
        for wanted, got in zip(truth, found, strict=True):
            mine = [(start, end) for type_, start, end in got if type_ == kind]
            real = [(start, end) for type_, start, end in wanted if type_ == kind]
            spans += len(real)
            claims += len(mine)
            hits += sum(any(a < end and start < b for a, b in mine) for start, end in real)
            exact += sum(span in mine for span in real)
            right += sum(any(a < end and start < b for a, b in real) for start, end in mine)
        scores[kind] = {
            "spans": spans, "recall": hits / spans if spans else 0.0, "precision": right / claims if claims else 0.0,
            "exact": exact / spans if spans else 0.0,
        }  # fmt: skip
    return scores


def _presidio(environment: Path | None, texts: list[str]) -> dict[str, Any] | None:
    if environment is None:
        print("\nskipped: presidio-analyzer, not asked for")
        return None
    python = environment / "bin" / "python"
    if not python.exists():
        print(f"installing {PRESIDIO} into {environment}", file=sys.stderr)
        done = subprocess.run([sys.executable, "-m", "venv", str(environment)], check=False).returncode
        done = done or subprocess.run([str(python), "-m", "pip", "install", "-q", PRESIDIO], check=False).returncode
        if done:
            print("\nskipped: presidio-analyzer could not be installed")
            return None
    run = subprocess.run(
        [str(python), str(ROOT / "bench" / "scan_presidio.py")],
        input=json.dumps(texts),
        capture_output=True,
        text=True,
        check=False,
    )
    if run.returncode:
        print(f"\nskipped: presidio-analyzer failed: {run.stderr.strip().splitlines()[-1:]}")
        return None
    return dict(json.loads(run.stdout))


def secrets(rules: Rules) -> dict[str, Any]:
    from made_secrets import SETTINGS, made

    kinds: Counter[str] = Counter()
    missed: Counter[str] = Counter()
    for seed in range(100, 110):
        for kind, secret, around in made(seed):
            for setting in SETTINGS:
                text = setting.format(around.format(secret))
                start = text.index(secret)
                kinds[kind] += 1
                found = (one for one in scan(text, rules) if one.type == "secret")
                missed[kind] += not any(one.start < start + len(secret) and start < one.end for one in found)
    sources = library()
    alarms: Counter[str] = Counter()
    for text in sources:
        alarms.update(one.type for one in scan(text, rules))
    size = sum(map(len, sources)) / 1e6
    total = kinds.total()
    table(
        f"Secrets: {len(kinds)} kinds in {len(SETTINGS)} settings, {total:,} texts",
        ["", "found", "missed", "%"],
        [["all", total - missed.total(), missed.total(), 100 * (1 - missed.total() / total)]]
        + [
            [kind, kinds[kind] - count, count, 100 * (1 - count / kinds[kind])]
            for kind, count in missed.items()
            if count
        ],
    )
    table(
        f"Found in Python's standard library ({len(sources)} files, {size:.1f} MB; its addresses are real)",
        ["type", "findings", "per MB"],
        [[kind, count, count / size] for kind, count in alarms.most_common()],
    )
    return {"kinds": len(kinds), "texts": total, "missed": missed.total(), "alarms": dict(alarms), "clean_mb": size}


def injection(rules: Rules) -> dict[str, dict[str, int]]:
    from said import ATTACKS, HARMLESS

    kinds = ("prompt_injection", "hidden_unicode", "exfiltration")
    sets = {
        "attacks, of the tests": ATTACKS,
        "attacks, kept aside": kept_aside("attacks.txt"),
        "attacks, second set": section("blind.txt", "attack"),
        "attacks, third set": section("third.txt", "attack"),
        "attacks, fourth set": section("fourth.txt", "attack"),
        "look-alikes, of the tests": HARMLESS,
        "look-alikes, kept aside": kept_aside("benign.txt"),
        "look-alikes, second set": section("blind.txt", "harmless"),
        "look-alikes, third set": section("third.txt", "harmless"),
        "look-alikes, fourth set": section("fourth.txt", "harmless"),
    }
    figures = {}
    for name, texts in sets.items():
        taken = sum(any(one.type in kinds for one in scan(text, rules)) for text in texts)
        figures[name] = {"texts": len(texts), "taken": taken}
    table(
        "Injection: rules and model together. What each set is worth: models/injection.md",
        ["", "texts", "taken for an attack", "%"],
        [[name, one["texts"], one["taken"], 100 * one["taken"] / one["texts"]] for name, one in figures.items()],
    )
    return figures


def kept_aside(name: str) -> list[str]:
    """The odd lines of each section, which nothing was learnt from."""
    found: list[str] = []
    count = 0
    for line in (INJECTION / name).read_text(encoding="utf-8").splitlines():
        if line.startswith("=="):
            count = 0
        elif line and not line.startswith("#"):
            count += 1
            if count % 2:
                found.append(line.replace("\\n", "\n").replace("\\u200b", "\u200b"))
    return found


def section(name: str, wanted: str) -> list[str]:
    parts = (INJECTION / name).read_text(encoding="utf-8").split("\n== ")
    (part,) = [one for one in parts if one.startswith(f"{wanted}\n")]
    return [line.replace("\\n", "\n") for line in part.splitlines()[1:] if line and not line.startswith("#")]


if __name__ == "__main__":
    main()
