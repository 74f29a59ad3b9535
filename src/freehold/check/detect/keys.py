"""The formats of keys that say what they are: a prefix that nobody types by chance, then a body that looks drawn by
lot.

One row per kind: the rule's name, the literals that a key begins with, and the pattern of what follows (RE2,
Latin-1). Lengths are at least the issuer's present one and leave room above it: issuers lengthen keys without notice.
A body must look random (`drawn`), so `ghp_xxxxxxxxxxxx` and `sk-your-key-here` are nothing. Where a format has a
checksum, a right one makes the finding certain; a wrong one lowers its score and no more, because a key with one
mistyped letter still tells most of itself.

Prefixes and lengths come from the issuers' own documentation and from public lists of secret scanners, as facts;
formats without any prefix (Cohere, Mistral, Datadog) need the words beside them, and are in assigned.py.
"""

from collections.abc import Iterator
from typing import NamedTuple

from freehold.check.detect.checks import crc_base62, entropy
from freehold.check.detect.expression import quoted
from freehold.check.detect.pattern import Check, Pattern

_PLACEHOLDERS = (
    "example", "xxxx", "yourkey", "your_", "your-", "yourapi", "placeholder", "changeme", "redacted", "dummy", "sample",
    "0123456789", "1234567890", "abcdefghij", "insert", "replace", "notareal", "not-a-real", "fakekey", "....", "****",
    "00000000", "deadbeefdeadbeef",
)  # fmt: skip


def placeholder(text: str) -> bool:
    """Whether a value only holds the place of a secret. In a long one such a word stands by chance."""
    low = text.lower()
    return any(word in low and len(low) <= 8 * len(word) for word in _PLACEHOLDERS)


def drawn(bits: float, prefix: int = 0) -> Check:
    """Returns a check that what follows `prefix` characters has at least `bits` of entropy each and is no
    placeholder.
    """

    def check(found: str) -> float | None:
        body = found[prefix:]
        return None if entropy(body) < bits or placeholder(body) else 0.95

    return check


def _summed(prefix: int) -> Check:
    plain = drawn(3.0, prefix)

    def check(found: str) -> float | None:
        return 1.0 if crc_base62(found[prefix:]) else 0.85 if plain(found) else None

    return check


class Kind(NamedTuple):
    rule: str
    literals: bytes
    """Separated by spaces."""
    body: bytes
    bits: float = 3.0
    check: Check | None = None
    joined: bool = True
    """Whether the prefix is so peculiar that it counts in the middle of a word too."""


AIRTABLE = rb"\bpat[A-Za-z0-9]{14}\.[0-9a-f]{64}\b"
DISCORD = rb"\b[MNO][A-Za-z0-9_\-]{23,27}\.[A-Za-z0-9_\-]{6}\.[A-Za-z0-9_\-]{27,40}\b"
"""Keys that have nothing of their own but points in the right places."""
_HEX = rb"[0-9a-fA-F]"
_ANY = rb"[A-Za-z0-9]"
_URL = rb"[A-Za-z0-9_\-]"
_B64 = rb"[A-Za-z0-9+/]"
_UUID = rb"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}"

