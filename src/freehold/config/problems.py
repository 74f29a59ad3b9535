"""What is wrong with a configuration, gathered, so that one run shows every mistake.

A place in the file is a `KeyPath`: `("providers", "openai", "base_url")`, list positions as numbers. `Sources` knows
where each place stands in the text and which values came from the environment. `Problems` turns places into
`file:line:column` and raises everything at once as `ConfigErrors`.

No message holds a secret: a value is quoted only through `Problems.quote`, which never shows one that came from the
environment or that stands in a place made for secrets.
"""

from pathlib import Path
from typing import Any

from msgspec import Struct, field

from freehold.errors import ConfigError, redact

KeyPath = tuple[str | int, ...]
Mark = tuple[int, int]
"""Line and column, counted from 1."""

MAX_REPORTED = 20


class ConfigErrors(ConfigError):
    """Every mistake found in one file. `errors` holds the first MAX_REPORTED; `total` counts them all."""

    def __init__(self, errors: list[ConfigError]) -> None:
        first = errors[0]
        super().__init__(first.message, where=first.where, key=first.key, hint=first.hint)
        self.total = len(errors)
        self.errors = errors[:MAX_REPORTED]

    def __str__(self) -> str:
        lines = []
        for error in self.errors:
            lines.append(str(error))
            if error.hint:
                lines.append(f"  hint: {error.hint}")
        if self.total > len(self.errors):
            lines.append(f"and {self.total - len(self.errors)} more")
        return "\n".join(lines)


class Sources(Struct):
    """Where each value of a loaded file stands, and which environment variables made it."""

    file: str = ""
    values: dict[KeyPath, Mark] = field(default_factory=dict)
    keys: dict[KeyPath, Mark] = field(default_factory=dict)
    """Where the key itself stands, for values of a mapping."""
    variables: dict[KeyPath, list[str]] = field(default_factory=dict)
    """Names of the variables expanded in a value, in order."""

    def where(self, path: KeyPath, *, key: bool = False) -> str:
        """Returns `file:line:column` of the value (or its key), or of the nearest enclosing value that is known."""
        marks = self.keys if key else self.values
        mark = marks.get(path)
        while mark is None:
            mark = self.values.get(path) or ((1, 1) if not path else None)
            path = path[:-1]
        return f"{self.file}:{mark[0]}:{mark[1]}"


class Problems:
    """Collects mistakes while a file is read; `done` raises them."""

    def __init__(self, sources: Sources) -> None:
        self.sources = sources
        self.errors: list[ConfigError] = []
        self._told: set[KeyPath] = set()

    def add(self, path: KeyPath, message: str, hint: str | None = None, *, key: bool = False) -> None:
        """Notes a mistake at a place, unless one is noted there already: what follows from it helps nobody."""
        if path not in self._told:
            self._told.add(path)
            self.at(self.sources.where(path, key=key), path, message, hint)

    def at(self, where: str, path: KeyPath, message: str, hint: str | None = None) -> None:
        """Notes a mistake whose position in the text is not that of the value at `path`."""
        self.errors.append(ConfigError(message, where=where, key=dotted(path), hint=hint))

    def quote(self, path: KeyPath, value: Any) -> str:
        """Returns how a message may speak of `value`."""
        if value is None:
            return "nothing"
        if isinstance(value, dict):
            return "a mapping"
        if isinstance(value, list):
            return "a list"
        if isinstance(value, bool):
            return str(value).lower()
        if secret(path):
            return "a value that is not shown"
        if names := self.sources.variables.get(path):
            return f"the value of {' and '.join(names)}"
        if isinstance(value, str):
            return f"the text {redact(value, 60)!r}"
        return f"the number {value}"

    def done(self) -> None:
        """Raises ConfigErrors with everything collected, in the order of the file; nothing when all is well."""
        if self.errors:
            raise ConfigErrors(sorted(self.errors, key=_position))


def secret(path: KeyPath) -> bool:
    """Whether the schema keeps a secret at this place."""
    match path:
        case ("providers", _, "api_key") | ("keys", _, "key" | "hash"):
            return True
        case ("providers", _, "headers", *_):
            return True
    return False


def dotted(path: KeyPath) -> str:
    """Returns a place as people write it: `keys[0].name`. A name that looks like a credential is masked."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{redact(part, 120)}" if text else redact(part, 120)
    return text


def nearest(name: str, known: "list[str] | set[str] | dict[str, Any]") -> str | None:
    """Returns the known name closest in spelling, or None when none is close."""
    from difflib import get_close_matches  # only a mistake needs it

    found = get_close_matches(name.lower(), sorted(known), n=1, cutoff=0.6)
    return found[0] if found else None


def did_you_mean(name: str, known: "list[str] | set[str] | dict[str, Any]") -> str | None:
    """Returns the hint that belongs to a misspelt name."""
    found = nearest(name, known)
    return f"did you mean {found}?" if found else None


def file_error(
    file: str | Path, message: str, *, line: int = 1, column: int = 1, hint: str | None = None
) -> ConfigErrors:
    """Returns the one error that stops reading: the file as such is unreadable or not YAML."""
    return ConfigErrors([ConfigError(message, where=f"{file}:{line}:{column}", hint=hint)])


def _position(error: ConfigError) -> tuple[int, int]:
    _, line, column = error.where.rsplit(":", 2)
    return int(line), int(column)
