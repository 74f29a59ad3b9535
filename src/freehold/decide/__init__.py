"""Who answers: facts, rules and catalog in, a Plan out. Pure: no IO, no clock, no randomness of its own.

`plan` is the one function; the pipeline, `freehold explain`, `freehold route replay` and the simulation all call it.

eligible.py   what makes a deployment unable to answer
policy.py     the rules in force for one request
rank.py       the order of those who may answer
predict/      how likely each one's answer is right
price.py      what each one's answer costs, under its present load
floor.py      the gate that keeps a quality floor
explain.py    a plan in words
"""

from freehold.decide.catalog import Catalog, Choice, Deployment
from freehold.decide.decision import Candidate, Drop, Plan
from freehold.decide.plan import plan
from freehold.decide.policy import Policy
from freehold.decide.world import World

__all__ = ["Candidate", "Catalog", "Choice", "Deployment", "Drop", "Plan", "Policy", "World", "plan"]
