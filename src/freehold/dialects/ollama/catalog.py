"""The replies that list models and tell the version: `/api/tags`, `/api/show`, `/api/ps`, `/api/version`. Pure.

Source: https://docs.ollama.com/openapi.yaml. Clients depend on more than the specification says:

- `ollama list` and `ollama ps` print the first twelve characters of a digest and crash on a shorter one, so a model
  without a digest gets the SHA-256 of its name;
- times must be RFC 3339, also where none is known (1970 then);
- editors read `model_info["general.architecture"]` and `model_info["ARCHITECTURE.context_length"]`, and show a model in
  their agents only where `capabilities` holds `tools`;
- some ask for the version first and refuse an old server: `VERSION` is the one whose API this package speaks.
"""

from hashlib import sha256
from typing import Any

import msgspec
from msgspec import Struct, field

from freehold.dialects.ollama.usage import write_time
from freehold.dialects.wire import check_str, decode_request
from freehold.errors import BadRequest

VERSION = "0.40.12"
"""https://docs.ollama.com as of 2026-10."""

_ENCODER = msgspec.json.Encoder()
_FIELDS = msgspec.json.Decoder(dict[str, Any])


class Model(Struct):
    """What is told of a model. `size` and `vram` in bytes, `modified` and `expires` in Unix seconds; 0: unknown.

    `capabilities`: completion, tools, vision, thinking, insert, embedding. `parameters` is the number of weights.
    `remote`: somebody else's machine runs it.
    """

    name: str
    size: int = 0
    vram: int = 0
    modified: int = 0
    expires: int = 0
    digest: str = ""
    format: str = ""
    family: str = ""
    parameters: int = 0
    quantization: str = ""
    context_length: int | None = None
    capabilities: list[str] = field(default_factory=lambda: ["completion"])
    remote: str | None = None


def write_tags(models: list[Model]) -> bytes:
    """`/api/tags`: every model that may be asked for."""
    entries = []
    for model in models:
        entry = {**_named(model), "modified_at": write_time(model.modified), **_sized(model)}
        if model.remote is not None:
            entry |= {"remote_model": model.name, "remote_host": model.remote}
        entries.append({**entry, "details": _details(model), "capabilities": model.capabilities})
    return _ENCODER.encode({"models": entries})


def write_ps(models: list[Model]) -> bytes:
    """`/api/ps`: the models in memory."""
    entries = [
        {
            **_named(model),
            **_sized(model),
            "details": _details(model),
            "expires_at": write_time(model.expires),
            "size_vram": model.vram,
            "context_length": model.context_length or 0,
        }
        for model in models
    ]
    return _ENCODER.encode({"models": entries})


def read_show(body: bytes) -> str:
    """The name of the model that `/api/show` is asked about; `name` is the old word. Raises BadRequest."""
    fields = decode_request(_FIELDS, body)
    name = fields.get("model") or fields.get("name")
    if name is None:
        raise BadRequest("The request has no 'model'.", param="model", code="missing_required_parameter")
    return check_str(name, "model")


def write_show(model: Model) -> bytes:
    """`/api/show`: what is known of one model. Templates and licences are the engine's own business."""
    architecture = model.family or "unknown"
    info: dict[str, Any] = {"general.architecture": architecture, "general.basename": model.name}
    if model.parameters:
        info["general.parameter_count"] = model.parameters
    if model.context_length:
        info[f"{architecture}.context_length"] = model.context_length
    body = {
        "license": "",
        "modelfile": "",
        "parameters": "",
        "template": "",
        "details": _details(model),
        "model_info": info,
        "capabilities": model.capabilities,
        "modified_at": write_time(model.modified),
    }
    return _ENCODER.encode(body)


def write_version(version: str = VERSION) -> bytes:
    """`/api/version`."""
    return _ENCODER.encode({"version": version})


def _named(model: Model) -> dict[str, Any]:
    return {"name": model.name, "model": model.name}


def _sized(model: Model) -> dict[str, Any]:
    digest = model.digest.removeprefix("sha256:")
    if len(digest) < 12:
        digest = sha256(model.name.encode("utf-8", "replace")).hexdigest()
    return {"size": model.size, "digest": digest}


def _details(model: Model) -> dict[str, Any]:
    return {
        "parent_model": "",
        "format": model.format,
        "family": model.family,
        "families": [model.family] if model.family else [],
        "parameter_size": _billions(model.parameters),
        "quantization_level": model.quantization,
    }


def _billions(parameters: int) -> str:
    """`8.0B`, `270.0M`, as Ollama prints them; empty where unknown."""
    if parameters <= 0:
        return ""
    return f"{parameters / 1e9:.1f}B" if parameters >= 1e9 else f"{parameters / 1e6:.1f}M"
