"""What a person writes to name weights, parsed. Touches no network, and the disk only to tell a folder from a file.

    ORG/NAME[@REVISION][:QUANTISATION]      a repository of a Hugging Face hub; also hf:..., hf.co/..., its web address
    https://HOST/.../FILE.gguf[#sha256=HEX] a file, .gguf or .safetensors
    ollama:NAME[:TAG], ollama:USER/NAME     a model of an Ollama library
    ./FOLDER, /FOLDER, ~/FILE.gguf          what is on this machine already

A repository's name never becomes a path as it is: every part is matched against what hubs allow.
"""

import re
from pathlib import Path, PurePosixPath
from typing import Literal
from urllib.parse import SplitResult, quote, unquote, urlsplit

from msgspec import Struct

from freehold.errors import ConfigError
from freehold.own.weights.choose import PICKLES
from freehold.own.weights.types import shown

HUBS = ("huggingface.co", "www.huggingface.co", "hf.co")
SUFFIXES = (".gguf", ".safetensors")

QUANTISATIONS = (
    "F32", "F16", "BF16", "Q8_0", "Q6_K", "Q5_K_M", "Q5_K_S", "Q5_1", "Q5_0", "Q4_K_M", "Q4_K_S", "Q4_1", "Q4_0",
    "Q3_K_L", "Q3_K_M", "Q3_K_S", "Q2_K", "Q2_K_S", "IQ4_NL", "IQ4_XS", "IQ3_M", "IQ3_S", "IQ3_XS", "IQ3_XXS", "IQ2_M",
    "IQ2_S", "IQ2_XS", "IQ2_XXS", "IQ1_M", "IQ1_S", "TQ1_0", "TQ2_0", "MXFP4",
)  # fmt: skip
"""llama.cpp's names (llama_ftype). A repository may have others, such as UD-Q4_K_XL."""

_PART = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9_])?")
_REVISION = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._/+-]{0,199}")
_QUANTISATION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,199}")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_SHA256 = re.compile(r"[0-9a-fA-F]{64}")
_SHARD = re.compile(r"-\d{5}-of-\d{5}$")
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
FORMS = "ORG/NAME[@REVISION][:QUANTISATION], an https URL of a .gguf file, ollama:NAME[:TAG], or a path from ./ or /"


class Reference(Struct, frozen=True):
    """`name` is what the model is called here, as own/NAME. The rest is set by kind:

    hub     `repo` (ORG/NAME), `revision` (branch, tag or commit), `quantisation`
    url     `url`, `sha256` where the reference pins it; a query, which may be a signature, is in `url` alone
    ollama  `repo` (library/NAME or USER/NAME), `tag`
    folder, file  `path`, absolute

    `text` is what a person wrote, as it may be told and written down (`types.shown`).
    """

    kind: Literal["hub", "url", "ollama", "folder", "file"]
    text: str
    name: str
    repo: str | None = None
    revision: str | None = None
    quantisation: str | None = None
    url: str | None = None
    sha256: str | None = None
    tag: str | None = None
    path: Path | None = None


def parse(text: str, *, base: Path | None = None) -> Reference:
    """Returns what `text` names; a relative path counts from `base`, else from the working folder.

    Raises ConfigError, with the nearest spelling that would do as its hint.
    """
    text = text.strip()
    if not text:
        raise _wrong(text, "nothing was given", FORMS)
    told = shown(text)
    if len(text) > 2000 or not text.isprintable():
        raise _wrong(told, "it has invisible characters or is too long", FORMS)
    scheme, colon, _ = text.partition(":")
    if colon and scheme.lower() in ("http", "https"):
        return _url(text)
    if colon and scheme.lower() == "ollama":
        return _ollama(told, told.partition(":")[2].removeprefix("//"))
    if colon and scheme.lower() in ("hf", "huggingface"):
        return _hub(told, told.partition(":")[2].removeprefix("//"))
    if "://" in text:
        raise _wrong(told, f"{scheme}:// cannot be fetched", FORMS)
    if text.startswith(("/", "./", "../", "~")) or text in (".", ".."):
        return _local(text, base)
    if text.lower().endswith(SUFFIXES) and not _is_repo_with_file(text):
        return _local(text, base)
    first, slash, _ = text.partition("/")
    if slash and first.lower() in (*HUBS, "ollama.com", "registry.ollama.ai"):
        return _url(f"https://{text}") if first.lower() not in HUBS else _hub(told, told.partition("/")[2])
    return _hub(text, text, base)


def quantisation_name(text: str) -> str:
    """Returns a quantisation as llama.cpp spells it (`q4_k_m` is `Q4_K_M`), anything else as it is."""
    return next((known for known in QUANTISATIONS if known.lower() == text.lower()), text)


# hub


