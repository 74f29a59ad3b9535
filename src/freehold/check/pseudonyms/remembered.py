"""What a conversation's next turn must still hold, so that its label may fall again.

Most values say what they are wherever they stand: an address of mail, a card. Some do so only beside a word, such as a
telephone number behind "call", and what a person's name is a model has found out. A client that later leaves that turn
out and repeats the number alone would send what nobody recognises. So the mark of a conversation
(serve/safety/marks.py) remembers how many values of the second kind it has had, and a fingerprint of them in their
order. A later turn repeats them all, because it repeats what was said before, and may add some; where it does not, it
keeps the label.
"""

from collections.abc import Collection

from msgspec import Struct

from freehold.check.detect import Rules, scan
from freehold.check.pseudonyms.vault import Vault


class Remembered(Struct, frozen=True):
    """`count` values that only what stood around them gave away, and their fingerprint."""

    count: int = 0
    fingerprint: str = ""


def remembered(vault: Vault, rules: Rules, types: Collection[str]) -> tuple[str, ...]:
    """Returns the values of a vault that do not say by themselves what they are, in their order."""
    return tuple(value for value in vault.values if not _says_it(value, rules, types))


def _says_it(value: str, rules: Rules, types: Collection[str]) -> bool:
    return any(one.type in types and one.start == 0 and one.end == len(value) for one in scan(value, rules))


def holds(values: tuple[str, ...], vault: Vault, before: Remembered) -> bool:
    """Whether what was remembered stands at the beginning of `values`."""
    if not before.count:
        return True
    return len(values) >= before.count and vault.fingerprint(values[: before.count]) == before.fingerprint
