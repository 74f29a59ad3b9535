"""Trains the predictor that routes: texts and who answered them right in, a `Predictor` out.

    terms     what occurs in the prompts                                   fit_terms.py
    disturb   what may stand around a prompt and should change nothing     fit_disturb.py
    targets   the directions in which models differ on them                fit_targets.py
    ridge     terms and measures -> directions, penalty by inner folds     fit_ridge.py
    basis     the solution as packed tables, 8 bits a number               fit_basis.py
    heads     directions and measures -> P(right) for each model           fit_heads.py

Heads learn from readings of prompts that the ridge had not seen (cross-fitting in FOLDS parts): in-sample readings look
much more certain than those of tomorrow's prompts will be. Where tasks are known, half of what chooses the penalty are
folds that hold out whole tasks, so that a basis which only recognises its tasks is not preferred.

Deterministic by seed, on one kind of machine. 10,000 prompts of half a KB and two models take some 15 s on one core.
numpy comes with the extra `own`.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from freehold.decide.predict.heads import Head
from freehold.decide.predict.predictor import Predictor, Reading
from freehold.measure.routing.needs import numpy_installed

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Outcomes = Mapping[str, Sequence[float | None]]
LANES = 12
LEAST = 60
"""Prompts; fewer cannot teach a basis."""


def fit(
    texts: Sequence[str],
    outcomes: Outcomes,
    *,
    seed: int = 0,
    tasks: Sequence[str] | None = None,
    lanes: int = LANES,
    made: str = "",
) -> Predictor:
    """A new basis and a head for every model that has outcomes.

    `outcomes` gives each model one entry per text: 1 right, 0 wrong, a share between, None where it was not asked.
    `tasks`, where known, names each text's domain. Raises ValueError for data of which nothing can be learnt, and
    EngineError where numpy is missing.
    """
    numpy_installed()
    from freehold.measure.routing.fit_whole import learn

    table = _table(outcomes, len(texts))
    if len(texts) < LEAST:
        raise ValueError(f"{len(texts)} prompts are too few to learn from: at least {LEAST}")
    if tasks is not None and len(tasks) != len(texts):
        raise ValueError(f"{len(tasks)} tasks for {len(texts)} prompts")
    return learn(texts, table, seed=seed, tasks=tasks, lanes=lanes, made=made)


def fit_heads(
    predictor: Predictor,
    readings: Sequence[Reading | Sequence[float]],
    outcomes: Outcomes,
    *,
    strengths: Mapping[str, float] | None = None,
    weights: Mapping[str, Sequence[float]] | None = None,
) -> Predictor:
    """The same basis with a head for every model that has at least one outcome here; those it had otherwise stay.

    `strengths` are declared ones, 0 to 1: the starting point while labels are few. `weights`, in the shape of
    `outcomes`, say what each label counts; 1 where none are given. The readings should be of prompts
    that the basis was not learnt from: those it was look more certain than they are. Raises as `fit`.
    """
    numpy_installed()
    import numpy as np

    from freehold.measure.routing.fit_heads import learn_head, matrix

    z = matrix([one.z if isinstance(one, Reading) else one for one in readings], predictor.lanes)
    heads: dict[str, Head] = {}
    for name, y in _table(outcomes, len(z)).items():
        here = np.isfinite(y)
        if here.any():
            strength = (strengths or {}).get(name)
            counts = np.array(weights[name], np.float64)[here] if weights is not None and name in weights else None
            heads[name] = learn_head(name, z[here], y[here], predictor.family, strength, weights=counts)
    return predictor.with_heads(heads)


def _table(outcomes: Outcomes, rows: int) -> "dict[str, NDArray[np.float64]]":
    import numpy as np

    if not outcomes:
        raise ValueError("no model has outcomes")
    table = {}
    for name, column in outcomes.items():
        if len(column) != rows:
            raise ValueError(f"{len(column)} outcomes of {name} for {rows} prompts")
        y = np.array([np.nan if one is None else float(one) for one in column], np.float64)
        if np.isinf(y).any() or (y < 0).any() or (y > 1).any():
            raise ValueError(f"outcomes of {name} are not all between 0 and 1")
        table[name] = y
    return table
