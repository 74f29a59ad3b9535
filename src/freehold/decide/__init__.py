"""Who answers: facts and catalog in, a Plan out. Pure: no IO, no clock, no randomness of its own.

`plan` is the one function; the pipeline, `freehold explain` and the `x-freehold-*` headers all show its result.
"""

from freehold.decide.catalog import Catalog, Choice, Deployment, Drop, Plan
from freehold.decide.plan import plan

__all__ = ["Catalog", "Choice", "Deployment", "Drop", "Plan", "plan"]
