"""Amounts of memory as people write them: `12GiB`, `800 MB`, `1.5g`."""

import re

_SIZE = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([kmgt]?)(i?)b?\s*", re.IGNORECASE)
_POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}


def parse_size(text: str) -> int:
    """Returns bytes. `GiB` and `G` count in 1,024s, `GB` in 1,000s. Raises ValueError for anything else."""
    match = _SIZE.fullmatch(text)
    if match is None:
        raise ValueError("expected a number with a unit, such as 12GiB")
    number, letter, binary = match.groups()
    decimal = not binary and text.strip().lower().endswith("b") and letter != ""
    return int(float(number) * (1000 if decimal else 1024) ** _POWERS[letter.lower()])
