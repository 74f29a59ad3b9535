"""The routes of an Ollama registry: the pull half of the OCI distribution API, serving `.ollama/NAMESPACE/NAME/TAG/`.

    GET       /v2/
    HEAD, GET /v2/NAMESPACE/NAME/manifests/TAG|DIGEST
    HEAD, GET /v2/NAMESPACE/NAME/blobs/DIGEST            by way of the storage host

A file of the folder is a layer, by its name: `model.gguf`, `projector.gguf`, `adapter.gguf`, `template`, `system`,
`license`, `params` (JSON), `messages` (JSON). The config layer is made. An error is `{"errors": [{code, message}]}`.
"""

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from freehold.fake.hub.messages import Answer, Asked, as_json

if TYPE_CHECKING:
    from freehold.fake.hub.server import HubServer

MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
CONFIG = "application/vnd.docker.container.image.v1+json"
LAYER = "application/vnd.ollama.image."
LAYERS = ("model", "projector", "adapter", "template", "system", "license", "params", "messages")


def route(hub: "HubServer", asked: Asked) -> Answer | None:
    """Returns the answer, None where the path is none of a registry's."""
    match asked.path:
        case ["v2"] | ["v2", ""]:
            return as_json({})
        case ["v2", space, name, "manifests", tag]:
            return _manifest(_folder(hub, space, name), tag)
        case ["v2", space, name, "blobs", digest] if asked.storage:
            return _blob(_folder(hub, space, name), digest)
        case ["v2", space, name, "blobs", digest]:
            where = f"{hub.storage_url}/v2/{space}/{name}/blobs/{digest}?signed=1"
            return Answer(307, {"location": where}, name="blob")
    return None


def _error(status: int, code: str, message: str) -> Answer:
    return as_json({"errors": [{"code": code, "message": message}]}, status)


def _folder(hub: "HubServer", space: str, name: str) -> Path:
    return hub.folder / ".ollama" / space.replace("..", "_") / name.replace("..", "_")


def _manifest(folder: Path, tag: str) -> Answer:
    for found in sorted(folder.iterdir()) if folder.is_dir() else ():
        manifest = _made(found)
        digest = f"sha256:{hashlib.sha256(manifest).hexdigest()}"
        if tag in (found.name, digest):
            return Answer(200, {"content-type": MANIFEST, "docker-content-digest": digest}, manifest, name="manifest")
    return _error(404, "MANIFEST_UNKNOWN", "manifest unknown")


def _layers(folder: Path) -> list[dict[str, Any]]:
    paths = sorted((path for path in folder.iterdir() if path.stem in LAYERS), key=lambda path: LAYERS.index(path.stem))
    return [{"mediaType": LAYER + path.stem, "digest": _digest(path), "size": path.stat().st_size} for path in paths]


def _made(folder: Path) -> bytes:
    layers = _layers(folder)
    config = _config(layers)
    said = {"mediaType": CONFIG, "digest": f"sha256:{hashlib.sha256(config).hexdigest()}", "size": len(config)}
    return msgspec.json.encode({"schemaVersion": 2, "mediaType": MANIFEST, "config": said, "layers": layers})


def _config(layers: list[dict[str, Any]]) -> bytes:
    digests = [layer["digest"] for layer in layers]
    return msgspec.json.encode({"model_format": "gguf", "rootfs": {"type": "layers", "diff_ids": digests}})


def _blob(folder: Path, digest: str) -> Answer:
    for path in folder.glob("*/*"):
        if _digest(path) == digest:
            return Answer(200, {"etag": f'"{digest}"'}, path, ranges=True, name=path.name)
    for found in folder.iterdir() if folder.is_dir() else ():
        config = _config(_layers(found))
        if digest == f"sha256:{hashlib.sha256(config).hexdigest()}":
            return Answer(200, {"etag": f'"{digest}"'}, config, ranges=True, name="config")
    return _error(404, "BLOB_UNKNOWN", "blob unknown to registry")


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
