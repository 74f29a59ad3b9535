import os
from collections.abc import Callable
from pathlib import Path

import pytest

from freehold.config.load import load
from freehold.config.schema import Canary, Config, Owned, OwnedAdapter
from freehold.errors import ConfigError
from freehold.own import stock
from freehold.own.catalog import BOX, box_file, engine_specs, reasons, served, unpulled
from freehold.own.engine import EngineSpec, Lora
from freehold.own.weights.origin import note
from freehold.own.weights.reference import parse
from freehold.own.weights.store import Artefact, Source, Store
from freehold.own.weights.types import Verdict


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FREEHOLD_HOME", str(tmp_path / "home"))


def config(*owned: Owned) -> Config:
    return Config(own=list(owned), box=False)


@pytest.fixture
def here(tmp_path: Path, tiny: Path) -> Path:
    """A folder with freehold.yaml's place and one model; returns the configuration's path."""
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "tiny.gguf").write_bytes(tiny.read_bytes())
    return tmp_path / "freehold.yaml"


def test_a_path_is_relative_to_the_configuration(here: Path) -> None:
    (spec,) = engine_specs(config(Owned(path="models/tiny.gguf")), here)
    assert (spec.name, spec.path) == ("tiny", here.parent / "models" / "tiny.gguf")
    assert (spec.context, spec.parallel, spec.threads, spec.gpu_layers) == (512, 4, None, 0)


def test_settings_are_carried(here: Path) -> None:
    owned = Owned(path="models/tiny.gguf", name="mine", context=256, parallel=2, threads=1, gpu_layers=3)
    (spec,) = engine_specs(config(owned), here)
    assert (spec.name, spec.context, spec.parallel, spec.threads, spec.gpu_layers) == ("mine", 256, 2, 1, 3)


def test_the_home_folder(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(here.parent))
    (spec,) = engine_specs(config(Owned(path="~/models/tiny.gguf")), None)
    assert spec.path == here.parent / "models" / "tiny.gguf"


def test_a_replaced_file_is_a_changed_spec(here: Path, make_gguf: Callable[..., Path]) -> None:
    before = engine_specs(config(Owned(path="models/tiny.gguf")), here)
    assert engine_specs(config(Owned(path="models/tiny.gguf")), here) == before
    (here.parent / "models" / "tiny.gguf").write_bytes(make_gguf(context=1024).read_bytes())
    after = engine_specs(config(Owned(path="models/tiny.gguf")), here)
    assert after != before
    assert after[0].context == 1024


def test_a_long_context_is_not_taken_unasked(here: Path, make_gguf: Callable[..., Path]) -> None:
    (spec,) = engine_specs(config(Owned(path=str(make_gguf(context=131072)))), here)
    assert spec.context == 8192


def mistake(here: Path, *owned: Owned) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        engine_specs(config(*owned), here)
    assert caught.value.where == str(here)
    assert caught.value.hint
    return caught.value


def test_a_missing_file_names_its_neighbours(here: Path) -> None:
    error = mistake(here, Owned(path="models/tini.gguf"))
    assert error.key == "own[0].path"
    assert "No such file" in error.message
    assert error.hint == "that folder holds tiny.gguf"


def test_a_missing_folder(here: Path) -> None:
    assert "relative to the folder" in (mistake(here, Owned(path="nowhere/x.gguf")).hint or "")


