"""The rules in force, compiled: which detectors run, what their findings make of a label, and the one function
`scan`.
"""

from collections.abc import Collection, Mapping
from functools import cache

from msgspec import Struct

from freehold.check.detect import national
from freehold.check.detect.addresses import Emails
from freehold.check.detect.assigned import STRUCTURED, Assignments, Headers, PrivateKeys, Urls, WebTokens
from freehold.check.detect.credentials import CREDENTIALS
from freehold.check.detect.encoded import Encoded
from freehold.check.detect.finding import DEFAULT_LABELS, ERROR, Finding, Hit, settled
from freehold.check.detect.hidden import hidden
from freehold.check.detect.injection import weighed
from freehold.check.detect.keys import known_keys
from freehold.check.detect.likeness import Likeness, Short, shipped
from freehold.check.detect.links import Links
from freehold.check.detect.numbers import Numbers
from freehold.check.detect.personal import PERSONAL, Hosts
from freehold.check.detect.phrases import injection_phrases
from freehold.check.detect.scanner import Detector, Scanner, Sweep
from freehold.check.detect.tongues import foreign_phrases
from freehold.check.detect.view import View, plainer
from freehold.config.label_names import BUILT_IN, split_label
from freehold.labels import Label

INJECTION = "prompt_injection"


class Absent(Struct, frozen=True):
    """Rules that cannot run here, and what to install."""

    rules: tuple[str, ...]
    package: str
    hint: str


class Rules:
    """What is looked for. Making one costs milliseconds; keep it.

    `labels` maps a type of finding to a label's text, over DEFAULT_LABELS; `compartments` are the names it may use.
    `off` names rules or types that are not wanted. Findings under `minimum` are dropped. `trusted_hosts` are those
    whose images and links carry nothing away; with any given, an image from every other host is a finding.

    Raises ValueError for an unknown type, rule or label, naming what there is.
    """

    def __init__(
        self,
        labels: Mapping[str, str] | None = None,
        *,
        compartments: Collection[str] = BUILT_IN,
        off: Collection[str] = (),
        minimum: float = 0.5,
        trusted_hosts: Collection[str] = (),
    ) -> None:
        texts = {**DEFAULT_LABELS, **(labels or {})}
        unknown = sorted(set(texts) - set(DEFAULT_LABELS))
        if unknown:
            raise ValueError(f"there is no finding of type {unknown[0]!r}; types are {', '.join(DEFAULT_LABELS)}")
        self.labels = {kind: Label(*split_label(text, compartments)) for kind, text in texts.items()}
        self.minimum = minimum
        self._off = frozenset(off)
        self.absent = _absent()
        detectors, sweeps = _detectors(trusted_hosts)
        self._scanner = Scanner(
            [one for one in detectors if one.name not in self._off],
            [one for one in sweeps if one.name not in self._off],
        )
        self.detectors: tuple[Detector | Sweep, ...] = (*detectors, *sweeps)

    @property
    def longest(self) -> int:
        """How many bytes the longest finding can span: how much a stream must hold back to miss none of them whole."""
        return max(detector.longest for detector in self.detectors)

    def hits(self, text: str) -> list[Hit]:
        """Returns what stands, with offsets in code points. Raises nothing a detector raises, only what the text itself
        makes impossible (no memory)."""
        view = View(text)
        found = self._placed(view, hidden=False)
        if view.disguised:
            found += hidden(text)
            other = plainer(text)
            if other is not None:
                found += self._placed(other, hidden=True)
        if not found:
            return found
        return settled(
            hit
            for hit in found
            if hit.score >= self.minimum and hit.rule not in self._off and hit.type not in self._off
        )

    def _placed(self, view: View, *, hidden: bool) -> list[Hit]:
        hits = self._scanner.hits(view)
        if not hits:
            return hits
        phrases = [hit for hit in hits if hit.type == INJECTION]
        if phrases:
            hits = [hit for hit in hits if hit.type != INJECTION]
            hits += weighed(view, phrases, shipped().judge, hidden=hidden)
        hits.sort(key=lambda hit: hit.start)
        return [
            hit._replace(start=start, end=end)
            for hit, start, end in zip(hits, *view.code_points([(hit.start, hit.end) for hit in hits]), strict=True)
        ]


def scan(text: str, rules: Rules) -> list[Finding]:
    """Returns what is found in `text`, in its order. Offsets are code points, ends exclusive. Never raises.

    What fails inside is a finding of its own, type `detector_error`: whoever asks must not take it for clean.
    """
    try:
        hits = rules.hits(text)
    except Exception:
        return [Finding(ERROR, 0, len(text), "scan", 1.0, rules.labels[ERROR])]
    if not hits:
        return []
    labels = rules.labels
    return [Finding(hit.type, hit.start, hit.end, hit.rule, hit.score, labels[hit.type]) for hit in hits]


@cache
def default_rules() -> Rules:
    return Rules()


def _absent() -> tuple[Absent, ...]:
    if national.installed():
        return ()
    names = tuple(country.module.replace("_", "") for country in national.COUNTRIES)
    return (Absent(names, "python-stdnum", "pip install 'freehold[pii]'"),)


def _detectors(trusted_hosts: Collection[str]) -> tuple[list[Detector], list[Sweep]]:
    phrases: list[Detector] = [*injection_phrases(), *foreign_phrases()]
    words = Scanner(phrases, ())
    detectors: list[Detector] = [
        *known_keys(), *STRUCTURED, *CREDENTIALS, Urls(), PrivateKeys(), WebTokens(), Headers(), Assignments(),
        *PERSONAL, Hosts(), Links(trusted_hosts), *phrases, Encoded(lambda text: _judged(words, text)),
        Likeness(shipped()),
    ]  # fmt: skip
    here = national.installed()
    if here:
        detectors.append(national.NationalIds())
    return detectors, [Numbers(national_ids=here), Emails(), Short(shipped())]


def _judged(words: Scanner, text: str) -> float:
    """Returns how much the phrases in a decoded text weigh together, and the model beside them."""
    view = View(text)
    model = shipped()
    scores = [hit.score for hit in weighed(view, words.hits(view), model.judge)]
    return max(*scores, model.judge(view.low) or 0.0, 0.0)
