"""The egress guard: where it refuses to go, what it refuses to bring, and that it goes where it looked."""

import asyncio
import datetime
import ipaddress
import ssl
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from freehold.call.addresses import is_public
from freehold.call.fetch_url import Fetched, Resolver, UrlLimits, fetch_url, system_resolver
from freehold.call.sniff import media_type
from freehold.errors import BadRequest

PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 20
JPEG = b"\xff\xd8\xff\xe0" + b"\0" * 20
PDF = b"%PDF-1.7\n%"
WAV = b"RIFF\x24\0\0\0WAVEfmt "
PUBLIC = "93.184.215.14"


def answer(data: bytes = PNG, kind: str = "image/png", status: int = 200, *lines: str) -> bytes:
    head = [
        f"HTTP/1.1 {status} X",
        f"Content-Length: {len(data)}",
        *([f"Content-Type: {kind}"] if kind else []),
        *lines,
    ]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + data


def moved(location: str, status: int = 302) -> bytes:
    return answer(b"", "", status, f"Location: {location}")


class Site:
    """A server on loopback that answers by path and keeps what it was asked."""

    def __init__(self, pages: dict[str, bytes]) -> None:
        self.pages = pages
        self.asked: list[bytes] = []
        self.port = 0
        self.stall = asyncio.Event()
        self.hang = False
        """Whether the connection stays open after an answer."""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            self.asked.append(head)
            page = self.pages.get(head.split(b" ")[1].decode())
            if page is None:
                await self.stall.wait()
            else:
                writer.write(page)
                await writer.drain()
                if self.hang:
                    await self.stall.wait()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    def url(self, path: str = "/", host: str = "files.test", scheme: str = "http") -> str:
        return f"{scheme}://{host}:{self.port}{path}"

    def limits(self, **changes: Any) -> UrlLimits:
        return UrlLimits(
            **{"http": True, "ports": frozenset({self.port}), "allowed": loopback_is_public, "seconds": 5.0, **changes}
        )


@asynccontextmanager
async def site(pages: dict[str, bytes], context: ssl.SSLContext | None = None) -> AsyncIterator[Site]:
    found = Site(pages)
    listener = await asyncio.start_server(found.serve, "127.0.0.1", 0, ssl=context)
    found.port = listener.sockets[0].getsockname()[1]
    try:
        yield found
    finally:
        found.stall.set()
        listener.close()


def loopback_is_public(address: str) -> bool:
    return address == "127.0.0.1" or is_public(address)


async def here(host: str, port: int) -> list[str]:
    return ["127.0.0.1"]


def names(**addresses: list[str]) -> Resolver:
    """Hosts by their first label; unknown ones do not exist."""

    async def resolve(host: str, port: int) -> list[str]:
        if (found := addresses.get(host.split(".")[0])) is None:
            raise OSError("no such host")
        return found

    return resolve


async def unasked(host: str, port: int) -> list[str]:
    raise AssertionError("the name was looked up")


async def fetch(found: Site, path: str = "/", resolver: Resolver = here, **changes: Any) -> Fetched:
    return await fetch_url(found.url(path), limits=found.limits(**changes), resolver=resolver)


async def refusal(awaitable: Awaitable[Any]) -> str:
    with pytest.raises(BadRequest) as caught:
        await awaitable
    assert (caught.value.status, caught.value.code, caught.value.param) == (400, "url_not_fetched", None)
    return caught.value.message


