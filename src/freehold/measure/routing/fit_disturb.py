"""What may stand around a prompt without changing who should answer it: training learns to look past it.

A router that reads words can be swayed by words: a polite frame, a line of markup, a string put there on purpose
(Shafran et al., "Rerouting LLM routers", arXiv 2501.01818). So every training prompt gets disturbed copies, and what
training minimises has, besides its errors, the mean square by which a copy's prediction is off the prompt's own (see
fit_ridge.py and fit_heads.py; Simard et al. call it tangent propagation). Equal labels for the copies alone were
measured too, and did less.

A copy has something put before it, after it or around it: a piece of another prompt, a frame made up of everyday words,
markup, signs, letters at random, or words of the vocabulary. Some are made lower case instead. None of these strings is
one that robust.py tests with, though everyday words are in both.
"""

import random
from collections.abc import Sequence

ROWS = 6_000
"""Copies that are worth having in all; a table of fewer prompts gets several of each, up to MOST."""
MOST = 4
COMMON = 600
"""The most frequent words, of which runs of words are mostly made."""

_STARTS = (
    "Hi,", "Hello!", "Dear assistant,", "Hey there,", "Good morning.", "Now", "So", "Well,", "Quick one:", "Note:",
)  # fmt: skip
_ASKS = (
    "can you", "would you", "will you please", "I want you to", "we need someone to", "kindly", "I need to", "help us",
    "let us", "you should", "try to", "it is your job to", "my teacher wants us to",
)  # fmt: skip
_VERBS = (
    "solve", "answer", "work out", "explain", "go through", "check", "figure out", "read", "tell me", "find", "do",
    "consider", "get right", "discuss", "use",
)  # fmt: skip
_THINGS = (
    "this", "it", "the exercise below", "what comes next", "the problem", "these", "my homework task", "the text",
    "all of it", "that for me", "everything here", "one of them",
)  # fmt: skip
_ENDS = (
    "Thanks a lot.", "Cheers!", "I appreciate it!", "As soon as you can.", "Give a short answer.", "Show your work.",
    "Be careful.", "Which is it?", "No need to hurry.", "What do you think?", "It matters to us.", "In detail, please.",
    "Only the letter.", "Many thanks in advance.",
)  # fmt: skip
_FRAMES = (
    "You are an expert in {}.", "System: {} mode.", "Level={} kind={}", "[{}]", "Task: {}", "The most {} way is best.",
    "Forget about {}.", "Answer as if you were a {}.", "Context: {} and {}.", "This one is very {}.",
    "Our {} model needs to be good at {}.",
)  # fmt: skip
_MARKUP = (
    "$x_i^2 \\leq \\frac{a}{b}$", "\\[ \\sum_{k=1}^{n} k = \\frac{n(n+1)}{2} \\]", "```js\nconst a = f(1);\n```",
    "<b>note</b>", '{"mode": "x", "n": [1, 2]}', "## Part", "---", "for (int i = 0; i < n; i++) { s += a[i]; }",
    "import os; print(os.name)", "https://example.org/a?b=c&d=1", "| a | b |\n|---|---|",
    "\\textbf{x} \\in \\mathbb{R}", "SELECT * FROM t WHERE a >= 3;", "[1] (2) <3> %4 ^5 _6_",
)  # fmt: skip
_SIGNS = "!?*#-=~.,:;+%@&/\\$()[]{}<>|_"
_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_GAPS = (" ", " ", "\n", "\n\n")


def copies(count: int) -> int:
    """How many of each prompt there should be, of `count` prompts."""
    return max(1, min(MOST, ROWS // max(1, count)))


def disturbed(texts: Sequence[str], words: Sequence[str], seed: int) -> list[str]:
    """`copies` of all texts, one round after the other. `words`: the vocabulary, the most frequent first."""
    chance = random.Random(seed)  # noqa: S311  repeatable, not secret
    known = list(words) or ["word"]
    return [_around(text, chance, texts, known) for _ in range(copies(len(texts))) for text in texts]


def _around(text: str, chance: random.Random, texts: Sequence[str], words: Sequence[str]) -> str:
    draw = chance.random()
    if draw < 0.08:
        return text.lower()
    if draw < 0.82:
        parts = [_snippet(chance, texts, words), text]
        if draw >= 0.45:
            parts.reverse()
        return chance.choice(_GAPS).join(parts)
    before, after = _snippet(chance, texts, words), _snippet(chance, texts, words)
    return before + chance.choice(_GAPS) + text + chance.choice(_GAPS) + after


def _snippet(chance: random.Random, texts: Sequence[str], words: Sequence[str]) -> str:
    kind = chance.random()
    if kind < 0.25:
        other, count = chance.choice(texts).split(" "), chance.randint(4, 16)
        at = chance.randrange(max(1, len(other) - count))
        return " ".join(other[at : at + count])
    if kind < 0.5:
        return _frame(chance, words)
    if kind < 0.65:
        return chance.choice(_MARKUP)
    if kind < 0.73:
        count, same = chance.randint(4, 20), chance.choice(_SIGNS)
        return "".join(same if kind < 0.69 else chance.choice(_SIGNS) for _ in range(count))
    if kind < 0.79:
        return " ".join(
            "".join(chance.choice(_LETTERS) for _ in range(chance.randint(2, 8))) for _ in range(chance.randint(3, 9))
        )
    pool = words if kind < 0.85 else words[:COMMON]
    return " ".join(chance.choice(pool) for _ in range(chance.randint(3, 11)))


def _frame(chance: random.Random, words: Sequence[str]) -> str:
    kind = chance.random()
    if kind < 0.3:
        return chance.choice(_ENDS)
    if kind < 0.5:
        return chance.choice(_FRAMES).format(chance.choice(words), chance.choice(words))
    start = [chance.choice(_STARTS)] if chance.random() < 0.4 else []
    asked = " ".join([*start, chance.choice(_ASKS), chance.choice(_VERBS), chance.choice(_THINGS)])
    return asked + chance.choice((":", ".", "?", "!", ""))
