"""Weights as one file, for machines that reach no network.

A bundle is a plain tar: `freehold-bundle.json` (the record), then `blobs/sha256/HEX` for every content, once each. It
is written without asking for more memory than one piece, and read strictly: regular files of exactly these names, in
this order, of the announced sizes and hashes. Links, devices, absolute names, extended headers and anything after the
end are refused, so a bundle cannot write anywhere but into the store. Only the hash of its content is checked, not who
made it: whoever hands over a bundle is trusted like the hub the weights came from.
"""

import contextlib
import io
import os
import tarfile
from collections.abc import Iterable, Iterator, Sequence
from typing import BinaryIO

import msgspec
from msgspec import Struct, structs

from freehold.errors import EngineError
from freehold.own.weights.blobs import CHUNK, Progress
from freehold.own.weights.store import Store
from freehold.own.weights.types import FileRef, Version, check_artefact, check_name

RECORD = "freehold-bundle.json"
FORMAT = 1
MAX_RECORD = 16 << 20
BLOCK = 512


class Bundle(Struct, frozen=True):
    """The record of a bundle. `freehold` is the version that wrote it."""

    format: int
    freehold: str
    version: Version


class _Member(Struct):
    name: str
    size: int


def export(
    store: Store, text: str, out: BinaryIO, *, artefacts: Sequence[str] = (), progress: Progress | None = None
) -> Version:
    """Writes `NAME[@vN]` to `out`; of its artefacts those in `artefacts` (ids or quantisations), or all.

    Raises EngineError: no_such_model, no_such_quantisation, weights_missing, weights_changed (a damaged file is not
    handed on).
    """
    from freehold import __version__

    version = _only(store.find(text), artefacts)
    with store.hold(f"export {version.full_name}") as hold:
        for artefact in version.artefacts:
            store.use(hold, version, artefact)
            store.check_unchanged(version, artefact)
        record = msgspec.json.encode(Bundle(FORMAT, __version__, version))
        _write(out, RECORD, len(record), [record])
        for file in contents(version):
            with store.blob(file.sha256).open("rb", buffering=0) as blob:
                _write(out, _place(file), file.size, _pieces(blob, file, progress))
        out.write(bytes(2 * BLOCK))
    return version


def _write(out: BinaryIO, name: str, size: int, pieces: Iterable[bytes]) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mode = size, 0o644
    out.write(member.tobuf(tarfile.GNU_FORMAT))
    for piece in pieces:
        out.write(piece)
    out.write(bytes(-size % BLOCK))


def _pieces(blob: BinaryIO | io.FileIO, file: FileRef, progress: Progress | None) -> Iterator[bytes]:
    rest = file.size
    while piece := blob.read(min(CHUNK, rest)):
        rest -= len(piece)
        yield piece
        if progress is not None:
            progress(len(piece))
    if rest:
        raise EngineError(f"{file.sha256} changed while it was read", code="weights_changed", retry="no")


def contents(version: Version) -> list[FileRef]:
    """Returns each content of a version once, in a fixed order."""
    found = {file.sha256: file for artefact in version.artefacts for file in artefact.files.values()}
    return [found[sha256] for sha256 in sorted(found)]


def _only(version: Version, wanted: Sequence[str]) -> Version:
    if not wanted:
        return version
    names = {one.lower() for one in wanted}
    kept = tuple(one for one in version.artefacts if {one.id.lower(), one.quantisation.lower()} & names)
    known = {name for one in kept for name in (one.id.lower(), one.quantisation.lower())}
    if names - known:
        have = ", ".join(one.id for one in version.artefacts)
        missing = ", ".join(sorted(names - known))
        raise EngineError(
            f"{version.full_name} has no {missing}", code="no_such_quantisation", retry="no", hint=f"it has {have}"
        )
    return structs.replace(version, artefacts=kept)


def _place(file: FileRef) -> str:
    return f"blobs/sha256/{file.sha256}"


# reading


def read_record(bundle: BinaryIO) -> Version:
    """Reads the record at the beginning of a bundle. Raises EngineError (bad_bundle)."""
    member = _member(bundle)
    if member is None or member.name != RECORD or member.size > MAX_RECORD:
        raise _bad("it does not begin with its record")
    content = b"".join(_data(bundle, member.size))
    try:
        kind = msgspec.json.decode(content, type=_Kind)
        if kind.format != FORMAT:
            raise _bad(
                f"its format is {kind.format}, this reads {FORMAT}", "freehold of a newer version wrote it: update"
            )
        version = msgspec.json.decode(content, type=Bundle).version
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _bad(f"its record cannot be read: {error}") from error
    _check(version)
    return version


