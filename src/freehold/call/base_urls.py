"""Base URLs as people type them, and as a provider's row needs them."""

import re
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, urlsplit, urlunsplit

from freehold.call.clouds import SIGNED

if TYPE_CHECKING:
    from freehold.call.providers import ProviderRow

_VERSION = re.compile(r"v[0-9]+(?:beta[0-9]*|alpha)?")
_ENDPOINT = re.compile(r"/(?:chat/completions|completions|embeddings|models|messages(?:/count_tokens)?|responses)$")
_CLOUD = re.compile(r"/(?:openai(?:/v1)?(?:/.*)?|v1(?:beta1)?(?:/.*)?|model/.*)$")
"""What people paste behind a cloud's host, and the paths bring along."""


def normalise_base_url(row: "ProviderRow", url: str) -> str:
    """Returns the base URL meant by what a person typed, to which the row's paths can be appended.

    With or without a trailing slash, `/v1`, or a whole endpoint pasted in, all come out the same:
    - on the provider's own host, a path that is a beginning of the row's path is completed to it;
    - elsewhere a bare host gets `/v1`, as every server of the chat dialect has it, and any other path is believed;
    - the messages and gemini dialects carry the version in their paths, so it is taken off.
    A host without a scheme, as OLLAMA_HOST may be, is read as http.
    """
    url = url.strip()
    parts = urlsplit(url if "://" in url else f"http://{url}")
    path = parts.path.rstrip("/")
    if row.auth in SIGNED:
        path = _CLOUD.sub("", path)
    elif row.dialect == "chat":
        path = _chat_path(row, parts, _ENDPOINT.sub("", path))
    else:
        own = next((own for own in row.paths.values() if path.endswith(own)), "")
        path = _ENDPOINT.sub("", path.removesuffix(own))
        head, _, last = path.rpartition("/")
        path = head if _VERSION.fullmatch(last) else path
    return urlunsplit((parts.scheme, _netloc(parts, row), path, "", "")).rstrip("/")


def _chat_path(row: "ProviderRow", typed: SplitResult, path: str) -> str:
    own = urlsplit(row.base_url)
    if typed.hostname == own.hostname and own.path.startswith(path):
        return own.path
    return path or "/v1"


def _netloc(parts: SplitResult, row: "ProviderRow") -> str:
    """Fills in what a local server's variable may leave out: its port, and an address one can connect to."""
    if not row.local or parts.scheme != "http":
        return parts.netloc
    host = parts.hostname or ""
    host = "127.0.0.1" if host in ("", "0.0.0.0", "::") else f"[{host}]" if ":" in host else host  # noqa: S104
    return f"{host}:{parts.port or row.ports[0]}"
