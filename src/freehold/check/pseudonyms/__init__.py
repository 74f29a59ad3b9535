"""Pseudonymisation as a declassifier: personal data stays home, a placeholder goes out, and comes back as what it was.

placeholders.py  what a placeholder looks like, and finding one whatever a model did to it
vault.py         which value has which placeholder, for one request
places.py        every text of a conversation
hide.py          the conversation with placeholders
restore.py       the answer without
verify.py        whether anything was missed, and which label is left
remembered.py    what a conversation's next turn must still hold, so that nothing is missed there
"""

from freehold.check.pseudonyms.hide import PERSONAL, pseudonymise
from freehold.check.pseudonyms.remembered import Remembered, holds, remembered
from freehold.check.pseudonyms.restore import Restorer, restore
from freehold.check.pseudonyms.vault import Vault, conversation_secret
from freehold.check.pseudonyms.verify import Residue, verify

__all__ = [
    "PERSONAL",
    "Remembered",
    "Residue",
    "Restorer",
    "Vault",
    "conversation_secret",
    "holds",
    "pseudonymise",
    "remembered",
    "restore",
    "verify",
]
