"""Secrets that only what stands beside them gives away: `password = ...`, a provider's name, a place in a URL.

Three sources, in the order of how sure they are:
- formats with a structure but no prefix of their own, which a literal in their middle gives away (a Telegram token's
  `:AA`, Azure's `Q~`), or a provider's name before them (Cohere, Datadog, Heroku);
- credentials in URLs, headers, connection strings and command lines;
- names such as `api_key` or `password` with a value that looks drawn by lot. Names are told from talk about names, and
  values from variables, by what real code and prose hold: bench/scan.py counts the mistakes.
"""

import base64
import binascii
import re
from collections.abc import Iterator, Sequence

from freehold.check.detect.checks import entropy
from freehold.check.detect.expression import Expression, Found
from freehold.check.detect.finding import Hit
from freehold.check.detect.keys import AIRTABLE, DISCORD, drawn, placeholder
from freehold.check.detect.pattern import Pattern
from freehold.check.detect.values import basic, identifier, mixed, stands_for, wordlike
from freehold.check.detect.view import View

_BETWEEN = rb"""[A-Za-z0-9_\-. ]{0,24}["'\]]{0,2}\s{0,3}(?:=>|:=|==|=|:|\bis\b|,)\s{0,3}["'`]{0,3}"""


def _named(rule: str, names: bytes, value: bytes, bits: float = 3.0) -> Pattern:
    """Returns a detector of a value that a provider's name stands before: `DD_API_KEY=...`, `heroku: ...`."""
    words = names.split(b" ")
    pattern = rb"(?i:" + b"|".join(words) + rb")" + _BETWEEN + rb"(" + value + rb")\b"
    check = drawn(bits)
    return Pattern(
        "secret",
        rule,
        pattern,
        words,
        lambda found: None if identifier(found) else check(found),
        score=0.9,
        group=1,
        exact=False,
    )


_UUID = rb"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}"

