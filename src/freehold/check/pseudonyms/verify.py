"""Whether a pseudonymised request holds anything it should not: asked before its label may fall.

It looks again at what would go out, with no knowledge of what was replaced where:
- the rules are run over every text once more. What they find outside placeholders was missed;
- every value of the vault is sought in every text: as it is, in other case, without spaces and hyphens,
  percent-encoded, as HTML and JSON entities, in base64 at all three alignments and in hex. A duplicate that no rule
  recognises is found so;
- the conversation is looked at once more as a whole, with the fields that are no texts: names, ids, numbers;
- pictures, sound and files cannot be read, so a request with one keeps its label, unless the caller has them looked
  at.

Reasons name places and types, never values.
"""

import base64
import html
import re
from collections.abc import Collection, Iterator
from urllib.parse import unquote

import msgspec
from ahocorasick_rs import AhoCorasick, MatchKind
from msgspec import Struct

from freehold.check.body import text_of
from freehold.check.detect import Rules, scan
from freehold.check.pseudonyms.hide import PERSONAL, SHORTEST, stands_alone
from freehold.check.pseudonyms.placeholders import is_like, normal
from freehold.check.pseudonyms.places import changed
from freehold.check.pseudonyms.vault import Vault
from freehold.dialects.conversation import Conversation
from freehold.labels import Label

MOST_REASONS = 20
_ESCAPE = re.compile(r"\\u([0-9a-fA-F]{4})|\\x([0-9a-fA-F]{2})")
_LEAST_SQUEEZED = 7
_TELLING = 8
"""Characters from which a value counts in the middle of a word too."""


class Residue(Struct, frozen=True):
    """`label` is what the content still carries, None where nothing may fall; `reasons` say why.

    `unchecked` are the places of what could not be read, with their kind.
    """

    label: Label | None
    reasons: tuple[str, ...] = ()
    unchecked: tuple[str, ...] = ()


def verify(
    outgoing: Conversation,
    vault: Vault,
    rules: Rules,
    types: Collection[str] = PERSONAL,
    *,
    media_read: bool = False,
    allowed: Collection[str] = (),
) -> Residue:
    """Returns the label of what is left in `outgoing`, or why it keeps the one it had. Never raises.

    `media_read` says that somebody else has looked at pictures, sound and files. Findings of the types `allowed` are
    no reason to keep a label.
    """
    check = _Check(vault, rules, frozenset(types), frozenset(allowed))
    try:
        changed(outgoing, check.text, check.media)
        check.text(text_of(msgspec.json.encode(outgoing))[0], "what is not among its texts")
    except Exception as error:
        return Residue(None, (f"the request could not be read ({type(error).__name__})",))
    reasons = list(dict.fromkeys(check.reasons))
    if check.unchecked and not media_read:
        reasons.append(f"{check.unchecked[0]} cannot be read")
    if reasons:
        return Residue(None, tuple(reasons[:MOST_REASONS]), tuple(check.unchecked))
    return Residue(check.label, (), tuple(check.unchecked))


class _Check:
    def __init__(self, vault: Vault, rules: Rules, types: frozenset[str], allowed: frozenset[str]) -> None:
        self._vault = vault
        self._rules = rules
        self._types = types | {"detector_error"}
        self._allowed = allowed
        self.label = Label()
        self.reasons: list[str] = []
        self.unchecked: list[str] = []
        values = [value for value in vault.values if len(value) >= SHORTEST]
        self._plain = _automaton(value.casefold() for value in values)
        self._squeezed = _automaton(short for value in values if len(short := normal(value)) >= _LEAST_SQUEEZED)
        self._coded = _automaton(form for value in values if len(value) >= _LEAST_SQUEEZED for form in _coded(value))

    def media(self, place: str, kind: str) -> None:
        self.unchecked.append(f"{place} ({kind})")

    def text(self, text: str, place: str) -> str:
        covered = [(placed.start, placed.end) for placed in self._vault.codes.find(text)]
        for finding in scan(text, self._rules):
            if any(start <= finding.start and finding.end <= end for start, end in covered):
                continue
            if finding.type in self._types:
                if is_like(text[finding.start : finding.end]):
                    continue
                self.reasons.append(f"{finding.type} in {place}")
            if finding.type not in self._allowed:
                self.label |= finding.label
        rest = _without(text, covered)
        if len(self._vault) and any(self._holds(form) for form in _forms(rest)):
            self.reasons.append(f"a value that was replaced elsewhere in {place}")
        return text

    def _holds(self, text: str) -> bool:
        folded = text.casefold()
        if self._plain is not None:
            for _, start, end in self._plain.find_matches_as_indexes(folded):
                if end - start >= _TELLING or stands_alone(folded, start, end):
                    return True
        if self._squeezed is not None and self._squeezed.find_matches_as_indexes(_squeezed(text)):
            return True
        return self._coded is not None and bool(self._coded.find_matches_as_indexes(text))


def _squeezed(text: str) -> str:
    """Letters, digits and @ of a text in one case."""
    return "".join(character for character in text.casefold() if character.isalnum() or character == "@")


def _automaton(values: Iterator[str]) -> AhoCorasick | None:
    found = sorted({value for value in values if value})
    return AhoCorasick(found, matchkind=MatchKind.Standard) if found else None


def _without(text: str, spans: list[tuple[int, int]]) -> str:
    out, place = [], 0
    for start, end in spans:
        out.append(text[place:start])
        place = end
    return "\n".join([*out, text[place:]])


def _forms(text: str) -> Iterator[str]:
    """The text, and what it says once each usual escape is undone."""
    yield text
    if "%" in text and (plain := unquote(text)) != text:
        yield plain
    if "&" in text and (plain := html.unescape(text)) != text:
        yield plain
    if "\\" in text and (plain := _ESCAPE.sub(lambda found: chr(int(found[1] or found[2], 16)), text)) != text:
        yield plain


def _coded(value: str) -> Iterator[str]:
    """What a value looks like inside base64, at each alignment, and in hex."""
    raw = value.encode("utf-8", "surrogatepass")
    for shift in range(3):
        coded = base64.b64encode(b"\0" * shift + raw).decode()
        first, last = (0, 2, 3)[shift], (len(raw) + shift) * 8 // 6
        for form in {coded[first:last], coded[first:last].translate(_URL_SAFE)}:
            if len(form) >= _LEAST_SQUEEZED:
                yield form
    yield raw.hex()
    yield raw.hex().upper()


_URL_SAFE = str.maketrans("+/", "-_")
