"""Keys of many kinds, where they stand in text; and what looks like a key and is none."""

import pytest
from made_secrets import SETTINGS, Draw, made

from freehold.check.detect import Rules, scan
from freehold.check.detect.keys import KINDS

RULES = Rules()


def secrets(text: str) -> list[tuple[str, str]]:
    return [(one.rule, text[one.start : one.end]) for one in scan(text, RULES) if one.type == "secret"]


@pytest.mark.parametrize(("kind", "secret", "around"), list(made(7)), ids=lambda value: value[:20])
def test_every_kind_is_found_whole_wherever_it_stands(kind: str, secret: str, around: str) -> None:
    for setting in SETTINGS:
        text = setting.format(around.format(secret))
        start = text.index(secret)
        found = [one for one in scan(text, RULES) if one.type in ("secret", "detector_error")]
        assert any(one.start <= start + len("https://") and one.end >= start + len(secret) for one in found), text
        assert all(one.type == "secret" for one in found)


def test_there_are_many_kinds() -> None:
    assert len({kind for kind, _, _ in made(1)}) > 80
    assert len(KINDS) > 90


def test_a_right_checksum_makes_a_key_certain_and_a_wrong_one_less_so() -> None:
    key = Draw(3).summed("ghp_")
    wrong = key[:10] + ("a" if key[10] != "a" else "b") + key[11:]
    (right,), (less,) = scan(key, RULES), scan(wrong, RULES)
    assert right.score == 1.0
    assert less.score < 0.9


@pytest.mark.parametrize(
    "text",
    [
        "sk-your-api-key-here-please-replace-it",
        "ghp_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
        "AKIAIOSFODNN7EXAMPLE",
        "password = os.environ['DB_PASSWORD']",
        "password: ${DB_PASSWORD}",
        "password = getpass.getpass()",
        'password = "<your password>"',
        "token = tokens[index2]",
        "token: Optional[str] = None",
        "max_tokens = 4096",
        "secret_name: my-database-secret",
        "api_key_id = response.json()['id']",
        "the password is wrong",
        "password reset link",
        "PASSWORD_HASHERS = ['django.contrib.auth.hashers.Argon2PasswordHasher']",
        "https://example.com/path?x=1",
        "http://user:password@example.com",
        "git@github.com:owner/name.git",
        "task-sk-12 disk-usage risk-free",
        "-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE\n-----END PUBLIC KEY-----",
        "-----BEGIN PRIVATE KEY----- is the first line of such a file",
        "eyJ is how a token begins",
        "eyJhYmNkZWZnaGlqa2xtbm9w.eyJhYmNkZWZnaGlqa2xtbm9w.c2lnbmF0dXJl",
        "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "commit 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b",
        "id: 123e4567-e89b-12d3-a456-426614174000",
    ],
)
def test_what_is_no_secret(text: str) -> None:
    assert not secrets(text)


def test_what_a_finding_covers() -> None:
    assert secrets("postgres://app:Zk3vBq9TxW@db/shop") == [("url-credentials", "app:Zk3vBq9TxW")]
    assert secrets("DB_PASSWORD=Zk3vBq9TxW\nDEBUG=1") == [("assigned-secret", "Zk3vBq9TxW")]
    key = Draw(5).pem("RSA ")
    assert secrets(f"a\n{key}\nb") == [("private-key", key)]
    assert secrets(key.replace("\n", "\\n"))[0][0] == "private-key"
    assert secrets(key[:300])[0] == ("private-key", key[:300])


def test_a_known_format_stands_before_the_name_beside_it() -> None:
    key = Draw(9).summed("ghp_")
    assert secrets(f'GITHUB_TOKEN="{key}"') == [("github-token", key)]


def test_many_keys_in_one_text_are_all_found() -> None:
    keys = [Draw(number).summed("ghp_") for number in range(60)]
    assert secrets("\n".join(keys)) == [("github-token", key) for key in keys]
