"""Moderation: is a text harassment, hate, a crime, self-harm, sexual or violent, in OpenAI's categories and scores.

    moderate.py               `/v1/moderations` answered in-process
    local.py                  rules and the linear model, one verdict
    verdict.py                what is said, and what where nothing could be
    fold.py                   a text with its disguises off
    lexicon.py, lexicon.txt   which words mean what (english.py: in which forms)
    features.py               which of them stand together
    linear.py, default.bin    what that weighs
    guards/                   guard models: asked and read

The model is learnt by models/train_moderation.py; models/moderation.md says from what, and how good it is. It is a
coarse first filter: it knows words and what stands near them, and understands nothing.
"""

from freehold.check.moderate.moderate import ALIASES, MODEL, Policy, answer, default, judge, moderate, reply, texts_of
from freehold.check.moderate.verdict import Verdict

__all__ = ["ALIASES", "MODEL", "Policy", "Verdict", "answer", "default", "judge", "moderate", "reply", "texts_of"]
