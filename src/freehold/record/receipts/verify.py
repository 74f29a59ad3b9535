"""Whether a log is whole: no line changed, missing or moved, none cut off its end, and no call without its receipt.

One walk over lines and heads side by side, in linear time and in memory that does not grow with the log:

changed, missing, moved   the root over the first n lines is not the one in the head of size n. Lines carry their
                          numbers, so where something is missing is mostly seen as well
cut off                   a head counts more lines than there are. Heads are kept in two places, each covers the one
                          before it, and the newest is signed
no receipt                the calls of each worker are numbered by the worker. A number that never came, and is not that
                          of a call still running, is a hole. Places in journals that could not be read are lines too

What it rests on: whoever can write into the state folder and has the signing key can write another history. So the key
must lie where the folder's writers cannot read it, or heads must be kept elsewhere: `anchors`, against which the log is
held here. Lines behind the newest head are not signed yet, and are told as such. And a worker that never wrote down a
call cannot be seen from here at all; against that there are the byte counters of the strict mode.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Final

from msgspec import Struct, field

from freehold.errors import BadRequest
from freehold.record.receipts import note
from freehold.record.receipts.gaps import Gaps
from freehold.record.receipts.keys import Verifier
from freehold.record.receipts.leaf import Began, Call, Damaged, Ended, KeyChanged, Leaf, decode
from freehold.record.receipts.merkle import Frontier, leaf_hash
from freehold.record.receipts.source import Source, lines, notes

MOST_FINDINGS: Final = 100
"""Findings that are told one by one; all are counted."""


class Finding(Struct, frozen=True):
    """Something is not as it should be."""

    where: str
    what: str


class Verdict(Struct):
    """What a walk over a log has found. It is whole where there are no findings."""

    log: str = ""
    lines: int = 0
    calls: int = 0
    signed: int = 0
    """Lines that the newest head covers."""
    heads: int = 0
    at: int = 0
    """When the newest head was signed, Unix seconds."""
    key: str = ""
    """Who signed it."""
    trusted: bool = False
    """Whether that is a key that was given, or came with an anchor, rather than one found beside the log."""
    anchors: int = 0
    """Anchors that the log agrees with."""
    unnumbered: int = 0
    """Receipts without the worker's count: one that is missing beside them would leave no hole."""
    running: int = 0
    """Calls that had not ended: their numbers are missing, and their workers live."""
    findings: list[Finding] = field(default_factory=list)
    more: int = 0
    """Findings beyond the first hundred."""
    newest: str = ""
    """The newest head itself."""

    @property
    def whole(self) -> bool:
        return not self.findings

    def found(self, where: str, what: str) -> None:
        if len(self.findings) < MOST_FINDINGS:
            self.findings.append(Finding(where, what))
        else:
            self.more += 1


def verify(
    source: Source,
    *,
    key: Verifier | None = None,
    anchors: Sequence[str] = (),
    each: Callable[[Leaf], None] | None = None,
) -> Verdict:
    """Reads a whole log. `key` is whose signature is trusted, `anchors` are heads kept elsewhere, `each` is shown every
    line. Raises BadRequest for an anchor that is none, and OSError."""
    return _Walk(source, key, [_anchor(text) for text in anchors], each).run()


def _anchor(text: str) -> note.Head:
    head = note.parse(text)
    if not note.is_signed(text, head.key):
        raise BadRequest(
            f"the anchor of {head.log} at {head.size} lines is not signed by the key in it: it was changed",
            code="audit_anchor",
            hint="take another copy of it",
        )
    return head