def import_(
    store: Store, bundle: BinaryIO, version: Version, *, name: str | None = None, progress: Progress | None = None
) -> Version:
    """Adds what follows the record that `read_record` gave, as `name` if that is given. Returns the version it became.

    `version.remote_code` must have been agreed to by a person. Raises EngineError: bad_bundle, wrong_hash, disk_full,
    and what `Store.add` raises; the store is then as it was.
    """
    files = contents(version)
    try:
        with store.hold(f"import {version.full_name}") as hold:
            _refuse_full_disk(store, files)
            for file in files:
                member = _member(bundle)
                if member is None:
                    raise _bad("it ends too early")
                if (member.name, member.size) != (_place(file), file.size):
                    raise _bad(f"it has {member.name[:100]!r} where {_place(file)} of {file.size} bytes belongs")
                with store.incoming(hold, sha256=file.sha256, size=file.size) as incoming:
                    if incoming.done is None:
                        incoming.restart()
                    try:
                        for piece in _data(bundle, file.size):
                            if incoming.done is None:
                                incoming.write(piece)
                            if progress is not None:
                                progress(len(piece))
                        incoming.finish()
                    except EngineError:
                        incoming.discard()
                        raise
            if _member(bundle) is not None:
                raise _bad("it goes on after its end")
            return store.add(
                name or version.name,
                source=version.source,
                artefacts=version.artefacts,
                licence=version.licence,
                architecture=version.architecture,
                parameters=version.parameters,
                context=version.context,
                template=version.template,
                remote_code=version.remote_code,
            )
    except BaseException:
        with contextlib.suppress(EngineError, OSError):
            store.sweep()
        raise


class _Kind(Struct):
    format: int


def _check(version: Version) -> None:
    try:
        check_name(version.name)
        for artefact in version.artefacts:
            check_artefact(artefact)
    except EngineError as error:
        raise _bad(error.message) from error
    sizes: dict[str, int] = {}
    for file in (file for artefact in version.artefacts for file in artefact.files.values()):
        if sizes.setdefault(file.sha256, file.size) != file.size:
            raise _bad(f"its record gives {file.sha256} two sizes")
    if not version.artefacts or len({one.id for one in version.artefacts}) < len(version.artefacts):
        raise _bad("its record has no artefacts, or one twice")


def _refuse_full_disk(store: Store, files: Sequence[FileRef]) -> None:
    missing = sum(file.size for file in files if not store.has(file.sha256, file.size))
    disk = os.statvfs(store.root)
    free = disk.f_bavail * disk.f_frsize
    if missing > free:
        raise EngineError(
            f"{missing} bytes have to be written, {free} are free on the disk of {store.root}",
            code="disk_full",
            retry="no",
            hint="freehold weights gc frees what nothing uses, freehold weights rm NAME a model",
        )


def _member(bundle: BinaryIO) -> _Member | None:
    """Reads the header of the next member, None at the end."""
    block = _read(bundle, BLOCK)
    if len(block) < BLOCK or not any(block):
        if any(block):
            raise _bad("it ends too early")
        return None
    if block[:2] == b"\x1f\x8b" or block[:4] == b"\x28\xb5\x2f\xfd":
        raise _bad("it is compressed", "decompress it first: gunzip, unzstd")
    try:
        member = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except tarfile.HeaderError as error:
        raise _bad(f"not a tar file, or a damaged one: {error}") from error
    if member.type not in (tarfile.REGTYPE, tarfile.AREGTYPE) or member.size < 0:
        raise _bad(f"its member {member.name[:100]!r} is not a plain file")
    return _Member(member.name, member.size)


def _data(bundle: BinaryIO, size: int) -> Iterator[bytes]:
    """Yields the content of a member, then steps over its padding."""
    rest = size
    while rest:
        piece = _read(bundle, min(CHUNK, rest))
        if not piece:
            raise _bad("it ends too early")
        rest -= len(piece)
        yield piece
    if len(_read(bundle, -size % BLOCK)) != -size % BLOCK:
        raise _bad("it ends too early")


def _read(bundle: BinaryIO, size: int) -> bytes:
    """Reads `size` bytes, fewer at the end only: a pipe gives them piece by piece."""
    parts: list[bytes] = []
    while size:
        part = bundle.read(size)
        if not part:
            break
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def _bad(what: str, hint: str = "make it again: freehold weights export NAME -o FILE.tar") -> EngineError:
    return EngineError(f"this bundle cannot be used: {what}", code="bad_bundle", retry="no", hint=hint)