# Addresses


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "127.255.255.254", "0.0.0.0", "0.1.2.3", "10.0.0.1", "172.16.0.1", "172.31.255.255",
        "192.168.1.1", "169.254.169.254", "100.64.0.1", "100.100.100.200", "100.127.255.255", "192.0.0.192",
        "192.0.2.1", "198.18.0.1", "198.51.100.7", "203.0.113.7", "192.88.99.1", "224.0.0.1", "239.255.255.255",
        "240.0.0.1", "255.255.255.255", "168.63.129.16",
        "::", "::1", "::127.0.0.1", "::ffff:127.0.0.1", "::ffff:93.184.215.14", "::ffff:0:93.184.215.14",
        "64:ff9b::7f00:1", "64:ff9b::5db8:d70e", "64:ff9b:1::a00:1", "100::1", "2001::1", "2001:0:4136:e378::1",
        "2001:10::1", "2001:20::1", "2001:db8::1", "2002:7f00:1::", "2002:a00:1::1", "2002:5db8:d70e::1", "3fff::1",
        "5f00::1", "fc00::1", "fd00:ec2::254", "fe80::1", "fe80::1%eth0", "fec0::1", "ff02::1", "2620:4f:8000::1",
        "2606:2800:21f:cb07:6820:80da:af6b:8b2c%eth0",
        "", "localhost", "127.1", "0x7f000001", "2130706433", "0177.0.0.1", "1.2.3", "1.2.3.4.5", "[::1]", "1.2.3.4/8",
    ],
)  # fmt: skip
def test_what_is_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize(
    "address",
    [PUBLIC, "1.1.1.1", "8.8.8.8", "172.15.0.1", "172.32.0.1", "100.63.0.1", "100.128.0.1", "192.0.1.1",
     "2606:2800:21f:cb07:6820:80da:af6b:8b2c", "2001:4860:4860::8888", "2a00:1450:4001::1"],
)  # fmt: skip
def test_what_is_public(address: str) -> None:
    assert is_public(address)


@given(st.ip_addresses())
def test_nothing_is_public_that_python_calls_private(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    if is_public(str(address)):
        assert address.is_global
        assert not any((address.is_private, address.is_multicast, address.is_reserved, address.is_loopback))


@given(st.ip_addresses(v=4))
def test_no_ipv4_address_gets_through_in_ipv6_clothes(address: ipaddress.IPv4Address) -> None:
    number = int(address)
    for prefix in (0, 0xFFFF << 32, 0xFFFF << 48, 0x64FF9B << 96, (0x64FF9B0001 << 80), (0x2002 << 112)):
        shifted = number << 80 if prefix >> 112 == 0x2002 else number
        assert not is_public(str(ipaddress.IPv6Address(prefix | shifted)))


# URLs


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://example.com/a.png", "Only https"),
        ("ftp://example.com/a.png", "Only https"),
        ("file:///etc/passwd", "Only https"),
        ("data:image/png;base64,AAAA", "Only https"),
        ("gopher://127.0.0.1:6379/_INFO", "Only https"),
        ("//example.com/a.png", "Only https"),
        ("example.com/a.png", "Only https"),
        ("", "Only https"),
        ("https://user:secret@example.com/", "credentials"),
        ("https://user@example.com/", "credentials"),
        ("https://@example.com/", "credentials"),
        ("https://example.com:80/", "Port 80"),
        ("https://example.com:8443/", "Port 8443"),
        ("https://example.com:0/", "Port 0"),
        ("https://example.com:99999/", "malformed"),
        ("https://example.com:x/", "malformed"),
        ("https:///a.png", "no valid host"),
        ("https://.../a.png", "no valid host"),
        ("https://exa mple.com/", "space"),
        ("https://example.com\\@evil.test/", "backslash"),
        ("https://example.com/a\r\nHost: evil.test", "control"),
        ("https://example.com/a\tb", "control"),
        (" https://example.com/", "space"),
        ("https://exa%6dple.com/", "no valid host"),
        ("https://example.com%2f@evil.test/", "credentials"),
        ("https://[::1/", "malformed"),
        ("https://[fe80::1%25eth0]/", "host"),
        ("https://\u2488.com\x7f/", "control"),
        ("https://" + "a" * 300 + ".com/", "no valid host"),
        ("https://" + "ä" * 300 + ".com/", "no valid host"),
        ("https://example.com/" + "a" * 9000, "8,192"),
        ("https://example.com/\ud800", "malformed"),
    ],
)
async def test_urls_that_are_refused_before_anything_is_looked_up(url: str, words: str) -> None:
    message = await refusal(fetch_url(url, limits=UrlLimits(), resolver=unasked))
    assert words in message


@pytest.mark.parametrize(
    "host",
    ["localhost", "127.0.0.1", "127.1", "0x7f.1", "0177.0.0.1", "2130706433", "0", "[::1]", "[::ffff:127.0.0.1]",
     "[::ffff:7f00:1]", "10.0.0.1", "169.254.169.254", "[64:ff9b::7f00:1]", "[2002:7f00:1::]"],
)  # fmt: skip
async def test_hosts_that_the_system_itself_resolves_inside(host: str) -> None:
    """Numbers in every spelling; nothing of it asks a name server."""
    message = await refusal(fetch_url(f"https://{host}/a.png", limits=UrlLimits(), resolver=system_resolver))
    assert "no public host" in message or "no valid host" in message


