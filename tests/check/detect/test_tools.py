"""What a tool's argument must not hold."""

import pytest

from freehold.check.detect.tools import internal_address, outside, shell_metacharacters


@pytest.mark.parametrize(
    ("path", "inside"),
    [
        ("notes.txt", True),
        ("sub/../notes.txt", True),
        ("/work/data/a", True),
        ("/work/data", True),
        ("../secret", False),
        ("/work/database", False),
        ("/etc/passwd", False),
        ("~/.ssh/id_rsa", False),
        ("a/../../b", False),
        ("..%2f..%2fetc/passwd", False),
        ("..\\..\\etc", False),
        ("C:\\Windows", False),
        ("\\\\host\\share", False),
        ("file:///etc/passwd", False),
        ("a\0b", False),
    ],
)
def test_paths(path: str, inside: bool) -> None:
    assert (outside(path, ["/work/data", "/tmp/x"]) is None) is inside


def test_no_root_allows_nothing() -> None:
    assert outside("a", []) is not None


@pytest.mark.parametrize(
    ("argument", "plain"),
    [
        ("report.txt", True),
        ("two words", True),
        ("a; rm -rf /", False),
        ("$(id)", False),
        ("`id`", False),
        ("a|b", False),
        ("a\nb", False),
        ("--output=/etc/x", False),
        ("*.txt", False),
    ],
)
def test_shell(argument: str, plain: bool) -> None:
    assert (shell_metacharacters(argument) is None) is plain


@pytest.mark.parametrize(
    ("target", "public"),
    [
        ("https://example.com/a", True),
        ("example.com", True),
        ("8.8.8.8", True),
        ("https://[2606:4700:4700::1111]/", True),
        ("http://127.0.0.1", False),
        ("http://127.1", False),
        ("http://2130706433/", False),
        ("http://0x7f000001/", False),
        ("http://0177.0.0.1/", False),
        ("http://[::1]:80/", False),
        ("http://[::ffff:10.0.0.1]/", False),
        ("http://[64:ff9b::a00:1]/", False),
        ("http://169.254.169.254/latest/meta-data", False),
        ("http://metadata.google.internal/", False),
        ("http://db.internal", False),
        ("http://intranet/upload", False),
        ("http://localhost.:8080", False),
        ("http://user@example.com", False),
        ("file:///etc/passwd", False),
        ("gopher://example.com", False),
        ("http://224.0.0.1", False),
        ("http://", False),
        ("http://[bad", False),
        ("", False),
    ],
)
def test_addresses(target: str, public: bool) -> None:
    assert (internal_address(target) is None) is public
