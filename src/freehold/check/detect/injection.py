"""How much the phrases found in a text weigh together, and what speaks for a harmless reading.

A phrase alone proves little: "ignore the previous instructions" is an attack in a web page and a topic in a lesson. So:

- quoted, or where the text speaks about injection (attack, jailbreak, detect, OWASP ...), a phrase weighs less; both,
  next to nothing. An attacker can write such words too, and pays with a lower score only for phrases close to them;
- kinds of phrases add up as independent signs do: 1 - (1-a)(1-b)...; the same kind twice counts once;
- where the model (likeness.py) has read the same words and sees no attack in them, phrases weigh less;
- what was hidden from a reader (zero width characters, lookalikes, an encoding) weighs more.

These are rules on words. A new wording, a polite request, or an instruction in a picture passes; see docs.
"""

from collections.abc import Callable, Iterable

from freehold.check.detect.expression import Expression
from freehold.check.detect.finding import Hit
from freehold.check.detect.view import View

_ABOUT = Expression(
    rb"prompt[ -]?injection|jail ?break|\battack(?:s|er|ers|ing)?\b|\bowasp\b|red[ -]?team|adversar|guardrail"
    rb"|classif|detect"
    rb"|vulnerab|mitigat|security|\bfilter|phrases? (?:like|such)|such as|for example|e\.g\.|example of"
    rb"|examples? (?:include|:)"
    rb"|what does|what is|explain|how (?:do|can|should|to|does)|why (?:do|does|is|are)|the (?:phrase|term"
    rb"|words?|sentence|string)"
    rb"|research|paper|article|blog|lesson|course|training (?:material|slide)|documentation|tutorial|test case"
    rb"|unit test|regex"
    rb"|translate|meaning|called|known as|novel|story|fiction|movie|title|lyrics|subject line|ticket"
    rb"|user (?:wrote|typed|said|sent)"
)
_QUOTES = (b'"', b"'", b"`", b"\xe2\x80\x9c", b"\xe2\x80\x98", b"\xc2\xab", b"\xe3\x80\x8c", b"\xe2\x80\x9e")
_HARMLESS = Expression(
    rb"\b(?:e-?mails?|messages? (?:about|from|i sent|that i)|invoices?|letters?|voicemails?|texts? (?:i|from)"
    rb"|quotes?|orders?|bookings?"
    rb"|reminders?|notices?|appointments?|warnings?|errors?|commits?|versions?|recipes?|assembly|cooking"
    rb"|washing|shipping"
    rb"|delivery|dosing|doctor'?s?|teacher'?s?|boss'?s?|manager'?s?|manual|installation|knitting|driving|css"
    rb"|config(?:uration)?"
    rb"|my (?:last|previous|earlier|prior)|lint|eslint|compiler|cors|firewall|git|parental|traffic|speed|school"
    rb"|game|house)\b"
)
WEAK = frozenset(
    {"jailbreak-word", "no-warnings", "from-now-on", "instead-of-task", "stay-in-character", "never-refuse"}
)
"""Signs that say nothing alone: they only add to others."""
LIKENESS = "injection-likeness"
"""The model's sign: it has read what stands around."""
_NEIGHBOURS = 1500
"""Bytes between phrases that still belong to one attempt."""
_UNLIKE, _DOUBT = 0.15, 0.6
"""Under which likeness a phrase is doubted, and what it then weighs."""
_AROUND = 120
_MANY = 12
"""Phrases that close together are not there by chance."""
_UNMISTAKABLE = frozenset({"encoded-injection", "do-anything-now", "spaced-letters"})
_FORMATS = frozenset({"template-token", "role-tag", "role-line"})
"""Signs that a text about formats holds too."""
_ABOUT_FORMATS = Expression(rb"\btoken|template|format|delimit|special|syntax|markup|tag|parse|render|documentation")


Opinion = Callable[[bytes], float | None]
"""Takes a stretch in lower case, returns how much it is like an injection; None where nothing can be said."""


def weighed(view: View, hits: Iterable[Hit], opinion: Opinion, *, hidden: bool = False) -> list[Hit]:
    """Returns the hits of injection phrases with their scores in the light of the text and of each other.

    Hits of other types are not to be given. `hidden`: the view shows what a reader does not see.
    """
    alone = [hit._replace(score=_alone(view, hit, hidden)) for hit in hits]
    found: list[Hit] = []
    group: list[Hit] = []
    for hit in sorted(alone, key=lambda hit: hit.start):
        if group and hit.start - group[-1].end > _NEIGHBOURS:
            found += _together(_doubted(view, group, opinion))
            group = []
        group.append(hit)
    return found + _together(_doubted(view, group, opinion))


def _doubted(view: View, group: list[Hit], opinion: Opinion) -> list[Hit]:
    """Returns the phrases of a group, with less weight each where the model says that it is harmless."""
    if len(group) > _MANY or any(hit.rule == LIKENESS for hit in group):
        return group
    low = view.low
    doubted = []
    for hit in group:
        p = opinion(low[max(0, hit.start - _AROUND) : hit.end + _AROUND])
        doubt = p is not None and p < _UNLIKE and hit.rule not in _FORMATS and hit.rule not in _UNMISTAKABLE
        doubted.append(hit._replace(score=hit.score * _DOUBT) if doubt else hit)
    return doubted


def _together(group: list[Hit]) -> list[Hit]:
    """Returns phrases that stand close together, each with the weight of them all."""
    strongest: dict[str, float] = {}
    for hit in group:
        strongest[hit.rule] = max(strongest.get(hit.rule, 0.0), hit.score)
    if all(rule in WEAK for rule in strongest):
        return []
    total = 1.0
    for weight in strongest.values():
        total *= 1.0 - weight
    return [hit._replace(score=round(max(hit.score, 1.0 - total), 3)) for hit in group if hit.score > 0.0]


def _alone(view: View, hit: Hit, hidden: bool) -> float:
    low = view.low
    score = hit.score
    if hit.rule == LIKENESS:
        return score
    quoted = _is_quoted(low, hit.start, hit.end)
    about = _ABOUT.search(low, max(0, hit.start - 160), hit.start) is not None or (
        _ABOUT.search(low, hit.end, min(len(low), hit.end + 100)) is not None
    )
    if hit.rule in _FORMATS and _ABOUT_FORMATS.search(low, max(0, hit.start - 160), min(len(low), hit.end + 100)):
        score *= 0.5
    elif quoted and about:
        score *= 0.3
    elif quoted or about:
        score *= 0.65 if quoted else 0.8
    if _HARMLESS.search(low, hit.start, min(len(low), hit.end + 1)):
        score *= 0.4
    return min(1.0, score + (1.0 - score) * 0.5) if hidden else score


def _is_quoted(low: bytes, start: int, end: int) -> bool:
    """Whether an opening mark stands close before and one close after, in the same line."""
    before, after = low[max(0, start - 24) : start], low[end : end + 60]
    before = before[before.rfind(b"\n") + 1 :]
    after = after.partition(b"\n")[0]
    return any(mark in before for mark in _QUOTES) and any(
        mark in after
        for mark in (b'"', b"'", b"`", b"\xe2\x80\x9d", b"\xe2\x80\x99", b"\xc2\xbb", b"\xe3\x80\x8d", b"\xe2\x80\x9c")
    )
