"""The whole way: a repository on a hub, pulled, verified, converted, compared, able to serve; and the estimate."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hub_files import config, gguf, safetensors
from hypothesis import given
from hypothesis import strategies as st
from pulling import Puller, hub_for

from freehold.errors import EngineError
from freehold.fake.hub import HubServer
from freehold.own.gguf import read_header
from freehold.own.weights.choose import Listed, is_pickle, label_of, pick
from freehold.own.weights.events import Done, Note
from freehold.own.weights.plan import Plan, Planned, estimate, refuse_full_disk
from freehold.own.weights.pull import look
from freehold.own.weights.reference import parse
from freehold.own.weights.store import Artefact, Source, Store, Version

NAME = "acme/tiny-llama"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    with hub_for(tmp_path, monkeypatch) as running:
        yield running


@pytest.fixture
def puller(tmp_path: Path) -> Puller:
    return Puller(tmp_path / "models")


@pytest.fixture
def llama(hub: HubServer, tiny_repo: Callable[..., Path]) -> dict[str, bytes]:
    """A tiny Llama, published."""
    pytest.importorskip("gguf", reason="gguf is not installed: pip install 'freehold[own]'")
    folder = tiny_repo("llama3", shards=True)
    files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    hub.add(NAME, dict(files))
    return files


async def test_safetensors_become_a_gguf_that_serves(hub: HubServer, puller: Puller, llama: dict[str, bytes]) -> None:
    version = await puller(NAME)
    original, converted = version.artefacts
    assert (original.format, original.verdict) == ("safetensors", "original")
    assert {name: puller.content(version, name) for name in original.files} == {
        name: content for name, content in llama.items() if name in original.files
    }
    assert {name for name in llama if name.endswith((".safetensors", ".json"))} <= set(original.files)
    assert (converted.format, converted.made, converted.of, converted.verdict) == (
        "gguf", "converted", original.id, "unverified",
    )  # fmt: skip
    assert puller.store.choose(version) == converted
    header = read_header(puller.store.model_path(version, converted))
    assert header.architecture == "llama"
    assert header.template
    assert puller.heard(Done)[-1].done == puller.heard(Done)[-1].total
    hub.seen.clear()
    assert await puller(NAME) == version
    assert not [seen for seen in hub.seen if seen.storage]


async def test_the_same_files_as_the_official_client_gets(
    hub: HubServer, puller: Puller, llama: dict[str, bytes], tmp_path: Path
) -> None:
    import huggingface_hub

    version = await puller(NAME)
    folder = Path(
        huggingface_hub.snapshot_download(NAME, endpoint=hub.url, local_dir=tmp_path / "official", token=False)
    )
    for name in version.artefacts[0].files:
        assert puller.content(version, name) == (folder / name).read_bytes()


async def test_a_quantisation_that_is_nowhere_is_made(hub: HubServer, puller: Puller, llama: dict[str, bytes]) -> None:
    version = await puller(f"{NAME}:Q8_0")
    assert [(one.quantisation, one.made) for one in version.artefacts[1:]] == [
        ("F32", "converted"),
        ("Q8_0", "quantised"),
    ]
    assert version.artefacts[2].of == version.artefacts[1].id
    with pytest.raises(EngineError) as caught:
        puller.store.choose(version, "Q8_0")
    assert caught.value.code == "unverified"
    assert puller.store.choose(version).quantisation == "F32"


async def test_what_is_made_passes_the_parity_gate_and_serves(
    hub: HubServer, puller: Puller, llama: dict[str, bytes], engine_needed: None
) -> None:
    version = await puller(f"{NAME}:Q8_0", check=True)
    assert [(one.quantisation, one.verdict) for one in version.artefacts[1:]] == [("F32", "passed"), ("Q8_0", "passed")]
    assert version.artefacts[2].evidence is not None
    assert puller.store.choose(version).quantisation == "Q8_0"


async def test_without_torch_a_conversion_serves_unverified(
    hub: HubServer, puller: Puller, llama: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("freehold.own.parity.original.missing", lambda: "the reference needs torch")
    version = await puller(NAME, check=True)
    assert puller.store.choose(version).verdict == "unverified"
    assert any("needs torch" in note.text and "freehold[reference]" in note.text for note in puller.heard(Note))


async def test_a_conversion_that_fails_the_gate_does_not_serve(
    hub: HubServer, puller: Puller, llama: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fails(store: Store, version: Version, artefact: Artefact, originals: object) -> Version:
        return store.judge(version.name, version.version, artefact.id, "quarantined", {"why": "a test"})

    monkeypatch.setattr("freehold.own.parity.gate.judge", fails)
    version = await puller(NAME, check=True)
    assert version.artefacts[1].verdict == "quarantined"
    assert any("does not say what its original says" in note.text for note in puller.heard(Note))
    with pytest.raises(EngineError) as caught:
        puller.store.choose(version, format="gguf")
    assert caught.value.code == "quarantined"


async def test_a_quantisation_that_nobody_can_make(hub: HubServer, puller: Puller) -> None:
    hub.add("acme/novel", {"config.json": config(), "model.safetensors": safetensors()})
    with pytest.raises(EngineError) as caught:
        await puller("acme/novel:IQ1_S")
    assert caught.value.code == "no_such_quantisation"
    assert "Q4_K_M" in (caught.value.hint or "")
    assert not [seen for seen in hub.seen if seen.storage]


async def test_a_repository_that_cannot_be_converted_leaves_the_store_as_it_was(
    hub: HubServer, puller: Puller, llama: dict[str, bytes]
) -> None:
    first = await puller(NAME)
    broken = json.loads(llama["config.json"])
    hub.add(NAME, {"config.json": json.dumps({**broken, "num_attention_heads": 7, "head_dim": 3}).encode()})
    with pytest.raises(EngineError) as caught:
        await puller(NAME)
    assert caught.value.code == "bad_weights"
    assert puller.store.find("tiny-llama") == first


async def test_both_kinds_in_one_repository(hub: HubServer, puller: Puller) -> None:
    hub.add("acme/both", {"both-Q8_0.gguf": gguf(), "config.json": config(), "model.safetensors": safetensors()})
    assert [one.quantisation for one in (await puller("acme/both")).artefacts] == ["Q8_0"]
    version = await puller("acme/both:safetensors", name="original")
    assert [one.format for one in version.artefacts] == ["safetensors"]


async def test_looking_fetches_nothing(hub: HubServer, puller: Puller) -> None:
    hub.add("acme/novel", {"config.json": config(), "model.safetensors": safetensors(50_000)})
    planning = await look("acme/novel", puller.store)
    assert planning.estimate.missing == planning.plan.size == len(config()) + len(safetensors(50_000))
    assert planning.estimate.disk == planning.estimate.missing + 2 * 50_000
    assert [row.quantisation for row in planning.estimate.rows] == ["Q4_K_M", "Q8_0", "F16"]
    assert not [seen for seen in hub.seen if "/resolve/" in seen.path]
    assert not puller.store.root.exists()


# The estimate


def planned(weights: int, **more: object) -> Plan:
    files = (Planned("m-Q8_0.gguf", "weights", weights),)
    return Plan(parse("acme/m"), Source("hub", "acme/m", "c", "http://h"), "gguf", "Q8_0", files, **more)  # type: ignore[arg-type]


def test_what_would_fit_is_said(tmp_path: Path) -> None:
    store = Store(tmp_path)
    others = {"Q4_K_M": 4 << 30, "Q2_K": 2 << 30, "F16": 16 << 30}
    found = estimate(planned(8 << 30, others=others), store, free=6 << 30)
    assert found.warning is not None
    assert "Q4_K_M would fit" in found.warning
    assert estimate(planned(8 << 30, others=others), store, free=16 << 30).warning is None
    hopeless = estimate(planned(8 << 30), store, free=1 << 30).warning
    assert hopeless is not None
    assert "no quantisation of it would" in hopeless


def test_a_full_disk_says_what_would_fit(tmp_path: Path) -> None:
    plan = planned(1 << 60, others={"Q2_K": 1 << 20})
    with pytest.raises(EngineError) as caught:
        refuse_full_disk(plan, estimate(plan, Store(tmp_path)), tmp_path)
    assert caught.value.code == "disk_full"
    assert "Q2_K would fit" in (caught.value.hint or "")


# Which files


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("Qwen3-8B-Q4_K_M.gguf", "Q4_K_M"),
        ("qwen2.5-7b-instruct-q4_k_m-00001-of-00002.gguf", "Q4_K_M"),
        ("Q8_0/Model-Q8_0-00001-of-00003.gguf", "Q8_0"),
        ("model.IQ2_XXS.gguf", "IQ2_XXS"),
        ("ggml-model-fp16.gguf", "F16"),
        ("gpt-oss-20b-mxfp4.gguf", "MXFP4"),
        ("Llama-4-Scout-UD-Q4_K_XL.gguf", "UD-Q4_K_XL"),
        ("BF16/model.gguf", "BF16"),
        ("mistral-7b.gguf", ""),
        ("F16-is-not-the-last-Q6_K.gguf", "Q6_K"),
    ],
)
def test_quantisations_in_names(name: str, label: str) -> None:
    assert label_of(name) == label


def listed(*names: str) -> list[Listed]:
    return [Listed(name, 10) for name in names]


@pytest.mark.parametrize(
    ("names", "wanted", "chosen"),
    [
        (["m-Q8_0.gguf", "m-Q4_K_M.gguf", "m-F16.gguf"], None, ["m-Q4_K_M.gguf"]),
        (["m-Q8_0.gguf", "m-F16.gguf"], None, ["m-Q8_0.gguf"]),
        (["m-IQ1_S.gguf"], None, ["m-IQ1_S.gguf"]),
        (["m.gguf"], None, ["m.gguf"]),
        (["m-Q8_0.gguf", "m-F16.gguf"], "f16", ["m-F16.gguf"]),
        (["m-UD-Q4_K_XL.gguf", "m-Q8_0.gguf"], "Q4_K_XL", ["m-UD-Q4_K_XL.gguf"]),
        (["a-Q8_0.gguf", "b-Q8_0.gguf"], "b-Q8_0.gguf", ["b-Q8_0.gguf"]),
        (["Q8_0/m-00002-of-00002.gguf", "Q8_0/m-00001-of-00002.gguf", "m-F16.gguf", "m-Q4_0-00001-of-00002.gguf"], None,
         ["Q8_0/m-00001-of-00002.gguf", "Q8_0/m-00002-of-00002.gguf"]),
        (["m-Q8_0.gguf", "imatrix-Q4_K_M.gguf"], None, ["m-Q8_0.gguf"]),
        (["config.json", "model.safetensors", "consolidated.safetensors", "original/model.safetensors"], None,
         ["config.json", "model.safetensors"]),
        (["config.json", "tokenizer.json", "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors",
          "model.safetensors.index.json", "optimizer.pt"], None,
         ["config.json", "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors",
          "model.safetensors.index.json", "tokenizer.json"]),
    ],
)  # fmt: skip
def test_which_files_are_taken(names: list[str], wanted: str | None, chosen: list[str]) -> None:
    assert [file.name for file in pick("acme/m", listed(*names), wanted).files] == chosen


@pytest.mark.parametrize(
    ("names", "wanted", "code"),
    [
        ([], None, "no_weights"),
        (["README.md"], None, "no_weights"),
        (["pytorch_model.bin", "config.json"], None, "pickle_refused"),
        (["m-Q8_0.gguf"], "Q4_0", "no_such_quantisation"),
        (["a-Q8_0.gguf", "b-Q8_0.gguf"], None, "ambiguous_weights"),
        (["model.safetensors"], None, "no_weights"),
        (["adapter_model.safetensors", "adapter_config.json"], None, "no_weights"),
        (["m-Q8_0-00001-of-00003.gguf"], None, "no_weights"),
    ],
)
def test_what_is_not_taken(names: list[str], wanted: str | None, code: str) -> None:
    with pytest.raises(EngineError) as caught:
        pick("acme/m", listed(*names), wanted)
    assert caught.value.code == code
    assert caught.value.hint


WORDS = st.sampled_from(
    [
        "m",
        "Q4_K_M",
        "q8_0",
        "F16",
        "mmproj",
        "model",
        "00001",
        "of",
        "00002",
        "config",
        "pytorch_model",
        "lora",
        "UD",
        "é",
    ]
)
NAMES = st.builds(
    lambda words, mark, end: mark.join(words) + end,
    st.lists(WORDS, min_size=1, max_size=6),
    st.sampled_from(["-", ".", "_", "/"]),
    st.sampled_from([".gguf", ".safetensors", ".json", ".bin", ".py", ".pt", "", ".safetensors.index.json"]),
)


@given(st.lists(NAMES, max_size=12), st.none() | WORDS)
def test_no_list_of_files_makes_us_take_a_pickle_or_code(names: list[str], wanted: str | None) -> None:
    try:
        choice = pick("acme/m", listed(*names), wanted)
    except EngineError:
        return
    taken = [file.name for file in choice.all]
    assert choice.files
    assert set(taken) <= set(names)
    assert not [name for name in taken if is_pickle(name) or name.endswith(".py")]
