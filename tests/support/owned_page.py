"""The tables of docs/owned.md that the code knows: `python tests/support/owned_page.py` writes them again.

Each stands between `<!-- NAME: written by make docs -->` and `<!-- end -->`. Which engines are the real ones in our
tests is read off the stand-in: whatever it is called like is not.
"""

import re
from pathlib import Path

from standin_engine import COMMANDS

from freehold.own.convert.quantise import KINDS
from freehold.own.engine import Adapter
from freehold.own.engines import adapters
from freehold.own.engines.server import Server
from freehold.own.parity.limits import LEAST_ROUTED, OTHERS, ROUTED, TABLE, Limits

PAGE = Path(__file__).parents[2] / "docs" / "owned.md"
LORAS = {"none": "no", "static": "at start", "runtime": "while it runs"}
ELSEWHERE = {"llamacpp": "`pip install 'freehold[own]'`", "command": "yours"}


def table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def limits() -> str:
    def row(name: str, found: Limits) -> list[str]:
        return [name, f"{found.kl:g}", f"{100 * found.top1:g} %", "yes" if found.greedy else "no"]

    named = [row(name, found) for name, found in TABLE.items()]
    head = ["weights", "mean divergence at most, nats", "same next token, at least", "greedy text equal"]
    experts = (
        f"With a mixture of experts the bound of the divergence is never under {LEAST_ROUTED:g}, {100 * ROUTED:g} % of "
        f"the positions do not count in the mean, the share of equal tokens may be {100 * ROUTED:g} points lower, and "
        "greedy text may differ."
    )
    return f"{table(head, [*named, row('anything else', OTHERS)])}\n\n{experts}"


def engines() -> str:
    return table(
        ["engine", "reads", "LoRA", "sleep", "in our tests", "how it is installed"],
        [row(name, one) for name, one in adapters().items()],
    )


def row(name: str, one: Adapter) -> list[str]:
    formats = ", ".join(sorted(one.formats)) or "its own"
    levels = ", ".join(map(str, one.sleep_levels)) or "no"
    return [f"`{name}`", formats, LORAS[one.loras], levels, tested(one), installed(name, one)]


def tested(one: Adapter) -> str:
    executable = one.executable if isinstance(one, Server) else ""
    return "stand-in only" if executable in COMMANDS or one.name == "command" else "the real one"


def installed(name: str, one: Adapter) -> str:
    if name in ELSEWHERE or not isinstance(one, Server):
        return ELSEWHERE[name]
    return one.install.replace("|", "\\|")


def quantisations() -> str:
    return f"{', '.join(f'`{kind}`' for kind in KINDS)}, and `F16`, `BF16`, `F32`."


TABLES = {"limits": limits, "engines": engines, "quantisations": quantisations}


def filled(page: str) -> str:
    """Returns the page with every table as the code has it."""
    for name, make in TABLES.items():
        begin, end = f"<!-- {name}: written by make docs -->", "<!-- end -->"
        text = f"{begin}\n\n{make()}\n\n{end}"
        page, count = re.subn(
            f"{re.escape(begin)}\n.*?\n{re.escape(end)}", lambda _, text=text: text, page, flags=re.DOTALL
        )
        if count != 1:
            raise ValueError(f"{PAGE.name} has {count} places for {name}")
    return page


if __name__ == "__main__":
    PAGE.write_text(filled(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
