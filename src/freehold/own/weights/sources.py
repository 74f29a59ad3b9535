"""Weights from elsewhere than a hub: a URL, an Ollama registry, a folder or file on this machine.

A URL is asked for its size and entity tag first (HEAD), so that an interrupted download goes on only with the same
file. The parts of a split file, and what safetensors need beside them, are looked for where the file is.

An Ollama registry is an OCI registry (OLLAMA_REGISTRY, or the public one): a manifest names layers by their sha256, and
its own sha256 is the revision. The weights are one layer, a projector another. Ollama's template, system prompt and
parameters are another program's settings: the chat template inside the GGUF is what counts here.
"""

import hashlib
import os
import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote, urlsplit, urlunsplit

import msgspec
from msgspec import Struct

from freehold import __version__
from freehold.errors import ConfigError, EngineError
from freehold.own.weights.choose import Listed, label_of, pick
from freehold.own.weights.plan import Part, Plan, Planned
from freehold.own.weights.reference import Reference
from freehold.own.weights.remote import REDIRECTS, Remote, check_address, plain, redirected, unreachable, whole_number
from freehold.own.weights.types import Source, check_file_name, is_sha256

if TYPE_CHECKING:
    import httpx2

LIBRARY = "https://registry.ollama.ai"
MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
MAX_MANIFEST = 4 << 20
MAX_TEXT = 1 << 20
BESIDE = (
    "config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json", "tokenizer.model",
    "special_tokens_map.json", "added_tokens.json", "vocab.json", "merges.txt", "chat_template.jinja", "README.md",
)  # fmt: skip
"""What is looked for beside safetensors, where nothing lists the files."""

_SPLIT = re.compile(r"-(\d{5})-of-(\d{5})(?=\.(?:gguf|safetensors)$)")
_DIGEST = re.compile(r"sha256[:-]([0-9a-f]{64})")


class _Layer(Struct, rename="camel"):
    digest: str
    size: int
    media_type: str = ""

    @property
    def kind(self) -> str:
        return self.media_type.removeprefix("application/vnd.ollama.image.").partition(";")[0]

    @property
    def sha256(self) -> str:
        found = _DIGEST.fullmatch(self.digest)
        if found is None or self.size < 0:
            raise EngineError(f"{self.digest[:80]!r} is not a digest", code="hub_broken", retry="no")
        return found.group(1)


class _Answer(Struct, frozen=True):
    status: int
    headers: Mapping[str, str]
    body: bytes


class _Manifest(Struct):
    layers: list[_Layer]


def session() -> "httpx2.AsyncClient":
    """Returns the HTTP client for what is not a hub. Raises EngineError (not_installed)."""
    try:
        import httpx2
    except ImportError:
        raise EngineError(
            "pulling needs the package httpx2", code="not_installed", retry="no", hint="pip install 'freehold[own]'"
        ) from None
    return httpx2.AsyncClient(headers={"User-Agent": f"freehold/{__version__}"}, timeout=20.0)


# A URL


async def plan_url(reference: Reference, client: "httpx2.AsyncClient") -> Plan:
    """Raises EngineError: no_such_file, hub_unreachable, no_weights."""
    url = reference.url or ""
    names = [check_file_name(name) for name in _parts(PurePosixPath(unquote(urlsplit(url).path)).name)]
    weights = [await _asked(client, _beside(url, name), name) for name in names]
    if reference.sha256 is not None and len(weights) > 1:
        raise ConfigError("#sha256= pins one file, and this one is split", hint="pull it without, then pin it")
    if reference.sha256 is not None:
        weights = [msgspec.structs.replace(weights[0], sha256=reference.sha256)]
    others: list[Remote] = []
    if names[0].endswith(".safetensors"):
        others = [found for name in BESIDE if (found := await _maybe(client, _beside(url, name), name)) is not None]
        if not any(found.name == "config.json" for found in others):
            raise EngineError(
                f"there is no config.json beside {plain(_bare(url), 300)}",
                code="no_weights",
                retry="no",
                hint="safetensors alone do not say what model they are; pull the repository or a folder with both",
            )
    state = "\n".join(f"{one.name} {one.sha256 or one.etag or one.size}" for one in (*weights, *others))
    return Plan(
        reference,
        Source("url", url, hashlib.sha256(state.encode()).hexdigest()[:40]),
        "gguf" if names[0].endswith(".gguf") else "safetensors",
        label_of(names[0]),
        tuple(
            Planned(one.name, "paper" if one.name == "README.md" else "weights", one.size, one)
            for one in (*weights, *others)
        ),
        notes=_unpinned(weights),
    )


def _unpinned(weights: list[Remote]) -> tuple[str, ...]:
    if all(one.sha256 for one in weights):
        return ()
    return ("nobody says what hash the file must have: add #sha256=HEX to the URL if its maker published one",)


