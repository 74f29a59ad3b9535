"""Two Answers and a Limits make a Report. Pure.

Kullback-Leibler divergence is computed over the tokens that the original finds likeliest, and one last bucket for all
others. Joining outcomes can only make it smaller, so it is a lower bound of the divergence over the whole vocabulary; a
token that the artefact does not list counts with the least probability that it lists.
"""

import math
from collections.abc import Iterator

from msgspec import Struct

from freehold.own.parity.answers import Answers, Passage, Position, Questions, Rendered
from freehold.own.parity.limits import Limits

SMALLEST = 1e-9
MOST_FINDINGS = 24
SHOWN = 160


class Finding(Struct, frozen=True):
    """One place where the artefact is not its original. `at` counts tokens, or characters of a rendered template."""

    check: str
    where: str
    at: int
    expected: str
    got: str


class Check(Struct, frozen=True):
    """One line of the report. `figure` is in words; `passed` None: it does not apply here."""

    name: str
    passed: bool | None
    figure: str


class Figures(Struct, frozen=True):
    """What was measured. Divergences are in nats; the mean leaves the limits' outliers out, the largest does not."""

    positions: int
    mean_kl: float
    max_kl: float
    top1: float
    greedy: float
    """Share of the continuations that are the original's, token by token."""


class Report(Struct, frozen=True):
    """The verdict and why. `findings` are the first of each check, `more` counts those left out."""

    passed: bool
    quantisation: str
    original: str
    artefact: str
    checks: list[Check]
    figures: Figures
    limits: Limits
    findings: list[Finding]
    more: int = 0
    notes: list[str] = []


def compare(original: Answers, artefact: Answers, asked: Questions, limits: Limits, quantisation: str) -> Report:
    """Judges `artefact`, whose positions were taken along the original's tokens."""
    pairs = list(zip(original.passages, artefact.passages, strict=True))
    measured = [one for theirs, ours in pairs for one in _measure(theirs, ours)]
    mean = _mean(measured, limits)
    tie = limits.tie(mean)
    strayed = [one for theirs, ours in pairs for one in _strayed(theirs, ours, original, artefact, asked, tie)]
    figures = _figures(measured, mean, tie, 1.0 - len({one.where for one in strayed}) / max(1, len(pairs)))
    templates, template = _templates(original, artefact)
    tokens = [one for theirs, ours in pairs for one in _tokens(theirs, ours, spaced=template.passed is True)]
    wrong_ends, ends = _ends(original, artefact)
    notes = _notes(original, artefact)
    checks = [
        Check("tokens", not tokens, f"{len(pairs) - len(tokens)} of {len(pairs)} texts"),
        Check(
            "greedy",
            not strayed if limits.greedy else None,
            f"{figures.greedy:.0%} of the continuations the same",
        ),
        Check("top-1", figures.top1 >= limits.top1, f"{figures.top1:.1%}, at least {limits.top1:.1%}"),
        Check("divergence", figures.mean_kl <= limits.kl, f"{figures.mean_kl:.5f} nats, at most {limits.kl:g}"),
        template,
        ends,
    ]
    findings = [*tokens, *(strayed if limits.greedy else []), *templates, *wrong_ends]
    if not all(check.passed is not False for check in checks[2:4]):
        findings += [_far(one) for one in sorted(measured, key=lambda one: -one.kl)[:8]]
    return Report(
        passed=all(check.passed is not False for check in checks),
        quantisation=quantisation,
        original=original.who,
        artefact=artefact.who,
        checks=checks,
        figures=figures,
        limits=limits,
        findings=findings[:MOST_FINDINGS],
        more=max(0, len(findings) - MOST_FINDINGS),
        notes=notes,
    )


def divergence(original: Position, artefact: Position) -> float:
    """Returns the Kullback-Leibler divergence in nats, see the top of the file."""
    listed = dict(zip(artefact.ids, artefact.logprobs, strict=True))
    floor = min(artefact.logprobs)
    found = left_p = left_q = 0.0
    for token, p in zip(original.ids, original.logprobs, strict=True):
        q = listed.get(token, floor)
        found += math.exp(p) * (p - q)
        left_p += math.exp(p)
        left_q += math.exp(q)
    rest_p, rest_q = 1.0 - left_p, max(SMALLEST, 1.0 - left_q)
    if rest_p > SMALLEST:
        found += rest_p * math.log(rest_p / rest_q)
    return max(0.0, found)


def near(position: Position, tie: float) -> list[int]:
    """Returns the tokens that are about as likely as the best one."""
    best = position.logprobs[0]
    return [token for token, p in zip(position.ids, position.logprobs, strict=True) if p >= best - tie]


class _Measured(Struct):
    where: str
    at: int
    kl: float
    theirs: Position
    ours: int


def _measure(theirs: Passage, ours: Passage) -> Iterator[_Measured]:
    for p, q in zip(theirs.positions, ours.positions, strict=True):
        yield _Measured(_shown(theirs.text), p.at, divergence(p, q), p, q.ids[0])


def _mean(measured: list[_Measured], limits: Limits) -> float:
    ordered = sorted(one.kl for one in measured)
    kept = ordered[: len(ordered) - math.ceil(limits.outliers * len(ordered))]
    return sum(kept) / max(1, len(kept))


def _figures(measured: list[_Measured], mean: float, tie: float, greedy: float) -> Figures:
    same = sum(one.ours in near(one.theirs, tie) for one in measured)
    return Figures(
        positions=len(measured),
        mean_kl=mean,
        max_kl=max((one.kl for one in measured), default=0.0),
        top1=same / max(1, len(measured)),
        greedy=greedy,
    )


