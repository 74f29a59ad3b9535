"""Claude Code: https://code.claude.com/docs/en/llm-gateway and .../settings.

Checked with 2.1.197: a bearer token is sent from ANTHROPIC_AUTH_TOKEN, but ANTHROPIC_API_KEY, where it is set too,
goes out beside it as x-api-key; so that variable is taken away. In settings.json an empty value does the same, and
`apiKeyHelper` (a command that prints the key, sent as both headers) keeps the key out of the file.
"""

import os
import shlex
from pathlib import Path

from freehold.cli.tools import Change, Setup, Site, Tool, jsonc, newest

_TIERS = ("opus", "sonnet", "haiku")
_OTHERS = ["ANTHROPIC_API_KEY", "CLAUDE_CODE_USE_BEDROCK", "CLAUDE_CODE_USE_VERTEX", "CLAUDE_CODE_USE_FOUNDRY"]


def _models(site: Site) -> dict[str, str]:
    """The model to begin with, and the one of each tier that Claude Code asks for by itself."""
    tiers = {tier: site.model or newest(site.models, "claude", tier) for tier in _TIERS}
    first = site.model or tiers["sonnet"] or tiers["opus"] or tiers["haiku"] or "auto"
    named = {f"ANTHROPIC_DEFAULT_{tier.upper()}_MODEL": found or first for tier, found in tiers.items()}
    return {"ANTHROPIC_MODEL": first, **named}


def _child(site: Site) -> Setup:
    environment = {"ANTHROPIC_BASE_URL": site.url, "ANTHROPIC_AUTH_TOKEN": site.key, **_models(site)}
    return Setup(environment, list(_OTHERS))


def _file() -> Path:
    return Path(os.environ.get("CLAUDE_CONFIG_DIR") or "~/.claude").expanduser() / "settings.json"


def _changes(site: Site) -> list[Change]:
    environment = {
        "ANTHROPIC_BASE_URL": site.url,
        "ANTHROPIC_AUTH_TOKEN": "",
        "ANTHROPIC_API_KEY": "",
        **_models(site),
    }
    helper = Change(["apiKeyHelper"], f"cat {shlex.quote(str(site.key_file))}")
    return [*(Change(["env", name], value) for name, value in environment.items()), helper]


def _overruled() -> str | None:
    """Variables in settings.json win over the environment that Claude Code is started with."""
    try:
        found = jsonc.value(_file().read_text("utf-8"))
    except (OSError, UnicodeDecodeError, jsonc.NotJson):
        return None
    names = found.get("env", {}) if isinstance(found, dict) else {}
    ours = [name for name in names if name in ("ANTHROPIC_BASE_URL", "ANTHROPIC_AUTH_TOKEN", "ANTHROPIC_MODEL")]
    return f"{_file()} sets {' and '.join(ours)}, which wins over this" if ours else None


TOOL = Tool(
    name="claude",
    title="Claude Code",
    program="claude",
    install="npm install -g @anthropic-ai/claude-code",
    child=_child,
    file=_file,
    changes=_changes,
    edit=jsonc.edit,
    undo=jsonc.undo,
    overruled=_overruled,
)
