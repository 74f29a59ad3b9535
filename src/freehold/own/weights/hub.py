"""A Hugging Face hub, or a mirror of one, asked through the official `huggingface_hub`.

`main`, a branch or a tag is turned into a commit once; every file is then asked for by this commit, so that an author
who pushes in the middle changes nothing. HF_ENDPOINT, HF_TOKEN (and the token file of `hf auth login`), HF_HUB_OFFLINE
and the proxy variables mean what they mean to the official client. HF_ENDPOINT is read here at each call: the client
itself reads it once, when it is imported.

The hub says what a file is: sha256 for LFS objects, the git blob's sha1 for small ones. A mirror that leaves this out
is asked for each file by itself (HEAD). The client's own telemetry is switched off: this program reports to nobody.
"""

import os
import re
import time
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from msgspec import Struct

from freehold import __version__
from freehold.errors import EngineError
from freehold.own.weights.apart import apart
from freehold.own.weights.choose import Listed, pick
from freehold.own.weights.plan import Plan, Planned
from freehold.own.weights.reference import Reference
from freehold.own.weights.remote import Patience, Remote, check_address, plain, unreachable, waiting
from freehold.own.weights.types import Source, check_file_name, is_sha256

if TYPE_CHECKING:
    import httpx2

PUBLIC = "https://huggingface.co"
TIMEOUT = 20.0
TRIES = 4
_BUSY = (408, 429, 500, 502, 503, 504)
_FREE = ("apache-2.0", "mit", "bsd", "cc0", "cc-by-4.0", "unlicense", "mpl-2.0", "isc")


class Repository(Struct, frozen=True):
    """What the hub says of a repository at one commit. `gated` is "auto" or "manual" where a person has to ask."""

    name: str
    commit: str
    files: tuple[Listed, ...]
    endpoint: str
    licence: str | None = None
    link: str | None = None
    gated: str | None = None
    parameters: int | None = None


def endpoint() -> str:
    """Returns the hub's address. Raises ConfigError for an HF_ENDPOINT that is none."""
    value = (os.environ.get("HF_ENDPOINT") or PUBLIC).strip().rstrip("/")
    check_address("HF_ENDPOINT", value, PUBLIC)
    return value


def session() -> "httpx2.AsyncClient":
    """Returns the official client's asynchronous HTTP client. It refuses to work where HF_HUB_OFFLINE is set."""
    return _official().get_async_session()  # type: ignore[no-any-return]


def blocking_session() -> Any:
    """Returns the client by which the official one asks for what is not a file."""
    return _official().utils.get_session()


async def plan(
    reference: Reference, *, remote_code: bool = False, pickles: bool = False, patience: Patience | None = None
) -> Plan:
    """Asks the hub for a repository and chooses the files.

    Raises EngineError: hub_unreachable, offline, gated, no_such_repository, no_such_revision, rate_limited,
    hub_broken, and those of `pick`.
    """
    asking = _Asking(reference, patience or Patience())
    repository = await apart(asking.look)
    chosen = pick(repository.name, repository.files, reference.quantisation, remote_code=remote_code, pickles=pickles)
    for file in chosen.all:
        check_file_name(file.name)
    known = await apart(asking.complete, repository, chosen.all)
    parts = {file.name: "weights" for file in chosen.files} | {file.name: "paper" for file in chosen.papers}
    parts |= {file.name: "pickle" for file in chosen.pickled}
    if chosen.projector:
        parts[chosen.projector.name] = "projector"
    headers = asking.secret()
    return Plan(
        reference,
        Source("hub", reference.text, repository.commit, repository.endpoint),
        chosen.format,
        chosen.quantisation,
        tuple(_planned(repository, file, parts[file.name], headers) for file in known),
        wanted=chosen.wanted,
        others=dict(chosen.others),
        licence=repository.licence,
        gated=repository.gated,
        parameters=repository.parameters if chosen.format == "safetensors" else None,
        remote_code=remote_code,
        notes=tuple(_notes(repository)),
    )


def refusal(reference: Reference, commit: str) -> Any:
    """Returns the function that says why the hub refused a file."""
    repo, place = reference.repo or "", endpoint()

    def explain(remote: Remote, status: int, headers: Mapping[str, str]) -> EngineError:
        code = headers.get("x-error-code", "")
        if code == "GatedRepo" or status in (401, 403, 451):
            return gated(repo, place, headers.get("x-error-message"))
        if status == 404:
            return EngineError(
                f"the hub has no such file at commit {commit[:12]}",
                code="no_such_file",
                retry="no",
                hint="its author may have removed the commit; pull again",
            )
        return EngineError(f"the hub answered {status}", code="hub_broken", retry="no", hint=f"{place}/{repo}")

    return explain


