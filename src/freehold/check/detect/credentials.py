"""Secrets that their place gives away: in a command line, a file of a known form, a cookie, a sentence.

Each row is a pattern with the words before the value, so that the prefilter finds it; what the value must be like is a
check: `typed` for what a person made up (letters with digits or marks, no plain word, no variable), `drawn` for what a
machine drew by lot. The forms are those of the programs' own documentation: PostgreSQL's .pgpass, Apache's .htpasswd
and LDAP's {SSHA} hashes, Docker's config.json, otpauth URIs, wpa_supplicant, Sentry's DSN, Firebase's server keys,
Oracle's thin URLs; wallet import format (base58check) and BIP 39's words for coins.
"""

import re

from freehold.check.detect.checks import base58check_bytes, entropy
from freehold.check.detect.keys import drawn, placeholder
from freehold.check.detect.pattern import Check, Pattern
from freehold.check.detect.values import basic, identifier, stands_for, wordlike

_PROSE = frozenset(("the", "and", "are", "for", "not", "but", "from"))
"""Words of sentences that the 2,048 of BIP 39 do not have."""
_BRACKETS = re.compile(r"[()\[\]{}<>=`]|\.\.")


def typed(score: float = 0.75, *, digits_too: bool = False) -> Check:
    """Returns a check that a value looks like a password somebody made up, not like a word, a path or a variable.

    `digits_too`: marks alone do not make one, as in a sentence they may belong to it.
    """

    def check(found: str) -> float | None:
        value = found.rstrip(".,;:!?)\"'")
        if len(value) < 6 or stands_for(value) or wordlike(value) or value.startswith(("-", "/", "http", "$")):
            return None
        letters, digits = any(c.isalpha() for c in value), any(c.isdigit() for c in value)
        marks = not digits_too and any(not c.isalnum() and c not in "-_./" for c in value)
        return score if letters and (digits or marks) and not _BRACKETS.search(value.rstrip("=")) else None

    return check


def _wallet(found: str) -> float | None:
    raw = base58check_bytes(found)
    return 1.0 if raw is not None and raw[0] == 0x80 and len(raw) in (33, 34) else None


def _mnemonic(found: str) -> float | None:
    words = found.split()
    return 0.9 if len(set(words)) > len(words) // 2 and _PROSE.isdisjoint(words) else None


def _cookie(found: str) -> float | None:
    digits = sum(c.isdigit() for c in found)
    return 0.8 if digits >= 3 and not identifier(found) and drawn(3.0)(found) else None


def _mail_password(found: str) -> float | None:
    return None if placeholder(found) or entropy(found.replace(" ", "")) < 2.8 else 0.8


def _secret(rule: str, pattern: bytes, literals: str, check: Check | None, before: int = 0) -> Pattern:
    """`literals` are separated by |."""
    words = [word.encode() for word in literals.split("|")]
    return Pattern("secret", rule, pattern, words, check, group=1, exact=False, before=before)


_SAID = (
    "password", "passwort", "kennwort", "passcode", "passphrase", "passwd", "contraseña", "mot de passe", "senha",
    "wachtwoord", "hasło", "пароль",
)  # fmt: skip

