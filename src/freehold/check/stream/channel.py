"""One text on its way: pieces in, cuts out. This is the hold-back automaton.

What has come is in three parts. What was let go stays behind as context, as far back as a rule looks (`_CONTEXT`).
What is held may still be part of a match (live.py). In between nothing lies: whatever is not held is judged at once
and let go.

    ... context (let go) ...|... judged and let go now ...|... held ...
                          done                         live.look

A finding is final only when a few more characters have come (an address may go on, a colon may make it a path); until
then it is held from its start. So the cuts of a text are the same however it is cut into pieces, and together they are
what `redact` makes of the whole.

Cost: a look reads the held text and 140 characters before it; the closer look of the detectors, at 320 more, only
where a digit, an @ or a literal makes a finding possible. Where much is held, the next look waits until it has grown
by an eighth, so all looks together read at most nine times what is held: linear, whatever the pieces.
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from freehold.check.detect import Finding, scan
from freehold.check.detect.finding import ERROR
from freehold.check.stream.live import BACK
from freehold.check.stream.policy import Figures, Policy, Verdict

_CONTEXT = 320
_FINAL = 4
"""Code points after a finding that its own detector may look at."""
_LAZY = 128
"""Code points held from which looks are spaced out."""
_WORD = 48
"""Code points of a word in progress that nobody looks at until it ends."""
_BATCH = 2048
"""Code points between looks for what is only told."""


class Cut(NamedTuple):
    """`length` code points of what came, in order: let through as they are, or with `text` in their place."""

    length: int
    text: str | None = None


class Span(NamedTuple):
    """What another finder wants replaced."""

    start: int
    end: int
    text: str


class Finder(Protocol):
    """Replaces what is no finding of a rule: placeholders of pseudonyms. It goes before all rules."""

    def look(self, text: str) -> int:
        """Returns from where on the end of `text` may still become something."""
        ...

    def find(self, text: str, start: int, end: int) -> Sequence[Span]:
        """Returns what begins in `text` from `start` on and before `end`, in order. Called more than once."""
        ...

    def took(self, text: str, spans: Sequence[Span]) -> None:
        """Tells which spans were replaced in a text that is let go."""
        ...


class Channel:
    """`feed` and `close` return cuts; after a block there are none. `verdicts` and `figures` are shared with others."""

    __slots__ = (
        "_base", "_bytes", "_done", "_figures", "_finder", "_held", "_lazy", "_name", "_new", "_passes", "_policy",
        "_scanned", "_text", "_verdicts", "blocked",
    )  # fmt: skip

    def __init__(
        self,
        policy: Policy,
        verdicts: list[Verdict],
        figures: Figures,
        name: tuple[str, int] = ("text", 0),
        finder: Finder | None = None,
    ) -> None:
        self._policy = policy
        self._verdicts = verdicts
        self._figures = figures
        self._name = name
        self._finder = finder
        self._passes = policy.mode == "monitor" and finder is None
        """Everything goes out as it comes; with placeholders to be found, it is held for these in `monitor` too."""
        self._text = ""
        self._new: list[str] = []
        """What came after `_text`, not joined to it yet."""
        self._held = 0
        """Code points in `_new`."""
        self._base = 0
        """Where `_text` begins in the whole."""
        self._done = 0
        """Where in `_text` what is held begins."""
        self._scanned = 0
        """Up to where in `_text` what is only told has been told."""
        self._lazy = 0
        self._bytes = 0
        """Bytes in `_new`."""
        self.blocked: Verdict | None = None

    @property
    def held(self) -> int:
        """Code points that have come and were not let go."""
        return len(self._text) - self._done + self._held

    def feed(self, piece: str) -> list[Cut]:
        if self.blocked is not None:
            return []
        figures = self._figures
        size = len(piece) if piece.isascii() else len(piece.encode("utf-8", "surrogatepass"))
        figures.pieces += 1
        figures.bytes += size
        self._new.append(piece)
        self._held += len(piece)
        self._bytes += size
        cuts: list[Cut] = []
        if self._policy.mode != "strict" and not self._goes_on(piece):
            self._join()
            cuts = self._look()
        held = self._size_held()
        figures.held_sum += held
        figures.held_most = max(figures.held_most, held)
        return self._shown(cuts, piece)

    def _goes_on(self, piece: str) -> bool:
        """Whether a look can wait: a word that was held goes on, or little has come since the last look."""
        held = len(self._text) - self._done
        if not held:
            return False
        return held + self._held < self._lazy or (held + self._held < _WORD and piece.isalnum() and piece.isascii())

    def close(self) -> list[Cut]:
        """The text ends here; one that goes on after that begins anew, with what came before as its context."""
        if self.blocked is not None:
            return []
        self._join()
        cuts = self._judge(len(self._text), True) if self._done < len(self._text) or self._scanned < self._done else []
        self._trim()
        return self._shown(cuts, "")

    def _shown(self, cuts: list[Cut], piece: str) -> list[Cut]:
        if not self._passes:
            return cuts
        self._figures.seen += len(piece)
        return [Cut(len(piece))] if piece else []

    def _join(self) -> None:
        if self._new:
            self._text += "".join(self._new)
            self._new.clear()
            self._held = self._bytes = 0

    def _size_held(self) -> int:
        if self._passes:
            return 0
        rest = self._text[self._done :]
        size = len(rest) if rest.isascii() else len(rest.encode("utf-8", "surrogatepass"))
        return size + self._bytes

    def _look(self) -> list[Cut]:
        live = self._policy.live
        assert live is not None
        self._figures.looks += 1
        start = max(0, self._done - BACK)
        window = self._text[start:]
        found, possible = live.look(window, self._done - start)
        end = settled = max(self._done, start + found)
        if self._finder is not None:
            settled = max(self._done, start + self._finder.look(window))
            end = min(end, settled)
        cuts: list[Cut] = []
        if end > self._done:
            if possible or self._finder is not None or (self._policy.report and end - self._scanned >= _BATCH):
                cuts = self._judge(end, False, possible, settled)
            else:
                cuts.append(Cut(end - self._done))
                if not self._passes:
                    self._figures.seen += end - self._done
                self._done = end
        held = len(self._text) - self._done
        self._lazy = held + held // 8 if held > _LAZY else 0
        self._trim()
        return cuts

    def _judge(self, end: int, closing: bool, possible: bool = True, settled: int = 0) -> list[Cut]:
        """Lets go of what stands before `end`, or less where a finding is not final, by what is found in it. Before
        `settled` nothing the finder looks for is still going on."""
        policy, text = self._policy, self._text
        told = policy.report and (closing or end - self._scanned >= _BATCH)
        findings: list[tuple[int, int, Finding]] = []
        if (possible and self._done < len(text)) or told:
            findings = self._findings(min(self._done, self._scanned) if told else self._done)
        acting = []
        for start, stop, finding in findings:
            if finding.type == ERROR:
                start, stop = self._done, len(text)
                if policy.action(finding) == "block":
                    self._act(start, start, finding, 0)
                    return []
            if stop > self._done and policy.action(finding) != "allow":
                acting.append((start, stop, finding))
        spans = (
            self._finder.find(text, self._done, len(text) if closing else settled) if self._finder is not None else ()
        )
        if spans:
            findings, acting = _apart(findings, spans), _apart(acting, spans)
        if not closing:
            end = self._final(findings, acting, end)
            for span in reversed(spans):
                if span.start < end < span.end:
                    end = span.start
            spans = [span for span in spans if span.end <= end]
        done = self._done
        cuts = self._cut(acting, spans, end)
        if self._finder is not None and cuts:
            self._finder.took(text[done : self._done], [span for span in spans if span.end <= self._done])
        if told:
            self._tell(findings, end)
        return cuts

    def _final(self, findings: list[tuple[int, int, Finding]], acting: list[tuple[int, int, Finding]], end: int) -> int:
        """Where to end so that nothing is cut in two or told too early.

        A finding that is not final may hide another one which overlaps it and will stand if the first does not. That
        one was still going on where the first begins, so what is let go ends where something was, there.
        """
        last = len(self._text) - _FINAL
        open_starts = [start for start, stop, one in findings if (stop > end or stop > last) and one.type != ERROR]
        if open_starts and self._policy.live is not None:
            end = min(end, *open_starts)
            if end > self._done:
                start = max(0, self._done - BACK)
                end = max(self._done, start + self._policy.live.look(self._text[start:end], 0)[0])
        for start, stop, _ in sorted(acting, key=lambda one: one[:2], reverse=True):
            if start < end < stop:
                end = start
        return max(self._done, end)

    def _findings(self, start: int) -> list[tuple[int, int, Finding]]:
        """What stands in the text from `start` on, with places in `_text`."""
        self._figures.scans += 1
        text = self._text
        first = max(0, start - _CONTEXT)
        if first:
            space = text.find(" ", first, first + 40)
            first = first if space < 0 else space
        found = scan(text[first:] if first else text, self._policy.rules)
        return [(first + one.start, first + one.end, one) for one in found if first + one.end > start]

    def _cut(self, acting: list[tuple[int, int, Finding]], spans: Sequence[Span], end: int) -> list[Cut]:
        cuts: list[Cut] = []
        done = place = self._done
        todo: list[tuple[int, int, Finding | str]] = [(span.start, span.end, span.text) for span in spans]
        todo += acting
        todo.sort(key=lambda one: one[:2])
        for start, stop, what in todo:
            if start >= end or stop <= place:
                continue
            if start > place:
                cuts.append(Cut(start - place))
                place = start
            if isinstance(what, str):
                cuts.append(Cut(stop - place, what))
            elif self._act(start, stop, what, place - done) == "block":
                end = place
                if self._policy.mode == "strict":
                    cuts, place, end = [], done, done
                break
            elif self._policy.mode == "monitor":
                cuts.append(Cut(stop - place))
            else:
                cuts.append(Cut(stop - place, self._policy.marked(what)))
            place = stop
        if end > place:
            cuts.append(Cut(end - place))
        self._done = max(end, place)
        if not self._passes:
            self._figures.seen += max(end, place) - done
        return cuts

    def _act(self, start: int, stop: int, finding: Finding, more: int) -> str:
        """Tells of a finding; `more` characters are let go right now, before it."""
        policy, figures = self._policy, self._figures
        monitor = policy.mode == "monitor"
        seen = stop - start if monitor else max(0, self._done - start)
        figures.leaked += seen
        verdict = self._verdict(start, stop, finding, seen)
        self._verdicts.append(verdict)
        if verdict.action == "block" and figures.seen_at_block is None:
            figures.seen_at_block = 0 if policy.mode == "strict" else figures.seen + (0 if self._passes else more)
            figures.pieces_at_block = figures.pieces
        if verdict.action == "block" and not monitor:
            self.blocked = verdict
        return "redact" if monitor else verdict.action

    def _verdict(self, start: int, stop: int, finding: Finding, seen: int) -> Verdict:
        name, choice = self._name
        return Verdict(
            name, choice, finding.type, finding.rule, self._policy.action(finding), finding.score, finding.label,
            self._base + start, self._base + stop, seen,
        )  # fmt: skip

    def _tell(self, findings: list[tuple[int, int, Finding]], end: int) -> None:
        for start, stop, finding in findings:
            if self._scanned <= start < end and self._policy.action(finding) == "allow":
                self._verdicts.append(self._verdict(start, stop, finding, 0))
        self._scanned = end

    def _trim(self) -> None:
        """Forgets what nobody looks back at."""
        last = min(self._done, self._scanned if self._policy.report else self._done)
        if last > 2 * _CONTEXT:
            cut = last - _CONTEXT - 40
            self._text = self._text[cut:]
            self._base += cut
            self._done -= cut
            self._scanned -= cut


def _apart(findings: list[tuple[int, int, Finding]], spans: Sequence[Span]) -> list[tuple[int, int, Finding]]:
    """The findings that have nothing in common with what is replaced anyway."""
    return [one for one in findings if not any(span.start < one[1] and one[0] < span.end for span in spans)]
