"""The routes of a Hugging Face hub for models: what a repository holds, and where its files are.

    GET  /api/models[?search=&author=&limit=]
    GET  /api/models/ID[/revision/REV][?blobs=true]      ModelInfo; `blobs` adds sizes and checksums of the files
    GET  /api/models/ID/tree/REV[/FOLDER][?recursive=true]
    POST /api/models/ID/paths-info/REV                   form or JSON: paths
    GET  /api/models/ID/refs
    GET  /api/whoami-v2
    HEAD, GET /ID/resolve/REV/FILE     a small file by way of /api/resolve-cache, an LFS object from storage
    HEAD, GET /ID/raw/REV/FILE

ID is ORG/NAME, or NAME alone for the oldest models. REV is percent-encoded, so that `refs/pr/1` is one piece.
An error has its name in X-Error-Code: RepoNotFound, RevisionNotFound, EntryNotFound, GatedRepo. Who is not logged in
gets 401 for a repository that is missing, as for one that is private.
"""

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from freehold.fake.hub.messages import Answer, Asked, as_json
from freehold.fake.hub.repositories import Blob, Repository

if TYPE_CHECKING:
    from freehold.fake.hub.server import HubServer

PAGE = 1000
"""Entries of a tree in one answer; the next page is named in the Link header."""
MADE = "2026-01-01T00:00:00.000Z"
_VERBS = ("revision", "tree", "paths-info", "refs", "resolve", "raw")


def route(hub: "HubServer", asked: Asked) -> Answer | None:
    """Returns the answer, None where the path is none of the hub's."""
    match asked.path:
        case ["api", "whoami-v2"]:
            return _whoami(hub, asked)
        case ["api", "models"]:
            return _list(hub, asked)
        case ["api", "models", *rest]:
            return _about(hub, asked, *_split(rest))
        case ["api", "resolve-cache", "models", *rest] if len(rest) >= 3:
            return _cached(hub, asked, rest)
        case ["storage", sha256, *rest] if asked.storage:
            return _stored(hub, sha256, "/".join(rest))
        case _ if asked.path[-1:] and len(asked.path) >= 4:
            name, verb, rest = _split(asked.path)
            return _file(hub, asked, name, verb, rest) if verb in ("resolve", "raw") else None
    return None


def error(status: int, code: str, message: str) -> Answer:
    return as_json({"error": message}, status, X_Error_Code=code, X_Error_Message=message)


def _split(parts: list[str]) -> tuple[str, str, list[str]]:
    """Returns (repository, verb, what follows)."""
    for at in (1, 2):
        if len(parts) > at and parts[at] in _VERBS:
            return "/".join(parts[:at]), parts[at], parts[at + 1 :]
    return "/".join(parts), "", []


def _repository(hub: "HubServer", asked: Asked, name: str) -> Repository | Answer:
    repository = hub.repository(name)
    if repository is None or (repository.private and not hub.may(asked.token, name)):
        if asked.token is None or asked.token not in hub.tokens:
            return error(401, "RepoNotFound", "Invalid username or password.")
        return error(404, "RepoNotFound", "Repository not found")
    return repository


def _about(hub: "HubServer", asked: Asked, name: str, verb: str, rest: list[str]) -> Answer:
    repository = _repository(hub, asked, name)
    if isinstance(repository, Answer):
        return repository
    if verb == "refs":
        return _refs(repository)
    revision = rest[0] if rest else "main"
    commit = repository.resolve(revision)
    if commit is None:
        return error(404, "RevisionNotFound", f"Invalid rev id: {revision}")
    match verb:
        case "" | "revision":
            return as_json(_info(hub, repository, commit, blobs=asked.flag("blobs")))
        case "tree":
            return _tree(hub, asked, repository, commit, "/".join(rest[1:]))
        case "paths-info":
            tree = repository.commits[commit]
            wanted = [path for path in asked.fields().get("paths", []) if path in tree]
            return as_json([_entry(hub, path, tree[path]) for path in wanted])
    return error(404, "EntryNotFound", "Sorry, we can't find the page you are looking for.")


