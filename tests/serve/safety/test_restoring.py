"""Answers to a request that went out with placeholders: what is put back, where, and what is an error."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freehold.call.talk import Translation
from freehold.check.detect import Rules
from freehold.check.pseudonyms import Vault, conversation_secret, pseudonymise
from freehold.check.stream import Policy
from freehold.check.stream.toolcalls import ToolPolicy
from freehold.config.label_names import BUILT_IN
from freehold.config.schema_tools import ToolRule, Tools
from freehold.dialects import chat
from freehold.dialects.conversation import Choice, Conversation, Reply, Text, Thinking, ToolCall, Turn, Usage
from freehold.errors import UpstreamBroken
from freehold.labels import Label
from freehold.serve.safety.guarding import Guarding, Restoring

RULES = Rules()
SILENT = Policy(RULES, {"detector_error": "allow"}, report=False)
MAIL = "bob.jones@example.com"
CONFIDENTIAL = Label(2)


def made(
    strict: bool = False, thoughts: bool = False, clearance: dict[str, str] | None = None, policy: Policy = SILENT,
    **said: Any,
) -> tuple[Restoring, str, Vault]:  # fmt: skip
    asked = Conversation("m", turns=[Turn("user", [Text(f"I am {MAIL}")])])
    vault = Vault(conversation_secret(b"m" * 32, "t", asked))
    out = pseudonymise(asked, RULES, vault).turns[0].parts[0]
    assert isinstance(out, Text)
    tools = ToolPolicy(Tools(clearance=clearance or {}, **said), RULES, BUILT_IN)
    guarding = Guarding(policy, 10, tools)
    restoring = Restoring(
        guarding, vault, lambda name: tools.clears(name, CONFIDENTIAL), thoughts=thoughts, strict=strict
    )
    return restoring, out.text.removeprefix("I am "), vault


def reply(*parts: Any) -> Reply:
    return Reply("1", "m", [Choice(list(parts))], Usage(output=3))


def stream(restoring: Restoring, delta: dict[str, Any], cuts: int) -> tuple[Translation, bytes]:
    """A chat stream with one delta per piece of its text, in pieces of `cuts` bytes."""
    events = b"".join(
        b"data: " + json.dumps({"id": "1", "model": "m", "choices": [{"index": 0, "delta": one}]}).encode() + b"\n\n"
        for one in [delta]
    )
    end = json.dumps({"id": "1", "model": "m", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    events += b"data: " + end.encode() + b"\n\ndata: [DONE]\n\n"
    relay = Translation(
        restoring.reader(chat.StreamReader()), lambda identity, model: chat.StreamWriter(identity, model, 1, False)
    )
    out = b"".join(relay.feed(events[at : at + cuts]) for at in range(0, len(events), cuts) if relay.failed is None)
    return relay, out + (relay.close() if relay.failed is None else b"")


def test_texts_come_back_and_thoughts_only_if_configured() -> None:
    restoring, mail, _ = made()
    shown = restoring.reply(reply(Thinking(f"it is {mail}", "sig"), Text(f"Hello {mail}")))
    assert shown.choices[0].parts == [Thinking(f"it is {mail}", "sig"), Text(f"Hello {MAIL}")]
    restoring, mail, _ = made(thoughts=True)
    shown = restoring.reply(reply(Thinking(f"it is {mail}", "sig"), Text(f"Hello {mail}")))
    assert shown.choices[0].parts == [Thinking(f"it is {MAIL}"), Text(f"Hello {MAIL}")], "its signature fits no more"


@pytest.mark.parametrize(
    ("clearance", "cleared"),
    [(None, False), ({"send": "internal"}, False), ({"send": "confidential"}, True), ({"s*": "restricted+pci"}, True)],
)
def test_arguments_come_back_only_for_tools_that_are_cleared(clearance: dict[str, str] | None, cleared: bool) -> None:
    for stream_ in (False, True):
        restoring, mail, _ = made(clearance=clearance)
        arguments = json.dumps({"to": mail})
        if not stream_:
            part = restoring.reply(reply(ToolCall("1", "send", arguments))).choices[0].parts[0]
            assert isinstance(part, ToolCall)
            shown = part.arguments
        else:
            call = {"index": 0, "id": "1", "type": "function", "function": {"name": "send", "arguments": arguments}}
            shown = stream(restoring, {"tool_calls": [call]}, 7)[1].decode()
        assert (MAIL in shown) == cleared, shown
        assert (mail in shown) != cleared, shown


def test_rules_for_tools_see_what_the_client_would_get() -> None:
    restoring, mail, _ = made(clearance={"send": "confidential"}, rules={"send": ToolRule(hosts=["ok.example"])})
    fine = restoring.reply(reply(ToolCall("1", "send", json.dumps({"to": mail, "text": "https://ok.example"}))))
    assert MAIL in repr(fine)
    bad = restoring.reply(reply(ToolCall("1", "send", json.dumps({"to": mail, "text": "https://evil.example"}))))
    assert bad.choices[0] == Choice([], "content_filter")


@pytest.mark.parametrize("size", [1, 3, 8, 50, 5000])
def test_a_placeholder_that_stands_for_nothing_is_an_error_where_it_is_strict(size: int) -> None:
    restoring, mail, _ = made(strict=True)
    relay, out = stream(restoring, {"content": f"Ask {mail} of it"}, size)
    assert MAIL.encode() in out
    assert relay.failed is None
    relay, out = stream(restoring, {"content": "Ask PHONE22334455 of it"}, size)
    assert relay.failed is not None
    assert relay.failed.code == "unknown_placeholder"
    assert b"22334455" not in out
    loose, _, _ = made()
    assert b"PHONE22334455" in stream(loose, {"content": "Ask PHONE22334455 of it"}, size)[1].replace(b'"', b"")
    with pytest.raises(UpstreamBroken, match="stands for nothing"):
        restoring.reply(reply(Text("Ask PHONE22334455 of it")))
    assert loose.reply(reply(Text("Ask PHONE22334455 of it"))).choices[0].parts == [Text("Ask PHONE22334455 of it")]


def test_what_comes_back_is_not_redacted_by_the_rules_for_answers() -> None:
    restoring, mail, _ = made(policy=Policy(RULES, {"email": "redact"}))
    shown = restoring.reply(reply(Text(f"{mail} or jim@example.org")))
    assert shown.choices[0].parts == [Text(f"{MAIL} or [redacted email]")]


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.sampled_from(["MAIL", " ", "Hello", "**", ". ", "日本", '"', "\\", "EMAIL"]), max_size=8),
    st.integers(1, 60),
)
def test_streamed_in_any_pieces_it_is_what_it_is_whole(words: list[str], size: int) -> None:
    restoring, mail, _ = made()
    text = "".join(mail if word == "MAIL" else word for word in words)
    whole = restoring.reply(reply(Text(text))).choices[0].parts if text else []
    _, out = stream(restoring, {"content": text}, size)
    pieces = []
    for line in out.decode().splitlines():
        if line.startswith("data: {"):
            pieces += [one["delta"].get("content") or "" for one in json.loads(line[6:])["choices"]]
    assert "".join(pieces) == "".join(part.text for part in whole if isinstance(part, Text))


def test_nothing_comes_back_once_it_is_wiped() -> None:
    restoring, mail, vault = made()
    vault.wipe()
    assert restoring.reply(reply(Text(f"Hello {mail}"))).choices[0].parts == [Text(f"Hello {mail}")]
    assert MAIL not in repr(vars(restoring))