def test_a_folder_without_a_model_in_it(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert mistake(here, Owned(path="models", engine="transformers")).key == "own[0].path"
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    error = mistake(here, Owned(path="models"))
    assert "llama.cpp cannot read" in error.message
    assert "freehold pull" in (error.hint or "")


def test_an_engine_that_does_not_read_the_format(here: Path) -> None:
    error = mistake(here, Owned(path="models/tiny.gguf", engine="vllm"))
    assert error.key == "own[0].engine"
    assert "engine vllm reads" in error.message


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_an_unreadable_file(here: Path) -> None:
    (here.parent / "models" / "tiny.gguf").chmod(0)
    assert mistake(here, Owned(path="models/tiny.gguf")).hint == "check its permissions"


def test_not_a_gguf(here: Path) -> None:
    (here.parent / "x.safetensors").write_bytes(bytes(100))
    error = mistake(here, Owned(path="models/tiny.gguf"), Owned(path="x.safetensors"))
    assert error.key == "own[1].path"
    assert "not a GGUF file" in error.message
    assert "give the folder with its config.json" in (error.hint or "")


def test_a_name_used_twice(here: Path) -> None:
    error = mistake(here, Owned(path="models/tiny.gguf"), Owned(path="models/tiny.gguf"))
    assert error.message.startswith("own/tiny is already ")


def test_more_context_than_the_model_has(here: Path) -> None:
    error = mistake(here, Owned(path="models/tiny.gguf", context=4096))
    assert (error.key, error.hint) == ("own[0].context", "context: 512")


def test_an_unknown_user_folder(here: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        engine_specs(config(Owned(path="~no-such-user-here/x.gguf")), here)
    assert caught.value.hint


@pytest.mark.skipif(box_file() is None, reason="this checkout has no model in the box")
def test_the_model_in_the_box() -> None:
    (spec,) = engine_specs(Config(), None)
    assert spec.name == BOX
    assert engine_specs(Config(box=False), None) == []


def test_what_is_broken_can_be_left_out_and_told(here: Path) -> None:
    broken: list[ConfigError] = []
    specs = engine_specs(config(Owned(path="models/gone.gguf"), Owned(path="models/tiny.gguf")), here, broken)
    assert [spec.name for spec in specs] == ["tiny"]
    assert [error.key for error in broken] == ["own[0].path"]


def test_a_mistake_names_its_line(here: Path) -> None:
    here.write_text("box: false\nown:\n  - path: models/tiny.gguf\n  - path: models/gone.gguf\n")
    loaded = load(here, {})
    with pytest.raises(ConfigError) as caught:
        engine_specs(loaded.config, loaded.path, sources=loaded.sources)
    assert caught.value.where == f"{here}:4:11"


# The store


def put(store: Store, name: str, file: Path, revision: str) -> None:
    with store.hold("test") as hold:
        ref = store.copy_in(hold, file)
        store.add(
            name,
            source=Source("hub", f"org/{name}", revision),
            artefacts=(Artefact("gguf-F32", "gguf", "F32", {"model.gguf": ref}),),
            architecture="llama",
            context=256,
            template=True,
        )


@pytest.fixture
def store(tmp_path: Path, make_gguf: Callable[..., Path]) -> Store:
    store = Store(tmp_path / "models")
    put(store, "pulled", make_gguf(), "r1")
    put(store, "pulled", make_gguf(layers=1), "r2")
    put(store, "other", make_gguf(layers=3), "r1")
    return store


def specs_of(store: Store, *own: Owned, broken: list[ConfigError] | None = None) -> dict[str, EngineSpec]:
    found = engine_specs(Config(own=list(own), box=False), None, broken, store=store)
    return {spec.name: spec for spec in found}


def test_what_was_pulled_is_served_on_demand(store: Store) -> None:
    found = specs_of(store)
    assert set(found) == {"pulled", "pulled@v1", "other"}
    assert {spec.load for spec in found.values()} == {"demand"}
    assert found["pulled"].weights == "pulled@v2/gguf-F32"
    assert found["pulled@v1"].weights == "pulled@v1/gguf-F32"
    assert found["pulled"].context == 256
    names = served(found.values())
    assert names["pulled@v2"].engine == "pulled", "the version in force is no second engine"
    assert {name for name, one in names.items() if one.listed} == {"pulled", "other"}


def test_an_entry_changes_how_it_is_run(store: Store) -> None:
    found = specs_of(store, Owned(name="pulled", version="v1", parallel=9, context=64))
    assert (found["pulled"].weights, found["pulled"].load) == ("pulled@v1/gguf-F32", "start")
    assert (found["pulled"].parallel, found["pulled"].context) == (9, 64)
    assert (found["pulled@v2"].parallel, found["pulled@v2"].load) == (9, "demand")
    assert set(found) == {"pulled", "pulled@v2", "other"}


def test_a_canary_is_loaded_as_the_model_is(store: Store) -> None:
    found = specs_of(store, Owned(name="pulled", canary=Canary(version="v1")))
    assert (found["pulled"].load, found["pulled@v1"].load) == ("start", "start")
    again = specs_of(store, Owned(name="pulled", canary=Canary(version="v2")))
    assert again["pulled@v1"].load == "demand", "the version in force is no canary"


def test_what_is_not_there_says_how_to_get_it(store: Store) -> None:
    with pytest.raises(ConfigError) as caught:
        specs_of(store, Owned(name="missing"))
    assert "freehold pull" in (caught.value.hint or "")
    with pytest.raises(ConfigError) as caught:
        specs_of(store, Owned(name="pulled", version="v9"))
    assert caught.value.hint == "v1, v2"
    wanted = [Owned(pull="org/model:Q4_K_M"), Owned(pull="org/pulled")]
    assert set(specs_of(store, *wanted)) == {"pulled", "pulled@v1", "other"}
    config = Config(own=wanted)
    assert unpulled(config, store) == {"model": "org/model:Q4_K_M"}, "freehold up pulls it"


def quantised(store: Store, file: Path, verdict: Verdict, name: str = "pulled", label: str = "Q8_0") -> None:
    with store.hold("test") as hold:
        ref = store.copy_in(hold, file)
        found = Artefact(f"gguf-{label}", "gguf", label, {f"{label}.gguf": ref}, "quantised", "gguf-F32", verdict)
        store.attach(name, store.current(name), found)


@pytest.mark.parametrize(
    ("reference", "version", "pull"),
    [
        ("org/pulled", "v2", None),
        ("org/pulled@r2", "v2", None),
        ("org/pulled@r1", "v1", None),
        ("org/pulled:F32", "v2", None),
        ("org/pulled:f32", "v2", None),
        ("org/pulled:fp32", "v2", None),
        ("org/pulled:gguf", "v2", None),
        ("org/pulled:model.gguf", "v2", None),
        ("org/pulled:Q8_0", None, "org/pulled:Q8_0"),
        ("org/pulled@r3", None, "org/pulled@r3"),
        ("other/pulled", None, "other/pulled"),
    ],
)
def test_an_entry_serves_what_its_reference_names_or_has_it_pulled(
    store: Store, reference: str, version: str | None, pull: str | None
) -> None:
    entry = Owned(pull=reference, name="pulled")
    assert unpulled(Config(own=[entry]), store) == ({"pulled": pull} if pull else {})
    found = specs_of(store, entry)
    if version is None:
        assert "pulled" not in found, "something else would be served"
        assert set(found) == {"pulled@v1", "pulled@v2", "other"}
    else:
        assert found["pulled"].weights == f"pulled@{version}/gguf-F32"
        assert set(found) == {"pulled", "pulled@v1" if version == "v2" else "pulled@v2", "other"}


def test_a_reference_that_was_found_to_mean_a_version_is_known_by_it(store: Store) -> None:
    entry = Owned(pull="org/pulled@stable", name="pulled")
    assert unpulled(Config(own=[entry]), store)
    note(store, store.find("pulled@v1"), parse("org/pulled@stable"))
    assert unpulled(Config(own=[entry]), store) == {}
    assert specs_of(store, entry)["pulled"].weights == "pulled@v1/gguf-F32"


def test_a_quantisation_beside_the_reference_wins(store: Store, make_gguf: Callable[..., Path]) -> None:
    quantised(store, make_gguf(layers=2), "passed")
    for entry in (
        Owned(pull="org/pulled:Q8_0"),
        Owned(pull="org/pulled:F32", quantisation="Q8_0"),
        Owned(pull="org/pulled", quantisation="q8_0"),
    ):
        assert unpulled(Config(own=[entry]), store) == {}
        found = specs_of(store, entry)
        assert found["pulled"].weights == "pulled@v2/gguf-Q8_0"
        assert found["pulled@v1"].weights == "pulled@v1/gguf-F32", "another version serves what it has"
    entry = Owned(pull="org/pulled:Q8_0", quantisation="Q4_K_M")
    assert unpulled(Config(own=[entry]), store) == {"pulled": "org/pulled:Q4_K_M"}


@pytest.mark.parametrize(("verdict", "why"), [("quarantined", "failed the parity check"), ("unverified", "not passed")])
@pytest.mark.parametrize("entry", [Owned(pull="org/pulled:Q8_0"), Owned(name="pulled", quantisation="Q8_0")])
def test_what_was_asked_for_and_may_not_serve_is_an_error_that_says_so(
    store: Store, make_gguf: Callable[..., Path], entry: Owned, verdict: Verdict, why: str
) -> None:
    quantised(store, make_gguf(layers=2), verdict)
    assert unpulled(Config(own=[entry]), store) == {}
    with pytest.raises(ConfigError, match=f"Q8_0 may not serve: .*{why}"):
        specs_of(store, entry)
    broken: list[ConfigError] = []
    assert set(specs_of(store, entry, broken=broken)) == {"pulled@v1", "pulled@v2", "other"}
    assert why in reasons(Config(own=[entry]), broken)["pulled"]


def test_what_a_record_says_is_read_once(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = Owned(pull="org/pulled:Q8_0")
    assert unpulled(Config(own=[entry]), store)
    monkeypatch.setattr(stock, "pulled", None)
    assert unpulled(Config(own=[entry]), store)


def test_a_folder_that_is_gone_stops_nothing(store: Store) -> None:
    entry = Owned(pull="./gone", name="pulled")
    assert unpulled(Config(own=[entry]), store) == {}
    assert specs_of(store, entry)["pulled"].weights == "pulled@v2/gguf-F32"


def test_lora_weights_are_names_of_their_own(store: Store) -> None:
    found = specs_of(store, Owned(name="other", adapters=[OwnedAdapter(name="polite", path="/x/polite.gguf")]))
    assert found["other"].adapters == (Lora("polite", Path("/x/polite.gguf")),)
    assert served(found.values())["polite"].engine == "other"


def test_a_damaged_record_stops_nobody_else(store: Store) -> None:
    for record in (store.root / "records").glob("*other*/*.json"):
        record.write_bytes(b"{")
    stock._stocked.cache_clear()
    assert set(specs_of(store, broken=[])) == {"pulled", "pulled@v1"}
