"""How sensitive a request is, and where it may go: the lattice, clearances, and the one question `may_flow`.

Pure, and small enough to read at once:

lattice.py    labels, clearances, may_flow
sinks.py      every kind of place that something can reach
sources.py    labels that come with the results of tools
policies.py   what providers' terms leave them cleared for
rules.py      what the configuration makes of all that
"""

from freehold.labels.lattice import EVERYTHING, INTERNAL, RENTED, UNKNOWN, Clearance, Label, may_flow
from freehold.labels.rules import Rules
from freehold.labels.sinks import Kind

__all__ = ["EVERYTHING", "INTERNAL", "RENTED", "UNKNOWN", "Clearance", "Kind", "Label", "Rules", "may_flow"]