KINDS = (
    # makers and hosts of models
    Kind("openai-key", b"sk-proj- sk-svcacct- sk-admin- sk-None-", _URL + rb"{20,250}"),
    Kind("sk-key", b"sk-", _ANY + rb"{20}T3BlbkFJ" + _ANY + rb"{20}|" + _ANY + rb"{32,64}", 3.0, joined=False),
    Kind("anthropic-key", b"sk-ant-", rb"[a-z]{2,8}[0-9]{2}-" + _URL + rb"{24,200}"),
    Kind("openrouter-key", b"sk-or-v1-", _HEX + rb"{40,80}"),
    Kind("google-api-key", b"AIza", rb"[A-Za-z0-9_\-]{35,39}"),
    Kind("google-auth-key", b"AQ.Ab", _URL + rb"{36,80}", joined=False),
    Kind("groq-key", b"gsk_", _ANY + rb"{40,64}", joined=False),
    Kind("xai-key", b"xai-", _ANY + rb"{48,100}", joined=False),
    Kind("huggingface-token", b"hf_ api_org_", _ANY + rb"{30,44}", joined=False),
    Kind("replicate-token", b"r8_", _ANY + rb"{32,44}", joined=False),
    Kind("perplexity-key", b"pplx-", _ANY + rb"{32,60}"),
    Kind("cerebras-key", b"csk-", _ANY + rb"{40,60}", joined=False),
    Kind("fireworks-key", b"fw_", _ANY + rb"{22,40}", joined=False),
    Kind("together-key", b"tgp_v1_", _URL + rb"{36,60}"),
    Kind("nvidia-key", b"nvapi-", _URL + rb"{50,90}"),
    Kind("jina-key", b"jina_", _URL + rb"{40,80}", joined=False),
    Kind("voyage-key", b"pa-", _URL + rb"{40,60}", 3.8, joined=False),
    Kind("elevenlabs-key", b"sk_", rb"[0-9a-f]{48}", joined=False),
    Kind("langsmith-key", b"lsv2_pt_ lsv2_sk_", rb"[0-9a-f]{32}_[0-9a-f]{10}"),
    Kind("pinecone-key", b"pcsk_", rb"[A-Za-z0-9_]{40,90}"),
    Kind("tavily-key", b"tvly-", _URL + rb"{24,60}"),
    Kind("firecrawl-key", b"fc-", rb"[0-9a-f]{32}", joined=False),
    Kind("bedrock-key", b"ABSKQmVkcm9ja0FQSUtleS", rb"[A-Za-z0-9+/=]{60,200}"),
    Kind("wandb-key", b"wandb_v1_", _URL + rb"{40,120}"),
    Kind("freehold-key", b"fh-", _URL + rb"{24,80}", joined=False),
    # clouds and hosting
    Kind("aws-access-key-id", b"AKIA ASIA ABIA ACCA", rb"[A-Z0-9]{16}\b", 2.5, joined=False),
    Kind("aws-mws-token", b"amzn.mws.", _UUID),
    Kind("google-oauth-token", b"ya29.", _URL + rb"{20,400}", joined=False),
    Kind("google-oauth-secret", b"GOCSPX-", _URL + rb"{28}"),
    Kind("google-refresh-token", b"1//0", _URL + rb"{40,120}", 3.5, joined=False),
    Kind("alibaba-key-id", b"LTAI", _ANY + rb"{12,26}\b", joined=False),
    Kind("tencent-secret-id", b"AKID", _ANY + rb"{32,36}\b", joined=False),
    Kind("yandex-key", b"AQVN", _URL + rb"{35,40}", joined=False),
    Kind("scaleway-key", b"SCW", rb"[A-Z0-9]{17}\b", joined=False),
    Kind("digitalocean-token", b"dop_v1_ doo_v1_ dor_v1_", rb"[0-9a-f]{64}"),
    Kind("heroku-key", b"HRKU-AA", _URL + rb"{50,66}"),
    Kind("fly-token", b"fo1_ fm1a_ fm1r_ fm2_", rb"[A-Za-z0-9+/_\-]{43,600}={0,3}", joined=False),
    Kind("netlify-token", b"nfp_", _ANY + rb"{36,44}"),
    Kind("render-key", b"rnd_", _ANY + rb"{28,40}", joined=False),
    Kind("cloudflare-origin-key", b"v1.0-", rb"[0-9a-f]{24}-[0-9a-f]{146}", joined=False),
    Kind("supabase-key", b"sbp_ sb_secret_", _URL + rb"{30,60}", joined=False),
    Kind("planetscale-token", b"pscale_tkn_ pscale_pw_ pscale_oauth_", rb"[A-Za-z0-9=_.\-]{32,64}"),
    Kind("neon-key", b"napi_", _ANY + rb"{48,80}", joined=False),
    Kind("databricks-token", b"dapi", rb"[0-9a-f]{32}(?:-[0-9])?\b", joined=False),
    Kind("vercel-token", b"vcp_ vca_ vci_ vcr_ vck_", _ANY + rb"{50,64}", joined=False),
    # code, packages, builds
    Kind("github-token", b"ghp_ gho_ ghu_ ghs_ ghr_", _ANY + rb"{36,255}", check=_summed(4)),
    Kind("github-fine-grained-token", b"github_pat_", rb"[A-Za-z0-9]{22}_[A-Za-z0-9]{59}"),
    Kind("gitlab-token", b"glpat- gldt- glrt- glft- glffct- glimt- glagent- gloas- glptt- glsoat- glcbt-",
         rb"[A-Za-z0-9_\-]{20,300}(?:\.[0-9a-z]{2}\.?[0-9a-z]{7})?"),
    Kind("gitlab-runner-registration", b"GR1348941", _URL + rb"{20}"),
    Kind("bitbucket-token", b"ATBB ATCTT3", rb"[A-Za-z0-9_=\-]{28,200}", joined=False),
    Kind("npm-token", b"npm_", _ANY + rb"{36}\b", check=_summed(4)),
    Kind("pypi-token", b"pypi-AgEIcHlwaS5vcmc pypi-AgENdGVzdC5weXBpLm9yZw", _URL + rb"{50,500}"),
    Kind("rubygems-key", b"rubygems_", rb"[0-9a-f]{48}"),
    Kind("crates-token", b"cio", _ANY + rb"{32}\b", 4.0, joined=False),
    Kind("nuget-key", b"oy2", rb"[a-z0-9]{43}\b", 3.5, joined=False),
    Kind("docker-token", b"dckr_pat_ dckr_oat_", _URL + rb"{27,40}"),
    Kind("artifactory-key", b"AKC", _ANY + rb"{60,80}", 4.0, joined=False),
    Kind("artifactory-reference", b"cmVmd", _ANY + rb"{50,66}", 4.0, joined=False),
    Kind("clojars-token", b"CLOJARS_", rb"[0-9a-zA-Z]{60}"),
    Kind("circleci-token", b"CCIPAT_ CCIPRJ_", rb"[A-Za-z0-9_]{40,80}"),
    Kind("buildkite-token", b"bkua_", rb"[0-9a-f]{40}"),
    Kind("sonar-token", b"sqp_ squ_ sqa_", rb"[0-9a-f]{40}", joined=False),
    Kind("sourcegraph-token", b"sgp_", rb"(?:[0-9a-fA-F]{16}_|local_)?[0-9a-fA-F]{40}"),
    Kind("pulumi-token", b"pul-", rb"[0-9a-f]{40}", joined=False),
    Kind("vault-token", b"hvs. hvb. hvr.", _URL + rb"{24,300}", 3.5, joined=False),
    Kind("doppler-token", b"dp.pt. dp.st. dp.ct. dp.sa.", rb"[A-Za-z0-9._\-]{40,64}", joined=False),
    Kind("infisical-token", b"st.", rb"[0-9a-f]{24}\.[0-9a-f]{32}\.[0-9a-f]{32}", joined=False),
    Kind("onepassword-token", b"ops_eyJ", _B64 + rb"{200,1000}={0,2}"),
    Kind("onepassword-secret-key", b"A3-", rb"[A-Z0-9]{6}-(?:[A-Z0-9]{11}|[A-Z0-9]{6}-[A-Z0-9]{5})(?:-[A-Z0-9]{5}){3}",
         joined=False),
    Kind("age-secret-key", b"AGE-SECRET-KEY-1", rb"[QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L]{58}"),
    Kind("tailscale-key", b"tskey-", rb"[a-z]{3,9}-[A-Za-z0-9]{8,24}(?:-[A-Za-z0-9]{16,50})?"),
    Kind("openshift-token", b"sha256~", _URL + rb"{43}", 3.5),
    Kind("postman-key", b"PMAK-", rb"[0-9a-f]{24}-[0-9a-f]{34}"),
    Kind("prefect-key", b"pnu_ pnb_", _ANY + rb"{36}\b", joined=False),
    # talk and mail
    Kind("slack-token", b"xoxb- xoxp- xoxa- xoxr- xoxs- xoxo- xoxc- xoxd- xoxe- xoxe.xoxp- xoxe.xoxb-",
         rb"[0-9A-Za-z%\-]{10,300}", 2.5),
    Kind("slack-app-token", b"xapp-", rb"[0-9]-[A-Z0-9]{6,20}-[0-9]{6,20}-[0-9a-zA-Z]{20,100}"),
    Kind("slack-webhook", b"hooks.slack.com/", rb"(?:services|workflows|triggers)/[A-Za-z0-9+/]{30,90}", 2.5),
    Kind("discord-webhook", b"discord.com/api/webhooks/ discordapp.com/api/webhooks/",
         rb"[0-9]{17,20}/[A-Za-z0-9_\-]{60,72}"),
    Kind("sendgrid-key", b"SG.", rb"[A-Za-z0-9_\-]{16,32}\.[A-Za-z0-9_\-]{32,64}", joined=False),
    Kind("mailgun-key", b"key-", rb"[0-9a-f]{32}\b", joined=False),
    Kind("brevo-key", b"xkeysib- xsmtpsib-", rb"[0-9a-f]{64}-[A-Za-z0-9]{16}"),
    Kind("resend-key", b"re_", rb"[A-Za-z0-9]{8}_[A-Za-z0-9]{20,40}", joined=False),
    Kind("twilio-key", b"SK", rb"[0-9a-f]{32}\b", joined=False),
    Kind("intercom-token", b"dG9rOg", rb"[A-Za-z0-9+/]{40,80}={0,2}", 3.5, joined=False),
    # money and shops
    Kind("stripe-key", b"sk_live_ sk_test_ rk_live_ rk_test_ sk_prod_ rk_prod_", _ANY + rb"{10,250}"),
    Kind("stripe-webhook-secret", b"whsec_", rb"[A-Za-z0-9+/=]{24,80}"),
    Kind("square-token", b"sq0atp- sq0csp- sq0idp-", _URL + rb"{22,60}"),
    Kind("square-access-token", b"EAAA", _URL + rb"{56,64}\b", 3.5, joined=False),
    Kind("braintree-token", b"access_token$production$ access_token$sandbox$", rb"[0-9a-z]{16}\$[0-9a-f]{32}"),
    Kind("razorpay-key", b"rzp_live_ rzp_test_", _ANY + rb"{14,24}"),
    Kind("plaid-token", b"access-sandbox- access-development- access-production-", _UUID),
    Kind("shopify-token", b"shpat_ shpca_ shppa_ shpss_ shptka_", rb"[0-9a-fA-F]{32}"),
    Kind("flutterwave-key", b"FLWSECK_TEST- FLWSECK-", rb"[0-9a-zA-Z]{12,40}(?:-X)?"),
    Kind("shippo-token", b"shippo_live_ shippo_test_", rb"[0-9a-f]{40}"),
    Kind("easypost-key", b"EZAK EZTK", _ANY + rb"{54}", joined=False),
    # work, watching, data
    Kind("atlassian-token", b"ATATT3", rb"[A-Za-z0-9_=\-]{100,250}"),
    Kind("linear-key", b"lin_api_ lin_oauth_", _ANY + rb"{32,64}"),
    Kind("notion-token", b"ntn_", rb"[0-9]{9,12}[A-Za-z0-9]{30,40}", joined=False),
    Kind("notion-secret", b"secret_", _ANY + rb"{43}\b", 3.5, joined=False),
    Kind("hubspot-token", b"pat-na1- pat-na2- pat-eu1- pat-ap1-", _UUID),
    Kind("figma-token", b"figd_ figu_", _URL + rb"{36,60}"),
    Kind("dropbox-token", b"sl.", rb"(?:[bu]\.)?[A-Za-z0-9_=\-]{120,300}", joined=False),
    Kind("facebook-token", b"EAA", _ANY + rb"{90,300}", 3.5, joined=False),
    Kind("twitter-bearer", b"AAAAAAAAAAAAAAAAAAAAA", rb"[A-Za-z0-9%]{60,120}", joined=False),
    Kind("grafana-token", b"glsa_ glc_ eyJrIjoi", rb"[A-Za-z0-9+/_=]{32,400}", joined=False),
    Kind("newrelic-key", b"NRAK- NRII- NRJS- NRRA-", _URL + rb"{19,44}"),
    Kind("sentry-token", b"sntrys_ sntryu_", rb"[A-Za-z0-9+/=_]{60,500}"),
    Kind("dynatrace-token", b"dt0c01. dt0s01. dt0s02.", rb"[A-Z0-9]{8,24}\.[A-Z0-9]{40,64}"),
    Kind("honeycomb-key", b"hcaik_ hcxik_ hcamk_", rb"[A-Za-z0-9_]{30,70}"),
    Kind("posthog-key", b"phx_", _ANY + rb"{40,60}", joined=False),
    Kind("mapbox-secret", b"sk.eyJ", rb"[A-Za-z0-9_\-]{40,120}\.[A-Za-z0-9_\-]{20,30}", joined=False),
    Kind("typeform-token", b"tfp_", rb"[A-Za-z0-9_=.\-]{40,70}", joined=False),
    Kind("contentful-token", b"CFPAT-", _URL + rb"{40,50}"),
    Kind("readme-key", b"rdme_", rb"[a-z0-9]{60,80}"),
    Kind("launchdarkly-key", b"sdk- api- mob-", _UUID, joined=False),
    Kind("frameio-token", b"fio-u-", rb"[A-Za-z0-9_=\-]{60,70}"),
    Kind("adafruit-key", b"aio_", _ANY + rb"{28}\b", joined=False),
    Kind("lob-key", b"live_", rb"[0-9a-f]{35}\b", joined=False),
    Kind("duffel-token", b"duffel_live_ duffel_test_", rb"[A-Za-z0-9_=\-]{40,50}"),
)  # fmt: skip


def known_keys() -> Iterator[Pattern]:
    """Yields a detector for each kind."""
    for kind in KINDS:
        literals = kind.literals.split(b" ")
        start = b"(?:" + b"|".join(quoted(literal) for literal in literals) + b")"
        check = kind.check or drawn(kind.bits, min(map(len, literals)))
        yield Pattern("secret", kind.rule, start + b"(?:" + kind.body + b")", literals, check, joined=kind.joined)
