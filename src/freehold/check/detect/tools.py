"""What a tool's argument must not hold: primitives for a policy. Each returns why not, None where it is fine.

They look at the text of an argument and touch neither files nor names: a link on the disk or a name that resolves to an
inner address is for the code that opens it to check again (resolve once, then pin).
"""

import ipaddress
import posixpath
import re
from collections.abc import Sequence
from urllib.parse import unquote, urlsplit

_META = re.compile(r"[;&|`$<>\n\r\\!{}*?\[\]~()#]")
_NAMES = frozenset(
    {"localhost", "ip6-localhost", "metadata", "metadata.google.internal", "instance-data", "kubernetes.default.svc"}
)
_INNER = (".localhost", ".local", ".internal", ".lan", ".corp", ".intranet", ".home.arpa", ".localdomain", ".svc")
_NUMBERS = re.compile(r"(?:0[xX][0-9a-fA-F]+|0[0-7]*|[1-9]\d*)(?:\.(?:0[xX][0-9a-fA-F]+|0[0-7]*|[1-9]\d*)){0,3}\.?")


def outside(path: str, roots: Sequence[str]) -> str | None:
    """Returns why `path` may lie outside all of `roots` (absolute POSIX paths). A relative path counts from the
    first.
    """
    plain = unquote(path)
    if "\0" in plain:
        return "the path holds a NUL"
    if not roots:
        return "no folder is allowed"
    if plain.startswith("~"):
        return "the path begins with ~, somebody's home"
    if re.match(r"[A-Za-z]:|\\\\", plain):
        return "the path is one of Windows"
    plain = plain.replace("\\", "/")
    if plain.startswith("file:"):
        plain = plain.removeprefix("file:").removeprefix("//")
    whole = "/" + posixpath.normpath(posixpath.join(roots[0], plain)).lstrip("/")
    for root in roots:
        inside = "/" + posixpath.normpath(root).lstrip("/")
        if whole == inside or whole.startswith(inside.rstrip("/") + "/"):
            return None
    return f"the path leads to {whole}, outside {', '.join(roots)}"


def shell_metacharacters(argument: str) -> str | None:
    """Returns why `argument` is more than one word to a shell: the first character that means something to it."""
    if argument.startswith("-"):
        return "it begins with -, as an option does"
    match = _META.search(argument)
    return f"it holds {match.group()!r}, which means something to a shell" if match else None


def internal_address(target: str) -> str | None:
    """Returns why a URL or host names an address that is not public: loopback, private, link-local, cloud metadata.

    Reads the ways of writing an address that URL libraries take too: decimal, octal, hex, IPv4 within IPv6.
    """
    text = target.strip()
    if "://" in text or text.startswith("//"):
        try:
            parts = urlsplit(text if "://" in text else "http:" + text)
            host, scheme = parts.hostname or "", parts.scheme.lower()
        except ValueError:
            return "the URL cannot be read"
        if scheme not in ("http", "https", "ws", "wss"):
            return f"the scheme is {scheme}"
        if parts.username is not None:
            return "the URL names a user, which hides the host"
    else:
        host = text.partition("/")[0]
        host = (
            host[1:].partition("]")[0]
            if host.startswith("[")
            else host.partition(":")[0]
            if host.count(":") == 1
            else host
        )
    host = unquote(host).rstrip(".").lower()
    if not host:
        return "it names no host"
    if host in _NAMES or host.endswith(_INNER):
        return f"{host} is a name inside"
    address = _address(host)
    if address is None:
        return f"{host} is a name without a domain" if "." not in host and ":" not in host else None
    return None if address.is_global and not address.is_multicast else f"{address} is not a public address"


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address: ipaddress.IPv4Address | ipaddress.IPv6Address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        number = _number(host)
        return None if number is None else ipaddress.IPv4Address(number)
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else None)
        if inner is None and address in ipaddress.IPv6Network("64:ff9b::/96"):
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        return inner or address
    return address


def _number(host: str) -> int | None:
    """Returns the address that inet_aton reads: one to four numbers, the last one filling what is left."""
    if _NUMBERS.fullmatch(host) is None:
        return None
    parts = []
    for part in host.rstrip(".").split("."):
        base = 16 if part[:2] in ("0x", "0X") else 8 if part.startswith("0") and len(part) > 1 else 10
        parts.append(int(part, base))
    *heads, last = parts
    value = 0
    for head in heads:
        value = value << 8 | (head & 0xFF)
    rest = 8 * (4 - len(heads))
    return (value << rest | last) & 0xFFFFFFFF if last < 1 << rest else None
