"""`python -m bench.hold`: what the hold-back automaton costs and how much it holds.

Prose and code without a finding, and both with findings between, in pieces as models stream them (four characters are
about a token) and larger. CPU time of this process, so that a busy machine matters less; the best of five runs. What is
held is in bytes, `leaked` counts characters of findings that got out, `scans` the closer looks.
"""

import time
from collections.abc import Callable

from freehold.check.detect import Rules
from freehold.check.pseudonyms import Restorer, Vault
from freehold.check.stream import EventGuard, Figures, Holder, Policy
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
    main()
