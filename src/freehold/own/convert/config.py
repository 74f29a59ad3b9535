"""config.json, read without trusting it: every number has a range, and an absurd one is named.

A multimodal model keeps its language model under `text_config`; those values come before the outer ones. Keys have had
several names over the years (`rope_theta` and `rope_scaling` became `rope_parameters` in transformers 5): the getters
take all of them, first match wins.
"""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from msgspec import Struct

from freehold.own.convert.problems import refuse

MAX_JSON = 8 << 20
MAX_LAYERS = 1024
MAX_WIDTH = 1 << 20
MAX_VOCABULARY = 4 << 20
MAX_CONTEXT = 1 << 28
_MISSING: Any = object()


class Rope(Struct, frozen=True):
    """Rotary embedding of one kind of layer. `kind` is the scaling: default, linear, dynamic, yarn, llama3, longrope.

    `partial` is the share of a head that is rotated. `values` holds the scaling's own numbers as the file has them.
    """

    theta: float
    kind: str
    partial: float
    values: Mapping[str, Any]

    def number(self, key: str, default: float | None = None) -> float | None:
        """Returns the finite number under `key`, or `default`."""
        value = self.values.get(key)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise refuse(f"config.json: rope {key} is {value!r}, not a number")
        return float(value)

    def factors(self, key: str, length: int) -> list[float]:
        """Returns the list of `length` finite numbers under `key`."""
        value = self.values.get(key)
        good = isinstance(value, list) and all(
            isinstance(one, int | float) and not isinstance(one, bool) and math.isfinite(one) for one in value
        )
        if not isinstance(value, list) or not good:
            raise refuse(f"config.json: rope {key} is not a list of numbers")
        if len(value) != length:
            raise refuse(f"config.json: rope {key} has {len(value)} numbers, the heads need {length}")
        return [float(one) for one in value]


