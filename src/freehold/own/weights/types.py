"""What the store knows of weights, as types.

A name (`qwen3-8b`, asked for as `own/qwen3-8b`) has versions (`v1`, `v2`: each pull of other content makes one). A
version has artefacts: the files as they were pulled, and what was made of them (converted, quantised, merged). Only
`verdict` and `evidence` of an artefact ever change; its files never do.
"""

import hashlib
import re
from pathlib import PurePosixPath
from typing import Any, Literal
from urllib.parse import quote, unquote

from msgspec import Struct, structs

from freehold.errors import EngineError

Format = Literal["gguf", "safetensors"]
Made = Literal["pulled", "converted", "quantised", "merged"]
Verdict = Literal["original", "passed", "unverified", "quarantined"]
"""original: as its maker published it. passed, quarantined: the parity gate has spoken. unverified: nobody looked."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/+-]*")
_VERSION = re.compile(r"v[1-9][0-9]{0,8}")
_ARTEFACT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,99}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_UNSEEN = re.compile(r"[\x00-\x1f\x7f\\\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://|(?:[\w-]+\.)+[A-Za-z]{2,}(?::\d+)?/")
_CREDENTIALS = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]*://)[^/?#]*@")
_QUERY = re.compile(r"\?[^#]*")
LONGEST_NAME = 200
DEEPEST = 6
MOST_FILES = 10_000


class FileRef(Struct, frozen=True):
    """One file by its content. `sha256` is 64 lower-case hexadecimal digits, `size` is bytes."""

    sha256: str
    size: int


class Source(Struct, frozen=True):
    """Where weights came from. `reference` is what a person wrote, `revision` what it stood for at that moment (a
    commit, a digest), `endpoint` the hub that was asked. Of addresses only what is no secret is kept: see `shown`."""

    kind: Literal["hub", "url", "ollama", "folder", "made"]
    reference: str
    revision: str | None = None
    endpoint: str | None = None

    def __post_init__(self) -> None:
        if self.kind not in ("folder", "made"):
            structs.force_setattr(self, "reference", shown(self.reference))
        if self.endpoint is not None:
            structs.force_setattr(self, "endpoint", shown(self.endpoint))


class Artefact(Struct, frozen=True, omit_defaults=True):
    """Files that belong together: what an engine gets. `files` maps a relative path to its content.

    `quantisation` is the type that holds most weights (`Q4_K_M`, `BF16`). `of` is the id of the artefact this was made
    from. `projector`: a vision model's projector, which is loaded beside another artefact.
    """

    id: str
    format: Format
    quantisation: str
    files: dict[str, FileRef]
    made: Made = "pulled"
    of: str | None = None
    verdict: Verdict = "original"
    evidence: dict[str, Any] | None = None
    projector: bool = False

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files.values())

    @property
    def digest(self) -> str:
        """One hash for all files and their names."""
        return digest_of(self)


class Version(Struct, frozen=True, omit_defaults=True):
    """One version of one name. `created` is seconds since 1970. `context` is tokens. `remote_code`: a person allowed
    this version to bring Python code that an engine may run."""

    name: str
    version: str
    source: Source
    created: int
    artefacts: tuple[Artefact, ...]
    licence: str | None = None
    architecture: str | None = None
    parameters: int | None = None
    context: int | None = None
    template: bool = False
    remote_code: bool = False
    also: tuple[str, ...] = ()
    """Other references that were found to mean this version, such as another branch or tag at the same commit."""

    @property
    def full_name(self) -> str:
        return f"{self.name}@{self.version}"

    def artefact(self, artefact_id: str) -> Artefact:
        """Returns an artefact by its id. Raises EngineError (no_such_artefact)."""
        for artefact in self.artefacts:
            if artefact.id == artefact_id:
                return artefact
        held = ", ".join(artefact.id for artefact in self.artefacts)
        raise EngineError(
            f"{self.full_name} has no artefact {artefact_id!r}",
            code="no_such_artefact",
            retry="no",
            hint=f"it has {held}",
        )

    @property
    def projector(self) -> Artefact | None:
        """The newest projector that may serve."""
        return next((one for one in reversed(self.artefacts) if one.projector and one.verdict != "quarantined"), None)


def shown(address: str) -> str:
    """Returns a web address as it may be told and written down: without a name and password, and without its query,
    which may be a signature that lets anybody in. Other text is returned as it is; a fragment stays (it is a hash)."""
    bare = _CREDENTIALS.sub(r"\1", address)
    return _QUERY.sub("", bare) if _ADDRESS.match(bare) else bare


def digest_of(artefact: Artefact) -> str:
    """Returns a sha256 over the names and contents of an artefact's files."""
    lines = [f"{name}\0{file.sha256}\0{file.size}\n" for name, file in sorted(artefact.files.items())]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def artefact_id(format: Format, quantisation: str, *, projector: bool = False) -> str:
    """Returns the usual id: `gguf-Q4_K_M`, `safetensors-BF16`, `projector-F16`."""
    kind = "projector" if projector else format
    return re.sub(r"[^A-Za-z0-9._+-]", "_", f"{kind}-{quantisation}")[:100]