def _hub(text: str, rest: str, base: Path | None = None) -> Reference:
    repo, at, after = rest.partition("@")
    if at:
        revision, colon, quantisation = after.partition(":")
    else:
        revision = ""
        repo, colon, quantisation = rest.partition(":")
    if ":" in repo and at:
        _misplaced(text, repo, after)
    parts = repo.strip("/").split("/")
    if len(parts) == 1:
        raise _lone_word(text, parts[0], quantisation, base)
    if len(parts) > 2:
        near = "/".join(parts[:2])
        raise _wrong(text, "a repository is ORG/NAME", near if _repo(near) else f"./{text} is a path")
    if not _repo(repo.strip("/")):
        raise _wrong(text, f"{repo[:80]!r} is not a repository's name", _near(repo))
    if at and not _revision(revision):
        raise _wrong(text, f"{revision[:80]!r} is not a branch, tag or commit", f"{repo}@main")
    if colon and not _quantised(quantisation):
        raise _wrong(text, f"{quantisation[:80]!r} is not a quantisation", f"{repo}:Q4_K_M")
    return Reference(
        kind="hub",
        text=text,
        name=_own_name(text, parts[1].removesuffix(".gguf")),
        repo=repo.strip("/"),
        revision=revision or None,
        quantisation=quantisation_name(quantisation) if colon else None,
    )


def _repo(repo: str) -> bool:
    parts = repo.split("/")
    return len(parts) == 2 and all(_PART.fullmatch(part) and ".." not in part and "--" not in part for part in parts)


def _revision(revision: str) -> bool:
    steps = revision.split("/")
    return _REVISION.fullmatch(revision) is not None and not any(step in ("", ".", "..") for step in steps)


def _quantised(quantisation: str) -> bool:
    steps = quantisation.split("/")
    return _QUANTISATION.fullmatch(quantisation) is not None and not any(step in ("", ".", "..") for step in steps)


def _is_repo_with_file(text: str) -> bool:
    """Whether this is ORG/NAME:FILE.gguf or a repository called ORG/NAME.gguf@REVISION, not a path."""
    repo = re.split("[@:]", text)[0]
    return repo != text and _repo(repo)


def _misplaced(text: str, repo: str, after: str) -> None:
    """Raises for ORG/NAME:QUANTISATION@REVISION."""
    base, _, quantisation = repo.partition(":")
    raise _wrong(text, "the revision comes before the quantisation", f"{base}@{after.partition(':')[0]}:{quantisation}")


def _lone_word(text: str, word: str, quantisation: str, base: Path | None) -> ConfigError:
    here = (base or Path()) / word
    if _PART.fullmatch(word) and here.exists():
        return _wrong(text, "a path begins with ./ or /", f"./{text}")
    if not _PART.fullmatch(word):
        return _wrong(text, "not a reference", FORMS)
    tag = f":{quantisation}" if quantisation else ""
    return _wrong(text, "a repository is ORG/NAME", f"ORG/{word}{tag}, or ollama:{word}{tag} for Ollama's library")


def _near(repo: str) -> str:
    tried = re.sub(r"[^A-Za-z0-9._/-]+", "-", repo.strip("/ "))
    tried = re.sub(r"\.{2,}", ".", re.sub(r"-{2,}", "-", tried))
    parts = [part.strip("-.") for part in tried.split("/")]
    near = "/".join(parts)
    return near if _repo(near) else FORMS


# URL


def _url(text: str) -> Reference:
    try:
        parts = urlsplit(text)
        host, port = (parts.hostname or "").lower(), parts.port
    except ValueError:  # its words would hold what may be a part of a password
        raise _wrong(f"{text.partition(':')[0]}://...", "not a URL: its host or port is none", FORMS) from None
    text = shown(text)
    if not host or port == 0:
        raise _wrong(text, "a URL without a host", FORMS)
    if parts.username is not None or parts.password is not None:
        raise _wrong(
            f"{parts.scheme}://...@{host}{parts.path}",
            "a URL with a password would be written down in the record",
            "for a hub, set HF_TOKEN; else download the file and give its path",
        )
    if host in HUBS:
        return _web_address(text, parts)
    path = unquote(parts.path)
    sha256 = _pinned(text, parts.fragment)
    if parts.scheme == "http" and host not in _LOOPBACK and sha256 is None:
        raise _wrong(text, "over http anybody on the way can change the file", f"https{text[4:]}, or add #sha256=HEX")
    suffix = PurePosixPath(path).suffix.lower()
    if suffix in PICKLES:
        raise _wrong(text, f"a {suffix} file is a pickle, which runs code when it is read", "ask for its .safetensors")
    if suffix not in SUFFIXES:
        raise _wrong(text, "a URL has to name a .gguf or .safetensors file", _web_hint(host, path))
    stem = _SHARD.sub("", PurePosixPath(path).stem)
    bare = parts._replace(path=quote(parts.path, safe="/%:@!$&'()*+,;=~"), fragment="").geturl()
    return Reference("url", text, _own_name(text, _tidy(stem)), url=bare, sha256=sha256)


