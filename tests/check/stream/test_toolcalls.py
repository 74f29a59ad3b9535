"""What a tool may be called with: every rule, every way around it that is known, and calls that come in any pieces."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freehold.check.detect import Rules
from freehold.check.stream import EventGuard, Policy
from freehold.check.stream.toolcalls import ToolPolicy
from freehold.check.stream.toolstrings import MOST, Whole
from freehold.config.label_names import BUILT_IN
from freehold.config.schema_tools import ToolRule, Tools
from freehold.dialects.conversation import Event, Finished, TextDelta, ToolDelta, ToolStarted
from freehold.labels import Label

RULES = Rules()
SILENT = Policy(RULES, {"detector_error": "allow"}, report=False)
SECRET = "ghp_Wq7RrT2yUi9OpA5sDfGh4JkLzXcVbN0yMPpM"


def policy(monitor: bool = False, **said: Any) -> ToolPolicy:
    return ToolPolicy(Tools(**said), RULES, BUILT_IN, monitor=monitor)


def wrong(rule: ToolRule, value: Any) -> set[str]:
    judged = policy(rules={"t": rule}).judge("t", json.dumps(value))
    assert (judged.action == "block") == bool(judged.verdicts)
    return {one.type for one in judged.verdicts}


@pytest.mark.parametrize(
    "value",
    [
        {"url": "https://api.example.com/x?y=1"},
        {"q": "see https://API.example.com. and http://a.b.example.org:8080/"},
        {"host": "api.example.com"},
        {"text": "nothing that leads anywhere, 3/4 of it"},
        {"nested": [{"urls": ["https://api.example.com"]}]},
    ],
)
def test_listed_hosts_pass(value: Any) -> None:
    assert not wrong(ToolRule(hosts=["api.example.com", "*.example.org"]), value)


@pytest.mark.parametrize(
    "value",
    [
        {"url": "https://evil.example/"},
        {"url": "http://api.example.com@evil.example/"},
        {"url": "http://evil.example\\@api.example.com/"},
        {"url": "http:\\\\evil.example"},
        {"url": "//evil.example/x"},
        {"url": "https://api.example.com.evil.example"},
        {"url": "https://api.example.com%2eevil.example"},
        {"url": "https://example.org"},
        {"url": "https://xexample.org"},
        {"url": "ftp://evil.example"},
        {"url": "https://аpi.example.com"},
        {"hostname": "evil.example"},
        {"baseUrl": "evil.example/path"},
        {"q": "first https://api.example.com then https://evil.example"},
        {"https://evil.example": 1},
        {"body": '{"url": "https://evil.example"}'},
        {"list": ["x", {"deep": "https://evil.example"}]},
        "https://evil.example",
    ],
)
def test_other_hosts_do_not(value: Any) -> None:
    assert wrong(ToolRule(hosts=["api.example.com", "*.example.org"]), value) == {"tool_host"}


@pytest.mark.parametrize(
    "target",
    [
        "http://127.0.0.1/", "http://localhost:8080", "http://169.254.169.254/latest/meta-data", "http://2130706433/",
        "http://0x7f.1/", "http://[::1]/", "http://[::ffff:10.0.0.1]/", "http://metadata.google.internal/",
        "http://10.0.0.7", "curl 192.168.1.1", "http://①②⑦.0.0.1/",
    ],
)  # fmt: skip
def test_inner_addresses_are_found_in_any_writing(target: str) -> None:
    assert wrong(ToolRule(inner=False), {"a": target}) == {"tool_address"}
    assert not wrong(ToolRule(), {"a": target})
    assert not wrong(ToolRule(inner=False), {"a": "https://api.example.com/", "version": "1.2.3"})


@pytest.mark.parametrize(
    ("value", "inside"),
    [
        ({"path": "src/a.py"}, True),
        ({"path": "/srv/project/a"}, True),
        ({"filePath": "../../etc/passwd"}, False),
        ({"x": "/etc/passwd"}, False),
        ({"x": "~/.ssh/id_rsa"}, False),
        ({"x": "file:///etc/passwd"}, False),
        ({"paths": ["a", "../../../b"]}, False),
        ({"x": "/srv/project/../other"}, False),
        ({"x": "C:\\Windows"}, False),
        ({"path": "%2e%2e/%2e%2e/etc"}, False),
        ({"text": "a/b and so on"}, True),
    ],
)
def test_paths_stay_in_their_folders(value: Any, inside: bool) -> None:
    assert wrong(ToolRule(roots=["/srv/project"]), value) == (set() if inside else {"tool_path"})


def test_shells_lengths_and_names() -> None:
    assert wrong(ToolRule(shell=False), {"arg": "a; rm -rf /"}) == {"tool_shell"}
    assert not wrong(ToolRule(shell=False), {"arg": "plain words, no more"})
    assert wrong(ToolRule(longest=20), {"arg": "x" * 20}) == {"tool_length"}
    one = policy(deny=["delete_*"], allow=["get_*", "delete_all"])
    assert [one.judge(name, "{}").action for name in ("get_x", "GET_X", "delete_all", "other")] == [
        "allow", "allow", "block", "block",
    ]  # fmt: skip
    assert one.refused("delete_all")
    assert not one.refused("get_x")


def test_what_a_tool_is_not_cleared_for_is_found_and_taken_out() -> None:
    one = policy(action="redact", clearance={"crm_*": "confidential", "*_note": "public"})
    arguments = json.dumps({"to": "bob@example.com", "key": SECRET, "n": 3})
    assert one.judge("crm_find", json.dumps({"to": "bob@example.com"})).action == "allow"
    judged = one.judge("crm_find", arguments)
    assert judged.action == "redact"
    assert json.loads(judged.arguments) == {"to": "bob@example.com", "key": "[redacted tool_clearance]", "n": 3}
    both = one.judge("crm_note", arguments)
    assert SECRET not in both.arguments
    assert "bob@" not in both.arguments
    assert one.judge("crm_note", '{"bob@example.com": 1}').action == "block", "a name cannot be redacted"
    assert one.judge("else", arguments).action == "allow", "nothing was said of it"
    assert one.clears("crm_find", Label(2))
    assert not one.clears("crm_find", Label(2, frozenset({"pci"})))
    assert not one.clears("else", Label(0))


def test_numbers_are_data_too() -> None:
    one = policy(clearance={"t": "internal"}, action="redact")
    judged = one.judge("t", '{"card": 4111111111111111}')
    assert "4111" not in judged.arguments
    assert judged.action in ("redact", "block")


@pytest.mark.parametrize("arguments", ['{"url": "https://ok.example', '{"a": 1, "a": 2}', "[" * 100_000, "x"])
def test_what_cannot_be_judged_is_not_let_through(arguments: str) -> None:
    one = policy(rules={"t": ToolRule(hosts=["ok.example"])})
    judged = one.judge("t", arguments)
    assert judged.action == "block"
    assert {verdict.type for verdict in judged.verdicts} & {"tool_arguments", "tool_length"}
    assert one.judge("t", "free words", custom=True).action == "allow"
    assert one.judge("t", "https://evil.example", custom=True).action == "block"
    assert one.judge("t", "").action == "allow"
    assert one.judge("t", " " * (MOST + 1)).action == "block"


def test_all_rules_that_fit_hold_and_the_strictest_action_counts() -> None:
    one = policy(
        action="redact",
        rules={"*": ToolRule(longest=1000), "get_*": ToolRule(hosts=[]), "get_x": ToolRule(inner=False, action="ask")},
    )
    assert one.judge("get_y", '{"url": "https://a.example"}').arguments == '{"url": "[redacted tool_host]"}'
    assert one.judge("get_x", '{"url": "http://10.0.0.1"}').action == "ask"
    assert policy(monitor=True, deny=["*"]).judge("t", "{}").action == "allow"
    assert policy(monitor=True, deny=["*"]).judge("t", "{}").verdicts


CALLS = {
    "fine": {"url": "https://ok.example/", "n": [1, {"a": 'quote " } and \\'}]},
    "bad": {"url": "https://evil.example/", "note": "{[\"'"},
}
RULED = {"fetch": ToolRule(hosts=["ok.example"])}


def run(events: list[Event], **said: Any) -> tuple[list[Event], EventGuard]:
    guard = EventGuard(SILENT, tools=policy(**said))
    out = [one for event in events for one in guard.feed([event])]
    return out + guard.close(), guard


def joined(events: list[Event]) -> str:
    return "".join(one.arguments for one in events if isinstance(one, ToolDelta))


@settings(max_examples=150, deadline=None)
@given(st.lists(st.integers(0, 200), max_size=30), st.sampled_from(sorted(CALLS)), st.booleans())
def test_a_call_is_held_until_it_is_whole_in_any_pieces(cuts: list[int], name: str, trailing: bool) -> None:
    text = json.dumps(CALLS[name]) + (" " if trailing else "")
    places = [0, *sorted(cut % (len(text) + 1) for cut in cuts), len(text)]
    pieces = [ToolDelta(0, text[a:b]) for a, b in zip(places, places[1:], strict=False)]
    events: list[Event] = [TextDelta("So: "), ToolStarted(0, "1", "fetch"), *pieces, Finished("tool_calls")]
    out, guard = run(events, rules=RULED)
    if name == "fine":
        assert joined(out).rstrip() == text.rstrip()
        assert [type(one) for one in out if not isinstance(one, ToolDelta)] == [TextDelta, ToolStarted, Finished]
        assert guard.blocked is None
    else:
        assert out == [TextDelta("So: "), Finished("content_filter")]
        assert guard.blocked is not None
        assert guard.blocked.type == "tool_host"


def test_nothing_is_seen_before_and_everything_in_its_order() -> None:
    guard = EventGuard(SILENT, tools=policy(rules=RULED))
    text = json.dumps(CALLS["fine"])
    assert guard.feed([ToolStarted(0, "1", "fetch")]) == []
    assert guard.feed([ToolDelta(0, text[:20])]) == []
    assert guard.feed([ToolStarted(1, "2", "other"), ToolDelta(1, "{"), TextDelta("x")]) == []
    out = guard.feed([ToolDelta(0, text[20:])])
    assert out[:2] == [ToolStarted(0, "1", "fetch"), ToolDelta(0, text)]
    assert out[2] == ToolStarted(1, "2", "other")
    rest = out[3:] + guard.feed([ToolDelta(1, "}"), Finished("tool_calls")])
    assert joined(rest) == "{}"
    assert rest[-1] == Finished("tool_calls")


def test_tools_of_which_nothing_is_said_pass_as_they_come() -> None:
    guard = EventGuard(SILENT, tools=policy(rules=RULED, allow=["other", "fetch"]))
    assert guard.feed([ToolStarted(0, "1", "other")]) == [ToolStarted(0, "1", "other")]
    assert joined(guard.feed([ToolDelta(0, '{"url": "https://evil.example/"')])) != ""


@pytest.mark.parametrize("before", [True, False])
def test_a_denied_tool_ends_the_answer_at_its_name(before: bool) -> None:
    events: list[Event] = [ToolStarted(0, "1", "other"), ToolDelta(0, "{}")] if before else []
    out, guard = run([*events, ToolStarted(1, "2", "delete"), ToolDelta(1, "{}")], deny=["delete"])
    assert out == [*events, Finished("content_filter")]
    assert guard.blocked is not None


def test_monitoring_holds_nothing_and_tells() -> None:
    guard = EventGuard(SILENT, tools=policy(monitor=True, rules=RULED))
    text = json.dumps(CALLS["bad"])
    out = guard.feed([ToolStarted(0, "1", "fetch")]) + guard.feed([ToolDelta(0, text[:9])])
    assert joined(out)
    out += guard.feed([ToolDelta(0, text[9:]), Finished("tool_calls")])
    assert joined(out) == text
    assert [one.type for one in guard.verdicts] == ["tool_host"]


@settings(max_examples=150, deadline=None)
@given(
    st.recursive(st.text(max_size=6) | st.integers(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner))
)
def test_whole_arguments_are_known_by_their_end(value: Any) -> None:
    text = json.dumps({"v": value})
    whole = Whole(custom=False)
    for number, letter in enumerate(text):
        assert not whole.complete, (text, number)
        whole.add(letter)
    assert whole.complete
    assert whole.text == text
