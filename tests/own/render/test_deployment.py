"""What is to run elsewhere is resolved: pinned weights, need, and no secret."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freehold.config.load import Loaded
from freehold.errors import ConfigError, EngineError
from freehold.own.render import Deployment, describe
from freehold.own.render.deployment import slug
from freehold.own.render.weights import volume_of
from freehold.own.weights.store import Artefact, Source, Store

Pulled = Callable[..., Deployment]


def test_pulled_weights_are_pinned_by_revision_and_hash(pulled: Pulled, tiny: Path) -> None:
    weights = pulled().weights
    assert [(file.name, file.size) for file in weights.files] == [("tiny-F32.gguf", tiny.stat().st_size)]
    file = weights.files[0]
    assert file.url == ("https://hub.example/acme/tiny/resolve/0123456789abcdef0123456789abcdef01234567/tiny-F32.gguf")
    assert len(file.sha256) == 64
    assert weights.entry == "tiny-F32.gguf"
    assert "acme/tiny" in weights.origin


def test_settings_of_the_entry_are_kept(pulled: Pulled) -> None:
    entry = {"context": 128, "parallel": 2, "threads": 3, "args": ["--flash-attn", "on"], "env": {"A": "1"}}
    found = pulled(entry)
    assert (found.context, found.parallel, found.cpus, found.threads) == (128, 2, 3, 3)
    assert found.args == ("--flash-attn", "on")
    assert found.env == {"A": "1"}
    assert found.gpus == 0
    assert pulled({"memory": "3GiB"}).memory == 3 << 30


@pytest.mark.parametrize(
    ("entry", "env"),
    [
        ({"env": {"HF_TOKEN": "anything"}}, {}),
        ({"env": {"MY_API_KEY": "anything"}}, {}),
        ({"env": {"PLAIN": "sk-0123456789abcdefgh"}}, {}),
        ({"env": {"PLAIN": "${FROM_OUTSIDE}"}}, {"FROM_OUTSIDE": "whatever"}),
    ],
)
def test_a_secret_variable_is_named_and_not_written(pulled: Pulled, entry: dict[str, Any], env: dict[str, str]) -> None:
    found = pulled(entry, env)
    assert found.secrets == tuple(entry["env"])
    assert found.env == {}


@pytest.mark.parametrize("arg", ["--api-key=abc", "--hf-token", "sk-0123456789abcdefgh", "${KEY}"])
def test_a_secret_on_the_command_line_is_refused(pulled: Pulled, arg: str) -> None:
    with pytest.raises(ConfigError, match="in clear") as caught:
        pulled({"args": [arg]}, {"KEY": "whatever"})
    assert "env" in (caught.value.hint or "")


def test_flags_that_only_sound_like_secrets_pass(pulled: Pulled) -> None:
    assert (
        pulled({"args": ["--tokenizer-mode", "auto", "--max-num-batched-tokens", "512"]}).args[0] == "--tokenizer-mode"
    )


def test_what_was_not_pulled_says_how(loaded: Callable[..., Loaded], tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="was not pulled") as caught:
        describe("m", loaded({"own": [{"name": "m", "pull": "acme/m:Q8_0"}]}), Store(tmp_path / "models"))
    assert caught.value.hint == "freehold pull acme/m:Q8_0"


def test_what_was_made_here_cannot_be_fetched(loaded: Callable[..., Loaded], tmp_path: Path, tiny: Path) -> None:
    store = Store(tmp_path / "models")
    with store.hold("test") as hold:
        made = Artefact(
            "gguf-F32", "gguf", "F32", {"a.gguf": store.copy_in(hold, tiny)}, made="converted", verdict="passed"
        )
        store.add("made", source=Source("hub", "acme/made", "abc"), artefacts=(made,))
    assert describe("made", loaded({}), store).weights.files == ()


@pytest.mark.parametrize(
    ("source", "url"),
    [
        (Source("url", "https://files.example/a.gguf", None), "https://files.example/a.gguf"),
        (Source("ollama", "ollama:acme/m:7b", "sha256:1"), "https://registry.ollama.ai/v2/acme/m/blobs/sha256:"),
        (Source("ollama", "ollama:m", "sha256:1"), "https://registry.ollama.ai/v2/library/m/blobs/sha256:"),
        (Source("folder", "/somewhere", None), None),
    ],
)
def test_each_source_has_its_url(
    source: Source, url: str | None, loaded: Callable[..., Loaded], tmp_path: Path, tiny: Path
) -> None:
    store = Store(tmp_path / "models")
    with store.hold("test") as hold:
        store.add(
            "m", source=source, artefacts=(Artefact("gguf-F32", "gguf", "F32", {"a.gguf": store.copy_in(hold, tiny)}),)
        )
    files = describe("m", loaded({}), store).weights.files
    assert (files[0].url.startswith(url) if url else not files) is True


def test_a_hub_on_this_machine_is_no_hub_for_others(loaded: Callable[..., Loaded], tmp_path: Path, tiny: Path) -> None:
    store = Store(tmp_path / "models")
    with store.hold("test") as hold:
        held = {"a.gguf": store.copy_in(hold, tiny)}
        source = Source("hub", "acme/m", "abc", "http://127.0.0.1:9999")
        store.add("m", source=source, artefacts=(Artefact("gguf-F32", "gguf", "F32", held),))
    assert describe("m", loaded({}), store).weights.private == ["127.0.0.1"]


def test_an_engine_reads_its_own_format(loaded: Callable[..., Loaded], store: Store, tiny: Path, folder: Path) -> None:
    one = loaded({"own": [{"path": str(tiny)}]})
    with pytest.raises(EngineError, match="reads safetensors"):
        describe("tiny", one, store, engine="vllm")
    two = loaded({"own": [{"path": str(folder)}]})
    assert describe("folder", two, store, engine="vllm").weights.entry == ""
    with pytest.raises(EngineError, match="reads gguf"):
        describe("folder", two, store)


def test_engines_that_cannot_move_are_refused(loaded: Callable[..., Loaded], store: Store) -> None:
    with pytest.raises(EngineError, match="runs in ollama") as caught:
        describe("x", loaded({"own": [{"name": "x", "engine": "ollama"}]}), store)
    assert "vllm" in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("args", "gpus"),
    [([], 1), (["--tensor-parallel-size", "4"], 4), (["--tensor-parallel-size=2", "-pp", "2"], 4)],
)
def test_gpus_are_what_the_arguments_say(
    args: list[str], gpus: int, loaded: Callable[..., Loaded], store: Store, folder: Path
) -> None:
    config = loaded({"own": [{"path": str(folder), "engine": "vllm", "args": args}]})
    assert describe("folder", config, store).gpus == gpus
    assert describe("folder", config, store, gpus=7).gpus == 7


@given(st.text(alphabet=st.sampled_from("abzAZ019._:/+-@ é"), min_size=1, max_size=120))
def test_a_slug_is_a_dns_label(name: str) -> None:
    made = slug(name)
    assert 1 <= len(made) <= 50
    assert made.isascii()
    assert made[0].isalpha()
    assert made[-1] != "-"
    assert set(made) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")


@pytest.mark.parametrize("text", ["s3://a/b", "pvc://", "pvc://UP/x", "pvc://a/../b", "models"])
def test_a_volume_is_written_one_way(text: str) -> None:
    with pytest.raises(EngineError, match="is no volume"):
        volume_of(text, "--weights")


def test_a_volume_names_claim_and_folder() -> None:
    assert (volume_of("pvc://models/a/b/", "--weights").claim, volume_of("pvc://models/a/b/", "").folder) == (
        "models",
        "a/b",
    )