def _parts(name: str) -> list[str]:
    """All parts of a split file, from the name of one."""
    found = _SPLIT.search(name)
    if found is None:
        return [name]
    count = int(found.group(2))
    if not 0 < count <= 1000:
        raise ConfigError(f"{name} would have {count} parts", hint="name one part of a split file as it is")
    stem, suffix = name[: found.start()], name[found.end() :]
    names = [f"{stem}-{part:05}-of-{count:05}{suffix}" for part in range(1, count + 1)]
    return names if suffix == ".gguf" else [*names, f"{stem}.safetensors.index.json"]


def _beside(url: str, name: str) -> str:
    parts = urlsplit(url)
    return urlunsplit(parts._replace(path=parts.path.rpartition("/")[0] + "/" + quote(name), fragment=""))


async def _maybe(client: "httpx2.AsyncClient", url: str, name: str) -> Remote | None:
    try:
        return await _asked(client, url, name)
    except EngineError as error:
        if error.code == "no_such_file":
            return None
        raise


async def _asked(client: "httpx2.AsyncClient", url: str, name: str) -> Remote:
    """Returns a file as its server describes it."""
    response = await _fetch(client, "HEAD", url)
    if response.status in (405, 501):  # a server that knows only GET: ask for one byte
        response = await _fetch(client, "GET", url, {"Range": "bytes=0-0"})
    if response.status not in (200, 206):
        raise _refused(url, response.status)
    headers = response.headers
    total = headers.get("content-range", "").rpartition("/")[2] if response.status == 206 else ""
    length = headers.get("x-linked-size") or total or headers.get("content-length", "")
    linked, etag = headers.get("x-linked-etag", "").strip('"').lower(), headers.get("etag")
    version = etag or headers.get("last-modified") or length
    size = whole_number(length)
    sha256 = linked if is_sha256(linked) else None
    return Remote(name, url, size, sha256, None, {}, etag, f"{_bare(url)} {version}")


async def _fetch(
    client: "httpx2.AsyncClient", method: str, url: str, headers: Mapping[str, str] | None = None, limit: int = 0
) -> _Answer:
    """One small exchange, redirects followed; a body of at most `limit` bytes is read. What a hub says of a file with
    the redirect (X-Linked-Etag, X-Linked-Size) is among the headers."""
    import httpx2

    sent = {"Accept-Encoding": "identity", **(headers or {})}
    linked: dict[str, str] = {}
    try:
        for _ in range(REDIRECTS):
            request = client.build_request(method, url, headers=sent)
            response = await client.send(request, stream=True, follow_redirects=False)
            try:
                if response.is_redirect and "location" in response.headers:
                    url = redirected(url, response.headers["location"])
                    linked |= {name: value for name, value in response.headers.items() if name.startswith("x-linked-")}
                    continue
                body = await _body(response, limit) if limit else b""
                return _Answer(response.status_code, {**linked, **response.headers}, body)
            finally:
                await response.aclose()
    except (httpx2.TransportError, httpx2.InvalidURL) as error:
        raise unreachable(url, error) from None
    raise _broken(url, f"it redirects more than {REDIRECTS} times")


async def _body(response: "httpx2.Response", limit: int) -> bytes:
    body = bytearray()
    async for piece in response.aiter_raw():
        body += piece
        if len(body) > limit:
            raise _broken(str(response.url), f"more than {limit:,} bytes came")
    return bytes(body)


def refusal(remote: Remote, status: int, headers: Mapping[str, str]) -> EngineError:
    """Says why a server refused a file."""
    return _refused(remote.url, status)


def _refused(url: str, status: int) -> EngineError:
    where = plain(_bare(url), 300)
    if status in (401, 403):
        return EngineError(
            f"{where} is not for everybody (status {status})",
            code="gated",
            retry="no",
            hint="download it where you are logged in, and pull the file: freehold pull ./FILE.gguf",
        )
    if status in (404, 410):
        return EngineError(f"there is no {where}", code="no_such_file", retry="no", hint="check the address")
    return EngineError(f"{where} answered {status}", code="hub_broken", retry="same", hint="try again later")


def _bare(url: str) -> str:
    """A URL without its query, which may hold a signature."""
    return urlunsplit(urlsplit(url)._replace(query="", fragment=""))


def _broken(url: str, why: str) -> EngineError:
    return EngineError(f"{plain(_bare(url))} does not answer as expected: {why}", code="hub_broken", retry="no")


# An Ollama registry


def registry() -> str:
    """Returns the registry's address. Raises ConfigError for an OLLAMA_REGISTRY that is none."""
    value = (os.environ.get("OLLAMA_REGISTRY") or LIBRARY).strip().rstrip("/")
    check_address("OLLAMA_REGISTRY", value, LIBRARY)
    return value


