"""The store: versions by name, chosen, pinned, shared by processes, and as it was after every failure."""

import errno
import hashlib
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_weights import SOURCE, add, artefact, checkpoint, gguf_bytes, listing, put
from msgspec import structs

from freehold.errors import EngineError
from freehold.own.weights import blobs
from freehold.own.weights.store import Artefact, FileRef, Source, Store, split_name
from freehold.own.weights.types import check_file_name, folder_name, model_name

Q8 = {"tiny.gguf": gguf_bytes(kind=8)}


def refused(code: str) -> Any:
    return pytest.raises(EngineError, check=lambda error: error.code == code)


# names


def test_a_store_that_was_never_written_has_nothing_and_makes_nothing(store: Store) -> None:
    assert store.names() == []
    assert store.everything() == []
    assert store.changed() == (0, 0)
    assert store.verify() == []
    with refused("no_such_model"):
        store.find("tiny")
    assert not store.root.exists()


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "", ".", "..", "a b", "a\0b", "-x", "x" * 201, "a@b", "é"])
def test_names_that_could_lead_elsewhere_are_refused(store: Store, name: str) -> None:
    with refused("bad_name"):
        store.add(name, source=SOURCE, artefacts=())
    for ask in (store.find, store.current, store.remove, store.pin):
        with refused("bad_name"):
            ask(name)


@given(st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._:/+-]{0,40}", fullmatch=True))
def test_every_name_has_one_folder_of_its_own(name: str) -> None:
    folder = folder_name(name)
    assert model_name(folder) == name
    assert "/" not in folder
    assert folder not in (".", "..")


def test_a_name_with_a_slash(store: Store) -> None:
    version = add(store, "org/tiny:1b")
    assert store.names() == ["org/tiny:1b"]
    assert store.find("own/org/tiny:1b@v1") == version
    assert store.model_path(version, version.artefacts[0]).is_file()


@pytest.mark.parametrize(("text", "parts"), [("a", ("a", None)), ("own/a@v12", ("a", "v12"))])
def test_split_name(text: str, parts: tuple[str, str | None]) -> None:
    assert split_name(text) == parts


@pytest.mark.parametrize("text", ["a@3", "a@v0", "a@", "a@v1@v2", "a@main"])
def test_a_version_is_v_and_a_number(text: str) -> None:
    with refused("bad_name"):
        split_name(text)


@given(st.text(max_size=60) | st.lists(st.sampled_from(["..", ".", "", "a", "~", "b.gguf", ".git"])).map("/".join))
def test_a_file_name_that_passes_stays_in_its_folder(name: str) -> None:
    try:
        check_file_name(name)
    except EngineError:
        return
    assert os.path.normpath(f"/root/{name}") == f"/root/{name}"


@pytest.mark.parametrize(
    "name", ["../x", "/x", "a/../../x", "a//b", ".x", "a/.git/x", "a\\b", "a\nb", "x" * 300, "~/x"]
)
def test_file_names_that_lead_elsewhere_never_get_in(store: Store, name: str) -> None:
    with store.hold("test") as hold:
        ref = put(store, hold, gguf_bytes())
        with refused("bad_file_name"):
            store.add("tiny", source=SOURCE, artefacts=(Artefact("x", "gguf", "F32", {name: ref}),))
    assert store.names() == []


# versions


def test_other_content_is_another_version_and_becomes_current(store: Store) -> None:
    first = add(store)
    before = store.changed()
    second = add(store, files={"tiny.gguf": gguf_bytes(seed=1)}, source=structs.replace(SOURCE, revision="f" * 40))
    assert (first.version, second.version) == ("v1", "v2")
    assert store.find("tiny") == second
    assert store.find("tiny@v1") == first
    assert store.versions("tiny") == [first, second]
    assert store.everything() == [second]
    assert store.changed() != before


def test_the_same_content_is_no_new_version(store: Store) -> None:
    first = add(store)
    add(store, files={"tiny.gguf": gguf_bytes(seed=1)}, source=structs.replace(SOURCE, revision="f" * 40))
    again = add(store, source=structs.replace(SOURCE, revision="e" * 40))
    assert again == first
    assert store.find("tiny") == first
    assert len(store.versions("tiny")) == 2


def test_another_quantisation_of_the_same_revision_joins_the_version(store: Store) -> None:
    add(store)
    both = add(store, files=Q8, quantisation="Q8_0")
    assert both.version == "v1"
    assert [one.quantisation for one in both.artefacts] == ["F32", "Q8_0"]
    assert store.choose(both, "F32").id == "gguf-F32"


