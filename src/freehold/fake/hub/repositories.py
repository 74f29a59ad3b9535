"""Folders as repositories: a commit is the state of a folder, named by its content.

A file is a git blob, named by sha1("blob SIZE\\0" + content), or, as the hub does it with weights and large files, an
LFS object, named by its sha256, with a small pointer file as the git blob (https://github.com/git-lfs/git-lfs,
docs/spec.md). What `put` changes stays readable under its old commit; a file that somebody else replaces does not.
"""

import hashlib
import json
import struct
import threading
from fnmatch import fnmatch
from io import BytesIO
from pathlib import Path
from typing import Any

import msgspec
import yaml
from msgspec import Struct

LFS = ("*.safetensors", "*.gguf", "*.bin", "*.pt", "*.pth", "*.onnx", "*.h5", "*.msgpack", "tokenizer.json", "*.model")
LARGE = 10 << 20
"""Bytes; a larger file is an LFS object whatever its name is."""
MAX_HEADER = 100 << 20


class Blob(Struct, frozen=True):
    """One file. `content` is kept in memory when the file on disk was changed after it."""

    oid: str
    size: int
    sha256: str
    pointer: int
    """Bytes of the pointer file; 0 for a file that is no LFS object."""
    content: bytes | Path

    @property
    def lfs(self) -> bool:
        return self.pointer > 0

    @property
    def etag(self) -> str:
        return self.sha256 if self.lfs else self.oid

    def data(self) -> bytes:
        return self.content if isinstance(self.content, bytes) else self.content.read_bytes()


class Repository:
    """One folder and the commits that it has had while the server ran."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.folder = folder
        self.gated: str | bool = False
        self.private = False
        self.tags: dict[str, str] = {}
        self.commits: dict[str, dict[str, Blob]] = {}
        self.head = ""
        self._known: dict[tuple[Path, int, int], Blob] = {}
        self._lock = threading.Lock()
        self.look()

    def look(self) -> str:
        """Reads the folder; returns the commit that `main` is now."""
        with self._lock:
            tree = {
                str(path.relative_to(self.folder)): self._blob(path)
                for path in sorted(self.folder.rglob("*"))
                if path.is_file() and not any(part.startswith(".cache") for part in path.parts)
            }
            named = "".join(f"{path}\0{blob.oid}\n" for path, blob in tree.items())
            self.head = hashlib.sha1(named.encode(), usedforsecurity=False).hexdigest()
            if self.head not in self.commits:
                for commit, old in self.commits.items():
                    self.commits[commit] = {path: blob for path, blob in old.items() if _kept(path, blob, tree)}
                self.commits[self.head] = tree
            return self.head

    def put(self, files: dict[str, bytes | None]) -> str:
        """Writes files, or removes those that are None; returns the new commit. Old commits stay as they are."""
        with self._lock:
            for commit, tree in self.commits.items():
                kept = {path: _in_memory(tree[path]) for path in files if path in tree}
                self.commits[commit] = {**tree, **kept}
            for name, content in files.items():
                path = self.folder / name
                if content is None:
                    path.unlink(missing_ok=True)
                    continue
                path.parent.mkdir(parents=True, exist_ok=True)
                path.unlink(missing_ok=True)
                path.write_bytes(content)
            self._known.clear()
        return self.look()

    def resolve(self, revision: str) -> str | None:
        """The commit that a branch, tag or (short) commit means, None where there is none such."""
        if revision in ("main", "HEAD", "refs/heads/main"):
            return self.look()
        if revision in self.tags:
            return self.tags[revision]
        if revision in self.commits:
            return revision
        found = [commit for commit in self.commits if len(revision) >= 7 and commit.startswith(revision)]
        return found[0] if len(found) == 1 else None

    def card(self, commit: str) -> dict[str, Any]:
        """The YAML at the top of README.md."""
        readme = self.commits[commit].get("README.md")
        if readme is None:
            return {}
        text = readme.data().decode("utf-8", "replace")
        if not text.startswith("---\n"):
            return {}
        try:
            card = yaml.safe_load(text[4:].partition("\n---")[0])
        except yaml.YAMLError:
            return {}
        return json.loads(json.dumps(card, default=str)) if isinstance(card, dict) else {}

    def config(self, commit: str) -> dict[str, Any]:
        blob = self.commits[commit].get("config.json")
        try:
            value = msgspec.json.decode(blob.data()) if blob is not None else {}
        except msgspec.DecodeError:
            return {}
        return value if isinstance(value, dict) else {}

    def parameters(self, commit: str) -> dict[str, int]:
        """Parameters by data type, read off the headers of all safetensors files."""
        found: dict[str, int] = {}
        for path, blob in self.commits[commit].items():
            if fnmatch(path, "*.safetensors"):
                for kind, count in _parameters(blob).items():
                    found[kind] = found.get(kind, 0) + count
        return found

    def _blob(self, path: Path) -> Blob:
        state = path.stat()
        key = (path, state.st_size, state.st_mtime_ns)
        if key not in self._known:
            self._known[key] = _hashed(path, state.st_size)
        return self._known[key]


def git_oid(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def _hashed(path: Path, size: int) -> Blob:
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    if size > LARGE or any(fnmatch(path.name, pattern) for pattern in LFS):
        pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size}\n".encode()
        return Blob(git_oid(pointer), size, sha256, len(pointer), path)
    return Blob(git_oid(path.read_bytes()), size, sha256, 0, path)


def _kept(path: str, blob: Blob, now: dict[str, Blob]) -> bool:
    return isinstance(blob.content, bytes) or blob == now.get(path)


def _in_memory(blob: Blob) -> Blob:
    return blob if isinstance(blob.content, bytes) else msgspec.structs.replace(blob, content=blob.data())


def _parameters(blob: Blob) -> dict[str, int]:
    content = blob.content
    try:
        with content.open("rb") if isinstance(content, Path) else BytesIO(content) as file:
            length = struct.unpack("<Q", file.read(8))[0]
            if length > MAX_HEADER:
                return {}
            header = msgspec.json.decode(file.read(length))
        found: dict[str, int] = {}
        for name, tensor in header.items():
            if name != "__metadata__":
                count = 1
                for size in tensor["shape"]:
                    count *= size
                found[tensor["dtype"]] = found.get(tensor["dtype"], 0) + count
        return found
    except (OSError, struct.error, msgspec.DecodeError, KeyError, TypeError, AttributeError):
        return {}
