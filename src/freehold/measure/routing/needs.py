"""What measuring and training need beyond the gateway: numpy, which comes with the extra `own`."""

import importlib.util

from freehold.errors import EngineError

HINT = "pip install 'freehold[own]'"


def numpy_installed() -> None:
    """Raises EngineError with the exact install hint where numpy is missing."""
    if importlib.util.find_spec("numpy") is None:
        raise EngineError(
            "training and measuring a router need the package numpy", code="not_installed", retry="no", hint=HINT
        )