STRUCTURED = (
    Pattern("secret", "telegram-token", rb"\b[0-9]{8,10}:AA[A-Za-z0-9_\-]{33}\b", (b":aa",), drawn(3.5, 10),
            exact=False, before=11),
    Pattern("secret", "azure-client-secret", rb"[A-Za-z0-9_~.]{3}[0-9]Q~[A-Za-z0-9_~.\-]{31,34}", (b"q~",), drawn(3.5),
            exact=False, before=4),
    Pattern("secret", "azure-openai-key", rb"\b[A-Za-z0-9]{52}JQQJ99[A-Z0-9]{10}[A-Za-z0-9]{16}\b", (b"jqqj99",),
            drawn(3.5), exact=False, before=52),
    Pattern("secret", "azure-devops-token", rb"\b[A-Za-z0-9]{76}AZDO[A-Za-z0-9]{4}\b", (b"azdo",), drawn(3.5),
            exact=False, before=76),
    Pattern("secret", "azure-storage-key", rb"(?i:accountkey|sharedaccesskey)=([A-Za-z0-9+/]{40,86}={0,2})",
            (b"accountkey=", b"sharedaccesskey="), drawn(3.5), group=1, exact=False),
    Pattern("secret", "azure-sas", rb"[?&]sig=([A-Za-z0-9%+/]{40,90}(?:%3[dD]|=){0,2})", (b"sig=",), drawn(3.5),
            group=1, exact=False, before=1),
    Pattern("secret", "terraform-token", rb"\b[A-Za-z0-9]{14}\.atlasv1\.[A-Za-z0-9_=\-]{60,70}", (b".atlasv1.",),
            drawn(3.5), exact=False, before=14),
    Pattern("secret", "discord-token", rb"(?i:discord|bot\.run\(|client\.run\(|client\.login\(|bot token|bot_token)"
            rb"[^\n]{0,60}?(" + DISCORD + rb")",
            (b"discord", b"bot.run(", b"client.run(", b"client.login(", b"bot token", b"bot_token"), drawn(3.8),
            group=1, exact=False),
    Pattern("secret", "mailchimp-key", rb"\b[0-9a-f]{32}-us[0-9]{1,2}\b", (b"-us",), drawn(2.8),
            exact=False, before=32),
    Pattern("secret", "maxmind-key", rb"\b[A-Za-z0-9]{6}_[A-Za-z0-9]{29}_mmk\b", (b"_mmk",), drawn(3.5), exact=False,
            before=36),
    Pattern("secret", "airtable-token", AIRTABLE, (b"airtable",),
            drawn(3.0), exact=False, before=90),
    Pattern("secret", "asana-token", rb"\b[0-9]/[0-9]{10,20}(?:/[0-9]{10,20})?:[0-9a-f]{32}\b", (b"asana",), drawn(3.0),
            exact=False),
    Pattern("secret", "teams-webhook", rb"webhook\.office\.com/webhookb2/[0-9a-zA-Z@\-]{60,80}/IncomingWebhook/"
            rb"[0-9a-f]{32}/[0-9a-f\-]{36}", (b"webhook.office.com",), exact=False),
    Pattern("secret", "password-hash", rb"\$(?:2[abxy]\$[0-9]{2}\$[A-Za-z0-9./]{53}|[156]\$(?:rounds=[0-9]{1,9}\$)?"
            rb"[A-Za-z0-9./]{1,16}\$[A-Za-z0-9./]{22,86}|argon2(?:id|i|d)\$v=[0-9]{1,3}\$m=[0-9]{1,9},t=[0-9]{1,4},p="
            rb"[0-9]{1,3}\$[A-Za-z0-9+/]{8,64}\$[A-Za-z0-9+/]{16,128})",
            (b"$2a$", b"$2b$", b"$2y$", b"$2x$", b"$1$", b"$5$", b"$6$", b"$argon2"), drawn(3.0), exact=False),
    _named("cohere-key", b"cohere co_api_key", rb"[A-Za-z0-9]{40}", 3.5),
    _named("mistral-key", b"mistral", rb"[A-Za-z0-9]{32}", 3.5),
    _named("ai21-key", b"ai21", rb"[A-Za-z0-9]{32}", 3.5),
    _named("deepgram-key", b"deepgram", rb"[0-9a-f]{40}"),
    _named("assemblyai-key", b"assemblyai", rb"[0-9a-f]{32}"),
    _named("azure-key", b"azure", rb"[0-9a-f]{32}"),
    _named("aws-secret-key", b"aws_secret aws-secret awssecret secret_access_key secretaccesskey",
           rb"[A-Za-z0-9/+]{40}", 3.5),
    _named("datadog-key", b"datadog dd_api dd_app dd-api dd-app", rb"[0-9a-f]{32}(?:[0-9a-f]{8})?"),
    _named("heroku-key", b"heroku", _UUID, 2.5),
    _named("cloudflare-key", b"cloudflare cf_api", rb"[A-Za-z0-9_\-]{40}|[0-9a-f]{37}", 3.0),
    _named("twilio-auth-token", b"twilio", rb"[0-9a-f]{32}"),
    _named("okta-token", b"okta ssws", rb"00[A-Za-z0-9_\-]{40}", 3.5),
    _named("pagerduty-key", b"pagerduty", rb"[A-Za-z0-9+_\-]{20}|[0-9a-f]{32}"),
    _named("algolia-key", b"algolia", rb"[0-9a-f]{32}"),
    _named("fastly-token", b"fastly", rb"[A-Za-z0-9_\-]{32}", 3.5),
    _named("snyk-token", b"snyk", _UUID, 2.5),
    _named("travis-token", b"travis", rb"[A-Za-z0-9]{22}", 3.5),
    _named("confluent-secret", b"confluent", rb"[A-Za-z0-9+/]{64}", 3.5),
)  # fmt: skip


