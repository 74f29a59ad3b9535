"""`python -m bench.hold [--recorded]`: what the hold-back automaton costs and how much it holds.

`--recorded` reads real answers instead (../shared/recorded), in the pieces in which their providers sent them, and
prints the table of docs/checks.md: no times, so it is the same everywhere.

Prose and code without a finding, and both with findings between, in pieces as models stream them (four characters are
about a token) and larger. CPU time of this process, so that a busy machine matters less; the best of five runs. What is
held is in bytes, `leaked` counts characters of findings that got out, `scans` the closer looks.
"""

import gzip
import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

from freehold.check.detect import Rules
from freehold.check.pseudonyms import Restorer, Vault
from freehold.check.stream import EventGuard, Figures, Holder, Policy
from freehold.dialects import chat, gemini, messages, responses
from freehold.dialects.conversation import Finished, TextDelta, ToolDelta, ToolStarted

PROSE = (
    "The gateway keeps a journal of every call it makes, and the ledger is read from it once a second. When a worker\n"
    "dies, nothing that was written is lost; what was under way is told as unknown. Any text editor shows it.\n\n"
)
CODE = (
    'def total(rows: list[Row], key: str = \'amount\') -> int:\n    """Adds up one column, nothing for a gap."""\n'
    "    return sum(row.get(key, 0) for row in rows if row is not None)\n\n"
)
HOT = "Write to bob.jones@example.com or call +1 (415) 555-2671, and pay with 4111 1111 1111 1111.\n\n"
ACTING = ("secret", "email", "phone", "credit_card", "iban", "bank_account", "us_ssn", "national_id", "health_id")
SIZES = (1, 4, 16, 64, 1024)
RECORDED = Path(__file__).parents[2] / "shared" / "recorded" / "exchanges.jsonl.gz"
READERS = {"/chat/completions": chat, "/messages": messages, "streamGenerateContent": gemini, "/responses": responses}
LEAST = 120
"""Characters of an answer that is long enough to say something."""
SECRET = "ghp_Wq7RrT2yUi9OpA5sDfGh4JkLzXcVbN0yMPpM"
"""Never issued. It is put into the middle of each answer, in pieces of four characters, to be blocked there."""


