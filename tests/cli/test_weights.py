"""`freehold weights`: what it prints where, what it removes, what it refuses, and its exit status."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from made_weights import add, artefact, checkpoint, gguf_bytes
from msgspec import to_builtins

from freehold.cli import main
from freehold.own.parity.compare import Check, Figures, Report
from freehold.own.parity.limits import limits
from freehold.own.weights.store import Source, Store, open_store


@pytest.fixture
def store(home: Path) -> Store:
    return open_store()


def weights(*words: str, stdin: bytes | None = None) -> Result:
    return CliRunner().invoke(main, ["weights", *words], input=stdin)


def answer(*words: str) -> Any:
    result = weights(*words, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def error(result: Result) -> dict[str, Any]:
    assert result.exit_code == 1
    assert result.stdout == ""
    told: dict[str, Any] = json.loads(result.stderr)["error"]
    return told


def test_an_empty_store(store: Store) -> None:
    result = weights("list")
    assert result.exit_code == 0
    assert "freehold pull ORG/NAME" in result.stderr
    assert answer("list") == []
    assert answer("verify") == {"bytes": 0, "damaged": []}
    assert answer("gc")["bytes"] == 0


def test_list(store: Store) -> None:
    add(store, licence="mit", parameters=8_030_000_000, architecture="llama")
    add(
        store,
        files={"tiny.gguf": gguf_bytes(kind=8)},
        quantisation="Q8_0",
        source=Source("url", "https://example.test/x"),
    )
    store.pin("tiny")
    (row,) = answer("list")
    assert (row["name"], row["version"], row["current"], row["pinned"]) == ("tiny", "v2", True, True)
    assert row["artefacts"] == [
        {"id": "gguf-Q8_0", "format": "gguf", "quantisation": "Q8_0", "verdict": "original", "made": "pulled"}
    ]
    assert row["size"] == len(gguf_bytes(kind=8))
    rows = answer("list", "--all")
    assert [one["version"] for one in rows] == ["v1", "v2"]
    text = weights("list", "--all").stdout
    assert "v1 (old)" in text
    assert "8.03B" in text
    assert "ready; pinned" in text


def test_a_damaged_record_does_not_hide_the_others(store: Store) -> None:
    add(store)
    add(store, "sound", {"x.gguf": gguf_bytes(seed=2)})
    (store.places.records / "tiny" / "v1.json").write_bytes(b"{")
    result = weights("list", "--json")
    assert result.exit_code == 0
    assert [row["name"] for row in json.loads(result.stdout)] == ["sound"]
    assert "the record is damaged" in result.stderr
    assert weights("verify").exit_code == 1


def test_show(store: Store) -> None:
    add(
        store,
        files=checkpoint(),
        quantisation="BF16",
        licence="apache-2.0",
        architecture="llama",
        parameters=80,
        context=512,
    )
    shown = answer("show", "own/tiny")
    assert (shown["architecture"], shown["parameters"], shown["context"]) == ("llama", 80, 512)
    assert (shown["chat_template"], shown["end_tokens"]) == ("{{ messages }}", [1])
    assert shown["artefacts"][0]["verdict"] == "original"
    assert shown["memory"]["context"] == 512
    needs = {one["quantisation"]: one for one in shown["memory"]["by_quantisation"]}
    assert set(needs) == {"BF16", "F16", "Q8_0", "Q4_K_M"}
    assert needs["BF16"]["artefact"] == "safetensors-BF16"
    assert needs["F16"]["cache"] == 512 * 2 * 2 * 2 * 16 * 2
    assert answer("show", "tiny", "--context", "1")["memory"]["by_quantisation"][0]["cache"] == 2 * 2 * 2 * 16 * 2
    text = weights("show", "tiny").stdout
    for part in ("own/tiny", "apache-2.0", "14 characters", "safetensors-BF16", "no, estimated"):
        assert part in text


def test_show_tells_why_something_may_not_serve(store: Store) -> None:
    with store.hold("test") as hold:
        made = artefact(store, hold, {"x.gguf": gguf_bytes()}, made="quantised", verdict="unverified")
        store.add("tiny", source=Source("made", "tiny"), artefacts=(made,))
    assert "has not passed the parity check" in weights("show", "tiny").stdout
    found = Report(
        passed=False, quantisation="Q8_0", original="transformers", artefact="llama.cpp",
        checks=[Check("top-1", False, "61.0 %, at least 95 %")],
        figures=Figures(10, 0.002, 0.01, 1.0, 1.0), limits=limits("Q8_0"), findings=[],
    )  # fmt: skip
    store.judge("tiny", "v1", made.id, "quarantined", to_builtins(found))
    result = weights("show", "tiny")
    assert "it failed the parity check" in result.stdout
    assert "61.0 %, at least 95 %" in result.stdout
    assert "'" not in result.stdout, "a table, not a dictionary"
    store.judge("tiny", "v1", made.id, "quarantined", {"top1": 0.1})
    assert "--json prints what it found" in weights("show", "tiny").stderr
    assert "may not serve" in weights("list").stdout


def test_the_template_alone(store: Store) -> None:
    add(store)
    assert weights("show", "tiny", "--template").stdout == "{{ messages }}\n"


def test_a_name_that_is_not_there(store: Store) -> None:
    add(store)
    for words in (("show", "tyny"), ("rm", "tyny"), ("verify", "tyny"), ("pin", "tyny"), ("export", "tyny")):
        told = error(weights(*words, "--json"))
        assert (told["code"], told["hint"]) == ("no_such_model", "did you mean tiny?")
    assert error(weights("show", "../x", "--json"))["code"] == "bad_name"
    result = weights("show", "tyny")
    assert "error: there are no weights named 'tyny'" in result.stderr
    assert "hint: did you mean tiny?" in result.stderr


def test_verify(store: Store) -> None:
    version = add(store)
    assert weights("verify").exit_code == 0
    path = store.model_path(version, version.artefacts[0])
    path.chmod(0o644)
    os.truncate(path, 100)
    result = weights("verify")
    assert result.exit_code == 1
    assert "tiny@v1" in result.stdout
    assert "has 100 bytes instead of" in result.stdout
    assert "hint: freehold pull org/tiny gets it again" in result.stderr
    result = weights("verify", "tiny", "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["damaged"][0]["problem"] == "damaged"


def test_rm_and_gc(store: Store) -> None:
    add(store)
    assert answer("rm", "tiny") == [{"removed": "tiny", "bytes": len(gguf_bytes()), "kept_for": []}]
    assert store.names() == []
    with store.hold("pull") as hold, store.incoming(hold, key="x") as file:
        file.write(b"half")
    assert answer("gc") == {"blobs": 0, "bytes": 4, "trees": 0, "partial": 1, "kept_for": []}


def test_what_is_in_use_is_said(store: Store) -> None:
    version = add(store)
    with store.hold("engine own/tiny") as hold:
        store.use(hold, version, version.artefacts[0])
        result = weights("rm", "tiny")
    assert "in use, and therefore kept: engine own/tiny" in result.stderr
    assert "hint: freehold weights gc" in result.stderr


def test_pins(store: Store) -> None:
    add(store)
    assert answer("pin", "tiny")["pinned"] == "tiny@v1"
    told = error(weights("rm", "tiny", "--json"))
    assert told["code"] == "pinned"
    assert "--force" in told["hint"]
    assert answer("unpin", "tiny") == {"unpinned": ["tiny@v1"]}
    assert weights("rm", "tiny").exit_code == 0


def test_export_and_import(store: Store, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add(store)
    told = answer("export", "tiny")
    assert (told["exported"], told["file"]) == ("tiny@v1", "tiny-v1.tar")
    assert error(weights("export", "tiny", "--json"))["code"] == "file_exists"
    assert weights("export", "tiny", "--force").exit_code == 0
    monkeypatch.setenv("FREEHOLD_HOME", str(home.with_name("elsewhere")))
    assert answer("import", "tiny-v1.tar", "--name", "mine")["model"] == "own/mine"
    assert open_store().names() == ["mine"]
    assert weights("verify").exit_code == 0


def test_through_a_pipe(store: Store, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add(store)
    out = CliRunner().invoke(main, ["weights", "export", "tiny", "-o", "-"]).stdout_bytes
    monkeypatch.setenv("FREEHOLD_HOME", str(home.with_name("elsewhere")))
    result = weights("import", "-", stdin=out)
    assert result.exit_code == 0
    assert "asked for as own/tiny" in result.stderr


def test_a_failed_export_leaves_nothing(store: Store, tmp_path: Path) -> None:
    version = add(store)
    store.blob(version.artefacts[0].files["tiny.gguf"].sha256).unlink()
    assert error(weights("export", "tiny", "-o", "x.tar", "--json"))["code"] == "weights_missing"
    assert not list(tmp_path.glob("*x.tar*"))


def test_import_of_anything_else(store: Store, tmp_path: Path) -> None:
    (tmp_path / "x.tar").write_bytes(b"no tar" * 200)
    assert error(weights("import", "x.tar", "--json"))["code"] == "bad_bundle"
    assert weights("import", "none.tar").exit_code == 2


def test_code_in_a_bundle_needs_a_word(store: Store, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add(store, files=checkpoint() | {"modeling_x.py": b"1"}, remote_code=True)
    weights("export", "tiny")
    monkeypatch.setenv("FREEHOLD_HOME", str(home.with_name("elsewhere")))
    told = error(weights("import", "tiny-v1.tar", "--json"))
    assert told["code"] == "remote_code_refused"
    assert "--remote-code" in told["hint"]
    assert weights("import", "tiny-v1.tar", "--remote-code").exit_code == 0


def test_a_pinned_version_stays_current_after_an_import(store: Store) -> None:
    add(store)
    weights("export", "tiny")
    add(store, "mine", {"x.gguf": gguf_bytes(seed=7)})
    store.pin("mine")
    result = weights("import", "tiny-v1.tar", "--name", "mine")
    assert result.exit_code == 0
    assert "mine@v1 is pinned and stays the current version" in result.stderr


def test_an_old_version_is_pinned_without_becoming_current(store: Store) -> None:
    add(store)
    add(store, files={"tiny.gguf": gguf_bytes(kind=8)}, quantisation="Q8_0", source=Source("url", "https://a.test/x"))
    result = weights("pin", "tiny@v1")
    assert "pinned tiny@v1" in result.stderr
    assert "own/tiny is v2 as before" in result.stderr
    assert "freehold deploy tiny@v1" in result.stderr
    assert store.current("tiny") == "v2"
    assert "--force" in error(weights("rm", "tiny@v1", "--json"))["hint"]
    add(store, files={"tiny.gguf": gguf_bytes(seed=9)}, source=Source("url", "https://a.test/y"))
    assert store.current("tiny") == "v3", "the current version is not pinned, so a pull replaces it"


def test_unpin_names_what_was_unpinned_and_nothing_else(store: Store) -> None:
    add(store)
    add(store, files={"tiny.gguf": gguf_bytes(kind=8)}, quantisation="Q8_0", source=Source("url", "https://a.test/x"))
    assert answer("pin", "tiny@v1")["current"] is False
    assert answer("unpin", "tiny@v2") == {"unpinned": []}
    assert answer("unpin", "tiny") == {"unpinned": ["tiny@v1"]}
    assert store.pins("tiny") == {}
    assert "tiny was not pinned" in weights("unpin", "tiny").stderr


def test_names_are_completed(store: Store) -> None:
    add(store)
    from freehold.cli.weights import _names

    assert [item.value for item in _names(None, None, "ti")] == ["tiny"]  # type: ignore[arg-type]