async def test_the_system_resolver_gives_addresses() -> None:
    assert await system_resolver("127.0.0.1", 443) == ["127.0.0.1"]


async def test_a_name_that_leads_inside_looks_like_one_that_does_not_exist() -> None:
    resolver = names(inside=["10.1.2.3"])
    inside = await refusal(fetch_url("https://inside.test/", limits=UrlLimits(), resolver=resolver))
    absent = await refusal(fetch_url("https://absent.test/", limits=UrlLimits(), resolver=resolver))
    assert inside.replace("inside", "absent") == absent


async def test_one_forbidden_address_among_public_ones_is_enough() -> None:
    async with site({"/": answer()}) as found:
        for addresses in (["127.0.0.1", "10.0.0.1"], ["10.0.0.1", "127.0.0.1"], []):
            assert "no public host" in await refusal(fetch(found, resolver=names(files=addresses)))
        assert found.asked == []


# Going there


async def test_a_file_is_fetched() -> None:
    async with site({"/a%20b.png?x=%C3%A9": answer()}) as found:
        assert await fetch(found, "/a%20b.png?x=é#part") == Fetched("image/png", PNG)
        head = found.asked[0].decode().split("\r\n")
        assert head[0] == "GET /a%20b.png?x=%C3%A9 HTTP/1.1"
        assert sorted(line.partition(":")[0] for line in head[1:] if line) == [
            "Accept", "Accept-Encoding", "Connection", "Host", "User-Agent",
        ]  # fmt: skip
        assert f"Host: files.test:{found.port}" in head


async def test_an_international_name_goes_in_its_ascii_form() -> None:
    seen: list[str] = []

    async def resolve(host: str, port: int) -> list[str]:
        seen.append(host)
        return ["127.0.0.1"]

    async with site({"/": answer()}) as found:
        url = found.url("/", "bücher.test.")
        assert (await fetch_url(url, limits=found.limits(), resolver=resolve)).data == PNG
    assert seen == ["xn--bcher-kva.test"]


async def test_the_name_is_resolved_once_and_the_connection_pinned() -> None:
    """A rebinding server would give a public address first and an inner one to whoever asks again."""
    answers = [["127.0.0.1"], ["169.254.169.254"]]

    async def rebinding(host: str, port: int) -> list[str]:
        return answers.pop(0)

    async with site({"/": answer()}) as found:
        assert (await fetch(found, resolver=rebinding)).data == PNG
    assert answers == [["169.254.169.254"]], "asked once"


async def test_a_second_look_after_a_redirect_is_judged_anew() -> None:
    answers = [["127.0.0.1"], ["169.254.169.254"]]

    async def rebinding(host: str, port: int) -> list[str]:
        return answers.pop(0)

    async with site({"/": moved("/again"), "/again": answer()}) as found:
        assert "no public host" in await refusal(fetch(found, resolver=rebinding))
        assert len(found.asked) == 1


async def test_the_next_address_is_tried_where_one_has_no_server() -> None:
    async with site({"/": answer()}) as found:
        result = await fetch(
            found, resolver=names(files=["127.0.0.2", "127.0.0.1"]), allowed=lambda address: address.startswith("127.")
        )
        assert result.data == PNG


async def test_no_server_at_all() -> None:
    async with site({}) as found:
        pass
    assert "no connection" in await refusal(fetch(found))


# Redirects


async def test_redirects_are_followed() -> None:
    async with site({"/": moved("b", 301), "/b": moved("//other.test:PORT/c", 307), "/c": answer()}) as found:
        found.pages["/b"] = moved(f"//other.test:{found.port}/c", 307)
        assert (await fetch(found)).data == PNG
        assert b"Host: other.test" in found.asked[2]
        assert b"Referer" not in found.asked[2]