def main() -> None:
    rules = Rules()
    policy = Policy(rules, dict.fromkeys(ACTING, "redact"))
    texts = {"prose": PROSE * 40, "code": CODE * 40, "hot": (PROSE + HOT + CODE) * 15}
    print(
        f"{'text':8}{'piece':>6}{'us/KB':>9}{'us/piece':>10}{'held mean':>11}{'held most':>11}{'scans':>7}{'leaked':>8}"
    )
    for name, text in texts.items():
        for size in SIZES:
            seconds, figures = best(lambda text=text, size=size: hold(policy, text, size))
            pieces = -(-len(text) // size)
            print(
                f"{name:8}{size:>6}{seconds * 1e6 / len(text) * 1024:>9.0f}{seconds * 1e6 / pieces:>10.1f}"
                f"{figures.held_mean:>11.1f}{figures.held_most:>11}{figures.scans:>7}{figures.leaked:>8}"
            )
    vault = Vault(b"b" * 32)
    shown = (PROSE + vault.hide("email", "bob@example.com") + " " + CODE) * 15
    arguments = '{"path": "a.py", "text": "' + CODE.replace("\n", "\\n").replace('"', '\\"') * 15 + '"}'
    print()
    for name, run in {
        "events": lambda: events(policy, PROSE * 40),
        "restore": lambda: events(policy, shown, Restorer(vault)),
        "arguments": lambda: tool(policy, arguments),
    }.items():
        size = len({"events": PROSE * 40, "restore": shown}.get(name, arguments))
        seconds, figures = best(run)
        each = f"{seconds * 1e6 / size * 1024:>8.0f} us/KB{seconds * 4e6 / size:>8.1f} us/event"
        print(f"{name:10}{each}, held {figures.held_mean:.1f}")


def recorded(path: Path = RECORDED) -> Iterator[list[str]]:
    """The texts of recorded streams, in the pieces in which they came."""
    with gzip.open(path) as lines:
        for line in lines:
            row = json.loads(line)
            language: Any = next((one for part, one in READERS.items() if part in row["uri"]), None)
            text = row.get("response_text") or ""
            if language is None or row["status"] != 200 or "data:" not in text[:200]:
                continue
            try:
                reader = language.StreamReader()
                events = [*reader.feed(text.encode()), *reader.close()]
            except Exception:  # what our readers do not take is not the subject here
                continue
            pieces = [one.text for one in events if isinstance(one, TextDelta) and one.text and not one.choice]
            if sum(map(len, pieces)) >= LEAST:
                yield pieces


def page(answers: list[list[str]]) -> str:
    """The table: what is held of real answers, and what was shown before a verdict. Figures are those of the answer in
    the middle, but for the last column and `in any of them`."""
    rules = Rules()
    acting = {**dict.fromkeys(ACTING, "redact"), "secret": "block"}
    pieces = sum(map(len, answers))
    size = sum(len(piece.encode()) for one in answers for piece in one)
    lines = [
        f"{len(answers)} recorded answers, {pieces:,} pieces of about {size // pieces} bytes, "
        "as their providers sent them.",
        "",
        "| `streams` | bytes held: mean | most | most in any of them | pieces shown before the verdict | "
        "characters of the finding shown |",
        "|---|---|---|---|---|---|",
    ]
    for mode in ("hold", "strict", "monitor"):
        policy = Policy(rules, acting, mode=mode)  # type: ignore[arg-type]
        plain = [fed(policy, one) for one in answers]
        blocked = [shown(policy, one) for one in answers]
        lines.append(
            f"| {mode} | {median(one.held_mean for one in plain):.1f} | {median(one.held_most for one in plain):.0f} | "
            f"{max(one.held_most for one in plain):,} | {median(one for one, _ in blocked):.0f} | "
            f"{max(leaked for _, leaked in blocked)} |"
        )
    return "\n".join(lines)


def shown(policy: Policy, pieces: list[str]) -> tuple[int, int]:
    """Of an answer that is blocked in its middle: pieces shown before that, and characters of what blocked it."""
    half = len(pieces) // 2
    marked = [*pieces[:half], " ", *(SECRET[at : at + 4] for at in range(0, len(SECRET), 4)), " ", *pieces[half:]]
    figures = fed(policy, marked)
    left, count = figures.seen_at_block or 0, 0
    for piece in marked:
        left -= len(piece)
        if left < 0:
            break
        count += 1
    return count, figures.leaked


def fed(policy: Policy, pieces: list[str]) -> Figures:
    holder = Holder(policy)
    for piece in pieces:
        holder.feed("text", piece)
    holder.close("text")
    return holder.figures


def best(run: Callable[[], Figures]) -> tuple[float, Figures]:
    run()
    times = []
    for _ in range(5):
        start = time.process_time()
        figures = run()
        times.append(time.process_time() - start)
    return min(times), figures


def hold(policy: Policy, text: str, size: int) -> Figures:
    holder = Holder(policy)
    for at in range(0, len(text), size):
        holder.feed("text", text[at : at + size])
    holder.close("text")
    return holder.figures


def events(policy: Policy, text: str, restore: Restorer | None = None) -> Figures:
    guard = EventGuard(policy, restore=restore)
    for at in range(0, len(text), 4):
        guard.feed([TextDelta(text[at : at + 4])])
    guard.feed([Finished("stop")])
    return guard.figures


def tool(policy: Policy, arguments: str) -> Figures:
    guard = EventGuard(policy)
    guard.feed([ToolStarted(0, "1", "write")])
    for at in range(0, len(arguments), 4):
        guard.feed([ToolDelta(0, arguments[at : at + 4])])
    guard.feed([Finished("tool_calls")])
    return guard.figures


if __name__ == "__main__":
    if "--recorded" in sys.argv[1:]:
        if not RECORDED.exists():
            sys.exit(f"{RECORDED} is not there")
        print(page(list(recorded())))
    else:
        main()