class Urls:
    """Passwords in URLs: `postgres://user:password@host`. The finding is `user:password`."""

    name = "url-credentials"
    literals = (b"://",)
    exact = False
    longest = 460
    _find = Expression(rb"://([^\s/?#:@\"'<>]{0,128}:[^\s/?#@\"'<>]{2,256})@[A-Za-z0-9\[_.\-]{1,64}")

    def find(self, view: View, places: Sequence[int]) -> Iterator[Hit]:
        data = view.data
        for place in places:
            if data.find(b"@", place, place + 400) < 0:
                continue
            match = self._find.match(data, place, len(data))
            if match is None:
                continue
            start, end = match.span(1)
            password = data[start:end].partition(b":")[2].decode("utf-8", "replace")
            if not stands_for(password) and password.lower() not in _NO_PASSWORDS:
                yield Hit("secret", start, end, self.name, 0.9, 3)


class PrivateKeys:
    """Private keys in PEM (RFC 7468), OpenSSH, PGP and PuTTY armour, whole or cut, with real or escaped line ends."""

    name = "private-key"
    literals = (b"-----BEGIN ", b"PuTTY-User-Key-File-")
    exact = True
    longest = 20_000
    _head = Expression(
        rb"-----BEGIN (?:[A-Z0-9]{1,12} ){0,4}PRIVATE KEY(?: BLOCK)?-----|PuTTY-User-Key-File-[0-9]: [a-z0-9\-]{3,40}"
    )
    _body = Expression(rb"[A-Za-z0-9+/=\s\\:,.\-]{1,900}")
    _line = Expression(rb"[A-Za-z0-9+/]{16}")

    def find(self, view: View, places: Sequence[int]) -> Iterator[Hit]:
        data = view.data
        done = 0
        for place in places:
            if place < done:
                continue
            head = self._head.match(data, place, len(data))
            if head is None:
                continue
            done = end = self._end(data, head.end())
            held = self._line.search(data, head.end(), end) is not None
            if held:
                yield Hit("secret", place, end, self.name, 1.0, 4)

    def _end(self, data: bytes, start: int) -> int:
        stop = min(len(data), start + self.longest - 200)
        tail = data.find(b"-----END ", start, stop)
        if tail >= 0:
            close = data.find(b"-----", tail + 9, tail + 80)
            return close + 5 if close >= 0 else tail
        end = start
        while end < stop:
            more = self._body.match(data, end, stop)
            if more is None:
                break
            end = more.end()
        return end


class WebTokens:
    """JSON Web Tokens (RFC 7519) and encrypted ones (RFC 7516): the header must decode to JSON that names an
    algorithm.
    """

    name = "jwt"
    literals = (b"eyJ",)
    exact = True
    longest = 16_000
    _head = Expression(rb"eyJ[A-Za-z0-9_\-]{8,900}\.[A-Za-z0-9_\-]{2,900}")
    _more = Expression(rb"[A-Za-z0-9_\-.]{1,900}")

    def find(self, view: View, places: Sequence[int]) -> Iterator[Hit]:
        data = view.data
        done = 0
        for place in places:
            if place < done:
                continue
            match = self._head.match(data, place, len(data))
            if match is None or not _is_header(match.group().partition(b".")[0]):
                continue
            end = match.end()
            while end < min(len(data), place + self.longest):
                more = self._more.match(data, end, len(data))
                if more is None:
                    break
                end = more.end()
            end = place + len(data[place:end].rstrip(b"."))
            done = end
            if data.count(b".", place, end) >= 2:
                yield Hit("secret", place, end, self.name, 0.95, 3)


def _is_header(text: bytes) -> bool:
    try:
        decoded = base64.urlsafe_b64decode(text + b"=" * (-len(text) % 4))
    except (binascii.Error, ValueError):
        return False
    return decoded.startswith(b"{") and (b'"alg"' in decoded or b'"enc"' in decoded)