@pytest.mark.parametrize(
    "location",
    ["http://169.254.169.254/latest/meta-data/", "http://inside.test/", "http://[::1]/", "https://localhost/",
     "http://10.0.0.1:22/", "file:///etc/passwd", "http://user:pw@files.test/", "gopher://files.test/", "https://["],
)  # fmt: skip
async def test_redirects_to_forbidden_places(location: str) -> None:
    resolver = names(files=["127.0.0.1"], inside=["192.168.0.1"], localhost=["127.0.0.1", "::1"])

    async def resolve(host: str, port: int) -> list[str]:
        return [host] if host[0].isdigit() or ":" in host else await resolver(host, port)

    async with site({"/": moved(location)}) as found:
        await refusal(fetch(found, resolver=resolve))
        assert len(found.asked) == 1


async def test_a_redirect_to_plain_http_is_refused(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    async with site({"/": moved("http://files.test/")}, authority.server("files.test")) as found:
        url = found.url(scheme="https")
        limits = found.limits(http=False, context=authority.client())
        assert "Only https" in await refusal(fetch_url(url, limits=limits, resolver=here))


async def test_redirects_end() -> None:
    async with site({"/": moved("/")}) as found:
        assert "more than 3 times" in await refusal(fetch(found))
        assert len(found.asked) == 4
        assert "more than 0 times" in await refusal(fetch(found, redirects=0))


async def test_a_redirect_without_a_place_is_an_answer_without_a_file() -> None:
    async with site({"/": answer(b"", "", 302)}) as found:
        assert "answered 302" in await refusal(fetch(found))


# What comes back


@pytest.mark.parametrize(
    ("page", "words"),
    [
        (answer(status=404), "answered 404"),
        (answer(status=206), "answered 206"),
        (answer(b"<html>", "text/html"), "of type 'text/html'"),
        (answer(b"{}", "application/json"), "of type 'application/json'"),
        (answer(b"<svg/>", "image/svg+xml"), "no 'image/svg+xml'"),
        (answer(b"<html>login</html>"), "no 'image/png'"),
        (answer(PDF), "no 'image/png'"),
        (answer(PNG, "application/pdf"), "no 'application/pdf'"),
        (answer(PNG, "text/plain"), "no 'text/plain'"),
        (answer(PNG, "audio/mpeg"), "no 'audio/mpeg'"),
        (answer(b"secret", ""), "no 'file'"),
        (answer(b"secret", "application/octet-stream"), "no 'application/octet-stream'"),
        (answer(b""), "empty"),
        (answer(PNG, "image/png", 200, "Content-Encoding: gzip"), "compressed"),
        (answer(PNG + b"x" * 100), "over 64 bytes"),
        (b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\n\r\n" + PNG * 10, "over 64 bytes"),
        (
            b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\nTransfer-Encoding: chunked\r\n\r\n41\r\n"
            + b"x" * 65
            + b"\r\n",
            "over 64 bytes",
        ),
        (b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\nContent-Length: 50\r\n\r\n" + PNG, "answer properly"),
        (b"SSH-2.0-OpenSSH_9.9\r\n", "answer properly"),
        (b"", "answer properly"),
    ],
)
async def test_what_is_not_brought_back(page: bytes, words: str) -> None:
    async with site({"/": page}) as found:
        assert words in await refusal(fetch(found, max_bytes=64))


@pytest.mark.parametrize(
    ("data", "declared", "kind"),
    [
        (PNG, "image/png", "image/png"),
        (JPEG, "image/png", "image/jpeg"),
        (JPEG, "IMAGE/JPG; q=1", "image/jpeg"),
        (PNG, "application/octet-stream", "image/png"),
        (PNG, "", "image/png"),
        (PDF, "application/pdf", "application/pdf"),
        (PDF, "binary/octet-stream", "application/pdf"),
        (WAV, "audio/x-wav", "audio/wav"),
        (b"ADIF", "audio/aac", "audio/aac"),
        ("BMW, schön".encode(), "text/plain; charset=utf-8", "text/plain"),
    ],
)
async def test_the_type_is_what_the_bytes_say(data: bytes, declared: str, kind: str) -> None:
    async with site({"/": answer(data, declared)}) as found:
        assert await fetch(found) == Fetched(kind, data)


async def test_types_can_be_narrowed() -> None:
    async with site({"/": answer(PDF, "application/octet-stream"), "/p": answer(PDF, "application/pdf")}) as found:
        for path in ("/", "/p"):
            await refusal(fetch(found, path, types=("image/",)))


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"GIF89a", "image/gif"),
        (b"RIFF\0\0\0\0WEBPVP8 ", "image/webp"),
        (b"\0\0\0\x1cftypavif", "image/avif"),
        (b"\0\0\0\x1cftypheic", "image/heic"),
        (b"BM\x46\0\0\0\0\0\0\0", "image/bmp"),
        (b"II*\0", "image/tiff"),
        (b"RIFF\0\0\0\0AVI ", None),
        (b"\0\0\0\x1cftypisom", None),
        (b"PK\x03\x04", None),
        (b"", None),
    ],
)
def test_signatures(data: bytes, kind: str | None) -> None:
    assert media_type(data, "") == kind


