"""docs/providers-policies.md: `python -m freehold.labels.policies_page` prints it. Written from the rows alone."""

import sys

from freehold.config.label_names import LEVELS
from freehold.labels.policies import Policy, policy_clearance, rows

HEAD = """\
# What providers' terms say

<!-- Written by make docs from src/freehold/labels/policies.toml; change it there. -->

One row for each endpoint and set of terms. **The first row of a provider holds unless you say otherwise**, and it is
the strictest of its terms, because a key does not tell which plan is behind it. If your account has others, name the
row:

    providers:
      gemini: {policy: gemini-paid, cleared: confidential}

`cleared` is yours to give: you know your contracts. But a row that has expired, is not verified, depends on whom the
provider passes requests on to, or says that it trains on what is sent to it, caps it at `internal`. That is the label
of requests of which nothing is known, so a provider that trains on them is asked like any other, unless you write
`cleared: public` for it. `freehold doctor` says which rows expire soon.

A provider without a row gets `internal` at most too, and so does one whose `base_url` you gave: nobody here knows whose
address that is. Name the row if it is that provider's own (an Azure resource: `policy: azure`), or write
`policy: contract` if you have agreed on the terms yourself: then no row caps what you clear it for.

Verified means that training and retention were read in stored copies of the provider's own pages on the day in the row.
That is not legal advice, and the live page may have changed since: read the sources before you rely on a row.
"""


def page() -> str:
    """Returns the page."""
    lines = [
        HEAD,
        "| row | trains on it | kept | zero retention | regions | BAA | at most | checked | expires |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    found = rows()
    lines += [_line(name, row) for name, row in found.items()]
    lines.append("")
    for name, row in found.items():
        lines += _detail(name, row)
    return "\n".join(lines)


def _line(name: str, row: Policy) -> str:
    level, _ = policy_clearance(name, row.checked, accepted=True)
    kept = "not a number" if row.retention is None else "nothing" if row.retention == 0 else f"{row.retention} days"
    cells = [
        f"[`{name}`](#{name})", row.training, kept, row.zdr, ", ".join(row.regions) or "-", row.baa,
        "what you clear it for" if level == len(LEVELS) - 1 else LEVELS[level],
        f"{row.checked}" if row.verified else "not verified", f"{row.expires}",
    ]  # fmt: skip
    return "| " + " | ".join(cells) + " |"


def _detail(name: str, row: Policy) -> list[str]:
    facts = [f"Kept: {row.kept}."]
    if row.zdr_how:
        facts.append(f"Zero retention: {row.zdr_how}.")
    if row.note:
        facts.append(f"{row.note}.")
    if row.subprocessors:
        facts.append(f"Sub-processors: <{row.subprocessors}>.")
    sources = ", ".join(f"<{source}>" for source in row.sources)
    return [f"## {name}", "", f"{row.title}. {' '.join(facts)}", "", f"Sources: {sources}", ""]


if __name__ == "__main__":
    sys.stdout.write(page())