def _pinned(text: str, fragment: str) -> str | None:
    if not fragment:
        return None
    key, _, value = fragment.partition("=")
    if key != "sha256" or not _SHA256.fullmatch(value):
        raise _wrong(
            text, f"#{fragment[:80]} is not a hash", f"{text.partition('#')[0]}#sha256= and 64 hexadecimal digits"
        )
    return value.lower()


def _web_address(text: str, parts: SplitResult) -> Reference:
    """The address of a page of the hub: the repository, a branch of it, or one file."""
    steps = [unquote(step) for step in parts.path.strip("/").split("/")]
    if len(steps) >= 5 and steps[2] in ("blob", "resolve"):
        file = "/".join(steps[4:])
        if not file.lower().endswith(".gguf"):
            near = f"{steps[0]}/{steps[1]}@{steps[3]}"
            raise _wrong(text, "one file of a repository is not a model unless it is a .gguf", near)
        return _hub(text, f"{steps[0]}/{steps[1]}@{steps[3]}:{file}")
    if len(steps) >= 4 and steps[2] == "tree":
        return _hub(text, f"{steps[0]}/{steps[1]}@{'/'.join(steps[3:])}")
    return _hub(text, "/".join(steps))


def _web_hint(host: str, path: str) -> str:
    steps = path.strip("/").split("/")
    if host.endswith(("ollama.com", "ollama.ai")) and len(steps) >= 2:
        return f"ollama:{steps[-1] if steps[-2] == 'library' else '/'.join(steps[-2:])}"
    return "for a whole repository on another hub, set HF_ENDPOINT and write ORG/NAME"


# Ollama


def _ollama(text: str, rest: str) -> Reference:
    model, _, tag = rest.partition(":")
    parts = model.split("/")
    if len(parts) == 1:
        parts = ["library", *parts]
    if len(parts) != 2 or not all(_PART.fullmatch(part) and ".." not in part for part in parts):
        raise _wrong(
            text, "a model of Ollama's library is ollama:NAME[:TAG] or ollama:USER/NAME[:TAG]", "ollama:llama3.2:1b"
        )
    if (":" in rest and not tag) or (tag and not _TAG.fullmatch(tag)):
        raise _wrong(text, f"{tag[:80]!r} is not a tag", f"ollama:{model}:latest")
    name = _own_name(text, parts[1])
    return Reference("ollama", text, name, repo="/".join(parts), tag=tag or "latest")


# this machine


def _local(text: str, base: Path | None) -> Reference:
    try:
        path = ((base or Path()) / Path(text).expanduser()).absolute()
    except RuntimeError as error:
        raise _wrong(text, str(error), "write the whole path") from error
    try:
        path = path.resolve()
        kind: Literal["folder", "file"] | None = "folder" if path.is_dir() else "file" if path.is_file() else None
    except (OSError, RuntimeError) as error:
        raise _wrong(text, f"cannot be read: {error}", "check the path and its permissions") from error
    if kind is None:
        near = text.removeprefix("./")
        hint = f"{near} without ./ is a repository of the hub" if _repo(near) else "check the path"
        raise _wrong(text, "there is no such file or folder", hint)
    if kind == "file":
        _check_file(text, path)
        return Reference("file", text, _own_name(text, _tidy(_SHARD.sub("", path.stem))), path=path)
    return Reference("folder", text, _own_name(text, _tidy(path.name)), path=path)


def _check_file(text: str, path: Path) -> None:
    suffix = path.suffix.lower()
    if suffix in PICKLES:
        raise _wrong(text, f"a {suffix} file is a pickle, which runs code when it is read", "get its .safetensors")
    if suffix == ".safetensors":
        raise _wrong(text, "safetensors need the config.json and tokenizer beside them", f"{path.parent}")
    if suffix != ".gguf":
        raise _wrong(text, "not a .gguf file", "give a .gguf file, or a folder with .safetensors and config.json")


def _tidy(stem: str) -> str:
    """Returns a file's stem as a model's name, where that is close by."""
    return re.sub(r"^[^A-Za-z0-9]+|[^A-Za-z0-9]+$", "", re.sub(r"[^A-Za-z0-9._+-]+", "-", stem))


def _own_name(text: str, name: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._+-]*", name):
        raise _wrong(text, "it does not make a model's name", "freehold pull ... --name NAME")
    return name


def _wrong(text: str, what: str, hint: str) -> ConfigError:
    return ConfigError(f"{text[:200]!r}: {what}", hint=hint)
