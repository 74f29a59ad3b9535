"""The conversation with placeholders in the place of personal data.

Twice over all texts: first every value that the rules find anywhere is noted, then all of them are replaced
everywhere, also where no rule would have found them (a number is a telephone number in one message and stands alone in
the next).
"""

from collections.abc import Collection, Mapping

from ahocorasick_rs import AhoCorasick, MatchKind

from freehold.check.detect import Rules, scan
from freehold.check.pseudonyms.placeholders import is_like
from freehold.check.pseudonyms.places import changed
from freehold.check.pseudonyms.vault import Vault
from freehold.dialects.conversation import Conversation

PERSONAL = frozenset(
    {
        "email", "phone", "credit_card", "iban", "bank_account", "us_ssn", "national_id", "passport", "driver_license",
        "health_id", "date_of_birth", "ip_address", "mac_address", "crypto_address", "secret",
    }
)  # fmt: skip
"""Types that are replaced unless the configuration says otherwise."""
SHORTEST = 5
"""Characters of a value that is replaced where no rule has found it: a shorter one says too little of whose it is."""


_ROUNDS = 4
"""What a placeholder takes away may have hidden its neighbour: digits in a row are a number until some of them go."""


def pseudonymise(
    conversation: Conversation,
    rules: Rules,
    vault: Vault,
    types: Collection[str] = PERSONAL,
    known: Mapping[str, str] | None = None,
) -> Conversation:
    """Returns the conversation with a placeholder of `vault` for every value of `types`, and for each of `known`:
    values, with their types, that somebody else has found in it.

    Whether that took all of it is for `verify` to say.
    """
    hider = _Hider(rules, vault, frozenset(types), known or {})
    for _ in range(_ROUNDS):
        changed(conversation, hider.note, _ignore)
        if not hider.give():
            break
        conversation = changed(conversation, hider.replace, _ignore)
    return conversation


def _ignore(place: str, kind: str) -> None:
    return None


class _Hider:
    def __init__(self, rules: Rules, vault: Vault, types: frozenset[str], known: Mapping[str, str]) -> None:
        self._rules = rules
        self._vault = vault
        self._types = types
        self._found: dict[str, list[tuple[int, int, str]]] = {}
        """What was found in each text."""
        self._automaton: AhoCorasick | None = None
        self._values: list[str] = []
        self._kinds: dict[str, str] = {}
        self._new: dict[str, str] = dict(known)

    def note(self, text: str, place: str) -> str:
        """Remembers what stands in a text."""
        if text not in self._found:
            found = [
                (one.start, one.end, one.type)
                for one in scan(text, self._rules)
                if one.type in self._types and not is_like(text[one.start : one.end])
            ]
            if found and len(self._vault):
                hidden = [(placed.start, placed.end) for placed in self._vault.codes.find(text)]
                found = [one for one in found if not any(start < one[1] and one[0] < end for start, end in hidden)]
            self._found[text] = found
            for start, end, kind in found:
                self._new.setdefault(text[start:end], kind)
        return text

    def give(self) -> bool:
        """Gives every new value its placeholder; whether there was one."""
        if not self._new:
            return False
        if not len(self._vault):
            self._vault.avoid("\n".join(self._found))
        for value, kind in self._new.items():
            self._kinds.setdefault(value, kind)
            self._vault.hide(kind, value)
        self._new.clear()
        self._values = [value for value in self._vault.values if len(value) >= SHORTEST]
        self._automaton = AhoCorasick(self._values, matchkind=MatchKind.LeftmostLongest) if self._values else None
        return True

    def replace(self, text: str, place: str) -> str:
        spans = [(start, end, text[start:end]) for start, end, _ in self._found.get(text, ())]
        if self._automaton is not None:
            for number, start, end in self._automaton.find_matches_as_indexes(text):
                if stands_alone(text, start, end) and not any(first < end and start < last for first, last, _ in spans):
                    spans.append((start, end, self._values[number]))
        if not spans:
            return text
        out, place_ = [], 0
        for start, end, value in sorted(spans):
            if start >= place_:
                out += [text[place_:start], self._vault.hide(self._kinds.get(value, ""), value)]
                place_ = end
        return "".join([*out, text[place_:]])


def stands_alone(text: str, start: int, end: int) -> bool:
    """Whether no word or number goes on before or after."""
    before = start > 0 and text[start - 1].isalnum() and text[start].isalnum()
    after = end < len(text) and text[end].isalnum() and text[end - 1].isalnum()
    return not before and not after
