"""A bundle carries a model to another store and nothing else: not a byte elsewhere, not a byte that is not its own."""

import errno
import gzip
import io
import os
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_weights import SOURCE, add, artefact, checkpoint, gguf_bytes, listing

from freehold.errors import EngineError
from freehold.own.weights import bundle
from freehold.own.weights.store import Store, Version


def exported(store: Store, text: str = "tiny", **more: Any) -> bytes:
    out = io.BytesIO()
    bundle.export(store, text, out, **more)
    return out.getvalue()


def imported(store: Store, content: bytes, **more: Any) -> Version:
    stream = io.BytesIO(content)
    return bundle.import_(store, stream, bundle.read_record(stream), **more)


@pytest.fixture
def other(tmp_path: Path) -> Store:
    return Store(tmp_path / "other")


@pytest.fixture
def packed(store: Store) -> bytes:
    add(store, files={"tiny.gguf": gguf_bytes(), "README.md": b"card"}, licence="mit", parameters=128)
    return exported(store)


def test_there_and_back(store: Store, other: Store) -> None:
    with store.hold("test") as hold:
        first = artefact(store, hold, checkpoint(), "BF16")
        made = artefact(store, hold, {"m.gguf": gguf_bytes()}, made="converted", of=first.id, verdict="passed")
        version = store.add(
            "org/tiny", source=SOURCE, artefacts=(first, made), licence="mit", context=512, template=True
        )
    content = exported(store, "org/tiny")
    found = imported(other, content)
    assert found == Version(
        **{key: getattr(version, key) for key in version.__struct_fields__} | {"created": found.created}
    )
    assert other.verify() == []
    assert other.model_path(found, other.choose(found)).read_bytes() == gguf_bytes()
    assert imported(other, content) == found
    assert not list(other.places.holds.iterdir())


def test_it_is_a_plain_tar(packed: bytes) -> None:
    with tarfile.open(fileobj=io.BytesIO(packed)) as tar:
        names = tar.getnames()
    assert names[0] == bundle.RECORD
    assert len(names) == 3
    assert all(name.startswith("blobs/sha256/") for name in names[1:])


def test_the_same_weights_make_the_same_bundle(store: Store, packed: bytes) -> None:
    assert exported(store) == packed


def test_only_some_artefacts(store: Store, other: Store) -> None:
    add(store)
    add(store, files={"tiny.gguf": gguf_bytes(kind=8)}, quantisation="Q8_0")
    found = imported(other, exported(store, artefacts=["q8_0"]))
    assert [one.quantisation for one in found.artefacts] == ["Q8_0"]
    with pytest.raises(EngineError, match="has no q2_k"):
        exported(store, artefacts=["Q2_K", "Q8_0"])


def test_another_name(other: Store, packed: bytes) -> None:
    assert imported(other, packed, name="team/mine").full_name == "team/mine@v1"
    with pytest.raises(EngineError):
        imported(other, packed, name="../mine")
    assert other.names() == ["team/mine"]


def test_a_damaged_file_is_not_handed_on(store: Store, packed: bytes) -> None:
    version = store.find("tiny")
    path = store.model_path(version, version.artefacts[0])
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(EngineError) as caught:
        exported(store)
    assert caught.value.code == "weights_changed"


def test_a_changed_byte_is_found(other: Store, packed: bytes) -> None:
    at = packed.rindex(gguf_bytes()) + 500
    damaged = packed[:at] + bytes([packed[at] ^ 1]) + packed[at + 1 :]
    with pytest.raises(EngineError) as caught:
        imported(other, damaged)
    assert caught.value.code == "wrong_hash"
    assert other.names() == []
    assert not list(other.places.blobs.iterdir())
    assert not list(other.places.partial.iterdir())


@pytest.mark.parametrize("compress", [gzip.compress, lambda content: b"\x28\xb5\x2f\xfd" + content])
def test_a_compressed_bundle_is_told_apart(other: Store, packed: bytes, compress: Callable[[bytes], bytes]) -> None:
    with pytest.raises(EngineError) as caught:
        imported(other, compress(packed))
    assert "compressed" in caught.value.message
    assert "gunzip" in (caught.value.hint or "")


def rebuilt(
    packed: bytes, change: Callable[[tarfile.TarInfo, bytes], tuple[tarfile.TarInfo, bytes]], **more: Any
) -> bytes:
    """The same members, each through `change`."""
    out = io.BytesIO()
    more.setdefault("format", tarfile.GNU_FORMAT)
    with tarfile.open(fileobj=io.BytesIO(packed)) as tar, tarfile.open(fileobj=out, mode="w", **more) as new:
        for member in tar:
            file = tar.extractfile(member)
            assert file is not None
            member, content = change(member, file.read())
            member.size = len(content)
            new.addfile(member, io.BytesIO(content))
    return out.getvalue()


def turned(**changes: Any) -> Callable[[tarfile.TarInfo, bytes], tuple[tarfile.TarInfo, bytes]]:
    """Changes every member but the record."""

    def change(member: tarfile.TarInfo, content: bytes) -> tuple[tarfile.TarInfo, bytes]:
        if member.name != bundle.RECORD:
            for key, value in changes.items():
                setattr(member, key, value)
            if member.type != tarfile.REGTYPE:
                content = b""
        return member, content

    return change


HOSTILE = {
    "a link": turned(type=tarfile.SYMTYPE, linkname="/etc/passwd"),
    "a hard link": turned(type=tarfile.LNKTYPE, linkname="/etc/passwd"),
    "a device": turned(type=tarfile.CHRTYPE, devmajor=1, devminor=3),
    "a pipe": turned(type=tarfile.FIFOTYPE),
    "a folder": turned(type=tarfile.DIRTYPE),
    "a sparse file": turned(type=tarfile.GNUTYPE_SPARSE),
    "a name outside": turned(name="../../../../tmp/escaped"),
    "an absolute name": turned(name="/tmp/escaped"),
    "a long name": turned(name="x/" * 200 + "y"),
    "less content": lambda member, content: (member, content[:-1] if member.name != bundle.RECORD else content),
    "more content": lambda member, content: (member, content + b"x" if member.name != bundle.RECORD else content),
    "another record": lambda member, content: (member, content.replace(b"tiny.gguf", b"../tinygg")),
    "a record that is none": lambda member, content: (member, b"[" * 5000 if member.name == bundle.RECORD else content),
    "a format to come": lambda member, content: (member, content.replace(b'"format":1,', b'"format":2,')),
    "a record with two sizes": lambda member, content: (member, content.replace(b'"size":4}', b'"size":-4}')),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_hostile_members_are_refused(what: str, other: Store, packed: bytes, tmp_path: Path) -> None:
    before = set(tmp_path.iterdir())
    with pytest.raises(EngineError) as caught:
        imported(other, rebuilt(packed, HOSTILE[what]))
    assert caught.value.code in ("bad_bundle", "wrong_hash")
    assert caught.value.hint
    assert other.names() == []
    assert set(tmp_path.iterdir()) - before <= {other.root}
    assert not Path("/tmp/escaped").exists()


def test_extended_headers_are_refused(other: Store, packed: bytes) -> None:
    def change(member: tarfile.TarInfo, content: bytes) -> tuple[tarfile.TarInfo, bytes]:
        member.pax_headers = {"comment": "x" * 5000}
        return member, content

    with pytest.raises(EngineError, match=r"does not begin|not a plain file"):
        imported(other, rebuilt(packed, change, format=tarfile.PAX_FORMAT))


def test_more_than_the_record_says(other: Store, packed: bytes) -> None:
    extra = io.BytesIO()
    with tarfile.open(fileobj=extra, mode="w") as tar:
        tar.addfile(tarfile.TarInfo("extra"))
    with pytest.raises(EngineError, match="goes on after its end"):
        imported(other, packed.rstrip(b"\0") + bytes(-len(packed.rstrip(b"\0")) % 512) + extra.getvalue())
    assert other.names() == []


@pytest.mark.parametrize("content", [b"", b"x", bytes(512), b"GGUF" * 200, os.urandom(1024)])
def test_what_is_no_bundle(other: Store, content: bytes) -> None:
    with pytest.raises(EngineError) as caught:
        imported(other, content)
    assert caught.value.code == "bad_bundle"
    assert not other.root.exists()


def test_a_full_disk_while_importing(other: Store, packed: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    add(other, "old", {"old.gguf": gguf_bytes(seed=5)})
    before = listing(other.root)
    stream = io.BytesIO(packed)
    record = bundle.read_record(stream)
    real = os.write

    def full(descriptor: int, data: bytes) -> int:
        if len(data) >= len(gguf_bytes()):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(descriptor, data)

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(EngineError) as caught:
        bundle.import_(other, stream, record)
    monkeypatch.undo()
    assert caught.value.code == "disk_full"
    assert listing(other.root) == before


def test_too_little_room_is_said_before(other: Store, packed: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    class Disk:
        f_bavail, f_frsize = 1, 512

    monkeypatch.setattr(os, "statvfs", lambda path: Disk())
    with pytest.raises(EngineError, match="512 are free") as caught:
        imported(other, packed)
    assert caught.value.code == "disk_full"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150, deadline=None)
@given(data=st.data())
def test_mutated_anywhere(data: st.DataObject, packed: bytes, tmp_path: Path) -> None:
    mutated = bytearray(packed)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(packed) - 1))
        patch = data.draw(st.binary(min_size=1, max_size=9) | st.sampled_from([b"\xff" * 12, bytes(512), b"7" * 12]))
        mutated[at : at + len(patch)] = patch
    content = bytes(mutated[: data.draw(st.integers(0, len(mutated)) | st.just(len(mutated)))])
    target = Store(tmp_path / "fuzzed")
    try:
        found = imported(target, content)
    except EngineError:
        assert target.names() in ([], ["tiny"])
        return
    assert target.verify(found.full_name) == []
