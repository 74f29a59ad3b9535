"""How labels are written: a level and compartments, such as `confidential`, `internal+phi` or `phi+region:eu`.

What they mean is the business of the room `labels`; the names stand here, because the configuration is checked before
there is anybody to ask. Levels are ordered. A compartment is one of `phi` (health records) and `pci` (payment cards), a
region that data must stay in (`region:eu`), or a name that the configuration adds.
"""

import re
from collections.abc import Collection, Iterator

from freehold.config.problems import did_you_mean
from freehold.config.regions import AREAS, is_region
from freehold.config.schema import Config
from freehold.errors import redact

LEVELS = ("public", "internal", "confidential", "restricted")
REGION = "region:"
BUILT_IN = frozenset({"phi", "pci"})
_COMPARTMENT = re.compile(r"[a-z][a-z0-9_.-]{0,59}")


def split_label(text: str, compartments: Collection[str]) -> tuple[int, frozenset[str]]:
    """Returns the level's place in LEVELS and the compartments; without a level it is the lowest.

    Raises ValueError for a name that is neither a level nor one of `compartments`, and says which there are.
    """
    level: int | None = None
    found = set()
    for name in text.lower().split("+"):
        name = name.strip()
        if name in compartments:
            found.add(name)
        elif name not in LEVELS:
            raise ValueError(_unknown(name, compartments))
        elif level is not None:
            raise ValueError(f"a label has one level, not both {LEVELS[level]} and {name}")
        else:
            level = LEVELS.index(name)
    return level or 0, frozenset(found)


def _unknown(name: str, compartments: Collection[str]) -> str:
    close = did_you_mean(name, [*LEVELS, *compartments])
    known = f"levels are {', '.join(LEVELS)}; compartments are {', '.join(sorted(compartments))}"
    return f"there is no label {redact(name, 60)!r}; " + (f"{close} " if close else "") + known


def known_compartments(config: Config) -> frozenset[str]:
    """Returns every compartment a label may have: the built-in ones, those declared, and the regions spoken of."""
    regions = {*AREAS, *(region.lower() for region in _regions(config) if is_region(region.lower()))}
    return BUILT_IN | set(config.labels.compartments) | {REGION + region for region in regions}


def _regions(config: Config) -> Iterator[str]:
    for provider in config.providers.values():
        yield from filter(None, (provider.region, *(facts.region for facts in provider.models.values())))
    for environment in config.environments.values():
        yield from environment.regions or ()


def is_compartment(name: str) -> bool:
    """Whether a name can be declared as a compartment; one that is a level, or built in, cannot."""
    if name.startswith(REGION):
        return is_region(name.removeprefix(REGION))
    return _COMPARTMENT.fullmatch(name) is not None and name not in LEVELS
