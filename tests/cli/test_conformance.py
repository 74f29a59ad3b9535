"""`freehold conformance`: the matrix, and the page made of it."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from freehold.call.languages import PROVIDER
from freehold.cli import conformance
from freehold.cli.conformance_matrix import CLIENTS, MODELS, Cell, matrix

CELLS = list(matrix())


def cell(client: str, provider: str, feature: str, direction: str = "request") -> Cell:
    [found] = [
        one
        for one in CELLS
        if (one.client, one.provider, one.feature, one.direction) == (client, provider, feature, direction)
    ]
    return found


def test_the_page_is_what_the_code_does_today() -> None:
    page = Path(__file__).parents[2] / "docs" / "conformance.md"
    assert page.read_text("utf-8") == conformance.page(CELLS), "run: make docs"


def test_every_pair_and_feature_has_one_cell() -> None:
    seen = {(one.client, one.provider, one.direction, one.feature) for one in CELLS}
    assert len(seen) == len(CELLS)
    assert {one.client for one in CELLS} == set(CLIENTS)
    assert {one.provider for one in CELLS} == set(PROVIDER) == set(MODELS)


def test_nothing_of_a_request_is_lost_in_silence() -> None:
    silent = [one for one in CELLS if one.direction == "request" and one.outcome == "lost" and not one.names]
    assert silent == []


def test_the_same_dialect_on_both_sides_loses_nothing() -> None:
    same = [one for one in CELLS if one.client == one.provider and one.outcome is not None]
    assert len(same) > 200
    assert {one.outcome for one in same} == {"carried"}


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("provider", PROVIDER)
def test_what_no_pair_may_lose(client: str, provider: str) -> None:
    for feature in ("text", "system prompt", "tools", "parallel tool calls and results", "image inline"):
        assert cell(client, provider, feature).outcome == "carried"
    for feature in ("text", "thinking", "parallel tool calls", "finish: length", "usage: input", "usage: output"):
        assert cell(client, provider, feature, "answer").outcome == "carried"


@pytest.mark.parametrize(
    ("client", "provider", "feature", "outcome"),
    [
        ("chat", "messages", "seed", "lost"),
        ("chat", "gemini", "seed", "carried"),
        ("chat", "messages", "JSON mode", "emulated"),
        ("messages", "chat", "thinking: budget", "emulated"),
        ("messages", "messages", "server-side tool", "carried"),
        ("messages", "gemini", "server-side tool", "lost"),
        ("messages", "chat", "seed", None),
        ("messages", "converse", "prompt-cache breakpoint", "carried"),
    ],
)
def test_the_judgement(client: str, provider: str, feature: str, outcome: str | None) -> None:
    assert cell(client, provider, feature).outcome == outcome


def test_what_is_lost_has_the_name_of_the_loss_report() -> None:
    assert cell("chat", "messages", "seed").names == ("seed",)
    assert cell("messages", "responses", "stop sequences").names == ("stop_sequences",)
    assert cell("gemini", "responses", "stop sequences").names == ("generationConfig.stopSequences",)


@pytest.mark.parametrize("client", ["chat", "responses", "gemini"])
def test_signatures_come_back_through_other_dialects(client: str) -> None:
    feature = "signature of thoughts, sent back"
    assert cell(client, "messages", feature, "answer").outcome == "carried"


def test_json_has_one_object_for_each_cell() -> None:
    printed = CliRunner().invoke(conformance.command, ["--json", "--client", "messages"])
    rows = json.loads(printed.stdout)
    assert {row["client"] for row in rows} == {"messages"}
    assert set(rows[0]) == {"client", "provider", "direction", "feature", "outcome", "reported"}
    assert {row["outcome"] for row in rows} == {"carried", "emulated", "lost", None}


def test_the_table_is_for_people() -> None:
    printed = CliRunner().invoke(conformance.command, ["--client", "gemini"]).stdout
    assert "gemini: what clients ask" in printed
    assert "chat: what" not in printed


def test_an_unknown_client_is_named() -> None:
    printed = CliRunner().invoke(conformance.command, ["--client", "klingon"])
    assert "klingon" in str(printed.exception)