async def plan_ollama(reference: Reference, client: "httpx2.AsyncClient") -> Plan:
    """Raises EngineError: no_such_repository, hub_unreachable, hub_broken, no_weights."""
    place = registry()
    base = f"{place}/v2/{reference.repo}"
    response = await _fetch(client, "GET", f"{base}/manifests/{reference.tag}", {"Accept": MANIFEST}, MAX_MANIFEST)
    if response.status == 404:
        raise EngineError(
            f"{place} has no {reference.repo}:{reference.tag}",
            code="no_such_repository",
            retry="no",
            hint="https://ollama.com/library lists its models, and each model's page its tags",
        )
    if response.status != 200:
        raise _refused(f"{base}/manifests/{reference.tag}", response.status)
    try:
        manifest = msgspec.json.decode(response.body, type=_Manifest)
    except msgspec.DecodeError as error:
        raise _broken(base, f"its manifest cannot be read: {error}") from None
    layers = {layer.kind: layer for layer in manifest.layers}
    _check_layers(reference, layers)
    planned: list[Planned] = []
    named: list[tuple[str, Part]] = [("model", "weights"), ("projector", "projector")]
    for kind, part in named:
        if kind in layers:
            layer = layers[kind]
            remote = Remote(f"{kind}.gguf", f"{base}/blobs/sha256:{layer.sha256}", layer.size, layer.sha256)
            planned.append(Planned(remote.name, part, layer.size, remote))
    revision = f"sha256:{hashlib.sha256(response.body).hexdigest()}"
    return Plan(
        reference,
        Source("ollama", reference.text, revision, place),
        "gguf",
        label_of(f"-{reference.tag}"),
        tuple(planned),
        licence=await _licence(client, base, layers.get("license")),
        notes=_ignored(layers),
    )


def _check_layers(reference: Reference, layers: Mapping[str, _Layer]) -> None:
    why = None
    if "adapter" in layers:
        why = "it is an adapter on another model", "pull the base model and name the adapter under `adapters:`"
    elif "tensor" in layers:
        why = "it is in Ollama's own layout, not in GGUF", "pull the model from a Hugging Face hub"
    elif "model" not in layers:
        why = "its manifest names no weights", "models that run in a cloud have none"
    if why is not None:
        raise EngineError(f"{reference.text} cannot be used: {why[0]}", code="no_weights", retry="no", hint=why[1])


def _ignored(layers: Mapping[str, _Layer]) -> tuple[str, ...]:
    left = [kind for kind in ("template", "system", "params", "messages") if kind in layers]
    if not left:
        return ()
    return (f"Ollama's own {', '.join(left)} are not used; the chat template in the weights is",)


async def _licence(client: "httpx2.AsyncClient", base: str, layer: _Layer | None) -> str | None:
    """The first line of the licence's text."""
    if layer is None or layer.size > MAX_TEXT:
        return None
    response = await _fetch(client, "GET", f"{base}/blobs/sha256:{layer.sha256}", limit=MAX_TEXT)
    if response.status != 200 or hashlib.sha256(response.body).hexdigest() != layer.sha256:
        return None
    lines = (line.strip() for line in response.body.decode("utf-8", "replace").splitlines())
    return next((plain(line, 100) for line in lines if line), None)


# This machine


def plan_local(reference: Reference, *, remote_code: bool = False, pickles: bool = False) -> Plan:
    """Raises EngineError: no_weights and the others of `pick`; OSError."""
    path = reference.path or Path()
    if reference.kind == "file":
        paths = {name: path.with_name(name) for name in _parts(path.name)}
        missing = next((name for name, one in paths.items() if not one.is_file()), None)
        if missing is not None:
            raise EngineError(
                f"{missing} is not beside {path.name}",
                code="no_weights",
                retry="no",
                hint="a split file needs all its parts",
            )
    else:
        found = (one for one in (*path.glob("*"), *path.glob("*/*")) if one.is_file())
        paths = {one.relative_to(path).as_posix(): one for one in found if not one.name.startswith(".")}
    listed = [Listed(name, one.stat().st_size) for name, one in paths.items()]
    chosen = pick(str(path), listed, reference.quantisation, remote_code=remote_code, pickles=pickles)
    parts: dict[str, Part] = {file.name: "weights" for file in chosen.files}
    parts |= {file.name: "paper" for file in chosen.papers}
    parts |= {file.name: "pickle" for file in chosen.pickled}
    if chosen.projector is not None:
        parts[chosen.projector.name] = "projector"
    return Plan(
        reference,
        Source("folder", str(path)),
        chosen.format,
        chosen.quantisation,
        tuple(Planned(file.name, parts[file.name], file.size, None, paths[file.name]) for file in chosen.all),
        wanted=chosen.wanted,
        others=dict(chosen.others),
        remote_code=remote_code,
    )
