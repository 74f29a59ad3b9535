"""What the model looks at: which concepts stand in a stretch of two sentences, and which stand near which.

    KILL            it is there
    KILL>YOU        the second within four concepts and some five words after the first
    KILL+YOU        the second right after the first
    KILL&GAME       one that may harm, with one that says in what matter, anywhere in the stretch

Only stretches with a concept that may harm are looked at, so most texts cost no more than finding the concepts. Ages in
figures are concepts of their own: 15 is MINOR, 30 is ADULT. A long sentence is cut into stretches that overlap.
"""

import re
from collections.abc import Iterator, Sequence

from freehold.check.moderate.lexicon import ASK, QUOTE, STOP, Item, concepts

MINOR = "MINOR"
HOT = concepts(
    "KILL KILLED KILLING HURT DIE WEAPON ATTACKPLAN GRAPHIC SUICIDE SELFKILL SELFCUT SELFKILLYOU SELFMETHOD CRIME "
    "HACK DRUG DRUGMAKE DEHUMAN EXCLUDE HATE STEREO INSULT FUCKYOU SLUR BULLY EXTREM SEXX SEXWORD CHILDSEX HOPELESS "
    "ARM EVADE ANATOMY PILLS FAKE RACISTREQ KILLTOXIN HURTED TRIED DEMEAN SLURISH MEAN "
    "GOREVERB HARMVERB THREATEN SUFFER MENACE"
)
"""Without one of these nothing is flagged."""
MATTERS = concepts(
    "FICTION GAME NEWS HIST ACAD PREVENT SUPPORT MED IT COOK SPORT PHOTO FARM WORK SEXED WRONG NEG HOWTO WRITE EVADE "
    "INTENT OUGHT WISH LETS CHILD MINOR TEEN ADULT GROUP YOU I MYSELF PERSON HIM BENIGNOBJ QUOTE IDIOM PILLS MAKE "
    "PLACE ARM GLORIFY THEYARE HACKOBJ ASK PAPERS DONE QWORD FRIENDLY "
    "REMOVE GETINTO BODY ENJOY BEAST"
)
NEAR = 36
"""Bytes between two concepts that are near each other; words stand two spaces apart."""
AHEAD = 4
MOST_ITEMS = 48
"""Concepts in a stretch; a longer one is cut, half overlapping."""

_AGE = re.compile(
    (
        r" ([1-9][0-9]?)(?:(?:  )?(?:yo|yrs?|years?|jahre|jahrige|ans|anos|anni|jaar|лет)(?= )|  y  o |岁|歳)"
        r"|(?: age| aged| im| i  am| is| hes| shes| turned| turning)"
        r"  ([1-9][0-9]?) (?! (?:percent|minutes|hours|days|km|miles) )"
    ).encode()
)
_GERMAN = (b" der ", b" das ", b" und ", b" ich ", b" ist ", b" nicht ", b" eine ", b" einen ", b" het ", b" een ")


def stretches(items: Sequence[Item], folded: bytes) -> Iterator[list[Item]]:
    """Yields what is to be judged together: each sentence with the one after it, where one of the two may harm."""
    if HOT.isdisjoint([item[0] for item in items]):
        return
    items = _with_ages(items, folded)
    if b" die " in folded and any(map(folded.__contains__, _GERMAN)):
        items = [item for item in items if folded[item[1] : item[2]] != b" die "]
    sentences: list[list[Item]] = [[]]
    for item in items:
        sentences[-1].append(item)
        if item[0] is STOP or item[0] is ASK:
            sentences.append([])
    if len(sentences) > 1 and not sentences[-1]:
        sentences.pop()
    hot = [not HOT.isdisjoint([item[0] for item in sentence]) for sentence in sentences]
    for place, sentence in enumerate(sentences):
        following = place + 1 < len(sentences)
        if following and (hot[place] or hot[place + 1]):
            yield from _cut(sentence + sentences[place + 1])
        elif not following and hot[place] and place == 0:
            yield from _cut(sentence)


def features(items: Sequence[Item]) -> set[str]:
    """Of one stretch."""
    there = [item[0] for item in items if item[0] is not STOP]
    found = set(there)
    marks = [item for item in items if item[0] is not QUOTE and item[0] is not ASK]
    for place, (first, _, end) in enumerate(marks):
        if first is STOP:
            continue
        for second, start, _ in marks[place + 1 : place + 1 + AHEAD]:
            if second is STOP or start - end > NEAR:
                break
            found.add(f"{first}>{second}")
            if start - end <= 1:
                found.add(f"{first}+{second}")
    kinds = set(there)
    for harm in kinds & HOT:
        for matter in kinds & MATTERS:
            found.add(f"{harm}&{matter}")
    return found


def _cut(items: list[Item]) -> Iterator[list[Item]]:
    if len(items) <= MOST_ITEMS:
        yield items
        return
    for start in range(0, len(items) - MOST_ITEMS // 2, MOST_ITEMS // 2):
        yield items[start : start + MOST_ITEMS]


def _with_ages(items: Sequence[Item], folded: bytes) -> list[Item]:
    ages: list[Item] = []
    for match in _AGE.finditer(folded):
        age = int(match[1] or match[2])
        if age >= 4:
            ages.append((MINOR if age < 18 else "ADULT", match.start(), match.end()))
    return sorted([*items, *ages], key=lambda item: item[1]) if ages else list(items)
