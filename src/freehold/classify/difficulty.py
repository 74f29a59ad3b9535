"""A simple difficulty estimate: how capable a model the prompt seems to want.

This is the first honest version: no training, no embedding, only signs in the text that each add a declared weight.
Measured elsewhere on public routing data, such signs do about as well as trained routers until some 500 labels exist;
the learned predictor of a later version replaces the weights, not the interface. The number is a hint for choosing
among models that are all allowed to answer; it is never a privacy decision.
"""

import re

from msgspec import Struct

MAX_CHARS = 8_000
"""Longer text adds cost but no further sign; the first and the last half of this are read."""


class Difficulty(Struct):
    """`score` 0 (trivial) to 1 (hard); `signs` names what was found, in the order of weight."""

    score: float
    signs: tuple[str, ...]


_SIGNS: tuple[tuple[str, float, re.Pattern[str]], ...] = (
    ("proof", 0.35, re.compile(r"\b(?:prove|proof|theorem|lemma|derive|induction|np-hard|complexity of)\b")),
    (
        "design",
        0.25,
        re.compile(r"\b(?:architect\w*|trade-?offs?|design (?:a|an|the)|refactor|migrat\w+|optimi[sz]e|debug)\b"),
    ),
    (
        "code",
        0.25,
        re.compile(r"```|\b(?:def|class|function|import|select\s+.+\s+from|traceback|segfault|regex)\b|[{};]\s*\n"),
    ),
    (
        "maths",
        0.25,
        re.compile(r"\\(?:frac|int|sum|sqrt)|\d\s*[-+*/^=]\s*\d|\b(?:integral|equation|probability|matrix|modulo)\b"),
    ),
    (
        "steps",
        0.2,
        re.compile(
            r"\bstep[- ]by[- ]step\b|\b(?:explain why|reason(?:ing)? (?:about|through)|plan)\b"
            r"|(?m:^\s*\d+[.)]\s.+\n\s*\d+[.)]\s)"
        ),
    ),
    (
        "analysis",
        0.15,
        re.compile(r"\b(?:analy[sz]e|compare|evaluate|critique|summari[sz]e|implications|contract|diagnos\w+)\b"),
    ),
)
_LENGTHS = ((4_000, 0.3), (1_500, 0.2), (500, 0.1), (160, 0.05))


def difficulty(text: str, *, turns: int = 1, tools: bool = False) -> Difficulty:
    """Estimates from the last user message (`text`), the number of turns, and whether tools are offered."""
    sample = text if len(text) <= MAX_CHARS else text[: MAX_CHARS // 2] + "\n" + text[-MAX_CHARS // 2 :]
    lowered = sample.lower()
    score = 0.1
    signs = []
    for name, weight, pattern in _SIGNS:
        if pattern.search(lowered):
            score += weight
            signs.append(name)
    for length, weight in _LENGTHS:
        if len(text) >= length:
            score += weight
            signs.append(f"over {length} characters")
            break
    if tools:
        score += 0.15
        signs.append("tools")
    if turns > 6:
        score += 0.1
        signs.append("long conversation")
    return Difficulty(min(1.0, round(score, 3)), tuple(signs))