class _Walk:
    def __init__(
        self, source: Source, key: Verifier | None, anchors: list[note.Head], each: Callable[[Leaf], None] | None
    ) -> None:
        self._source = source
        self._anchors = sorted(anchors, key=lambda head: head.size)
        self._trusted = key or (max(anchors, key=lambda head: head.at).key if anchors else None)
        self._each = each
        self._verdict = Verdict()
        self._tree = Frontier()
        self._gaps = Gaps(self._verdict.found)
        self._heads = _Heads(source, self._verdict)
        self._last_at = 0

    def run(self) -> Verdict:
        """Walks."""
        for line in self._lines():
            self._line(line)
        verdict = self._verdict
        verdict.lines = self._tree.size
        for head in self._heads.left():
            verdict.found(f"head of {_when(head)}", f"it counts {head.size:,} lines, and there are {verdict.lines:,}")
        for anchor in self._anchors:
            verdict.found(f"anchor of {_when(anchor)}", f"it counts {anchor.size:,} lines, there are {verdict.lines:,}")
        verdict.running = self._gaps.running(self._last_at)
        self._sign()
        return verdict

    def _lines(self) -> Iterator[bytes]:
        """All lines, without their ends."""
        parts = self._source.parts
        for part, following in pairwise([*parts, None]):
            assert part is not None
            if part.first != self._tree.size:
                what = f"a file begins with line {part.first:,}, and line {self._tree.size:,} should come"
                self._verdict.found(f"line {self._tree.size:,}", what)
            for line in lines(part):
                if not line.endswith(b"\n"):
                    if self._source.live and following is None:
                        return
                    self._verdict.found(f"line {self._tree.size:,}", "it has no end")
                    yield line
                else:
                    yield line[:-1]

    def _line(self, line: bytes) -> None:
        verdict, tree = self._verdict, self._tree
        number = tree.size
        try:
            leaf = decode(line)
        except ValueError:
            verdict.found(f"line {number:,}", "it is no line of a log")
        else:
            if leaf.n != number:
                verdict.found(f"line {number:,}", f"it says that it is line {leaf.n:,}")
            self._leaf(leaf)
        tree.add(leaf_hash(line))
        if tree.size == self._heads.size:
            self._heads.reached(tree.root())
        while self._anchors and self._anchors[0].size <= tree.size:
            self._held_against(self._anchors.pop(0))

    def _leaf(self, leaf: Leaf) -> None:
        verdict = self._verdict
        self._last_at = max(self._last_at, leaf.at)
        if isinstance(leaf, Call):
            verdict.calls += 1
            verdict.unnumbered += not leaf.seq
            self._gaps.call(leaf)
        elif isinstance(leaf, Began):
            self._begins(leaf)
        elif isinstance(leaf, Ended):
            self._gaps.ended(leaf.worker)
        elif isinstance(leaf, Damaged):
            what = f"{leaf.places} places hold no entry" if leaf.places else "it was gone before it was read to its end"
            verdict.found(f"journal {leaf.journal}", f"{what}: calls may be missing")
        elif isinstance(leaf, KeyChanged):
            self._heads.changed(leaf)
        if self._each is not None:
            self._each(leaf)

    def _begins(self, leaf: Began) -> None:
        if self._tree.size:
            self._verdict.found(f"line {self._tree.size:,}", "a log begins in the middle of another")
        self._verdict.log = leaf.log
        if leaf.after:
            self._verdict.found("line 0", f"this log does not begin with the first call: {leaf.after}")

    def _held_against(self, anchor: note.Head) -> None:
        where = f"anchor of {_when(anchor)}"
        if anchor.log != self._verdict.log:
            self._verdict.found(where, f"it is of {anchor.log}, and this is {self._verdict.log}")
        elif anchor.size != self._tree.size or anchor.root != self._tree.root():
            self._verdict.found(where, f"the first {anchor.size:,} lines are not those that it was made of")
        else:
            self._verdict.anchors += 1

    def _sign(self) -> None:
        """Looks at the newest head's signature, which covers all heads."""
        verdict, head, text = self._verdict, self._heads.newest, self._heads.text
        if head is None:
            verdict.found("heads", "there is no signed head")
            return
        if head.log != verdict.log:
            verdict.found(f"head of {_when(head)}", f"it is of {head.log}, and this is {verdict.log or 'no log'}")
        key = self._trusted or head.key
        verdict.trusted = self._trusted is not None
        verdict.signed, verdict.at, verdict.newest = head.size, head.at, text
        if note.is_signed(text, key):
            verdict.key = str(key)
        else:
            verdict.found(f"head of {_when(head)}", f"it is not signed by {key}")


