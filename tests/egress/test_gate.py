"""What the egress process lets through: asked again of its own configuration, whatever a ticket says."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from freehold.call.providers import resolve
from freehold.call.transport.ticket import Ticket
from freehold.config.load import loads
from freehold.egress.gate import Gate, Refused

SECRET = "sk-upstream-secret-000"
CONFIG = f"""
discover: false
providers:
  openai: {{base_url: "http://127.0.0.1:9/v1", api_key: "{SECRET}", headers: {{x-team-token: "tea-with-milk"}}}}
  house: {{base_url: "http://10.0.0.5:8000/v1", owned: true, api_key: "house-key-000", cleared: restricted+phi}}
  berlin: {{base_url: "http://127.0.0.1:9/v1", region: eu, api_key: "{SECRET}", cleared: confidential}}
  gemini: {{api_key: "{SECRET}"}}
labels:
  compartments: [phi]
"""
VERSION = "0123456789ab"
HEAD = b"Authorization: Bearer held-by-egress\r\ncontent-type: application/json\r\ncontent-length: 3\r\n\r\n"


def gate(text: str = CONFIG) -> Gate:
    config = loads(text.encode(), {}, providers=["openai", "gemini"]).config
    return Gate(config, resolve(config, {}), frozenset({VERSION}))


def ticket(**changes: object) -> Ticket:
    made = Ticket(
        "call", b"n", 1, "req_1-1", "openai", "openai/gpt-4o", "127.0.0.1:9", "POST", "/v1/chat/completions",
        "internal", VERSION, b"", b"", 3,
    )  # fmt: skip
    return msgspec.structs.replace(made, **changes)


def code(one: Ticket, head: bytes = HEAD) -> str:
    with pytest.raises(Refused) as caught:
        gate().permit(one, head)
    refusal = caught.value.refusal
    assert refusal.message
    assert SECRET not in refusal.message
    return refusal.code


def test_what_may_go_gets_the_real_key_and_loses_the_placeholder() -> None:
    head = gate().permit(ticket(), HEAD).head(None, b"{}\n", 0.0)
    lines = head.decode().split("\r\n")
    assert lines[0] == "POST /v1/chat/completions HTTP/1.1"
    assert lines.count("Host: 127.0.0.1:9") == 1
    assert f"Authorization: Bearer {SECRET}" in lines
    assert "x-team-token: tea-with-milk" in lines
    assert lines.count("content-length: 3") == 1
    assert "held-by-egress" not in head.decode()
    assert lines[-2:] == ["", ""]


@pytest.mark.parametrize(
    "changes",
    [
        {"provider": "nobody"},
        {"provider": ""},
        {"host": "evil.example"},
        {"host": "127.0.0.1:10"},
        {"path": "/v1/files"},
        {"path": "/v1/fine_tuning/jobs"},
        {"path": "/v1/chat/completions/../files"},
        {"path": "/v1/chat/completions?x=1"},
        {"path": "http://evil.example/v1/chat/completions"},
        {"method": "PUT"},
        {"method": "GET"},
        {"kind": "fetch"},
        {"kind": "ask"},
        {"kind": "ask", "size": 0},
    ],
)
def test_what_is_not_configured_is_refused(changes: dict[str, object]) -> None:
    assert code(ticket(**changes)) == "egress_refused"


@given(st.text(max_size=60))
def test_only_the_providers_own_paths(path: str) -> None:
    one = ticket(path=path)
    allowed = {"/v1/chat/completions", "/v1/embeddings", "/v1/completions", "/v1/responses", "/v1/models"}
    try:
        gate().permit(one, HEAD)
    except Refused:
        assert path not in {"/v1/chat/completions", "/v1/embeddings"}
    else:
        assert path in allowed or path.startswith("/v1/")


def test_a_path_with_a_model_in_it() -> None:
    one = ticket(
        provider="gemini",
        host="generativelanguage.googleapis.com",
        path="/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse",
    )
    gate().permit(one, HEAD)
    for broken in ("/v1beta/models/a b:generateContent", "/v1beta/models/a?x=:generateContent", "/v1beta/files"):
        assert code(msgspec.structs.replace(one, path=broken)) == "egress_refused"


@pytest.mark.parametrize(
    "label", ["confidential", "restricted", "internal+phi", "internal+region:eu", "", "secret", "?"]
)
def test_a_label_is_asked_about_again(label: str) -> None:
    assert code(ticket(label=label)) == "egress_label"


def test_who_is_cleared_gets_it() -> None:
    house = gate().permit(
        ticket(provider="house", deployment="house/m", host="10.0.0.5:8000", label="restricted+phi"), HEAD
    )
    assert b"house-key-000" in house.head(None, b"{}\n", 0.0)
    gate().permit(ticket(provider="berlin", deployment="berlin/m", label="internal+region:eu"), HEAD)


def test_a_configuration_that_is_not_in_force() -> None:
    with pytest.raises(Refused) as caught:
        gate().permit(ticket(policy="ba9876543210"), HEAD)
    assert (caught.value.refusal.code, caught.value.refusal.status) == ("egress_version", 503)


def test_a_kept_response_is_asked_for_without_a_label() -> None:
    one = ticket(kind="ask", label="", size=0, method="GET", path="/v1/responses/resp_1/input_items?limit=2")
    gate().permit(one, b"\r\n")
    for broken in ({"size": 1}, {"path": "/v1/responses"}, {"path": "/v1/responses/a/b/c"}, {"method": "PATCH"}):
        assert code(msgspec.structs.replace(one, **broken), b"\r\n") == "egress_refused"


@pytest.mark.parametrize(
    "line",
    [b"host: evil.example", b"Transfer-Encoding: chunked", b"connection: upgrade", b"Cookie: a=b", b"X-API-Key: k",
     b"X-Team-Token: mine", b"content-length: 99", b"authorization: Basic x"],
)  # fmt: skip
def test_lines_that_change_the_message_or_prove_who_sends_it_are_taken_off(line: bytes) -> None:
    head = gate().permit(ticket(), line + b"\r\nx-kept: 1\r\n\r\n").head(None, b"{}\n", 0.0)
    assert line not in head
    assert b"x-kept: 1\r\n" in head
    assert head.count(b"\r\n\r\n") == 1


@pytest.mark.parametrize("line", [b"no colon", b"a b: c", b": empty", b"x: a\nhost: evil", b"x: a\rb", b"x: a\0b"])
def test_a_broken_line_is_refused(line: bytes) -> None:
    assert code(ticket(), line + b"\r\n\r\n") == "egress_refused"


def test_fetches_are_asked_about_too() -> None:
    one = ticket(kind="fetch", provider="", host="example.org", path="https://example.org/a.png", method="FETCH")
    gate().fetch(one)
    with pytest.raises(Refused):
        gate().fetch(msgspec.structs.replace(one, label="confidential"))
    with pytest.raises(Refused, match="fetch_urls"):
        gate(CONFIG + "fetch_urls: false\n").fetch(one)


def test_terms_expire_while_it_runs() -> None:
    from datetime import date

    from freehold.labels.policies import rows

    row = rows()["openai"]
    text = f'discover: false\nproviders: {{openai: {{api_key: "{SECRET}", cleared: confidential}}}}\n'
    config = loads(text.encode(), {}, providers=["openai"]).config
    days = [row.checked]
    found = Gate(config, resolve(config, {}), frozenset({VERSION}), lambda: days[0])
    one = ticket(host="api.openai.com", label="confidential")
    before = _allowed(found, one)
    days[0] = date(row.expires.year + 1, 1, 1)
    assert not _allowed(found, one)
    assert before in (True, False)
    assert _allowed(found, ticket(host="api.openai.com"))


def _allowed(found: Gate, one: Ticket) -> bool:
    try:
        found.permit(one, HEAD)
    except Refused:
        return False
    return True
