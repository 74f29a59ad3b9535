"""Secrets that their place gives away, in command lines, files and sentences; and what stands there and is none."""

import base64

import pytest
from made_secrets import ALNUM, B32, B64, HEX, URL, Draw

from freehold.check.detect import Rules, scan
from freehold.check.detect.credentials import CREDENTIALS
from freehold.check.detect.values import identifier, mixed, stands_for, wordlike

RULES = Rules()
DRAW = Draw(5)
WALLET = "L3QH8Akaj9z83nEyExLsPAtRndodUS3jzWPGwx5bsHxWwXnf9nv8"
WORDS = "legal winner thank year wave sausage worth useful legal winner thank yellow"

HELD = [
    ("aws-key-pair", DRAW(B64, 40), f"AKIA{DRAW(B32, 16)}:{{}}"),
    ("command-option", "kX9mQ2vL-77", "deploy --user bob --password {} --force"),
    ("command-password", "rtTCB8eYSWI!7", "sshpass -p '{}' ssh root@host"),
    ("mysql-password", "cuor74dTfe7", "mysql -u root -p{} shop"),
    ("postgres-password-file", "5paKNURa5rQ0r6", "db.acme.example:5432:prod:app:{}"),
    ("oracle-url", "t1gerB0x", "jdbc:oracle:thin:scott/{}@//db:1521/orcl"),
    ("wifi-key", "ezKvzEcArSGK7", 'network={{\n ssid="home"\n psk="{}"\n}}'),
    ("one-time-password-seed", DRAW(B32, 32), "otpauth://totp/Acme:bob?secret={}&issuer=Acme"),
    ("okta-token", "00" + DRAW(URL, 40), "Authorization: SSWS {}"),
    ("sentry-dsn", DRAW(HEX, 32), "https://{}@o725727.ingest.sentry.io/0777920"),
    ("firebase-key", "APA91b" + DRAW(URL, 134), "Authorization: key=AAAAFyvzYgk:{}"),
    ("docker-login", base64.b64encode(b"acme:k9Xw2LqT8vZr4BnM1c").decode(), '{{"auths": {{"r": {{"auth": "{}"}}}}}}'),
    ("directory-hash", "$apr1$4VGMSqBl$YMmUOqH7/VJ4ScfIMVLvjL", "admin:{}"),
    ("session-cookie", DRAW(ALNUM, 38) + "42", "Cookie: PHPSESSID={}; theme=dark"),
    ("django-key", "django-insecure-" + "rq(2l&$c5akls17i8yf%voq-p0v48_wmm#$p41c=yz", "KEY = '{}'"),
    ("short-password-name", "aBc123!xyz", "login: admin / pass: {}"),
    ("told-password", "hunter2Secure", "Hi Bob, the password for the staging server is {}, keep it safe."),
    ("told-password", "Winter_2023b", "Das Passwort lautet {}"),
    ("mail-app-password", "owgq dvti ecnl nhtt", "my Gmail app password: {}"),
    ("wallet-key", WALLET, "my bitcoin key is {}"),
    ("wallet-words", WORDS, "seed phrase: {}\nkeep it"),
]


@pytest.mark.parametrize(("rule", "secret", "around"), HELD, ids=lambda value: value[:24])
def test_a_secret_in_its_place_is_found_whole(rule: str, secret: str, around: str) -> None:
    for text in (around.format(secret), "first line\n" + around.format(secret) + "\nlast line"):
        start = text.index(secret)
        found = [one for one in scan(text, RULES) if one.type == "secret"]
        assert any(one.start <= start and one.end >= start + len(secret) for one in found), (text, found)
    (pattern,) = {one.name: one for one in CREDENTIALS if one.name == rule}.values()
    assert any(literal in around.format(secret).lower().encode() for literal in pattern.literals)


def test_every_rule_is_tried() -> None:
    assert {rule for rule, _, _ in HELD} == {one.name for one in CREDENTIALS}


@pytest.mark.parametrize(
    "text",
    [
        "deploy --password $DB_PASSWORD --token ${TOKEN}",
        "use --token <your token> or --password=secret",
        "The password for the account is case-sensitive and expires after 90 days.",
        "The password for the staging server is in the vault.",
        "To delete a password for an IAM user**",
        "sshpass -p $PASS ssh host",
        "mysql -u root -p shop",
        "mysqldump --all-databases",
        "bypass: true",
        "pass: all 12 tests",
        "pass = compile(source)",
        "session_id=inner.state.session_id, other=1",
        "session_id=self._require_session_id_hex(session)",
        '"auth": "basic"',
        '"auth": "aGVsbG8gd29ybGQgaGVsbG8="',
        "my bitcoin key is " + WALLET[:-1] + "9",
        "seed phrase: this is what you must keep in mind when you write it down for later use",
        "otpauth://totp/Acme:bob?issuer=Acme",
        '"SecretArn": "arn:aws:secretsmanager:us-west-2:123456789123:secret:secretName-1234f"',
        '"NextToken": "9d624e0c-388b-4862-a31e-a85c64fc1d4a"',
        "token_endpoint_auth_method: OAuth2TokenEndpointAuthMethod",
        "private_key: x25519.X25519PrivateKey",
        '("mistral3", "Mistral3ForConditionalGeneration"),',
        '"AWS::ApiGateway::ApiKey": "48205d4ffd7feba3"',
        'os.environ.get("API_KEY", "replace-me-with-a-key-0")',
        "names = ['gss_krb5_lucid_key', 'gss_krb5_rfc1964_keydata']",
        '<input type="password">Password',
        "<password>********</password>",
    ],
)
def test_what_stands_there_and_is_none(text: str) -> None:
    assert [one.rule for one in scan(text, RULES) if one.type == "secret"] == []


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("define('DB_PASSWORD', 'xK4-pL9-zQ');", "xK4-pL9-zQ"),
        ("<password>KAg6SxGLd9jn7</password>", "KAg6SxGLd9jn7"),
        ("Password=YSNHvBKuPrUoLa1;Encrypt=True", "YSNHvBKuPrUoLa1"),
        ("const clientSecret = 'iBNyfGytWGOoWAozeTMkwkKwMjjUCENT';", "iBNyfGytWGOoWAozeTMkwkKwMjjUCENT"),
        ("SECRET_KEY = '2l&$c5akls(17i8yf%voq-p0v48_wmm#$p41c=yz_z704v6s'", "2l&$c5akls(17i8yf%voq-p0v48_wmm#$p41c=yz"),
    ],
)
def test_names_are_given_values_in_many_ways(text: str, secret: str) -> None:
    assert any(secret in text[one.start : one.end] for one in scan(text, RULES) if one.type == "secret")


def test_values_that_say_what_they_are() -> None:
    assert wordlike("staging-server")
    assert wordlike("Password1")
    assert wordlike("myDatabasePassword")
    assert not wordlike("YSNHvBKuPrUoLa1")
    assert mixed("hfuLPxlVsi")
    assert not mixed("connectionString")
    assert identifier("OAuth2TokenEndpointAuthMethod")
    assert not identifier(DRAW(ALNUM, 32))
    assert stands_for("${SECRET}")
    assert stands_for("arn:aws:iam::1:role/x")
