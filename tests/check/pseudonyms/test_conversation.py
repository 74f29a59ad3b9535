"""A whole request: every text is hidden, the way back is the same, and what was missed is told."""

import base64
import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freehold.check.detect import Rules
from freehold.check.pseudonyms import Vault, conversation_secret, pseudonymise, restore, verify
from freehold.dialects import chat, messages
from freehold.dialects.conversation import (
    Audio,
    Conversation,
    Document,
    Image,
    Opaque,
    OutputFormat,
    Refusal,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolResult,
    Turn,
)
from freehold.labels import Label

RULES = Rules()
MASTER = b"m" * 32
MAIL = "bob.jones@example.com"
PHONE = "+1 (415) 555-2671"

PLACES: dict[str, Any] = {
    "system": lambda text: {"system": [Text(text)]},
    "message": lambda text: {"turns": [Turn("user", [Text(text)])]},
    "name": lambda text: {"turns": [Turn("user", [Text("x")], name=text)]},
    "thought": lambda text: {"turns": [Turn("assistant", [Thinking(text, "sig")])]},
    "refusal": lambda text: {"turns": [Turn("assistant", [Refusal(text)])]},
    "arguments": lambda text: {"turns": [Turn("assistant", [ToolCall("1", "f", json.dumps({"a": [{"b": text}]}))])]},
    "arguments' key": lambda text: {"turns": [Turn("assistant", [ToolCall("1", "f", json.dumps({text: 1}))])]},
    "broken arguments": lambda text: {"turns": [Turn("assistant", [ToolCall("1", "f", f'{{"a": "{text}')])]},
    "free arguments": lambda text: {"turns": [Turn("assistant", [ToolCall("1", "f", text, custom=True)])]},
    "result": lambda text: {"turns": [Turn("user", [ToolResult("1", [Text(text)])])]},
    "document": lambda text: {"turns": [Turn("user", [Document(text=text, title="t")])]},
    "document's title": lambda text: {"turns": [Turn("user", [Document(text="x", title=text)])]},
    "document's context": lambda text: {"turns": [Turn("user", [Document(text="x", context=text)])]},
    "document in a result": lambda text: {"turns": [Turn("user", [ToolResult("1", [Document(text=text)])])]},
    "opaque": lambda text: {"turns": [Turn("user", [Opaque("chat", {"deep": [{"er": text}]})])]},
    "tool": lambda text: {"tools": [Tool("f", text)]},
    "schema": lambda text: {"tools": [Tool("f", schema={"properties": {"a": {"enum": [text]}}})]},
    "output": lambda text: {"output": OutputFormat("schema", {"description": text})},
    "stop": lambda text: {"stop": [text]},
    "user": lambda text: {"user": text},
    "metadata": lambda text: {"metadata": {"who": text}},
    "unknown": lambda text: {"unknown": {"x_field": {"y": text}}},
}


def conversation(**fields: Any) -> Conversation:
    return Conversation("m", **fields)


def vault_for(made: Conversation, tenant: str = "acme") -> Vault:
    return Vault(conversation_secret(MASTER, tenant, made))


@pytest.mark.parametrize("place", PLACES)
def test_every_place_is_hidden_and_comes_back(place: str) -> None:
    made = conversation(**PLACES[place](f"mail {MAIL} or call {PHONE}, thanks"))
    vault = vault_for(made)
    out = pseudonymise(made, RULES, vault)
    wire = msgspec.json.encode(out).decode()
    assert MAIL not in wire
    assert "555" not in wire
    assert verify(out, vault, RULES) == verify(conversation(), vault, RULES)
    back = restore(wire, vault)
    assert MAIL in back
    assert PHONE in back
    residue = verify(made, vault, RULES)
    assert residue.label is None
    assert MAIL not in repr(residue)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(
    "form",
    [
        lambda value: value,
        str.upper,
        lambda value: value.replace("@", "%40"),
        lambda value: value.replace("@", "&#64;"),
        lambda value: value.replace("@", "\\u0040"),
        lambda value: " ".join(value),
        lambda value: value.replace(".", "\u200b."),
        lambda value: base64.b64encode(f"to: {value} now".encode()).decode(),
        lambda value: value.encode().hex(),
    ],
    ids=["plain", "upper", "percent", "html", "json", "spaced", "zero width", "base64", "hex"],
)
def test_a_missed_duplicate_in_any_place_keeps_the_label(place: str, form: Any) -> None:
    made = conversation(turns=[Turn("user", [Text(f"I am {MAIL}")])])
    vault = vault_for(made)
    out = pseudonymise(made, RULES, vault)
    assert verify(out, vault, RULES).label == Label()
    fields = PLACES[place](f"see {form(MAIL)} ok")
    missed = msgspec.structs.replace(out, **{**fields, "turns": out.turns + fields.get("turns", [])})
    residue = verify(missed, vault, RULES)
    assert residue.label is None
    assert residue.reasons
    assert "bob" not in repr(residue).lower()