def test_a_revision_that_moved_does_not_join(store: Store) -> None:
    add(store)
    other = add(store, files=Q8, quantisation="Q8_0", source=structs.replace(SOURCE, revision="f" * 40))
    assert other.version == "v2"
    assert len(other.artefacts) == 1


def test_a_number_is_never_given_twice(store: Store) -> None:
    add(store)
    add(store, files=Q8, source=Source("url", "https://example.test/x.gguf"))
    store.remove("tiny@v2")
    assert store.find("tiny").version == "v1"
    third = add(store, files=Q8, source=Source("url", "https://example.test/x.gguf"))
    assert third.version == "v3"


def test_promote(store: Store) -> None:
    add(store)
    add(store, files=Q8, source=Source("url", "https://example.test/x.gguf"))
    store.promote("tiny", "v1")
    assert store.current("tiny") == "v1"
    with refused("no_such_model"):
        store.promote("tiny", "v9")


def test_an_unknown_name_gets_the_nearest_as_hint(store: Store) -> None:
    add(store, "mistral-7b")
    with pytest.raises(EngineError) as caught:
        store.find("mistal-7b")
    assert caught.value.hint == "did you mean mistral-7b?"
    with pytest.raises(EngineError) as caught:
        store.find("mistral-7b@v4")
    assert caught.value.hint == "it has v1"


def test_weights_whose_content_is_not_there_are_not_added(store: Store) -> None:
    missing = Artefact("x", "gguf", "F32", {"x.gguf": FileRef("0" * 64, 5)})
    with refused("weights_missing"):
        store.add("tiny", source=SOURCE, artefacts=(missing,))
    assert store.names() == []


# choosing


@pytest.mark.parametrize(
    ("made", "verdict", "serves"),
    [
        ("pulled", "original", True),
        ("converted", "unverified", True),
        ("converted", "passed", True),
        ("converted", "quarantined", False),
        ("quantised", "unverified", False),
        ("quantised", "passed", True),
        ("merged", "unverified", False),
        ("merged", "passed", True),
        ("pulled", "quarantined", False),
    ],
)
def test_what_may_serve(store: Store, made: Any, verdict: Any, serves: bool) -> None:
    with store.hold("test") as hold:
        one = artefact(store, hold, Q8, "Q8_0", made=made, verdict=verdict)
        version = store.add("tiny", source=SOURCE, artefacts=(one,))
    if serves:
        assert store.choose(version) == one
        return
    with pytest.raises(EngineError) as caught:
        store.choose(version)
    assert caught.value.code == verdict
    assert "may not serve" in caught.value.message
    assert caught.value.hint


def test_gguf_goes_before_safetensors_and_the_newest_before_the_rest(store: Store) -> None:
    with store.hold("test") as hold:
        original = artefact(store, hold, checkpoint(), "BF16")
        version = store.add("tiny", source=SOURCE, artefacts=(original,))
        assert store.choose(version) == original
        made = artefact(store, hold, {"tiny.gguf": gguf_bytes()}, made="converted", of=original.id, verdict="passed")
        version = store.attach("tiny", "v1", made)
        quantised = artefact(store, hold, Q8, "Q8_0", made="quantised", of=made.id, verdict="unverified")
        version = store.attach("tiny", "v1", quantised)
    assert store.choose(version) == made
    assert store.choose(version, format="safetensors") == original
    with refused("unverified"):
        store.choose(version, "q8_0")
    version = store.judge("tiny", "v1", quantised.id, "passed", {"top1": 1.0})
    assert store.choose(version).id == quantised.id
    assert store.find("tiny").artefacts[-1].evidence == {"top1": 1.0}
    version = store.judge("tiny", "v1", quantised.id, "quarantined", {"top1": 0.2})
    assert store.choose(version) == made
    with refused("quarantined"):
        store.choose(version, "gguf-Q8_0")


def test_a_quantisation_that_is_not_there(store: Store) -> None:
    version = add(store)
    with pytest.raises(EngineError) as caught:
        store.choose(version, "Q2_K")
    assert (caught.value.code, caught.value.hint) == ("no_such_quantisation", "it has F32 (gguf)")


def test_a_projector_never_serves_alone(store: Store) -> None:
    with store.hold("test") as hold:
        eye = artefact(store, hold, {"mmproj.gguf": gguf_bytes()}, "F32", id="projector-F32", projector=True)
        version = store.add("tiny", source=SOURCE, artefacts=(eye,))
    assert version.projector == eye
    with refused("no_such_quantisation"):
        store.choose(version)


# folders