CREDENTIALS = (
    _secret(
        "aws-key-pair",
        rb"(?:AKIA|ASIA)[A-Z0-9]{16}[\"' \t\n,:;|/]{1,6}([A-Za-z0-9+/]{40})\b",
        "akia|asia",
        drawn(3.5),
    ),
    _secret(
        "command-option",
        rb"--(?:password|passwd|pass|token|secret|api-?key|auth-?token|access-?token|client-secret|secret-key)[= ]{1,2}"
        rb"[\"'`]?([^\s\"'`]{6,160})",
        "--pass|--token|--secret|--api|--auth|--access|--client-secret",
        typed(),
    ),
    _secret("command-password", rb"\bsshpass\s{1,3}-p\s{0,3}[\"']?([^\s\"']{4,128})", "sshpass", typed()),
    _secret(
        "mysql-password",
        rb"\bmysql(?:dump|admin|import|sh)?\b[^\n|;]{0,80}?\s-p[\"']?([^\s\"'\-][^\s\"']{5,64})",
        "mysql",
        typed(),
    ),
    _secret("postgres-password-file", rb":5432:[^\s:]{1,64}:[^\s:]{1,64}:([^\s:]{4,128})", ":5432:", typed()),
    _secret("oracle-url", rb":thin:[^\s/:@]{1,64}/([^\s/@]{4,64})@", ":thin:", typed()),
    _secret("wifi-key", rb"\bpsk\s{0,2}=\s{0,2}[\"']([^\s\"']{8,63})[\"']", "psk", typed()),
    _secret(
        "one-time-password-seed",
        rb"otpauth://[^\s\"'<>]{1,200}?[?&]secret=([A-Z2-7]{16,128})",
        "otpauth://",
        drawn(3.0),
    ),
    _secret("okta-token", rb"SSWS (00[A-Za-z0-9_\-]{40})", "ssws 00", drawn(3.5)),
    _secret(
        "sentry-dsn",
        rb"([0-9a-f]{32})(?::[0-9a-f]{32})?@[a-z0-9.\-]{0,40}sentry\.io/[0-9]",
        "sentry.io/",
        drawn(3.0),
        before=106,
    ),
    _secret("firebase-key", rb":(APA91b[A-Za-z0-9_\-]{100,160})", ":apa91b", drawn(4.0)),
    _secret("docker-login", rb"\"auth\"\s{0,3}:\s{0,3}\"([A-Za-z0-9+/]{8,300}={0,2})\"", '"auth"', basic),
    _secret(
        "directory-hash",
        rb"(\{S?SHA(?:256|512)?\}[A-Za-z0-9+/]{27,130}={0,2}|\$apr1\$[A-Za-z0-9./]{1,8}\$[A-Za-z0-9./]{22})",
        "{sha|{ssha|$apr1$",
        drawn(3.0),
    ),
    _secret(
        "session-cookie",
        rb"(?i)(?:sessionid|session_id|phpsessid|jsessionid|asp\.net_sessionid|connect\.sid|laravel_session|auth_token"
        rb"|remember_token)=(?:s%3A)?([A-Za-z0-9%._\-]{20,300})",
        "sessionid=|session_id=|phpsessid=|jsessionid=|connect.sid=|asp.net_sessionid=|laravel_session=|auth_token="
        "|remember_token=",
        _cookie,
    ),
    _secret("django-key", rb"(django-insecure-[^\s\"']{30,80})", "django-insecure-", None),
    _secret(
        "short-password-name",
        rb"(?i)(?:pass|pw|psw|pword)\s{0,2}[:=]\s{0,2}[\"'`]?([^\s\"'`,;]{6,64})",
        "pass:|pass =|pass=|pw:|pw=|pw =|psw:|psw=|pword:|pword=",
        typed(0.7),
    ),
    _secret(
        "told-password",
        b"(?i)(?:" + "|".join(_SAID).encode() + rb")(?: [^\s.!?:=]{1,20}){0,8}?"
        rb"(?: (?:is|was|lautet|ist|est|es|\xc3\xa9|to|to be|as|jest):?|:) [\"'`\xe2\x80\x9c]{0,3}([^\s\"'`]{6,64})",
        "|".join(f"{word} " for word in _SAID),
        typed(0.7, digits_too=True),
    ),
    _secret(
        "mail-app-password",
        rb"(?i)(?:app(?:lication)? password|smtp[a-z_\-]{0,12}pass[a-z]{0,5}|gmail)[^\n]{0,30}?"
        rb"\b([a-z]{4} [a-z]{4} [a-z]{4} [a-z]{4})\b",
        "app password|application password|smtp|gmail",
        _mail_password,
    ),
    _secret(
        "wallet-key",
        rb"(?i:bitcoin|wallet|wif key|wif:|private key|privkey)[^\n]{0,40}?\b([5KL][1-9A-HJ-NP-Za-km-z]{50,51})\b",
        "bitcoin|wallet|wif key|wif:|private key|privkey",
        _wallet,
    ),
    _secret(
        "wallet-words",
        rb"(?i)(?:seed|recovery|backup|mnemonic)(?: (?:phrase|words))?(?: is| are)?\s{0,2}[:=\-]?\s{0,3}[\"'`]?"
        rb"((?:[a-z]{3,8} ){11,23}[a-z]{3,8})\b",
        "seed phrase|seed words|recovery phrase|recovery words|backup phrase|mnemonic",
        _mnemonic,
    ),
)
