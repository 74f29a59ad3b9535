"""How a conversion says no: one class of error, always with the name of what is wrong."""

import importlib.util

from freehold.errors import EngineError

INSTALL = "pip install 'freehold[own]'"
NEEDED = ("numpy", "gguf")


def refuse(message: str, hint: str = "get the files again, or check where they came from") -> EngineError:
    """Returns the error for files that cannot be converted as they are."""
    return EngineError(message, code="bad_weights", retry="no", hint=hint)


def unsupported(
    message: str, hint: str = "pull a GGUF of this model, or run it with the transformers or vllm engine"
) -> EngineError:
    """Returns the error for files that are well but hold what llama.cpp does not run."""
    return EngineError(message, code="unsupported_architecture", retry="no", hint=hint)


def need_packages() -> None:
    """Raises EngineError when a package that every conversion needs is missing."""
    for name in NEEDED:
        if importlib.util.find_spec(name) is None:
            raise EngineError(
                f"a conversion needs the package {name}, which is not installed",
                code="missing_package",
                retry="no",
                hint=INSTALL,
            )
