"""Detectors that run in-process, in linear time, with no model and no network: what a text holds, and what it does.

    rules.py      Rules and `scan`                       scanner.py    one pass, then a closer look
    finding.py    findings, labels, overlaps             view.py       text as bytes, disguises taken off
    pattern.py    a rule that is a pattern               checks.py     checksums and entropy
    keys.py       keys that say what they are            assigned.py   secrets that their neighbours give away
    numbers.py    cards, telephones, IPv4                addresses.py  e-mail, IBANs, coins, IPv6
    personal.py   dates of birth, papers, hosts          national.py   national numbers (python-stdnum)
    hidden.py     invisible and lookalike characters     around.py     words close by
    phrases.py, tongues.py, injection.py, encoded.py     prompt injection: phrases, languages, weighing, disguises
    links.py      images and links that carry data off   tools.py      what a tool's argument must not hold

What rules cannot see: names and addresses of people, secrets in other words ("the colour of my first car"), an attack
in a wording of its own, and anything in a picture or a sound. These need a model; an owned one keeps the text at home.
"""

from freehold.check.detect.finding import DEFAULT_LABELS, Finding, label_of
from freehold.check.detect.rules import Absent, Rules, default_rules, scan

__all__ = ["DEFAULT_LABELS", "Absent", "Finding", "Rules", "default_rules", "label_of", "scan"]
