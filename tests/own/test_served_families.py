"""Every family the whole way: hub, pull, verify, convert, parity, then own/NAME of a gateway that runs already.

A hub on loopback serves tiny models of the family's own configuration class. The official `openai` client gets text,
a stream, a forced tool call and an answer by JSON schema. Weights are random, so only the form of answers is judged
here; that they are the original's is what the pull has shown (verdict `passed`).

CI takes one family of each kind of converter; `make families` takes all and writes docs/families.md.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import openai
import pytest
import tiny_models
from running import KEY, Running, clean_environment, started

from freehold.fake.hub import HubServer

KINDS = ("llama3", "mistral", "qwen3_moe", "deepseek_v3", "gemma3", "falcon", "command_r", "gpt_oss", "phi3")
FAMILIES = tuple(tiny_models.FAMILIES) if os.environ.get("FREEHOLD_FAMILIES") == "all" else KINDS
INTENT = {
    "type": "object",
    "properties": {"intent": {"enum": ["refund", "delivery"]}},
    "required": ["intent"],
    "additionalProperties": False,
}
ASKED: list[Any] = [{"role": "user", "content": "Where is my money?"}]


class House(NamedTuple):
    hub: HubServer
    folder: Path
    gateway: Running

    def freehold(self, *words: str) -> "subprocess.CompletedProcess[str]":
        env = clean_environment(FREEHOLD_HOME=str(self.gateway.home), HF_ENDPOINT=self.hub.url, NO_COLOR="1")
        return subprocess.run(
            [sys.executable, "-m", "freehold", *words],
            env=env,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("families")
    (folder / "hub").mkdir()
    (folder / "freehold.yaml").write_text(
        f"server: {{port: 0}}\nbox: false\ndiscover: false\nkeys: [{{name: ci, key: {KEY}}}]\n"
    )
    with (
        HubServer(folder / "hub") as hub,
        started("up", "--config", str(folder / "freehold.yaml"), home=folder / "home") as gateway,
    ):
        yield House(hub, folder, gateway)


def client(house: House) -> openai.OpenAI:
    return openai.OpenAI(base_url=house.gateway.url + "/v1", api_key=KEY, max_retries=0, timeout=60)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_from_the_hub_to_an_answer(family: str, house: House) -> None:
    tiny_models.make(family, house.folder / "hub" / "tiny" / family)
    pulled = house.freehold("pull", f"tiny/{family}", "--json")
    assert pulled.returncode == 0, pulled.stderr
    shown = house.freehold("weights", "show", family, "--json")
    artefacts = {one["made"]: one["verdict"] for one in json.loads(shown.stdout)["artefacts"]}
    assert artefacts == {"pulled": "original", "converted": "passed"}, shown.stdout
    name = f"own/{family}"
    with client(house) as asked:
        assert name in [model.id for model in asked.models.list()]
        whole = asked.chat.completions.create(model=name, messages=ASKED, max_tokens=8, temperature=0)
        assert whole.usage is not None
        assert 0 < whole.usage.completion_tokens <= 8
        chunks = list(
            asked.chat.completions.create(
                model=name, messages=ASKED, max_tokens=8, temperature=0, stream=True,
                stream_options={"include_usage": True},
            )
        )  # fmt: skip
        words = "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)
        assert words == (whole.choices[0].message.content or "")
        told = chunks[-1].usage
        assert told is not None
        assert (told.prompt_tokens, told.completion_tokens) == (
            whole.usage.prompt_tokens,
            whole.usage.completion_tokens,
        )
        schema: Any = {"type": "json_schema", "json_schema": {"name": "intent", "strict": True, "schema": INTENT}}
        held = asked.chat.completions.create(
            model=name, messages=ASKED, max_tokens=200, temperature=0, response_format=schema
        )
        assert json.loads(held.choices[0].message.content or "")["intent"] in ("refund", "delivery")
        tool: Any = {"type": "function", "function": {"name": "route", "description": "Routes.", "parameters": INTENT}}
        called = asked.chat.completions.create(
            model=name, messages=ASKED, max_tokens=300, temperature=0, tools=[tool], tool_choice="required"
        )
        [call] = called.choices[0].message.tool_calls or []
        assert call.type == "function"
        assert call.function.name == "route"
        assert json.loads(call.function.arguments)["intent"] in ("refund", "delivery")
