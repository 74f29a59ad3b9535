"""Freehold: one endpoint in front of every model a team rents and every model it owns.

Importing this package loads nothing else: every room is imported where it is used, so that
`import freehold` and `freehold --help` stay instant.
"""

__version__ = "0.1.0"