def _info(hub: "HubServer", repository: Repository, commit: str, *, blobs: bool) -> dict[str, Any]:
    card, config = repository.card(commit), repository.config(commit)
    tree = repository.commits[commit]
    tags = [kind for kind in ("safetensors", "gguf") if any(path.endswith("." + kind) for path in tree)]
    if isinstance(card.get("license"), str):
        tags.append(f"license:{card['license']}")
    info: dict[str, Any] = {
        "_id": repository.head[:24],
        "id": repository.name,
        "modelId": repository.name,
        "author": repository.name.partition("/")[0],
        "sha": commit,
        "lastModified": MADE,
        "createdAt": MADE,
        "private": repository.private,
        "gated": repository.gated,
        "disabled": False,
        "downloads": 0,
        "likes": 0,
        "tags": tags,
        "pipeline_tag": card.get("pipeline_tag", "text-generation"),
        "library_name": "transformers" if config else None,
        "siblings": [_sibling(hub, path, blob, blobs) for path, blob in tree.items()],
        "usedStorage": sum(blob.size for blob in tree.values()),
    }
    if card:
        info["cardData"] = card
    if config:
        info["config"] = {key: config[key] for key in ("architectures", "model_type") if key in config}
    if parameters := repository.parameters(commit):
        info["safetensors"] = {"parameters": parameters, "total": sum(parameters.values())}
    return info


def _sibling(hub: "HubServer", path: str, blob: Blob, blobs: bool) -> dict[str, Any]:
    if not blobs or hub.lies("bare", path):
        return {"rfilename": path}
    size, sha256 = _claimed(hub, path, blob)
    said: dict[str, Any] = {"rfilename": path, "blobId": blob.oid, "size": size}
    if blob.lfs:
        said["lfs"] = {"sha256": sha256, "size": size, "pointerSize": blob.pointer}
    elif sha256 != blob.sha256:
        said["blobId"] = sha256[:40]
    return said


def _entry(hub: "HubServer", path: str, blob: Blob) -> dict[str, Any]:
    size, sha256 = _claimed(hub, path, blob)
    said: dict[str, Any] = {"type": "file", "oid": blob.oid, "size": size, "path": path}
    if blob.lfs:
        said["lfs"] = {"oid": sha256, "size": size, "pointerSize": blob.pointer}
    return said


def _claimed(hub: "HubServer", path: str, blob: Blob) -> tuple[int, str]:
    """Size and checksum as the API tells them, which may be lies."""
    size = blob.size + 1 if hub.lies("size", path) else blob.size
    return size, "0" * 64 if hub.lies("hash", path) else blob.sha256


def _tree(hub: "HubServer", asked: Asked, repository: Repository, commit: str, folder: str) -> Answer:
    start = f"{folder}/" if folder else ""
    entries: dict[str, dict[str, Any]] = {}
    for path, blob in repository.commits[commit].items():
        if not path.startswith(start):
            continue
        parts = path[len(start) :].split("/")
        for depth in range(1, len(parts) if asked.flag("recursive") else min(2, len(parts))):
            inner = start + "/".join(parts[:depth])
            entries.setdefault(inner, {"type": "directory", "oid": commit, "size": 0, "path": inner})
        if len(parts) == 1 or asked.flag("recursive"):
            entries[path] = _entry(hub, path, blob)
    if folder and not entries:
        return error(404, "EntryNotFound", f"{folder} does not exist on {commit}")
    cursor = asked.value("cursor", "0")
    first = int(cursor) if cursor.isdecimal() else 0
    answer = as_json(list(entries.values())[first : first + PAGE])
    if first + PAGE < len(entries):
        again = "&".join(part for part in asked.query.split("&") if part and not part.startswith("cursor="))
        path = "/".join(quote(part, safe="") for part in asked.path)
        answer.headers["link"] = f'<{hub.url}/{path}?{again}&cursor={first + PAGE}>; rel="next"'
    return answer


def _refs(repository: Repository) -> Answer:
    branches = [{"name": "main", "ref": "refs/heads/main", "targetCommit": repository.look()}]
    tags = [{"name": tag, "ref": f"refs/tags/{tag}", "targetCommit": at} for tag, at in repository.tags.items()]
    return as_json({"branches": branches, "tags": tags, "converts": [], "pullRequests": []})


