"""How the weights of a deployment reach another machine.

fetched    from where they were pulled, file by file, each checked against the sha256 that the store holds
volume     a Kubernetes volume that holds them already: `pvc://CLAIM/PATH`
local      a path on this machine, for targets that run on it (Ray) or carry files along (SkyPilot)

What was made here (converted, quantised, merged) and what lay in a folder was published nowhere: nobody can fetch it.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, urlsplit

from msgspec import Struct, structs

from freehold.errors import EngineError
from freehold.own.weights.store import Artefact, Source, Store, Version
from freehold.own.weights.types import Format

HUB = "https://huggingface.co"
OLLAMA = "https://registry.ollama.ai"
_CLAIM = re.compile(r"pvc://([a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?)(?:/(.*))?")


class File(Struct, frozen=True):
    """One file to fetch: `name` is its relative path on the other side, `size` is bytes."""

    name: str
    url: str
    sha256: str
    size: int


class Volume(Struct, frozen=True):
    """A volume claim of the cluster and a folder in it, without slashes at its ends."""

    claim: str
    folder: str = ""


class Weights(Struct, frozen=True):
    """`entry` is the file that the engine opens, relative to the folder of the weights; empty: the folder itself.

    `origin` says in words what they are. `repository` (ORG/NAME) is set for a Hugging Face hub; `pull` is then what
    `freehold pull` brings exactly these with, on another machine.
    """

    format: Format
    entry: str
    size: int
    origin: str
    local: Path
    files: tuple[File, ...] = ()
    volume: Volume | None = None
    projector: str | None = None
    repository: str | None = None
    revision: str | None = None
    quantisation: str | None = None

    @property
    def pull(self) -> str:
        return f"{self.repository}@{self.revision}" + (f":{self.quantisation}" if self.format == "gguf" else "")

    @property
    def private(self) -> list[str]:
        """Hosts in `files` that another machine cannot reach under that name."""
        hosts = {urlsplit(file.url).hostname or "" for file in self.files}
        return sorted(host for host in hosts if host in ("localhost", "::1") or host.startswith("127."))


def from_store(store: Store, version: Version, artefact: Artefact) -> Weights:
    """Returns the weights of a version of the store, with its projector if it has one. Raises EngineError."""
    projector = version.projector if artefact.format == "gguf" else None
    parts = [artefact, projector] if projector is not None else [artefact]
    known = [list(_files(version.source, part)) for part in parts]
    source = version.source
    revision = f" at {source.revision}" if source.revision else ""
    return Weights(
        format=artefact.format,
        entry=_first(artefact) if artefact.format == "gguf" else "",
        size=sum(part.size for part in parts),
        origin=f"{version.full_name}, {artefact.id}, from {source.reference}{revision}",
        local=store.model_path(version, artefact),
        files=tuple(file for files in known for file in files) if all(known) else (),
        projector=_first(projector) if projector is not None else None,
        repository=_repository(source) if source.kind == "hub" else None,
        revision=source.revision,
        quantisation=artefact.quantisation,
    )


def from_disk(path: Path, name: str, wanted: Format, projector: Path | None) -> Weights:
    """Returns the weights of a file or folder that is in no store. Raises EngineError when it is not of that format."""
    format: Format = "safetensors" if path.is_dir() else "gguf"
    if not path.exists() or format != wanted:
        reason = "does not exist" if not path.exists() else f"is {format}, and the engine reads {wanted}"
        raise EngineError(f"own/{name}: {path} {reason}", code="bad_weights", retry="no", hint="choose --engine to fit")
    sizes = [file.stat().st_size for file in (path.rglob("*") if path.is_dir() else [path]) if file.is_file()]
    return Weights(
        format=format,
        entry=path.name if format == "gguf" else "",
        size=sum(sizes) + (projector.stat().st_size if projector is not None and projector.exists() else 0),
        origin=f"{path.name}, from this machine's disk",
        local=path,
        projector=projector.name if projector is not None else None,
    )


def on_volume(weights: Weights, text: str) -> Weights:
    """Returns the same weights, held by the volume that `pvc://CLAIM/PATH` names: PATH is their folder."""
    return structs.replace(weights, volume=volume_of(text, "--weights"), files=())


def volume_of(text: str, param: str) -> Volume:
    """Returns the volume that `pvc://CLAIM/PATH` names. Raises EngineError for anything else."""
    match = _CLAIM.fullmatch(text)
    folder = (match[2] or "").strip("/") if match else ""
    if match is None or ".." in folder.split("/"):
        raise EngineError(
            f"{param} {text[:100]!r} is no volume", code="bad_volume", retry="no", hint="write it as pvc://CLAIM/PATH"
        )
    return Volume(match[1], folder)


def _files(source: Source, artefact: Artefact) -> Iterator[File]:
    """The files of an artefact with the URLs they were pulled from; none where nobody else has them."""
    if artefact.made != "pulled":
        return
    for name, ref in sorted(artefact.files.items()):
        url = _url(source, name, ref.sha256)
        if url is not None:
            yield File(name, url, ref.sha256, ref.size)


def _url(source: Source, name: str, sha256: str) -> str | None:
    match source.kind:
        case "hub" if source.revision:
            return f"{source.endpoint or HUB}/{_repository(source)}/resolve/{source.revision}/{quote(name)}"
        case "url":
            return source.reference
        case "ollama":
            repository = _repository(source)
            library = "" if "/" in repository else "library/"
            return f"{source.endpoint or OLLAMA}/v2/{library}{repository}/blobs/sha256:{sha256}"
    return None


def _repository(source: Source) -> str:
    """ORG/NAME of what a person wrote: `ORG/NAME[@REVISION][:QUANTISATION]` or `ollama:NAME[:TAG]`."""
    return re.split("[@:]", source.reference.removeprefix("ollama:"))[0]


def _first(artefact: Artefact) -> str:
    """The file that is opened; a GGUF in several parts is opened by its first."""
    return min(name for name in artefact.files if name.endswith(".gguf"))