def gated(repo: str, place: str, said: str | None = None) -> EngineError:
    """Explains that a person has to accept a licence or be let in, and how."""
    token = _token()
    page = f"{place}/{repo}"
    if token is None:
        hint = f"open {page} in a browser, log in and accept its terms; make a token at {place}/settings/tokens; then "
        hint += "HF_TOKEN=... freehold pull ..., or hf auth login once"
    else:
        hint = (
            f"open {page} with the account of your token and ask for access (some authors answer by hand, which takes "
        )
        hint += f"time); a fine-grained token must be allowed to read gated repositories ({place}/settings/tokens)"
    more = f" (the hub says: {plain(said)})" if said else ""
    return EngineError(
        f"{repo} is for those who were given access, which you were not{more}", code="gated", retry="no", hint=hint
    )


class _Asking:
    """One conversation with the hub; blocking."""

    def __init__(self, reference: Reference, patience: Patience) -> None:
        self._official = _official()
        self._repo = reference.repo or ""
        self._revision = reference.revision
        self._patience = patience
        self._endpoint = endpoint()
        self._api = self._official.HfApi(endpoint=self._endpoint, library_name="freehold", library_version=__version__)

    def secret(self) -> dict[str, str]:
        headers = self._official.utils.build_hf_headers(library_name="freehold", library_version=__version__)
        return {name: value for name, value in headers.items() if name.lower() == "authorization"}

    def look(self) -> Repository:
        info = self._tried(
            self._api.model_info, self._repo, revision=self._revision, files_metadata=True, timeout=TIMEOUT
        )
        if not isinstance(info.sha, str) or not info.sha:
            raise self._broken("it names no commit")
        files = [_listed(sibling) for sibling in info.siblings or ()]
        if not files or any(file.size is None for file in files):
            files = self._tree(info.sha) or files
        card = info.card_data.to_dict() if info.card_data is not None else {}
        return Repository(
            self._repo,
            info.sha,
            tuple(files),
            self._endpoint,
            licence=_licence(card, info.tags or ()),
            link=plain(card["license_link"]) if isinstance(card.get("license_link"), str) else None,
            gated=str(info.gated) if info.gated else None,
            parameters=info.safetensors.total if info.safetensors is not None else None,
        )

    def complete(self, repository: Repository, files: Iterable[Listed]) -> list[Listed]:
        """Asks for what is still unknown of the files, and whether a gated repository lets us in."""
        found: list[Listed] = []
        for number, file in enumerate(files):
            known = file.size is not None and (file.sha256 or file.git)
            ask = not known or (number == 0 and repository.gated)
            found.append(self._asked(repository, file) if ask else file)
        return found

    def _asked(self, repository: Repository, file: Listed) -> Listed:
        """What the headers of one file say; a mirror that does not know HEAD says nothing."""
        url = self._official.hf_hub_url(repository.name, file.name, revision=repository.commit, endpoint=self._endpoint)
        try:
            said = self._tried(self._official.get_hf_file_metadata, url, timeout=TIMEOUT, endpoint=self._endpoint)
        except EngineError as error:
            if error.code != "hub_broken":
                raise
            return file
        etag = (said.etag or "").lower()
        sha256 = etag if is_sha256(etag) else None
        git = etag if re.fullmatch("[0-9a-f]{40}", etag) else None
        return Listed(file.name, file.size or said.size, file.sha256 or sha256, file.git or git)

    def _tree(self, commit: str) -> list[Listed]:
        from huggingface_hub import RepoFile
        from huggingface_hub.errors import HfHubHTTPError

        try:
            entries = list(self._api.list_repo_tree(self._repo, recursive=True, revision=commit))
        except (HfHubHTTPError, ValueError, KeyError, TypeError):
            return []
        return [_listed(entry) for entry in entries if isinstance(entry, RepoFile)]

    def _tried(self, ask: Any, *args: Any, **named: Any) -> Any:
        """One question, again where the hub is busy or the connection fails."""
        import httpx2
        from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

        for attempt in range(TRIES):
            last = attempt == TRIES - 1
            pause: float | None = None
            try:
                return ask(*args, **named)
            except OfflineModeIsEnabled:
                raise _offline() from None
            except HfHubHTTPError as error:
                if last or error.response.status_code not in _BUSY:
                    raise self._explained(error) from None
                pause = waiting(error.response.headers)
            except httpx2.TransportError as error:
                if last:
                    raise unreachable(self._endpoint, error) from None
            except (ValueError, KeyError, TypeError, AttributeError, httpx2.HTTPError) as error:
                raise self._broken(plain(str(error), 120)) from None
            time.sleep(pause if pause is not None else self._patience.pause * 2**attempt)
        raise AssertionError

    def _explained(self, error: Any) -> EngineError:
        from huggingface_hub.errors import (
            DisabledRepoError,
            GatedRepoError,
            RepositoryNotFoundError,
            RevisionNotFoundError,
        )

        status, said = error.response.status_code, error.server_message
        if isinstance(error, GatedRepoError):
            return gated(self._repo, self._endpoint, said)
        if isinstance(error, RevisionNotFoundError):
            return self._no_revision()
        if isinstance(error, DisabledRepoError):
            return _refused(f"{self._repo} was disabled by its author or the hub", "no_such_repository")
        if isinstance(error, RepositoryNotFoundError) or status in (401, 404):
            return self._no_repository(status)
        if status == 403:
            return gated(self._repo, self._endpoint, said)
        return _refused(f"{self._endpoint} answered {status} for {self._repo}", "hub_broken", "try again later", "same")

    def _no_revision(self) -> EngineError:
        hint = f"{self._endpoint}/{self._repo}/tree/main lists its branches and tags"
        try:
            refs = self._api.list_repo_refs(self._repo)
            names = [ref.name for ref in (*refs.branches, *refs.tags)]
            hint = f"it has {', '.join(names[:12])}" if names else hint
        except Exception:  # noqa: S110  only for a better hint, any failure is as good as silence
            pass
        return _refused(f"{self._repo} has no revision {self._revision!r}", "no_such_revision", hint)

    def _no_repository(self, status: int) -> EngineError:
        seen = "for those who are not logged in" if _token() is None else "that your token may read"
        hint = "check the spelling; a private one needs HF_TOKEN=... or hf auth login"
        if _token() is not None and status == 401:
            hint = f"your token was not accepted: make another at {self._endpoint}/settings/tokens, or unset HF_TOKEN"
        return _refused(f"{self._endpoint} has no repository {self._repo} {seen}", "no_such_repository", hint)

    def _broken(self, why: str) -> EngineError:
        return _refused(
            f"{self._endpoint} does not answer like a hub: {why}",
            "hub_broken",
            "HF_ENDPOINT must be the address of a Hugging Face hub or a mirror; a login page may stand before it",
        )