def _list(hub: "HubServer", asked: Asked) -> Answer:
    text, author = asked.value("search").lower(), asked.value("author")
    names = [name for name in hub.names() if text in name.lower() and name.startswith(f"{author}/" if author else "")]
    limit = asked.value("limit", "1000")
    found = [repository for name in names if (repository := hub.repository(name)) is not None]
    shown = [one for one in found if not one.private or hub.may(asked.token, one.name)]
    shown = shown[: int(limit) if limit.isdecimal() else PAGE]
    return as_json(
        [{"_id": one.name, "id": one.name, "modelId": one.name, "private": one.private, "tags": []} for one in shown]
    )


def _whoami(hub: "HubServer", asked: Asked) -> Answer:
    if asked.token not in hub.tokens:
        return as_json({"error": "Invalid username or password."}, 401)
    return as_json({"type": "user", "name": "somebody", "fullname": "Somebody", "orgs": [], "auth": {}})


def _file(hub: "HubServer", asked: Asked, name: str, verb: str, rest: list[str]) -> Answer:
    repository = _repository(hub, asked, name)
    if isinstance(repository, Answer):
        return repository
    if repository.gated and not hub.may(asked.token, name):
        return _gated(hub, asked, name)
    revision, path = rest[0], "/".join(rest[1:])
    commit = repository.resolve(revision)
    if commit is None:
        return error(404, "RevisionNotFound", f"Invalid rev id: {revision}")
    blob = repository.commits[commit].get(path)
    if blob is None:
        missing = error(404, "EntryNotFound", "Entry not found")
        missing.headers["X-Repo-Commit"] = commit
        return missing
    if blob.lfs and verb == "resolve":
        return _redirected(hub, commit, path, blob)
    if revision != commit:
        place = f"/api/resolve-cache/models/{name}/{commit}/{quote(path)}"
        return Answer(307, {**_said(hub, commit, blob, path), "location": place}, b"", name=path)
    return _content(hub, commit, path, blob)


def _gated(hub: "HubServer", asked: Asked, name: str) -> Answer:
    if asked.token in hub.tokens:
        return error(
            403, "GatedRepo",
            f"Access to model {name} is restricted and you are not in the authorized list. "
            f"Visit {hub.url}/{name} to ask for access.",
        )  # fmt: skip
    return error(
        401, "GatedRepo",
        f"Access to model {name} is restricted. You must have access to it and be authenticated to access it. "
        "Please log in.",
    )  # fmt: skip


def _cached(hub: "HubServer", asked: Asked, rest: list[str]) -> Answer:
    for at in (2, 1):
        repository = hub.repository("/".join(rest[:at]))
        if repository is not None and rest[at] in repository.commits:
            if (repository.gated or repository.private) and not hub.may(asked.token, repository.name):
                return _gated(hub, asked, repository.name)
            path = "/".join(rest[at + 1 :])
            blob = repository.commits[rest[at]].get(path)
            return _content(hub, rest[at], path, blob) if blob else error(404, "EntryNotFound", "Entry not found")
    return error(404, "RepoNotFound", "Repository not found")


def _redirected(hub: "HubServer", commit: str, path: str, blob: Blob) -> Answer:
    size, sha256 = _claimed(hub, path, blob)
    where = f"{hub.storage_url}/storage/{blob.sha256}/{quote(path)}?X-Amz-Signature=signed"
    said = {**_said(hub, commit, blob, path), "X-Linked-Size": str(size), "X-Linked-Etag": f'"{sha256}"'}
    return Answer(302, {**said, "location": where}, f"Found. Redirecting to {where}".encode(), name=path)


def _stored(hub: "HubServer", sha256: str, path: str) -> Answer:
    blob = hub.stored(sha256)
    if blob is None:
        return Answer(403, {"content-type": "application/xml"}, b"<Error><Code>AccessDenied</Code></Error>", name=path)
    return Answer(200, {"etag": f'"{blob.oid[:32]}"'}, blob.content, ranges=True, name=path)


def _content(hub: "HubServer", commit: str, path: str, blob: Blob) -> Answer:
    return Answer(200, _said(hub, commit, blob, path), blob.content, ranges=True, name=path)


def _said(hub: "HubServer", commit: str, blob: Blob, path: str) -> dict[str, str]:
    said = {"X-Repo-Commit": commit, "accept-ranges": "bytes"}
    if not hub.lies("bare", path):
        said["etag"] = f'"{blob.etag}"'
    return said
