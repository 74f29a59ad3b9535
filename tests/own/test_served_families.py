"""Every family the whole way: hub, pull, verify, convert, parity, then own/NAME of a gateway that runs already.

A hub on loopback serves tiny models of the family's own configuration class. The official `openai` client gets text,
a stream, a forced tool call and an answer by JSON schema. Most weights are random, so only the form of answers is
judged here; that they are the original's is what the pull has shown (verdict `passed`). Families with a form of answer
of their own have learnt one by heart (support/tiny_teach.py).

CI takes one family of each kind of converter; `make families` takes all and writes docs/families.md.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import openai
import pytest
import tiny_models
import tiny_teach
from openai.types.chat import ChatCompletion
from running import KEY, Running, clean_environment, started

from freehold.fake.hub import HubServer

PAGE = Path(__file__).parents[2] / "docs" / "families.md"
WRITE = os.environ.get("FREEHOLD_FAMILIES") == "all"
KINDS = ("llama3", "mistral", "qwen3_moe", "deepseek_v3", "gemma3", "falcon", "command_r", "gpt_oss", "phi3")
FAMILIES = tuple(tiny_models.FAMILIES) if WRITE else KINDS
HEAD = """# Model families that can be owned

Written by `make families`: for each family a tiny model of its own configuration class goes the whole way, from a hub
on loopback through `freehold pull` (download, hashes, conversion to GGUF, parity with transformers) to `own/NAME` of a
running gateway, where the official `openai` client gets text, a stream, an answer held to a JSON schema and a forced
tool call. Top-1: how often the converted model's likeliest token is the original's. KL: mean divergence, in nats.

Command R: llama.cpp b11549 takes the end of a turn for text. Freehold gives it that text as a stop sequence; a request
that names `stop` itself replaces it, and its answer held to JSON is refused then.

Published weights of these families have the same tensors and settings; none could be downloaded where this was run.

| family | architecture | model type | parameters | top-1 | KL | chat | stream | JSON schema | tool call |
|---|---|---|---|---|---|---|---|---|---|
"""
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
    rows: dict[str, str]
    """Lines of the support table, by family."""

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
        house = House(hub, folder, gateway, {})
        yield house
    if WRITE and house.rows.keys() == tiny_models.FAMILIES.keys():
        PAGE.write_text(HEAD + "".join(house.rows[family] for family in FAMILIES))


def client(house: House) -> openai.OpenAI:
    return openai.OpenAI(base_url=house.gateway.url + "/v1", api_key=KEY, max_retries=0, timeout=60)


def again(ask: Callable[[int], ChatCompletion]) -> ChatCompletion:
    """Asks anew, as the error's hint says, where llama.cpp's parser refuses blanks that its own grammar lets random
    weights put around JSON."""
    for seed in range(5):
        try:
            return ask(seed)
        except openai.InternalServerError as error:
            if error.code != "engine_answer":
                raise
    return ask(5)


def hold(asked: openai.OpenAI, name: str, schema: Any) -> None:
    """An answer held to a JSON schema, and a forced tool call."""
    held = again(
        lambda seed: asked.chat.completions.create(
            model=name, messages=ASKED, max_tokens=200, temperature=0.5, seed=seed, response_format=schema
        )
    )
    assert json.loads(held.choices[0].message.content or "")["intent"] in ("refund", "delivery")
    tool: Any = {"type": "function", "function": {"name": "route", "description": "Routes.", "parameters": INTENT}}
    called = again(
        lambda seed: asked.chat.completions.create(
            model=name, messages=ASKED, max_tokens=300, temperature=0.5, seed=seed, tools=[tool],
            tool_choice="required",
        )
    )  # fmt: skip
    [call] = called.choices[0].message.tool_calls or []
    assert call.type == "function"
    assert call.function.name == "route"
    assert json.loads(call.function.arguments)["intent"] in ("refund", "delivery")


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_from_the_hub_to_an_answer(family: str, house: House) -> None:
    # Tools told as indented JSON take four hundred of so small a vocabulary's tokens.
    repository = tiny_models.make(family, house.folder / "hub" / "tiny" / family, max_position_embeddings=1024)
    if family in tiny_teach.TAUGHT:
        tiny_teach.teach(repository, tiny_teach.TAUGHT[family])
    pulled = house.freehold("pull", f"tiny/{family}", "--json")
    assert pulled.returncode == 0, pulled.stderr
    shown = house.freehold("weights", "show", family, "--json")
    told = json.loads(shown.stdout)
    artefacts = {one["made"]: one for one in told["artefacts"]}
    verdicts = {made: one["verdict"] for made, one in artefacts.items()}
    assert verdicts == {"pulled": "original", "converted": "passed"}, shown.stdout
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
        counted = chunks[-1].usage
        assert counted is not None
        assert (counted.prompt_tokens, counted.completion_tokens) == (
            whole.usage.prompt_tokens,
            whole.usage.completion_tokens,
        )
        schema: Any = {"type": "json_schema", "json_schema": {"name": "intent", "strict": True, "schema": INTENT}}
        hold(asked, name, schema)
    figures = artefacts["converted"]["evidence"]["figures"]
    config = json.loads((repository / "config.json").read_text())
    house.rows[family] = (
        f"| {family} | {config['architectures'][0]} | {told['architecture']} | {told['parameters']:,} "
        f"| {figures['top1']:.1%} of {figures['positions']} | {figures['mean_kl']:.1e} "
        f"| yes | yes | yes | yes |\n"
    )


def test_the_page_names_every_family() -> None:
    rows = [line.split("|")[1].strip() for line in PAGE.read_text().splitlines() if line.startswith("| ")][1:]
    assert rows == list(tiny_models.FAMILIES)


def test_a_family_that_llama_cpp_does_not_know_is_served_by_transformers(house: House) -> None:
    """Weights that cannot be converted stay safetensors, and are served as they came."""
    from transformers import Olmo2Config, Olmo2ForCausalLM

    known = tiny_models.make("qwen2", house.folder / "known")
    repository = house.folder / "hub" / "tiny" / "olmo2"
    repository.mkdir(parents=True)
    for file in known.iterdir():
        if "token" in file.name or "chat" in file.name:
            shutil.copy(file, repository)
    told = json.loads((known / "config.json").read_text())
    end = told["eos_token_id"]
    config = Olmo2Config(
        vocab_size=told["vocab_size"], hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=256, eos_token_id=end if isinstance(end, int) else end[0],
        bos_token_id=None, pad_token_id=None,
    )  # fmt: skip
    Olmo2ForCausalLM(config).save_pretrained(repository)
    pulled = house.freehold("pull", "tiny/olmo2")
    assert pulled.returncode == 0, pulled.stderr
    with client(house) as asked:
        asked = asked.with_options(timeout=120)
        whole = asked.chat.completions.create(model="own/olmo2", messages=ASKED, max_tokens=4)
        assert whole.usage is not None
        chunks = list(asked.chat.completions.create(model="own/olmo2", messages=ASKED, max_tokens=4, stream=True))
        assert chunks[-1].choices[0].finish_reason in ("length", "stop")