def _planned(repository: Repository, file: Listed, part: Any, secret: dict[str, str]) -> Planned:
    import huggingface_hub

    url = huggingface_hub.hf_hub_url(
        repository.name, file.name, revision=repository.commit, endpoint=repository.endpoint
    )
    key = f"{repository.endpoint}/{repository.name} {repository.commit} {file.name}"
    remote = Remote(file.name, url, file.size, file.sha256, file.git, secret, None, key)
    return Planned(file.name, part, file.size, remote)


def _listed(entry: Any) -> Listed:
    lfs = entry.lfs
    if lfs is not None:
        return Listed(entry.rfilename, lfs.size, lfs.sha256.lower().removeprefix("sha256:"))
    return Listed(entry.rfilename, entry.size, None, entry.blob_id)


def _licence(card: Mapping[str, Any], tags: Iterable[str]) -> str | None:
    value = card.get("license_name") or card.get("license")
    if isinstance(value, list):
        value = ", ".join(map(str, value))
    if not value:
        value = next((tag.partition(":")[2] for tag in tags if tag.startswith("license:")), None)
    return plain(str(value), 100) or None if value else None


def _notes(repository: Repository) -> list[str]:
    notes = []
    if repository.gated:
        notes.append(f"access to {repository.name} is given by its author; you have it")
    if repository.licence and not repository.licence.lower().startswith(_FREE):
        where = repository.link or f"{repository.endpoint}/{quote(repository.name)}"
        notes.append(f"its licence is {repository.licence}, which has conditions: read {where}")
    if repository.licence is None:
        notes.append("it names no licence: nobody gave you the right to use it")
    return notes


def _official() -> Any:
    try:
        import huggingface_hub
        from huggingface_hub import constants, utils  # noqa: F401  submodules are imported on request only
    except ImportError:
        raise EngineError(
            "pulling from a hub needs the package huggingface_hub",
            code="not_installed",
            retry="no",
            hint="pip install 'freehold[own]'",
        ) from None
    constants.HF_HUB_DISABLE_TELEMETRY = True
    return huggingface_hub


def _token() -> str | None:
    token: str | None = _official().get_token()
    return token


def _offline() -> EngineError:
    return _refused(
        "HF_HUB_OFFLINE is set, so no hub is asked",
        "offline",
        "unset it; or bring the weights as a bundle: freehold weights import FILE",
    )


def _refused(message: str, code: str, hint: str | None = None, retry: Any = "no") -> EngineError:
    return EngineError(message, code=code, retry=retry, hint=hint)