class Headers:
    """`Authorization: Basic ...`, `Bearer ...`, `curl -u user:password`, `login NAME password WORD` of a .netrc."""

    name = "auth-header"
    literals = (b"basic ", b"bearer ", b"curl ", b"login ")
    exact = False
    longest = 600
    _find = Expression(
        rb"""(?i)basic ([A-Za-z0-9+/]{8,300}={0,2})|bearer ([A-Za-z0-9_~+/.\-]{16,512}={0,2})"""
        rb"""|curl [^\n]{0,200}?(?:-u|--user)[= ]?["']?([^\s"':]{1,64}:[^\s"']{3,128})"""
        rb"""|login [^\s]{1,64}\s{1,4}password ([^\s]{3,128})"""
    )

    def find(self, view: View, places: Sequence[int]) -> Iterator[Hit]:
        data = view.data
        done = 0
        for place in places:
            if place < done:
                continue
            match = self._find.match(data, place, len(data))
            if match is None:
                continue
            done = match.end()
            group = next(number for number in range(1, 5) if match.span(number) != (-1, -1))
            start, end = match.span(group)
            value = data[start:end].decode("utf-8", "replace")
            if group == 1:
                real = basic(value) is not None
            elif group == 2:
                real = entropy(value) > 3.0 and not placeholder(value) and any(c.isdigit() for c in value)
            else:
                real = not stands_for(value.partition(":")[2] or value)
            if real:
                yield Hit("secret", start, end, self.name, 0.85, 2)


_NO_PASSWORDS = frozenset(
    [
        "password",
        "passwd",
        "pass",
        "pwd",
        "secret",
        "token",
        "user",
        "username",
        "example",
        "test",
        "changeme",
        "xxx",
        "port",
        "host",
        "none",
        "null",
    ]
)


class Assignments:
    """`api_key = "..."`, `password: ...`, `the password is ...`. The finding is the value."""

    name = "assigned-secret"
    exact = False
    longest = 300
    literals = (
        b"password", b"passwd", b"passphrase", b"passcode", b"passwort", b"kennwort", b"mot de passe",
        "contraseña".encode(), b"senha", b"pwd", b"secret", b"token", b"_key", b"-key", b"apikey", b"api key",
        b"accesskey", b"privatekey", b"secretkey", b"authkey", b"credential",
    )  # fmt: skip
    _name = Expression(
        rb"(?i)(" + b"|".join(literals) + rb")([A-Za-z0-9_\-]{0,24})"
        rb"""["'`\])]{0,2}\s{0,3}(=>|:=|===|==|!=|=|::|:|,|>|\bis\b|\bist\b|\bes\b|\best\b|\b\xc3\xa9\b)\s{0,3}"""
    )
    _value = Expression(rb"""[^\s"'`,;)}\]<>]{6,200}""")
    _quoted = Expression(rb"""(?:[a-zA-Z]?"[^"'`\n\\]{4,200}"|[a-zA-Z]?'[^"'`\n\\]{4,200}'|`[^"'`\n\\]{4,200}`)""")

    def find(self, view: View, places: Sequence[int]) -> Iterator[Hit]:
        data = view.data
        done = 0
        for place in places:
            tail = data[place + 3 : place + 50]
            if place < done or (tail[:5] == _COUNT and tail[5:7].strip().isdigit()) or _ASSIGNS.search(tail) is None:
                continue
            before = view.low[max(0, place - 14) : place]
            if b"::" in before or _NO_KEY.search(before) is not None:
                continue
            match = self._name.match(data, place, len(data))
            if match is None or match.group(3) in (b"==", b"===", b"!=", b"::"):
                continue
            if match.group(3) in (b">", b",") and not _pairs(data, place, match):
                continue
            value = self._quoted.match(data, match.end(), len(data))
            start, end = match.end(), 0
            if value is not None:
                start, end = match.end() + 1 + (data[match.end()] not in b"\"'`"), value.end() - 1
            elif (bare := self._value.match(data, match.end(), len(data))) is not None:
                end = bare.end()
            said = match.group(3).isalpha() or match.group(3)[:1] > b"\x7f"
            text = data[start:end].decode("utf-8", "replace").rstrip(".,!?")
            if text and _is_secret(match.group(1).lower(), match.group(2).lower(), text, value is not None, said):
                done = end
                yield Hit("secret", start, start + len(text.encode()), self.name, 0.75, 1)


