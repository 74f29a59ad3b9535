"""Valid JSON made wrong: what a fuzz test feeds a reader, so that it passes the first check and fails deep inside."""

import copy
import random
from typing import Any

ODD: list[Any] = [None, True, False, 0, -1, 10**30, 1.5, -1e300, "", "x", "\u0000", "é\ud7ff", [], {}, [None], [[]]]
ODD += [{"type": "x"}, {"type": []}, {"type": "text"}, [{"type": "text", "text": None}], ["text"]]


def mutated(value: Any, seed: int, changes: int = 3, odd: list[Any] = ODD) -> Any:
    """A copy of `value` in which up to `changes` places were replaced by something `odd`, removed or doubled; the same
    for a seed."""
    rng = random.Random(seed)
    value = copy.deepcopy(value)
    for _ in range(rng.randint(1, changes)):
        places = list(_places(value))
        if not places:
            break
        holder, key = rng.choice(places)
        kind = rng.random()
        if kind < 0.15:
            del holder[key]
        elif kind < 0.3 and isinstance(holder, list):
            holder.append(copy.deepcopy(holder[key]))
        else:
            holder[key] = copy.deepcopy(rng.choice(odd))
    return value


def _places(value: Any) -> Any:
    if isinstance(value, dict | list):
        for key in list(value) if isinstance(value, dict) else range(len(value)):
            yield value, key
            yield from _places(value[key])
