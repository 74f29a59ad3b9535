"""The learned predictor: how likely each deployment is to answer a prompt well, on one core, without the network.

    look.py       a prompt -> words, pairs, marks and measures of its shape
    basis.py      those -> a reading, a few numbers, by sums of packed integers
    heads.py      a reading -> log-odds for one model; what heads have in common
    predictor.py  `Predictor`: read, then quality
    tables.py     a basis as flat bytes
    file.py       load, save, and the file that ships

It is learnt by measure/routing/fit.py; models/routing.md says from what, and how good it is.
"""

from freehold.decide.predict.file import default, dumps, load, loads, save
from freehold.decide.predict.heads import Estimate, Family, Head
from freehold.decide.predict.predictor import Predictor, Reading

__all__ = ["Estimate", "Family", "Head", "Predictor", "Reading", "default", "dumps", "load", "loads", "save"]