_CALLED = re.compile(rb"\(\s?[\"'][\w\-]*$")
_NO_KEY = re.compile(
    rb"(?:next|page|lock|continuation|start|starting|sync|change|pagination|resume|prompt_cache|primary|foreign|public|sort"
    rb"|partition|cache|result|limit|input|output)[_\-]?$|[0-9]:$"
)
"""Before `token` or `_key`: what opens nothing."""
_ASSIGNS = re.compile(rb"[=:>,]| is| es| \xc3\xa9")
_COUNT = b'ens":'
"""What follows `tok` in `"max_tokens": 200`: most requests have it, and a number is no secret."""
_NOT_THE_VALUE = re.compile(
    rb"s?[_\-]?(?:id|ids|name|names|type|types|url|uri|path|file|files|len|length|size|count|expir\w*|ttl|field"
    rb"|label|hint"
    rb"|prompt|policy|reset\w*|manager|provider|store|class|func|function|callback|param|params|alias|algorithm"
    rb"|usage|hash"
    rb"|version|format|index|error|regex|pattern|map|list|dict|set|ring|board|word|words|code|event|stream|izer"
    rb"|ize|ized"
    rb"|column|columns|required|enabled|valid|changed|updated|arn|ref|refs|selector|for|getter|format|env|var)s?$"
)
_PASSWORDS = (b"pass", b"kennwort", b"mot de", b"contra", b"senha", b"pwd")
_PATHS = re.compile(r"(?:[a-z]+://|\.{0,2}/|~/|[A-Za-z]:\\|\d+(?:\.\d+)*$|\d{4}-\d\d-\d\d)")
_UNCALLED = frozenset("([{")
_CALLS = re.compile(r"[A-Za-z_][\w.]*(?:\(|\[|->|$)")


def _pairs(data: bytes, place: int, match: Found) -> bool:
    """Whether a name before `,` or `>` is given the value after it: `define('DB_PASSWORD', '...')`, `<password>...`."""
    sign = match.span(3)[0]
    if match.group(3) == b">":
        return data[place - 1 : place] in (b"<", b":", b"_", b"-") and data[sign - 1 : sign].isalnum()
    called = _CALLED.search(data[max(0, place - 40) : place]) is not None
    return called and data[sign - 1 : sign] in (b'"', b"'") and data[match.end() : match.end() + 1] in (b'"', b"'")


def _is_secret(name: bytes, rest: bytes, value: str, quoted: bool, said: bool) -> bool:
    """Whether `value`, given to something called `name` + `rest`, is a secret: no variable, type, text or default."""
    if rest and _NOT_THE_VALUE.match(rest):
        return False
    if stands_for(value) or value.lower() in _NO_PASSWORDS or _PATHS.match(value):
        return False
    if not quoted and (not _UNCALLED.isdisjoint(value) or "=" in value.rstrip("=")):
        return False
    letters = any(c.isalpha() for c in value)
    digits = any(c.isdigit() for c in value)
    special = any(not c.isalnum() and c not in "_-. " for c in value)
    if name.startswith(_PASSWORDS):
        if " " in value or len(value) < 6 or len(value) > 100 or wordlike(value):
            return False
        if said or not quoted:
            return letters and digits
        return letters and (digits or special) and "%" not in value and not value.startswith(("\\", ":", "-"))
    odd = mixed(value) and len(value) >= 24
    if len(value) < 16 or " " in value or not letters or not (digits or odd):
        return False
    if ("(" in value or "[" in value) and not (quoted and len(value) >= 40 and entropy(value) > 4.0):
        return False
    if identifier(value):
        return False
    if not quoted and (_CALLS.fullmatch(value) and "_" in value and not re.search(r"\d.*\d.*\d", value)):
        return False
    return entropy(value) >= (3.0 if len(value) < 24 else 3.3) and not wordlike(value)