@given(st.binary(max_size=40), st.sampled_from(["", "image/png", "audio/mpeg", "text/plain", "application/pdf"]))
def test_any_bytes_have_a_type_or_none(data: bytes, declared: str) -> None:
    kind = media_type(data, declared)
    assert kind is None or kind.split("/")[0] == declared.split("/")[0] or not declared


# Time


async def test_a_server_that_stalls() -> None:
    async with site({}) as found:
        assert "within 0.2 seconds" in await refusal(fetch(found, seconds=0.2))


async def test_a_body_that_stalls() -> None:
    async with site({"/": answer()[:-5]}) as found:
        found.hang = True
        assert "within 0.2 seconds" in await refusal(fetch(found, seconds=0.2))


async def test_a_name_server_that_stalls() -> None:
    async def never(host: str, port: int) -> list[str]:
        await asyncio.Event().wait()
        return []

    limits = UrlLimits(seconds=0.1)
    assert "within 0.1 seconds" in await refusal(fetch_url("https://slow.test/", limits=limits, resolver=never))


async def test_the_time_is_for_all_redirects_together() -> None:
    async def slow(host: str, port: int) -> list[str]:
        await asyncio.sleep(0.08)
        return ["127.0.0.1"]

    async with site({"/": moved("/")}) as found:
        assert "within 0.2 seconds" in await refusal(fetch(found, resolver=slow, seconds=0.2, redirects=50))


# TLS


class Authority:
    """A certificate authority for one test."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test authority")])
        self.certificate = self._sign(self._name, self._key, x509.BasicConstraints(True, None))

    def _sign(self, name: x509.Name, key: Any, *extensions: Any) -> x509.Certificate:
        now = datetime.datetime.now(datetime.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=1))
        )
        for extension in extensions:
            builder = builder.add_extension(extension, critical=isinstance(extension, x509.BasicConstraints))
        return builder.sign(self._key, hashes.SHA256())

    def server(self, host: str) -> ssl.SSLContext:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
        certificate = self._sign(name, key, x509.SubjectAlternativeName([x509.DNSName(host)]))
        chain = self._folder / f"{host}.pem"
        chain.write_bytes(
            certificate.public_bytes(serialization.Encoding.PEM)
            + key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(chain)
        return context

    def client(self) -> ssl.SSLContext:
        pem = self.certificate.public_bytes(serialization.Encoding.PEM).decode()
        context = ssl.create_default_context(cadata=pem)
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        return context


async def test_the_certificate_is_for_the_name_though_the_socket_goes_to_an_address(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    async with site({"/": answer()}, authority.server("files.test")) as found:
        limits = found.limits(http=False, context=authority.client())
        good = await fetch_url(found.url(scheme="https"), limits=limits, resolver=here)
        assert good.data == PNG
        for host in ("evil.test", "127.0.0.1"):
            message = await refusal(fetch_url(found.url("/", host, "https"), limits=limits, resolver=here))
            assert "certificate" in message
        strangers = found.limits(http=False)
        message = await refusal(fetch_url(found.url(scheme="https"), limits=strangers, resolver=here))
        assert "certificate" in message
        assert len(found.asked) == 1


# Odd input


@given(st.text(max_size=60))
def test_any_text_is_refused_or_looked_up(text: str) -> None:
    """No text makes anything but a BadRequest or a question to the resolver."""

    async def nowhere(host: str, port: int) -> list[str]:
        assert host.isascii()
        assert not set(host) & set(" /\\@%\r\n")
        return []

    async def run() -> None:
        for url in (text, f"https://{text}", f"https://example.com/{text}", f"https://{text}.com/"):
            await refusal(fetch_url(url, limits=UrlLimits(), resolver=nowhere))

    asyncio.run(run())