def split_name(text: str) -> tuple[str, str | None]:
    """Returns (name, version or None) of `NAME[@vN]`, with or without `own/` before it. Raises EngineError."""
    name, at, version = text.removeprefix("own/").partition("@")
    if at and not _VERSION.fullmatch(version):
        raise _bad_name(f"{version[:40]!r} is not a version", f"write it like {name[:80] or 'NAME'}@v2")
    return check_name(name), version or None


def check_name(name: str) -> str:
    """Returns `name` when it can be a model's name. Raises EngineError (bad_name)."""
    if not _NAME.fullmatch(name) or len(folder_name(name)) > LONGEST_NAME:
        raise _bad_name(
            f"{name[:80]!r} cannot be a model's name",
            "a name begins with a letter or digit and has letters, digits and . _ : / + - only",
        )
    return name


def folder_name(name: str) -> str:
    """Returns the name of the folder of a model; `model_name` is its inverse."""
    return quote(name, safe="+")


def model_name(folder: str) -> str:
    return unquote(folder)


def check_artefact(artefact: Artefact) -> None:
    """Raises EngineError (bad_record, bad_file_name) for names that could lead out of a folder, and wrong hashes."""
    if not _ARTEFACT.fullmatch(artefact.id):
        raise _bad_record(f"{artefact.id[:100]!r} cannot be an artefact's id")
    if not artefact.files:
        raise _bad_record(f"the artefact {artefact.id} has no files")
    if len(artefact.files) > MOST_FILES:
        raise _bad_record(f"the artefact {artefact.id} has {len(artefact.files)} files")
    folders = {str(parent) for name in artefact.files for parent in PurePosixPath(name).parents}
    for name, file in artefact.files.items():
        check_file_name(name)
        if name in folders:
            raise _bad_record(f"{name!r} is a file and a folder")
        if not _SHA256.fullmatch(file.sha256) or file.size < 0:
            raise _bad_record(f"{name!r} has no valid sha256 and size")


def check_file_name(name: str) -> str:
    """Returns `name` when it is a relative path that stays where it is put. Raises EngineError (bad_file_name)."""
    parts = name.split("/")
    wrong = (
        len(name.encode(errors="replace")) > 1000
        or len(parts) > DEEPEST
        or _UNSEEN.search(name) is not None
        or any(not part or part.startswith((".", "~")) or len(part.encode(errors="replace")) > 255 for part in parts)
    )
    if wrong:
        raise EngineError(
            f"{name[:120]!r} cannot be the name of a file of a model",
            code="bad_file_name",
            retry="no",
            hint="names are relative paths without .. and without hidden or invisible parts",
        )
    return name


def is_sha256(text: str) -> bool:
    return _SHA256.fullmatch(text) is not None


def is_version(text: str) -> bool:
    return _VERSION.fullmatch(text) is not None


def _bad_name(message: str, hint: str) -> EngineError:
    return EngineError(message, code="bad_name", retry="no", hint=hint)


def _bad_record(message: str) -> EngineError:
    return EngineError(message, code="bad_record", retry="no")