def test_a_duplicate_that_no_rule_knows_is_replaced_too() -> None:
    made = conversation(
        turns=[
            Turn("user", [Text("my phone number is 450 0840")]),
            Turn("user", [ToolResult("1", [Text("row 450 0840 x")])]),
        ]
    )
    vault = vault_for(made)
    out = pseudonymise(made, RULES, vault)
    assert "0840" not in repr(out)
    assert verify(out, vault, RULES).label == Label()


def test_what_is_not_replaced_keeps_its_label() -> None:
    made = conversation(turns=[Turn("user", [Text(f"{MAIL} on db-01.prod.internal")])])
    vault = vault_for(made)
    out = pseudonymise(made, RULES, vault)
    assert verify(out, vault, RULES).label == Label(1)


@pytest.mark.parametrize(
    "part", [Image(data="aaaa"), Audio(data="aaaa"), Document(data="aaaa"), Image(url="https://x.example/y")]
)
def test_what_cannot_be_read_keeps_the_label(part: Any) -> None:
    made = conversation(turns=[Turn("user", [Text(MAIL), ToolResult("1", [part])])])
    vault = vault_for(made)
    out = pseudonymise(made, RULES, vault)
    residue = verify(out, vault, RULES)
    assert residue.label is None
    assert residue.unchecked == (f"turns.0.1.0 ({type(part).__name__.lower()})",)
    assert verify(out, vault, RULES, media_read=True).label == Label()


def test_a_detector_that_fails_keeps_the_label(monkeypatch: pytest.MonkeyPatch) -> None:
    rules = Rules()
    monkeypatch.setattr(rules, "hits", lambda text: 1 / 0)
    made = conversation(turns=[Turn("user", [Text("hello")])])
    assert verify(made, Vault(b"s" * 32), rules).label is None


def test_turns_that_follow_begin_with_the_same_bytes() -> None:
    first = conversation(turns=[Turn("user", [Text(f"I am {MAIL}, call {PHONE}")])])
    later = conversation(
        turns=[*first.turns, Turn("assistant", [Text(f"Hello {MAIL}")]), Turn("user", [Text("Also ann@example.com")])]
    )
    one = pseudonymise(first, RULES, vault_for(first))
    two = pseudonymise(later, RULES, vault_for(later))
    assert two.turns[0] == one.turns[0]
    other = pseudonymise(first, RULES, vault_for(first, "another tenant"))
    assert other.turns[0] != one.turns[0]


def test_numbers_in_arguments_are_hidden_and_the_rest_keeps_its_bytes() -> None:
    arguments = '{ "card": 4111111111111111,  "x":1}'
    made = conversation(
        turns=[
            Turn(
                "assistant", [ToolCall("1", "f", arguments), ToolCall("2", "f", '{ "x":  1 }'), ToolCall("3", "f", "")]
            )
        ]
    )
    vault = vault_for(made)
    out = pseudonymise(made, RULES, vault)
    first, second, third = (part for part in out.turns[0].parts if isinstance(part, ToolCall))
    assert json.loads(first.arguments)["card"].startswith("CARD")
    assert second.arguments == '{ "x":  1 }'
    assert third.arguments == ""
    assert verify(out, vault, RULES).label == Label()


def test_a_password_that_its_name_gives_away_is_hidden() -> None:
    made = conversation(turns=[Turn("assistant", [ToolCall("1", "login", '{"password": "hunter2x9"}')])])
    vault = vault_for(made)
    out = pseudonymise(made, RULES, vault)
    assert "hunter2x9" not in repr(out)
    assert verify(out, vault, RULES).label == Label()


def test_a_plain_conversation_is_left_as_it_is() -> None:
    made = conversation(
        system=[Text("Be brief.")], turns=[Turn("user", [Text("Hello"), Image(url="https://x.example/a.png")])]
    )
    assert pseudonymise(made, RULES, vault_for(made)) == made


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(sorted(PLACES)),
            st.lists(
                st.sampled_from([MAIL, PHONE, "4111 1111 1111 1111", "日本", "é", " and ", ". ", "call "]), max_size=5
            ),
        ),
        max_size=4,
    )
)
def test_what_goes_out_passes_and_comes_back(parts: list[tuple[str, list[str]]]) -> None:
    fields: dict[str, Any] = {}
    for place, words in parts:
        for name, value in PLACES[place](" ".join(words)).items():
            fields[name] = [*fields[name], *value] if isinstance(fields.get(name), list) else value
    made = conversation(**fields)
    vault = vault_for(made)
    out = pseudonymise(made, RULES, vault)
    assert verify(out, vault, RULES).label is not None
    back = msgspec.json.decode(restore(msgspec.json.encode(out).decode(), vault))
    assert back == msgspec.json.decode(msgspec.json.encode(made))


@pytest.mark.parametrize("dialect", [chat, messages])
def test_a_clients_own_request_can_be_written_out_again(dialect: Any) -> None:
    body = json.dumps(
        {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": f"Ask {MAIL}"}]}
    ).encode()
    made = dialect.read_request(body)
    vault = vault_for(made)
    written = dialect.write_request(pseudonymise(made, RULES, vault), [])
    assert MAIL.encode() not in written
    assert b"@private.invalid" in written
