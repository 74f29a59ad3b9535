"""The verdict in-process: the linear model, and rules about what a category cannot be without.

The model was learnt from templates and may be talked into anything by words it knows in an order it does not. So its
word counts only where the category has its subject: no hate without a group or a slur, nothing sexual about minors
without somebody who is one. What is unmistakable by itself needs no model: it gets a floor.
"""

from collections.abc import Mapping
from types import MappingProxyType

from freehold.check.moderate import lexicon as lexicons
from freehold.check.moderate import linear
from freehold.check.moderate.features import HOT, features, stretches
from freehold.check.moderate.fold import MOST, fold
from freehold.check.moderate.lexicon import concepts
from freehold.check.moderate.verdict import Verdict
from freehold.dialects.moderations import CATEGORIES
from freehold.errors import ConfigError

BY = "rules+linear"
_VIOLENT = concepts(
    "KILL KILLED KILLING HURT HURTED DIE WEAPON ARM ATTACKPLAN GRAPHIC EXTREM EXCLUDE KILLTOXIN SELFKILLYOU PLACE "
    "GOREVERB HARMVERB THREATEN SUFFER MENACE"
)
_SELF = concepts("SUICIDE SELFKILL SELFCUT SELFKILLYOU SELFMETHOD HOPELESS PILLS TRIED")
_SEX = concepts("SEXX SEXWORD CHILDSEX ANATOMY")
_ABOUT = concepts("GROUP SLUR RACISTREQ EXTREM")
_MINOR = concepts("CHILD MINOR TEEN CHILDSEX")
SUBJECTS: Mapping[str, tuple[frozenset[str], ...]] = MappingProxyType(
    {
        "harassment/threatening": (_VIOLENT,),
        "hate": (_ABOUT,),
        "hate/threatening": (_ABOUT, _VIOLENT),
        "illicit/violent": (_VIOLENT,),
        "self-harm": (_SELF,),
        "self-harm/instructions": (_SELF,),
        "self-harm/intent": (_SELF,),
        "sexual": (_SEX,),
        "sexual/minors": (_SEX, _MINOR),
        "violence": (_VIOLENT,),
        "violence/graphic": (concepts("GRAPHIC GOREVERB HARMVERB BODY"),),
    }
)
"""A category, and of what each of these sets must hold one in the same stretch."""
_WITHOUT = 0.02


class Local:
    """A vocabulary and a model that was learnt with it. Raises ConfigError where they do not fit."""

    def __init__(self, lexicon: lexicons.Lexicon, model: linear.Linear) -> None:
        if model.reads != lexicon.id:
            raise ConfigError(
                "the moderation model was learnt with another vocabulary than the one that is here",
                hint="run models/train_moderation.py after a change of lexicon.txt",
            )
        self.lexicon = lexicon
        self.model = model
        self.thresholds = MappingProxyType(dict(zip(CATEGORIES, model.thresholds, strict=True)))

    def judge(self, text: str, thresholds: Mapping[str, float] | None = None) -> Verdict:
        """One text of any length and content. `thresholds` are the caller's, over the model's own."""
        limits = self.thresholds if not thresholds else {**self.thresholds, **thresholds}
        truncated = len(text) > MOST
        folded = fold(text, self.lexicon.knows)
        items = self.lexicon.items(folded)
        worst = dict.fromkeys(CATEGORIES, 0.0)
        for stretch in stretches(items, folded):
            found = features(stretch)
            if HOT.isdisjoint(found):
                continue
            for name, score in zip(CATEGORIES, self.model.scores(found), strict=True):
                if score > worst[name]:
                    needed = SUBJECTS.get(name, ())
                    allowed = score if all(not one.isdisjoint(found) for one in needed) else min(score, _WITHOUT)
                    worst[name] = max(worst[name], allowed)
        return Verdict.of({name: max(score, 1e-6) for name, score in worst.items()}, BY, limits, truncated=truncated)