class _Heads:
    """The heads, one after the other, as the lines they count go by."""

    def __init__(self, source: Source, verdict: Verdict) -> None:
        self._verdict = verdict
        self._notes = notes(source.heads)
        self._copies = None if source.second is None else notes(source.second)
        self._head: note.Head | None = None
        """The one whose lines have not all been seen."""
        self.newest: note.Head | None = None
        self.text = ""
        self._key: Verifier | None = None
        """Who signed the last head whose lines have all been seen."""
        self._announced: set[str] = set()
        self._lagging = 0
        self._next()

    @property
    def size(self) -> int:
        """Lines that the next head counts; -1 where there is none."""
        return -1 if self._head is None else self._head.size

    def reached(self, root: bytes) -> None:
        """All the lines of the next head have been seen; this is their root."""
        head = self._head
        assert head is not None
        if head.root != root:
            what = f"the lines before line {head.size:,} are not those that were signed"
            self._verdict.found(f"head of {_when(head)}", what)
        if self._key not in (None, head.key) and str(head.key) not in self._announced:
            self._verdict.found(f"head of {_when(head)}", "another key signs, and no line says so")
        self._key = head.key
        self._next()

    def left(self) -> Iterator[note.Head]:
        """The heads whose lines never came."""
        while self._head is not None:
            yield self._head
            self._next()
        self._compare_copies()

    def changed(self, leaf: KeyChanged) -> None:
        """From here on another key signs."""
        self._announced.add(leaf.key)

    def _next(self) -> None:
        """Reads on to the next head that can be read, and holds it against the one before it."""
        self._head = None
        for text in self._notes:
            self._verdict.heads += 1
            where = f"heads.jsonl, line {self._verdict.heads}"
            self._copied(text, where)
            try:
                head = note.parse(text or "")
            except BadRequest:
                self._verdict.found(where, "it is no signed head")
                continue
            self._follows(head, where)
            self._head, self.newest, self.text = head, head, text or ""
            return

    def _follows(self, head: note.Head, where: str) -> None:
        before, found = self.newest, self._verdict.found
        if before is None:
            if head.size != 1 or head.previous:
                found(where, "heads before it are missing")
        elif head.previous != note.digest(self.text):
            found(where, "it does not follow the head before it")
        elif head.size <= before.size or head.at < before.at or head.log != before.log:
            found(where, "it is older than the head before it, or of another log")

    def _copied(self, text: str | None, where: str) -> None:
        """Holds a head against the second place."""
        if self._copies is None:
            return
        for copy in self._copies:
            if copy == text:
                return
            if self._other_log(copy, text):
                continue
            self._verdict.found(where, "the second place has another head there")
            return
        self._lagging += 1

    def _other_log(self, copy: str | None, text: str | None) -> bool:
        """Whether a line of the second place is of a log before this one. That log is said to be broken in line 0."""
        ours = (text or "").partition("\n")[0]
        return copy is not None and text is not None and copy.partition("\n")[0] != ours

    def _compare_copies(self) -> None:
        if self._copies is None:
            return
        surplus = sum(1 for _ in self._copies)
        if surplus:
            self._verdict.found("heads.jsonl", f"the second place has {surplus} heads more: they were taken away here")
        # The newest head is written here first, and a moment later there.
        if self._lagging > 1:
            self._verdict.found("the second place of the heads", f"the last {self._lagging} heads are missing there")


def _when(head: note.Head) -> str:
    return head.text().split("\n")[3].removeprefix("at ")
