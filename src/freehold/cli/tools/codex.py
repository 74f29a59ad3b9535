"""Codex CLI: https://developers.openai.com/codex/config-reference.

Checked with 0.169.0: `wire_api` is "responses" and nothing else, `-c key=value` takes TOML, and a provider's key comes
from the variable that `env_key` names or from the command of its `auth` table, so that no key stands in config.toml.
The names openai, ollama and lmstudio are reserved. A project's own .codex/config.toml cannot choose the provider.
"""

import json
import os
from pathlib import Path
from typing import Any

from freehold.cli.tools import Change, Setup, Site, Tool, newest, toml_blocks

_KEY = "FREEHOLD_API_KEY"


def _model(site: Site) -> str:
    return site.model or newest(site.models, "codex") or newest(site.models, "gpt-5") or "auto"


def _provider(site: Site) -> dict[str, str]:
    return {"name": "Freehold", "base_url": f"{site.url}/v1", "wire_api": "responses"}


def _child(site: Site) -> Setup:
    fields = ", ".join(f"{name} = {json.dumps(value)}" for name, value in {**_provider(site), "env_key": _KEY}.items())
    given = {
        "model": json.dumps(_model(site)),
        "model_provider": '"freehold"',
        "model_providers.freehold": f"{{ {fields} }}",
    }
    arguments = [word for name, value in given.items() for word in ("-c", f"{name}={value}")]
    return Setup({_KEY: site.key}, [], arguments)


def _file() -> Path:
    return Path(os.environ.get("CODEX_HOME") or "~/.codex").expanduser() / "config.toml"


def _changes(site: Site) -> list[Change]:
    auth: dict[str, Any] = {"command": "cat", "args": [str(site.key_file)]}
    return [
        Change(["model"], _model(site)),
        Change(["model_provider"], "freehold"),
        Change(["model_providers", "freehold"], {**_provider(site), "auth": auth}),
    ]


TOOL = Tool(
    name="codex",
    title="Codex",
    program="codex",
    install="npm install -g @openai/codex",
    child=_child,
    file=_file,
    changes=_changes,
    edit=toml_blocks.edit,
    undo=toml_blocks.undo,
)
