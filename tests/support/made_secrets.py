"""Secrets of many kinds, drawn by lot in their issuers' formats. None was ever issued; checksums are right where a
format has one. `made(seed)` gives the same ones for the same seed.
"""

import base64
import json
import random
import zlib
from collections.abc import Iterator

DIGITS = "0123456789"
HEX = DIGITS + "abcdef"
LOWER = "abcdefghijklmnopqrstuvwxyz"
ALNUM = DIGITS + LOWER.upper() + LOWER
URL = ALNUM + "_-"
B64 = ALNUM + "+/"
B32 = LOWER.upper() + "234567"


class Draw:
    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def __call__(self, alphabet: str, length: int) -> str:
        return "".join(self._random.choices(alphabet, k=length))

    def uuid(self) -> str:
        return "-".join(self(HEX, length) for length in (8, 4, 4, 4, 12))

    def summed(self, prefix: str, length: int = 30) -> str:
        body = self(ALNUM, length)
        value, check = zlib.crc32(body.encode()), ""
        for _ in range(6):
            value, digit = divmod(value, 62)
            check = (DIGITS + LOWER.upper() + LOWER)[digit] + check
        return prefix + body + check

    def jwt(self) -> str:
        def part(value: object) -> str:
            return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")

        return f"{part({'alg': 'HS256', 'typ': 'JWT'})}.{part({'sub': self(DIGITS, 10)})}.{self(URL, 43)}"

    def pem(self, kind: str) -> str:
        lines = "\n".join(self(B64, 64) for _ in range(12))
        return f"-----BEGIN {kind}PRIVATE KEY-----\n{lines}\n-----END {kind}PRIVATE KEY-----"