def test_an_engine_gets_files_under_their_names(store: Store) -> None:
    version = add(store, files=checkpoint(), quantisation="BF16")
    one = store.choose(version)
    folder = store.folder(version, one)
    assert store.model_path(version, one) == folder
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == checkpoint()
    assert not any(path.stat().st_mode & 0o222 for path in folder.iterdir())


def test_a_folder_that_was_tampered_with_is_made_anew(store: Store) -> None:
    version = add(store, files=checkpoint(), quantisation="BF16")
    folder = store.folder(version, version.artefacts[0])
    (folder / "modeling_evil.py").write_text("print('ran')")
    (folder / "config.json").unlink()
    (folder / "config.json").write_text("{}")
    (folder / "sub").mkdir()
    (folder / "sub" / "x").symlink_to("/etc/passwd")
    folder = store.folder(version, version.artefacts[0])
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == checkpoint()


def test_without_hard_links_there_are_symbolic_ones(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_links(*_: object, **__: object) -> None:
        raise OSError(errno.EPERM, "no hard links here")

    monkeypatch.setattr(os, "link", no_links)
    version = add(store, files={"sub/tiny.gguf": gguf_bytes()})
    path = store.model_path(version, version.artefacts[0])
    assert path.is_symlink()
    assert path.read_bytes() == gguf_bytes()
    assert store.model_path(version, version.artefacts[0]) == path
    store.root.rename(store.root.with_name("moved"))
    assert Store(store.root.with_name("moved")).model_path(version, version.artefacts[0]).read_bytes() == gguf_bytes()


def test_a_split_model_is_given_by_its_first_part(store: Store) -> None:
    parts = {f"m-0000{n + 1}-of-00002.gguf": gguf_bytes({"split.no": n, "split.count": 2}, seed=n) for n in range(2)}
    version = add(store, files=parts)
    assert store.model_path(version, version.artefacts[0]).name == "m-00001-of-00002.gguf"


def test_a_content_that_vanished_is_said(store: Store) -> None:
    version = add(store)
    store.blob(version.artefacts[0].files["tiny.gguf"].sha256).unlink()
    with refused("weights_missing"):
        store.folder(version, version.artefacts[0])
    with refused("weights_missing"):
        store.blob(version.artefacts[0].files["tiny.gguf"].sha256)


# contents on their way in


def test_a_download_goes_on_where_it_stopped(store: Store) -> None:
    content = gguf_bytes(rows=1000)
    sha256 = hashlib.sha256(content).hexdigest()
    with store.hold("test") as hold:
        with store.incoming(hold, sha256=sha256, size=len(content)) as file:
            file.write(content[:5000])
        with store.incoming(hold, sha256=sha256, size=len(content)) as file:
            assert file.offset == 5000
            file.write(content[5000:])
            assert file.finish() == FileRef(sha256, len(content))
        with store.incoming(hold, sha256=sha256, size=len(content)) as file:
            assert file.done == FileRef(sha256, len(content))
    assert not list(store.places.partial.iterdir())


def test_a_side_that_starts_over(store: Store) -> None:
    with store.hold("test") as hold:
        with store.incoming(hold, key="url etag") as file:
            file.write(b"first half")
        with store.incoming(hold, key="url etag") as file:
            assert file.offset == 10
            file.restart()
            file.write(b"whole")
            assert file.finish().sha256 == hashlib.sha256(b"whole").hexdigest()


def test_wrong_content_never_gets_in(store: Store) -> None:
    with store.hold("test") as hold, store.incoming(hold, sha256="0" * 64, size=5) as file:
        file.write(b"wrong")
        with refused("wrong_hash"):
            file.finish()
    assert not store.has("0" * 64)
    assert not list(store.places.partial.iterdir())


def test_more_than_announced_is_refused_and_less_stays(store: Store) -> None:
    with store.hold("test") as hold:
        with store.incoming(hold, key="a", size=3) as file, refused("wrong_size"):
            file.write(b"1234")
        with store.incoming(hold, key="b", size=3) as file:
            file.write(b"12")
            with refused("wrong_size"):
                file.finish()
        with store.incoming(hold, key="b", size=3) as file:
            assert file.offset == 2
        with store.incoming(hold, key="b", size=1) as file:
            assert file.offset == 0


def test_a_link_laid_in_the_way_is_not_followed(store: Store, tmp_path: Path) -> None:
    store.places.make()
    victim = tmp_path / "victim"
    victim.write_text("mine")
    (store.places.partial / hashlib.sha256(b"x").hexdigest()).symlink_to(victim)
    with store.hold("test") as hold, pytest.raises(OSError):
        store.incoming(hold, key="x")
    assert victim.read_text() == "mine"


def test_two_fetch_the_same_and_one_waits(store: Store) -> None:
    content = gguf_bytes()
    sha256 = hashlib.sha256(content).hexdigest()
    waiting = threading.Event()
    found: list[FileRef | None] = []

    def second() -> None:
        with store.hold("second") as hold, store.incoming(hold, sha256=sha256, waiting=waiting.set) as file:
            found.append(file.done)

    with store.hold("first") as hold, store.incoming(hold, sha256=sha256) as file:
        thread = threading.Thread(target=second)
        thread.start()
        assert waiting.wait(10)
        file.write(content)
        file.finish()
    thread.join(10)
    assert found == [FileRef(sha256, len(content))]


def test_a_file_that_was_made_here_is_taken_over(store: Store) -> None:
    with store.hold("convert") as hold:
        made = hold.workroom() / "model.gguf"
        made.write_bytes(gguf_bytes())
        ref = store.adopt(hold, made)
        assert not made.exists()
        room = hold.workroom()
    assert store.blob(ref.sha256).read_bytes() == gguf_bytes()
    assert not room.exists()


def test_a_local_file_is_copied(store: Store, tmp_path: Path) -> None:
    (tmp_path / "x.gguf").write_bytes(gguf_bytes())
    done: list[int] = []
    with store.hold("copy") as hold:
        ref = store.copy_in(hold, tmp_path / "x.gguf", done.append)
    assert sum(done) == ref.size
    (tmp_path / "x.gguf").write_bytes(b"changed")
    assert store.blob(ref.sha256).read_bytes() == gguf_bytes()


# a full disk


def steps() -> list[str]:
    return ["write", "fsync", "fchmod", "replace"]


@pytest.mark.parametrize("step", steps())
@pytest.mark.parametrize("call", range(1, 8))
def test_a_full_disk_anywhere_leaves_the_store_as_it_was(
    store: Store, step: str, call: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(store, "old")
    before = listing(store.root)
    content = gguf_bytes(seed=call)
    count = 0
    real: Any = getattr(Path, step) if step == "replace" else getattr(os, step)

    def full(*given: Any) -> Any:
        nonlocal count
        count += 1
        if count >= call:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(*given)

    monkeypatch.setattr(Path if step == "replace" else os, step, full)
    failed = None
    try:
        add(store, "new", {"new.gguf": content})
    except (EngineError, OSError) as error:
        failed = error
    monkeypatch.undo()
    if failed is None:
        assert store.find("new").version == "v1"
        return
    assert getattr(failed, "code", "disk_full") == "disk_full"
    store.sweep()
    now = listing(store.root)
    assert {name: now[name] for name in before} == before
    assert not [name for name in now if name.startswith("partial/")]
    assert store.names() == ["old"]
    assert store.verify() == []
    assert add(store, "new", {"new.gguf": content}).version == "v1"


def test_a_disk_that_fills_says_so(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    with store.hold("test") as hold, store.incoming(hold, key="x") as file:
        file.write(b"some")

        def full(*_: object) -> int:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(blobs.os, "write", full)
        with pytest.raises(EngineError) as caught:
            file.write(b"more")
        monkeypatch.undo()
    assert caught.value.code == "disk_full"
    assert "freehold weights gc" in (caught.value.hint or "")


# several processes

ADDS = """
import sys
sys.path[:0] = [sys.argv[2]]
from pathlib import Path
from made_weights import add, gguf_bytes
from freehold.own.weights.store import Source, Store
store = Store(Path(sys.argv[1]))
for n in range(8):
    add(store, "shared", {"m.gguf": gguf_bytes(seed=n)}, source=Source("url", f"https://example.test/{n}"))
    add(store, "own-" + sys.argv[3], {"m.gguf": gguf_bytes(seed=100 + n)}, source=Source("url", f"x{n}"))
    store.gc()
"""


def test_processes_share_a_store(store: Store) -> None:
    support = str(Path(__file__).parents[2] / "support")
    running = [
        subprocess.Popen([sys.executable, "-c", ADDS, str(store.root), support, str(n)], stderr=subprocess.PIPE)
        for n in range(2)
    ]
    for process in running:
        _, said = process.communicate(timeout=60)
        assert process.returncode == 0, said.decode()
    assert store.names() == ["own-0", "own-1", "shared"]
    assert len(store.versions("shared")) == 8
    assert store.verify() == []
    assert not list(store.places.holds.iterdir())
