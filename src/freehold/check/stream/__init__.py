"""Streaming without leaking: a character is let go only when no rule can still match through it.

policy.py      what is done about what, verdicts, figures      live.py       where a match may still be going on
channel.py     one text: the automaton                         prefixes.py   the prefixes of a pattern's matches
holder.py      plain texts, in pieces and whole                arguments.py  the JSON of tool arguments, in pieces
events.py      canonical events of any dialect                 replies.py    whole answers
toolcalls.py   what a tool may be called with                 toolstrings.py its arguments, taken apart
choice.py      one choice of them                              reader.py     a StreamReader behind a guard
"""

from freehold.check.stream.events import EventGuard
from freehold.check.stream.holder import Holder, redact
from freehold.check.stream.policy import Action, Figures, Mode, Policy, Verdict
from freehold.check.stream.reader import GuardedReader
from freehold.check.stream.replies import guard_reply

__all__ = [
    "Action",
    "EventGuard",
    "Figures",
    "GuardedReader",
    "Holder",
    "Mode",
    "Policy",
    "Verdict",
    "guard_reply",
    "redact",
]