def made(seed: int) -> Iterator[tuple[str, str, str]]:
    """Yields (kind, secret, the text around it with `{}` for the secret)."""
    d = Draw(seed)
    plain = "{}"
    for kind, secret in (
        ("openai project", f"sk-proj-{d(URL, 74)}T3BlbkFJ{d(URL, 74)}"),
        ("openai old", f"sk-{d(ALNUM, 20)}T3BlbkFJ{d(ALNUM, 20)}"),
        ("openai service", f"sk-svcacct-{d(URL, 58)}T3BlbkFJ{d(URL, 58)}"),
        ("deepseek", f"sk-{d(HEX, 32)}"),
        ("anthropic", f"sk-ant-api03-{d(URL, 93)}AA"),
        ("openrouter", f"sk-or-v1-{d(HEX, 64)}"),
        ("google api", f"AIza{d(URL, 35)}"),
        ("groq", f"gsk_{d(ALNUM, 52)}"),
        ("xai", f"xai-{d(ALNUM, 80)}"),
        ("hugging face", f"hf_{d(LOWER + LOWER.upper(), 34)}"),
        ("replicate", f"r8_{d(ALNUM, 37)}"),
        ("perplexity", f"pplx-{d(ALNUM, 48)}"),
        ("nvidia", f"nvapi-{d(URL, 64)}"),
        ("cerebras", f"csk-{d(LOWER + DIGITS, 48)}"),
        ("aws key id", f"AKIA{d(B32, 16)}"),
        ("google oauth", f"ya29.{d(URL, 120)}"),
        ("google client secret", f"GOCSPX-{d(URL, 28)}"),
        ("alibaba", f"LTAI{d(ALNUM, 20)}"),
        ("digitalocean", f"dop_v1_{d(HEX, 64)}"),
        ("databricks", f"dapi{d(HEX, 32)}"),
        ("heroku", f"HRKU-AA{d(URL, 58)}"),
        ("planetscale", f"pscale_tkn_{d(URL, 43)}"),
        ("github", d.summed("ghp_")),
        ("github app", d.summed("ghs_")),
        ("github fine", f"github_pat_{d(ALNUM, 22)}_{d(ALNUM, 59)}"),
        ("gitlab", f"glpat-{d(URL, 20)}"),
        ("npm", d.summed("npm_")),
        ("pypi", f"pypi-AgEIcHlwaS5vcmc{d(URL, 140)}"),
        ("rubygems", f"rubygems_{d(HEX, 48)}"),
        ("docker", f"dckr_pat_{d(URL, 27)}"),
        ("vault", f"hvs.{d(URL, 95)}"),
        ("terraform", f"{d(ALNUM, 14)}.atlasv1.{d(URL, 65)}"),
        ("pulumi", f"pul-{d(HEX, 40)}"),
        ("doppler", f"dp.pt.{d(ALNUM, 43)}"),
        ("tailscale", f"tskey-auth-{d(ALNUM, 16)}-{d(ALNUM, 32)}"),
        ("age", f"AGE-SECRET-KEY-1{d('QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L', 58)}"),
        ("slack bot", f"xoxb-{d(DIGITS, 12)}-{d(DIGITS, 13)}-{d(ALNUM, 24)}"),
        ("slack app", f"xapp-1-{d(LOWER.upper() + DIGITS, 11)}-{d(DIGITS, 13)}-{d(HEX, 64)}"),
        ("slack webhook", f"https://hooks.slack.com/services/T{d(B32, 10)}/B{d(B32, 10)}/{d(ALNUM, 24)}"),
        ("discord webhook", f"https://discord.com/api/webhooks/{d(DIGITS, 18)}/{d(URL, 68)}"),
        ("telegram", f"{d(DIGITS[1:], 10)}:AA{d(URL, 33)}"),
        ("sendgrid", f"SG.{d(URL, 22)}.{d(URL, 43)}"),
        ("mailgun", f"key-{d(HEX, 32)}"),
        ("mailchimp", f"{d(HEX, 32)}-us14"),
        ("brevo", f"xkeysib-{d(HEX, 64)}-{d(ALNUM, 16)}"),
        ("twilio", f"SK{d(HEX, 32)}"),
        ("stripe", f"sk_live_{d(ALNUM, 24)}"),
        ("stripe restricted", f"rk_live_{d(ALNUM, 99)}"),
        ("stripe webhook", f"whsec_{d(ALNUM, 32)}"),
        ("square", f"sq0atp-{d(URL, 22)}"),
        ("braintree", f"access_token$production${d(LOWER + DIGITS, 16)}${d(HEX, 32)}"),
        ("shopify", f"shpat_{d(HEX, 32)}"),
        ("razorpay", f"rzp_live_{d(ALNUM, 14)}"),
        ("plaid", f"access-production-{d.uuid()}"),
        ("atlassian", f"ATATT3{d(URL, 186)}"),
        ("linear", f"lin_api_{d(ALNUM, 40)}"),
        ("notion", f"ntn_{d(DIGITS, 11)}{d(ALNUM, 35)}"),
        ("airtable alone", f"pat{d(ALNUM, 14)}.{d(HEX, 64)}"),
        ("discord bot alone", f"M{d(ALNUM, 23)}.{d(URL, 6)}.{d(URL, 38)}"),
        ("artifactory", f"AKC{d(ALNUM, 70)}"),
        ("artifactory reference", f"cmVmd{d(ALNUM, 59)}"),
        ("adafruit", f"aio_{d(ALNUM, 28)}"),
        ("lob", f"live_{d(HEX, 35)}"),
        ("figma", f"figd_{d(URL, 43)}"),
        ("hubspot", f"pat-na1-{d.uuid()}"),
        ("postman", f"PMAK-{d(HEX, 24)}-{d(HEX, 34)}"),
        ("grafana", f"glsa_{d(ALNUM, 32)}_{d(HEX, 8)}"),
        ("newrelic", f"NRAK-{d(LOWER.upper() + DIGITS, 27)}"),
        ("sentry", f"sntryu_{d(HEX, 64)}"),
        ("dynatrace", f"dt0c01.{d(LOWER.upper() + DIGITS, 24)}.{d(LOWER.upper() + DIGITS, 64)}"),
        ("facebook", f"EAAC{d(ALNUM, 180)}"),
        ("azure client secret", f"{d(ALNUM, 3)}8Q~{d(ALNUM, 34)}"),
        ("jwt", d.jwt()),
        ("pem rsa", d.pem("RSA ")),
        ("pem openssh", d.pem("OPENSSH ")),
        ("pem", d.pem("")),
    ):
        yield kind, secret, plain
    for kind, secret, around in (
        ("aws secret", d(B64, 40), "aws_secret_access_key = {}"),
        ("azure storage", d(B64, 86) + "==", "DefaultEndpointsProtocol=https;AccountName=shop;AccountKey={};"),
        ("azure key", d(HEX, 32), "AZURE_OPENAI_API_KEY={}"),
        ("cohere", d(ALNUM, 40), "COHERE_API_KEY={}"),
        ("mistral", d(ALNUM, 32), "MISTRAL_API_KEY: {}"),
        ("datadog", d(HEX, 32), "DD_API_KEY={}"),
        ("heroku uuid", d.uuid(), 'heroku_api_key = "{}"'),
        ("okta", f"00{d(URL, 40)}", "okta token: {}"),
        ("airtable", f"pat{d(ALNUM, 14)}.{d(HEX, 64)}", "AIRTABLE_TOKEN={}"),
        ("discord bot", f"M{d(ALNUM, 23)}.{d(URL, 6)}.{d(URL, 38)}", "DISCORD_TOKEN={}"),
        ("postgres url", d(ALNUM, 16), "postgres://app:{}@db.example.com:5432/shop"),
        ("mongodb url", d(ALNUM, 20), "mongodb+srv://root:{}@cluster0.example.net/?retryWrites=true"),
        ("redis url", d(ALNUM, 24), "redis://:{}@cache.example.com:6379/0"),
        ("basic auth url", d(ALNUM, 12), "https://deploy:{}@git.example.com/repo.git"),
        ("bearer", d(URL, 40) + "7", "curl -H 'Authorization: Bearer {}' https://api.example.com"),
        ("basic", base64.b64encode(f"admin:{d(ALNUM, 14)}".encode()).decode(), "Authorization: Basic {}"),
        ("generic api key", d(ALNUM, 31) + "7", 'api_key = "{}"'),
        ("generic token", d(HEX, 40), "ACCESS_TOKEN={}"),
        ("json secret", d(URL, 39) + "3", '{{"client_secret": "{}"}}'),
        ("password env", d(ALNUM, 13) + "4a", "DB_PASSWORD={}"),
        ("password code", "Tr0ub4dor&3" + d(DIGITS, 2), "password = '{}'"),
        ("password said", "Sunflower" + d(DIGITS, 4), "the wifi password is {}."),
        ("password yaml", d(ALNUM, 11) + "9x", "  password: {}\n  user: app"),
        ("signing key", d(B64, 43) + "7=", "JWT_SIGNING_KEY='{}'"),
        ("bcrypt", f"$2b$12${d(ALNUM + './', 53)}", "root:{}:0:0"),
    ):
        yield kind, secret, around


SETTINGS = (
    "{}",
    "Here is the key you asked for: {} and please keep it to yourself.",
    "config:\n  value: {}\n  other: 3\n",
    'client = Client("{}")\nclient.run()\n',
    '{{"role": "user", "content": "use {} for this"}}',
    "Ключ: {} — спасибо",
    "export X={}; ./deploy.sh",
)
"""Texts that a secret is put in, with what stands around it."""
