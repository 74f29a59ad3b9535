"""The npm packages `openai`, `@anthropic-ai/sdk` and `ai`: what is asked and expected stands in node/clients.mjs."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent / "node"
CHECKS = {
    "openai_chat",
    "openai_responses",
    "openai_embeddings_and_models",
    "openai_errors",
    "anthropic_messages",
    "anthropic_errors",
    "ai_openai_responses",
    "ai_openai_chat",
    "ai_openai_compatible",
    "ai_anthropic",
    "ai_google",
    "ai_embeddings",
}


def test_every_check(outside: Callable[..., dict[str, str | None]]) -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("there is no node")
    if not (FOLDER / "node_modules").exists():
        pytest.skip("make node-clients installs the packages")
    found = outside(node, FOLDER / "clients.mjs")
    assert {check: problem for check, problem in found.items() if problem} == {}
    assert set(found) == CHECKS
