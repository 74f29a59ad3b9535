"""What is done about what is found in an answer, and what is told of it.

    allow     it passes, and is told
    redact    a mark stands in its place
    block     the answer ends before it

Three modes. `hold` (the usual one) keeps back what may still become a finding, a word or so, and lets the rest
through. `strict` keeps the whole answer back until it has been looked at whole: nothing is seen before the verdict.
`monitor` keeps nothing back and changes nothing: what would have been done is told, and how much of it was already
seen.

An injection is weighed over a whole text: the same phrase is an attack or a lesson by what stands around it. So acting
on it takes `strict`; a policy that would act on it in `hold` is refused when it is made, not found out in a stream.
"""

from collections.abc import Mapping
from typing import Literal

from msgspec import Struct

from freehold.check.detect import DEFAULT_LABELS, Finding, Rules
from freehold.check.detect.finding import ERROR
from freehold.check.stream.live import Live, parts, types_of
from freehold.labels import Label

Action = Literal["allow", "redact", "block"]
Done = Literal["allow", "redact", "ask", "block"]
"""`ask` only of tools' calls (toolcalls.py)."""
Mode = Literal["hold", "strict", "monitor"]

WHOLE = frozenset({"prompt_injection"})
"""Types whose findings depend on the whole text."""


class Verdict(Struct, frozen=True):
    """A finding and what was done about it. Never holds what was found.

    `channel` is where (`text`, `thinking`, `refusal`, `tool`, `transcript`), `choice` the alternative, `start` and
    `end` code points of that channel's text. `seen`: code points of it that had been let go before; 0 in `hold` and
    `strict`.
    """

    channel: str
    choice: int
    type: str
    rule: str
    action: Done
    score: float
    label: Label
    start: int
    end: int
    seen: int = 0


class Figures(Struct):
    """How much was held and what was seen; the page of the documentation that matters is made of these.

    Bytes are UTF-8. `held_mean` is over the pieces that came. `seen` are the characters let go. `seen_at_block` and
    `pieces_at_block` are how many had been let go, and how many pieces had come, when a rule blocked: a piece is
    about a token. `leaked` are characters of findings acted upon that had been let go before: 0, but in `monitor`.
    """

    pieces: int = 0
    bytes: int = 0
    held_most: int = 0
    held_sum: int = 0
    seen: int = 0
    seen_at_block: int | None = None
    pieces_at_block: int | None = None
    leaked: int = 0
    looks: int = 0
    scans: int = 0

    @property
    def held_mean(self) -> float:
        return self.held_sum / self.pieces if self.pieces else 0.0


class Policy:
    """`actions` says what is done, by the name of a type or, before that, of a rule; the rest is `otherwise`.

    A detector that failed blocks, unless `actions` names `detector_error`. `mark` is what a redaction leaves; `{type}`
    stands for the type. `report`: whether findings that are allowed are sought and told at all.

    Raises ValueError for an unknown name, and for an action on what `mode` cannot judge.
    """

    def __init__(
        self,
        rules: Rules,
        actions: Mapping[str, Action],
        *,
        otherwise: Action = "allow",
        mode: Mode = "hold",
        mark: str = "[redacted {type}]",
        report: bool = True,
    ) -> None:
        self.rules = rules
        self.mode = mode
        self.report = report
        self.mark = mark
        self._actions: dict[str, Action] = {ERROR: "block", **actions}
        self._otherwise = otherwise
        by_type = _types_by_rule(rules)
        unknown = sorted(set(actions) - set(DEFAULT_LABELS) - set(by_type))
        if unknown:
            raise ValueError(f"there is no rule or type of finding {unknown[0]!r}")
        acting = {kind for kind in DEFAULT_LABELS if self._actions.get(kind, otherwise) != "allow"}
        for name, action in actions.items():
            if name in by_type and action != "allow":
                acting |= by_type[name]
        if mode == "hold" and acting & WHOLE - {ERROR}:
            raise ValueError("prompt_injection is judged over a whole text: act on it with mode strict, or allow it")
        self.acts = bool(acting - {ERROR})
        """Whether an answer can come out otherwise than it went in."""
        self.live = Live(rules, acting - {ERROR}) if mode != "strict" else None

    def action(self, finding: Finding) -> Action:
        action = self._actions.get(finding.rule)
        return self._actions.get(finding.type, self._otherwise) if action is None else action

    def marked(self, finding: Finding) -> str:
        return self.mark.replace("{type}", finding.type)


_RULES = {
    "credit-card": "credit_card",
    "us-ssn": "us_ssn",
    "phone": "phone",
    "ipv4": "ip_address",
    "ipv6": "ip_address",
    "mac-address": "mac_address",
    "ethereum-address": "crypto_address",
    "bitcoin-address": "crypto_address",
    "markdown-image": "exfiltration",
    "markdown-link": "exfiltration",
    "tag-characters": "hidden_unicode",
    "variation-selectors": "hidden_unicode",
    "bidi-override": "hidden_unicode",
    "bidi-control": "hidden_unicode",
    "zero-width-run": "hidden_unicode",
    "zero-width-in-word": "hidden_unicode",
    "lookalike-letters": "hidden_unicode",
}
"""Rules whose detector has another name than they."""


def _types_by_rule(rules: Rules) -> dict[str, frozenset[str]]:
    found = {name: frozenset((kind,)) for name, kind in _RULES.items()}
    return found | {detector.name: types_of(detector) for detector in parts(rules)}