def _far(one: _Measured) -> Finding:
    ours = f"token {one.ours}, {one.kl:.4f} nats away"
    return Finding("divergence", one.where, one.at, f"token {one.theirs.ids[0]}", ours)


def _tokens(theirs: Passage, ours: Passage, *, spaced: bool) -> Iterator[Finding]:
    """`spaced`: a tokenizer that puts a space before a text, but not after a special token, is one that llama.cpp can
    follow in only one of the two; in conversations it does, so in bare texts the space may be missing."""
    if theirs.ids != ours.ids and not (spaced and theirs.ids == ours.spaced):
        at = _first_difference(theirs.ids, ours.ids)
        yield Finding("tokens", _shown(theirs.text), at, str(theirs.ids[at : at + 8]), str(ours.ids[at : at + 8]))


def _strayed(
    theirs: Passage, ours: Passage, original: Answers, artefact: Answers, asked: Questions, tie: float
) -> Iterator[Finding]:
    """What greedy decoding said, up to the first difference. It is forgiven where the original itself hardly knows, and
    where the engine knows one more token that ends an answer."""
    at = _first_difference(theirs.continuation, ours.continuation)
    if at == len(theirs.continuation) == len(ours.continuation) and theirs.ended == ours.ended:
        return
    begin = len(asked.begin(theirs.ids))
    here = next((one for one in theirs.positions if one.at == begin + at), None)
    if here is not None and len(near(here, tie)) > 1:
        return
    next_one = here.ids[0] if here is not None else None
    ends = set(artefact.ends.ids) & {*original.ends.ids, *original.ends.special}
    if ours.ended and at == len(ours.continuation) and next_one in ends:
        return
    yield Finding(
        "greedy", _shown(theirs.text), begin + at,
        _said(theirs.continuation[at:], theirs.ended), _said(ours.continuation[at:], ours.ended),
    )  # fmt: skip


def _said(ids: list[int], ended: bool) -> str:
    return f"{ids[:8]}" + (" and the end" if ended else "")


def _templates(original: Answers, artefact: Answers) -> tuple[list[Finding], Check]:
    if not original.template and not artefact.template:
        return [], Check("template", None, "there is none")
    if original.template != artefact.template:
        has = "the original has one, the artefact none" if original.template else "the original has none"
        return [Finding("template", "all conversations", 0, str(original.template), str(artefact.template))], Check(
            "template", False, has
        )
    usable = [pair for pair in zip(original.chats, artefact.chats, strict=True) if pair[0].error is None]
    plain = {one.name: one.text for one in original.chats}
    usable = [pair for pair in usable if not _ignored(pair[0], plain)]
    findings = [found for theirs, ours in usable for found in _rendering(theirs, ours, original)]
    wrong = len({found.where for found in findings})
    return findings, Check("template", not findings, f"{len(usable) - wrong} of {len(usable)} conversations")


def _ignored(theirs: Rendered, plain: dict[str, str]) -> bool:
    """Whether a template without tools was given some: llama.cpp then tells the model of them in words of its own."""
    return theirs.name.startswith("tool") and plain.get("tools") == plain.get("single turn")


def _rendering(theirs: Rendered, ours: Rendered, original: Answers) -> Iterator[Finding]:
    if ours.error is not None:
        yield Finding("template", theirs.name, 0, _shown(theirs.text), ours.error[:SHOWN])
        return
    text, ids = theirs.text, theirs.ids
    if theirs.begin and not ours.text.startswith(theirs.begin):
        text = text.removeprefix(theirs.begin)  # llama.cpp leaves it out, its tokenizer puts it back
    if text != ours.text:
        at = _first_difference(text, ours.text)
        yield Finding("template", theirs.name, at, text[at : at + SHOWN], ours.text[at : at + SHOWN])
    elif ids != ours.ids and not (ours.ids[1:] == ids and ours.ids[0] in original.ends.special):
        at = _first_difference(ids, ours.ids)
        yield Finding("template tokens", theirs.name, at, str(ids[at : at + 8]), str(ours.ids[at : at + 8]))


def _ends(original: Answers, artefact: Answers) -> tuple[list[Finding], Check]:
    expected, found = set(original.ends.ids), set(artefact.ends.ids)
    findings = []
    declared = artefact.ends.declared
    if declared is not None and declared not in expected | {original.ends.declared}:
        findings.append(Finding("end of text", "declared", 0, str(sorted(expected)), str(declared)))
    if missing := expected - found:
        findings.append(
            Finding("end of text", "does not end", 0, str(sorted(expected)), f"goes on after {sorted(missing)}")
        )
    if wrong := found - expected - set(original.ends.special):
        findings.append(Finding("end of text", "ends", 0, str(sorted(expected)), f"ends on {sorted(wrong)} as well"))
    return findings, Check("end of text", not findings, ", ".join(map(str, sorted(expected))) or "none")


def _notes(original: Answers, artefact: Answers) -> list[str]:
    notes = [f"the template refuses the conversation {one.name!r}: {one.error}" for one in original.chats if one.error]
    pairs = zip(original.passages, artefact.passages, strict=True)
    if any(theirs.ids != ours.ids and theirs.ids == ours.spaced for theirs, ours in pairs):
        notes.append("outside of conversations the engine puts no space before a text, the original does")
    if more := sorted(set(artefact.ends.ids) - set(original.ends.ids)):
        notes.append(f"the engine also ends an answer on {', '.join(map(str, more))}")
    return notes


def _first_difference(left: "list[int] | str", right: "list[int] | str") -> int:
    pairs = zip(left, right, strict=False)
    return next((at for at, (one, other) in enumerate(pairs) if one != other), min(len(left), len(right)))


def _shown(text: str) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= 40 else flat[:39] + "…"
