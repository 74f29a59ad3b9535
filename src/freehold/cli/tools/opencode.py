"""OpenCode: https://opencode.ai/docs/config and https://opencode.ai/docs/providers.

Checked with 1.18.33: OPENCODE_CONFIG_CONTENT is merged over every configuration file; `{env:NAME}` and `{file:PATH}`
stand for a secret; a provider that is not in OpenCode's own list names its package and its models.
"""

import json
import os
from pathlib import Path
from typing import Any

from freehold.cli.tools import Change, Setup, Site, Tool, jsonc

_KEY = "FREEHOLD_API_KEY"
_SCHEMA = "https://opencode.ai/config.json"


def _model(site: Site) -> str:
    return site.model or ("auto" if "auto" in site.models or not site.models else site.models[0])


def _provider(site: Site, key: str) -> dict[str, Any]:
    names = dict.fromkeys([_model(site), *site.models])
    return {
        "npm": "@ai-sdk/openai-compatible",
        "name": "Freehold",
        "options": {"baseURL": f"{site.url}/v1", "apiKey": key},
        "models": {name: {"name": name} for name in names},
    }


def _child(site: Site) -> Setup:
    content: dict[str, Any] = {}
    for change in _settings(site, f"{{env:{_KEY}}}"):
        holder: dict[str, Any] = content
        for name in change.path[:-1]:
            holder = holder.setdefault(name, {})
        holder[change.path[-1]] = change.value
    return Setup({"OPENCODE_CONFIG_CONTENT": json.dumps(content), _KEY: site.key})


def _settings(site: Site, key: str) -> list[Change]:
    model = f"freehold/{_model(site)}"
    return [
        Change(["$schema"], _SCHEMA),  # OpenCode writes it into a file that lacks it
        Change(["provider", "freehold"], _provider(site, key)),
        Change(["model"], model),
        Change(["small_model"], model),
    ]


def _file() -> Path:
    """The global file; where there are two, the one that OpenCode reads last."""
    folder = Path(os.environ.get("XDG_CONFIG_HOME") or "~/.config").expanduser() / "opencode"
    commented = folder / "opencode.jsonc"
    return commented if commented.exists() else folder / "opencode.json"


def _changes(site: Site) -> list[Change]:
    return _settings(site, f"{{file:{site.key_file}}}")


TOOL = Tool(
    name="opencode",
    title="OpenCode",
    program="opencode",
    install="npm install -g opencode-ai",
    child=_child,
    file=_file,
    changes=_changes,
    edit=jsonc.edit,
    undo=jsonc.undo,
)