class Config:
    """Checked access to config.json of one model."""

    def __init__(self, data: Mapping[str, Any]) -> None:
        inner = data.get("text_config")
        nested = isinstance(inner, dict)
        self.data: dict[str, Any] = {**data, **inner} if isinstance(inner, dict) else dict(data)
        self.outer = data
        self.nested = nested
        names = data.get("architectures")
        self.architecture = names[0] if isinstance(names, list) and names and isinstance(names[0], str) else ""
        self.model_type = str(data.get("model_type") or "")[:64]

    @classmethod
    def read(cls, folder: Path) -> "Config":
        """Reads config.json of `folder`. Raises EngineError."""
        data = read_json(folder / "config.json")
        if data is None:
            raise refuse(f"{folder.name}: there is no config.json, so nothing says what model this is")
        return cls(data)

    def whole(
        self, *keys: str, default: Any = _MISSING, low: int = 1, high: int = MAX_WIDTH
    ) -> int:  # a default of None is passed through for callers that test for it
        """Returns the first whole number among `keys`, between `low` and `high`."""
        for key in keys:
            value = self.data.get(key)
            if value is None:
                continue
            if isinstance(value, float) and value.is_integer():
                value = int(value)
            if isinstance(value, bool) or not isinstance(value, int):
                raise refuse(f"config.json: {key} is {str(value)[:40]!r}, not a whole number")
            if not low <= value <= high:
                raise refuse(f"config.json: {key} is {str(value)[:40]}, expected {low} to {high}")
            return value
        if default is _MISSING:
            raise refuse(f"config.json: {keys[0]} is missing")
        return default  # type: ignore[no-any-return]

    def number(self, *keys: str, default: Any = _MISSING, low: float = -1e30, high: float = 1e30) -> float:
        """Returns the first finite number among `keys`, between `low` and `high`."""
        for key in keys:
            value = self.data.get(key)
            if value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
                raise refuse(f"config.json: {key} is {str(value)[:40]!r}, not a number")
            if not low <= value <= high:
                raise refuse(f"config.json: {key} is {value}, expected {low} to {high}")
            return float(value)
        if default is _MISSING:
            raise refuse(f"config.json: {keys[0]} is missing")
        return default  # type: ignore[no-any-return]

    def flag(self, key: str, default: bool = False) -> bool:
        value = self.data.get(key)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise refuse(f"config.json: {key} is {str(value)[:40]!r}, not true or false")
        return value

    def text(self, key: str, default: str = "") -> str:
        value = self.data.get(key)
        return value[:200] if isinstance(value, str) else default

    def strings(self, key: str, length: int) -> list[str] | None:
        """Returns the list of `length` strings under `key`, such as `layer_types`; None where there is none."""
        value = self.data.get(key)
        if value is None:
            return None
        if not isinstance(value, list) or len(value) != length or not all(isinstance(one, str) for one in value):
            raise refuse(f"config.json: {key} is not a list of {length} names")
        return value

    def wholes(self, key: str, *, low: int = 0, high: int = MAX_WIDTH, longest: int = MAX_LAYERS) -> list[int] | None:
        """Returns the list of whole numbers under `key`; None where there is none."""
        value = self.data.get(key)
        if value is None:
            return None
        if not isinstance(value, list) or len(value) > longest:
            raise refuse(f"config.json: {key} is not a list of at most {longest} numbers")
        for one in value:
            if isinstance(one, bool) or not isinstance(one, int) or not low <= one <= high:
                raise refuse(f"config.json: {key} holds {str(one)[:40]!r}")
        return value

    # what nearly every model has

    @property
    def layers(self) -> int:
        return self.whole("num_hidden_layers", "n_layer", "n_layers", "num_layers", high=MAX_LAYERS)

    @property
    def width(self) -> int:
        return self.whole("hidden_size", "n_embd", "d_model")

    @property
    def heads(self) -> int:
        return self.whole("num_attention_heads", "n_head", "n_heads", high=4096)

    @property
    def kv_heads(self) -> int:
        count = self.whole("num_key_value_heads", "n_head_kv", "num_kv_heads", default=self.heads, high=4096)
        if self.heads % count:
            raise refuse(f"config.json: {self.heads} attention heads cannot share {count} key-value heads")
        return count

    @property
    def head(self) -> int:
        """Elements of one attention head."""
        found: int | None = self.whole("head_dim", default=None, high=65_536)
        if found is None:
            if self.width % self.heads:
                raise refuse(f"config.json: hidden_size {self.width} is not a multiple of {self.heads} heads")
            found = self.width // self.heads
        return found

    @property
    def context(self) -> int:
        return self.whole("max_position_embeddings", "n_positions", "n_ctx", "max_seq_len", high=MAX_CONTEXT)

    @property
    def vocabulary(self) -> int:
        return self.whole("vocab_size", high=MAX_VOCABULARY)

    @property
    def tied(self) -> bool | None:
        """Whether the output uses the embedding's weights; None where the file does not say, or says both: the language
        model inside a multimodal one was written by another class than the whole."""
        inside, outside = self.data.get("tie_word_embeddings"), self.outer.get("tie_word_embeddings")
        if isinstance(inside, bool) and isinstance(outside, bool) and inside != outside:
            return None
        return inside if isinstance(inside, bool) else None

    def rope(self, layer_type: str | None = None, *, theta: float = 10_000.0) -> Rope:
        """Returns the rotary embedding, of layers of `layer_type` where the file tells them apart."""
        values: Any = self.data.get("rope_parameters")
        if values is None:
            values = self.data.get("rope_scaling")
        if values is None:
            values = {}
        if not isinstance(values, dict):
            raise refuse("config.json: rope_parameters is not an object")
        if layer_type is not None and isinstance(values.get(layer_type), dict):
            values = values[layer_type]
        elif "full_attention" in values:
            values = values["full_attention"]
            if not isinstance(values, dict):
                raise refuse("config.json: rope_parameters.full_attention is not an object")
        found = Rope(theta=0.0, kind="", partial=1.0, values=values)
        base = found.number("rope_theta")
        if base is None:
            base = self.number("rope_theta", "rotary_emb_base", default=theta, low=1e-3)
        if base <= 0:
            raise refuse(f"config.json: rope_theta is {base}")
        partial = found.number("partial_rotary_factor")
        if partial is None:
            partial = self.number("partial_rotary_factor", "rotary_pct", default=1.0, low=0.0, high=1.0)
        if not 0 < partial <= 1:
            raise refuse(f"config.json: partial_rotary_factor is {partial}, expected more than 0, at most 1")
        kind = values.get("rope_type") or values.get("type") or "default"
        if not isinstance(kind, str):
            raise refuse("config.json: rope_type is not a name")
        return Rope(theta=base, kind="longrope" if kind == "su" else kind.lower()[:40], partial=partial, values=values)

    def original_context(self, rope: Rope) -> int:
        """Returns the context before the rotary embedding was stretched."""
        found = rope.number("original_max_position_embeddings")
        if found is not None:
            if not 1 <= found <= MAX_CONTEXT or found != int(found):
                raise refuse(f"config.json: original_max_position_embeddings is {found}")
            return int(found)
        default = self.context
        return self.whole("original_max_position_embeddings", default=default, high=MAX_CONTEXT)


def read_json(path: Path, limit: int = MAX_JSON) -> dict[str, Any] | None:
    """Returns the object in `path`; None where there is no such file. Raises EngineError when it is anything else."""
    raw = read_bytes(path, limit)
    if raw is None:
        return None
    try:
        data = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise refuse(f"{path.name} is not JSON: {str(error)[:120]}") from None
    if not isinstance(data, dict):
        raise refuse(f"{path.name} holds no JSON object")
    return data


def read_bytes(path: Path, limit: int) -> bytes | None:
    """Returns the bytes of `path`; None where there is no such file."""
    try:
        with path.open("rb") as file:
            raw = file.read(limit + 1)
    except (FileNotFoundError, IsADirectoryError):
        return None
    except OSError as error:
        raise refuse(f"{path.name} cannot be read: {error.strerror}") from None
    if len(raw) > limit:
        raise refuse(f"{path.name} has more than {limit >> 20} MiB")
    return raw


def listed(names: Sequence[str], most: int = 5) -> str:
    """Returns some names as text: `a, b and 7 more`."""
    shown = ", ".join(name[:100] for name in names[:most])
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown
