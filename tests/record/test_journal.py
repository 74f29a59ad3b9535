"""The journal: what was written is read back, and nothing else ever is, whatever happens to the file."""

import errno
import os
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from freehold.record import journal as module
from freehold.record.entries import Entry, Intent
from freehold.record.journal import (
    MAX_PAYLOAD,
    Journal,
    JournalError,
    Read,
    incarnation_of,
    read_segment,
    remove_unborn,
    segments,
    writer_lives,
)
from freehold.record.receipts.places import body_hash
from freehold.record.receipts.sent import Outward, Sent, Sink

Book = Any
Placed = list[tuple[int, Entry]]


def read_all(path: Path, most: int = 7) -> tuple[Placed, int, Read]:
    """Every entry, the number of damaged places, and the last answer. Fails if reading does not get ahead."""
    entries: Placed = []
    offset, damaged = 0, 0
    while True:
        read = read_segment(path, offset, most)
        assert read.next_offset > offset or read.state != "more"
        offset = read.next_offset
        damaged += len(read.damage)
        entries += read.entries
        if read.state != "more":
            return entries, damaged, read


@pytest.fixture(scope="module")
def written(book: Book, tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, Placed]:
    """The bytes of a journal of 40 entries, and the entries by offset."""
    journal = Journal(tmp_path_factory.mktemp("journal"), "w0")
    for number in range(20):
        journal.append(book.intent(number, asked="m" * number))
        journal.append(book.settlement(number))
    journal.close()
    entries, _, _ = read_all(journal.path)
    assert len(entries) == 40
    return journal.path.read_bytes(), entries


def test_reads_back_what_was_written(book: Book, tmp_path: Path) -> None:
    entries = [book.intent(1), book.settlement(1), book.intent(2, asked="Größe \x00 \U0001f600")]
    journal = Journal(tmp_path / "new" / "folder", "w0")
    for entry in entries:
        journal.append(entry)
    found, damaged, last = read_all(journal.path)
    assert [entry for _, entry in found] == entries
    assert (damaged, last.state) == (0, "end")
    journal.append(book.settlement(2))
    assert [entry for _, entry in read_segment(journal.path, last.next_offset).entries] == [book.settlement(2)]
    end = read_segment(journal.path, last.next_offset).next_offset
    journal.close()
    assert journal.path.stat().st_size == end
    assert journal.path.stat().st_mode & 0o077 == 0


MUTATIONS = st.lists(
    st.one_of(
        st.tuples(st.just("flip"), st.floats(0, 1, exclude_max=True), st.integers(0, 7)),
        st.tuples(st.just("cut"), st.floats(0, 1), st.just(0)),
        st.tuples(st.just("insert"), st.floats(0, 1), st.binary(min_size=1, max_size=40)),
        st.tuples(st.just("copy"), st.floats(0, 1), st.floats(0, 1)),
    ),
    max_size=6,
)


@settings(max_examples=120, deadline=None)
@given(mutations=MUTATIONS, most=st.integers(1, 50))
def test_damage_never_makes_an_entry(written: tuple[bytes, Placed], mutations: Any, most: int) -> None:
    original, truth = written
    content = bytearray(original)
    first = len(content)
    for kind, where, what in mutations:
        place = int(where * len(content))
        if kind == "flip" and content:
            content[place] ^= 1 << what
        elif kind == "cut":
            del content[place:]
        elif kind == "insert":
            content[place:place] = what
        elif kind == "copy":
            start = int(what * len(content))
            content[place:place] = content[start : start + 300]
        first = min(first, place)
    with tempfile.NamedTemporaryFile() as file:
        file.write(content)
        file.flush()
        found, damaged, last = read_all(Path(file.name), most)
    assert set(map(repr, found)) <= set(map(repr, truth))
    ends = [offset for offset, _ in truth[1:]] + [len(original)]
    whole = [entry for entry, end in zip(truth, ends, strict=True) if end <= first]
    assert found[: len(whole)] == whole
    if not mutations:
        assert (damaged, last.state, last.left) == (0, "end", 0)
    if last.state == "torn" or not mutations:
        assert last.next_offset + last.left == len(content)


@settings(max_examples=50, deadline=None)
@given(flips=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 7)), min_size=1, max_size=4))
def test_a_flipped_bit_costs_no_more_than_its_entry(written: tuple[bytes, Placed], flips: Any) -> None:
    original, truth = written
    content = bytearray(original)
    for where, bit in flips:
        content[int(where * len(content))] ^= 1 << bit
    with tempfile.NamedTemporaryFile() as file:
        file.write(content)
        file.flush()
        found, _, _ = read_all(Path(file.name))
    assert len(truth) - len(found) <= len(flips)


def test_an_entry_inside_a_text_is_no_entry(book: Book, tmp_path: Path) -> None:
    """A client who knows the format puts a whole frame into the model's name, and the frame around it is damaged."""
    other = Journal(tmp_path / "other", "w0")
    other.append(book.settlement(7))
    other.close()
    forged = other.path.read_bytes().decode("latin-1")
    journal = Journal(tmp_path / "journal", "w0")
    journal.append(book.intent(1, asked=forged))
    journal.append(book.settlement(1))
    journal.close()
    content = bytearray(journal.path.read_bytes())
    content[4] ^= 1
    journal.path.write_bytes(content)
    found, damaged, _ = read_all(journal.path)
    assert [entry for _, entry in found] == [book.settlement(1)]
    assert damaged == 1


def test_reading_gets_through_megabytes_of_garbage(book: Book, tmp_path: Path) -> None:
    journal = Journal(tmp_path, "w0")
    journal.append(book.intent(1))
    journal.close()
    with open(journal.path, "ab") as file:
        file.write(b"\x07" * (5 << 20))
    found, damaged, last = read_all(journal.path)
    assert [entry for _, entry in found] == [book.intent(1)]
    assert last.state == "torn"
    assert damaged


def test_many_megabytes_are_read_in_pieces(book: Book, tmp_path: Path) -> None:
    journal = Journal(tmp_path, "w0")
    entries = [book.intent(number, asked="x" * 60_000) for number in range(80)]
    for entry in entries:
        journal.append(entry)
    journal.close()
    found, damaged, last = read_all(journal.path, 1000)
    assert [entry for _, entry in found] == entries
    assert (damaged, last.state) == (0, "end")


def test_segments_follow_each_other_and_only_the_newest_is_locked(book: Book, tmp_path: Path) -> None:
    journal = Journal(tmp_path, "w0", segment_bytes=300)
    for number in range(10):
        journal.append(book.intent(number))
    listed = segments(tmp_path)
    assert len(listed) > 2
    assert listed[-1] == journal.path
    read = [entry for path in listed for _, entry in read_all(path)[0]]
    assert read == [book.intent(number) for number in range(10)]
    incarnation = incarnation_of(journal.path.name)
    assert incarnation is not None
    assert writer_lives(tmp_path, incarnation)
    journal.close()
    assert not writer_lives(tmp_path, incarnation)
    with pytest.raises(JournalError):
        journal.append(book.intent(11))


def test_incarnations_of_one_worker_have_files_of_their_own(tmp_path: Path) -> None:
    first, second = Journal(tmp_path, "w0"), Journal(tmp_path, "w0")
    assert first.path != second.path
    first.close()
    assert not writer_lives(tmp_path, incarnation_of(first.path.name) or "")
    assert writer_lives(tmp_path, incarnation_of(second.path.name) or "")
    second.close()


def test_other_files_are_no_segments(tmp_path: Path) -> None:
    for name in ("ingest.lock", "w0-17.000000.damaged", "w0-17", "w-0-17.000001", "w0-17.1"):
        (tmp_path / name).touch()
    assert segments(tmp_path) == []
    assert segments(tmp_path / "absent") == []
    assert incarnation_of("ingest.lock") is None


@pytest.mark.parametrize("name", ["", "a b", "../x", "w-0"])
def test_a_worker_has_a_plain_name(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="worker name"):
        Journal(tmp_path, name)


def test_a_full_disk_is_an_error_before_anything_is_written_and_passes(
    book: Book, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "GROWTH", 4096)
    journal = Journal(tmp_path, "w0")
    journal.append(book.intent(1))

    def full(fd: int, offset: int, length: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(JournalError, match="No space left") as caught:
        journal.append(book.intent(2, asked="x" * 5000))
    assert (caught.value.status, caught.value.code) == (503, "journal_unavailable")
    journal.append(book.intent(3))
    monkeypatch.undo()
    journal.append(book.intent(4, asked="x" * 5000))
    journal.close()
    found, damaged, _ = read_all(journal.path)
    assert [entry for _, entry in found] == [book.intent(1), book.intent(3), book.intent(4, asked="x" * 5000)]
    assert damaged == 0


def test_an_append_that_a_kill_cut_off_is_the_end(book: Book, tmp_path: Path) -> None:
    """The header is written last: without it the payload is not there."""
    journal = Journal(tmp_path, "w0")
    journal.append(book.intent(1))
    end = read_all(journal.path)[2].next_offset
    journal.append(book.settlement(1))
    journal.close()
    content = bytearray(journal.path.read_bytes())
    content[end : end + 8] = bytes(8)
    journal.path.write_bytes(content + bytes(5000))
    found, damaged, last = read_all(journal.path)
    assert [entry for _, entry in found] == [book.intent(1)]
    assert (damaged, last.state, last.left) == (0, "end", 0)


def test_what_cannot_be_encoded_or_is_too_long_is_refused(book: Book, tmp_path: Path) -> None:
    journal = Journal(tmp_path, "w0")
    for entry in (book.intent(1, asked="x" * MAX_PAYLOAD), book.intent(1, held=2**70), book.intent(1, asked="\ud800")):
        with pytest.raises(JournalError):
            journal.append(entry)
    journal.append(book.intent(2))
    journal.close()
    assert [entry for _, entry in read_all(journal.path)[0]] == [book.intent(2)]


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(JournalError, match="cannot be opened"):
        Journal(tmp_path / "file", "w0")


def test_with_fsync_entries_are_flushed(book: Book, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flushed: list[int] = []
    monkeypatch.setattr(os, "fdatasync", flushed.append)
    journal = Journal(tmp_path, "w0", fsync=True)
    journal.append(book.intent(1))
    assert len(flushed) == 1
    journal.close()


def test_unborn_segments_are_removed_when_they_are_old(book: Book, tmp_path: Path) -> None:
    old, young, other = tmp_path / "w0-17.000000.new", tmp_path / "w0-18.000000.new", tmp_path / "notes.new"
    for path in (old, young, other):
        path.touch()
    os.utime(old, (1, 1))
    os.utime(other, (1, 1))
    remove_unborn(tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted([young, other])
    remove_unborn(tmp_path / "absent")


def test_what_is_sent_is_counted_with_the_entry_that_says_so(book: Book, tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal", "w0", segment_bytes=2_000_000)
    sink = Sink("lab.example", "eu", "internal")
    for number in range(3):
        sent = journal.sent(sink, f"r{number}-1", b"body")
        assert journal.sent(sink, f"r{number}-1", b"body") == sent  # until it is written down it is the same one
        journal.append(replace(book.intent(number), sent=sent))
        journal.append(book.settlement(number))
        journal.append(Outward("fetch", f"f{number}", "", 1, "bot", "", "v", journal.sent(sink, f"f{number}", b"url")))
    journal.close()
    entries = [entry for _, entry in read_segment(journal.path).entries]
    sents = [entry.sent for entry in entries if isinstance(entry, Intent | Outward)]
    assert [sent.seq for sent in sents if sent is not None] == [1, 2, 3, 4, 5, 6]
    assert sents[0] == Sent(1, sink, 4, body_hash(tmp_path / "receipts").digest("r0-1", b"body"))
    assert journal.calls == 6
