"""English verbs in all their forms, so that the vocabulary need not list them."""

import re

_DOUBLED = re.compile(r"^[^aeiou]*[aeiou][bdgklmnprt]$")
_IRREGULAR = {
    "beat": "beats beating beaten", "bite": "bites biting bit", "blow": "blows blowing blew",
    "break": "breaks breaking broke", "burn": "burns burning burned", "buy": "buys buying bought",
    "cut": "cuts cutting cut", "ddos": "ddoses ddosing ddosed", "dig": "digs digging dug",
    "drive": "drives driving drove", "embarrass": "embarrasses embarrassing embarrassed", "feed": "feeds feeding fed",
    "flee": "flees fleeing fled", "get": "gets getting got", "give": "gives giving gave",
    "hang": "hangs hanging hung", "hide": "hides hiding hid", "hijack": "hijacks hijacking hijacked",
    "hit": "hits hitting hit", "hold": "holds holding held", "hurt": "hurts hurting hurt",
    "keep": "keeps keeping kept", "kidnap": "kidnaps kidnapping kidnapped", "lie": "lies lying lay",
    "make": "makes making made", "mug": "mugs mugging mugged", "overdose": "overdoses overdosing overdosed",
    "phish": "phishes phishing phished", "put": "puts putting put", "read": "reads reading read",
    "rip": "rips ripping ripped", "run": "runs running ran", "say": "says saying said", "sell": "sells selling sold",
    "set": "sets setting set", "shoot": "shoots shooting shot", "show": "shows showing showed",
    "slit": "slits slitting slit", "spread": "spreads spreading spread", "spy": "spies spying spied",
    "squat": "squats squatting squatted", "steal": "steals stealing stole",
    "swallow": "swallows swallowing swallowed", "take": "takes taking took", "tear": "tears tearing tore",
    "think": "thinks thinking thought", "throw": "throws throwing threw", "tie": "ties tying tied",
    "traffic": "traffics trafficking trafficked", "wipe": "wipes wiping wiped",
}  # fmt: skip


def forms(verb: str) -> tuple[str, ...]:
    """An English verb with its endings, the past last: `rob`, `robs`, `robbing`, `robbed`."""
    if verb in _IRREGULAR:
        return (verb, *_IRREGULAR[verb].split())
    third = verb + ("es" if verb.endswith(("s", "sh", "ch", "x", "z")) else "s")
    stem = verb
    if verb.endswith("e") and not verb.endswith("ee"):
        stem = verb[:-1]
    elif _DOUBLED.search(verb):
        stem = verb + verb[-1]
    if verb.endswith("y") and verb[-2] not in "aeiou":
        return verb, verb[:-1] + "ies", verb + "ing", verb[:-1] + "ied"
    return verb, third, stem + "ing", stem + "ed"
