"""How sensitive a request is, and where it may go: the lattice, clearances, and the one question `may_flow`.

Pure, and small enough to read at once: lattice.py (labels and sinks), rules.py (what the configuration makes of them).
"""

from freehold.labels.lattice import EVERYTHING, INTERNAL, RENTED, Clearance, Label, may_flow
from freehold.labels.rules import Rules

__all__ = ["EVERYTHING", "INTERNAL", "RENTED", "Clearance", "Label", "Rules", "may_flow"]
