"""Every endpoint, every string of its request, every type of canary, every action: what the checks make of each.

Without a gateway around them, so that there may be tens of thousands. The paths come from the gateway, the actions from
the configuration's own type, the strings from requests that use nearly everything their dialect has, the parts of
answers from the canonical events: what is added there without a row here fails. What a running gateway does with the
outcome is in test_checks_matrix.py and test_checks_answers.py.
"""

import json
from types import SimpleNamespace
from typing import Any, get_args

import msgspec
import pytest
from canaries import CANARIES, planted
from rows import FORMS, Row, free, rows, usual

from freehold.check.body import text_of
from freehold.check.stream import EventGuard, Policy, guard_reply
from freehold.config.schema_checks import AnswerAction, RequestAction
from freehold.config.schema_checks import Checks as Settings
from freehold.dialects import conversation as talk
from freehold.dialects.conversation import Choice, Reply
from freehold.dialects.embeddings import EmbeddingRequest
from freehold.errors import PolicyError
from freehold.serve.endpoints import find
from freehold.serve.safety import pseudonyms
from freehold.serve.safety.checks import Checked, Checks

ACTIONS = get_args(RequestAction)
LABELS = {"secret": 3, "credit_card": 2, "us_ssn": 3, "iban": 2}
KEY: Any = SimpleNamespace(name="key")
WAYS = ("plain", "escaped")
SHORT = ("label", "pseudonymise", "redact", "block")
"""Actions that every type of canary is tried with; the others do the same for all types."""
MADE = {action: Checks(Settings(request={"secrets": action, "personal": action}), ("phi", "pci")) for action in ACTIONS}


def exchange(row: Row, body: dict[str, Any], canary: str, way: str) -> Any:
    if row.name in FORMS:
        kind = "multipart/form-data; boundary=edge"
        data = b"".join(_part(name, value) for name, value in body.items()) + b"--edge--\r\n"
    else:
        text = json.dumps(body)
        if way == "escaped":
            text = text.replace(canary, "".join(f"\\u{ord(letter):04x}" for letter in canary))
        kind, data = "application/json", text.encode()
    return SimpleNamespace(body=data, content_type=kind, headers={b"content-type": kind.encode()})


def _part(name: str, value: Any) -> bytes:
    file = b'; filename="f.bin"' if isinstance(value, bytes) else b""
    data = value if isinstance(value, bytes) else value.encode()
    head = b'--edge\r\ncontent-disposition: form-data; name="%b"%b\r\n\r\n' % (name.encode(), file)
    return head + data + b"\r\n"


def outcome(action: str, made: Any) -> Checked | PolicyError | None:
    def count(*_: str) -> None: ...

    looking = MADE[action].request(made, KEY, "any", count)
    try:
        looking.send(None)
    except StopIteration as done:
        found: Checked | None = done.value
        return found
    except PolicyError as error:
        return error
    looking.close()
    raise AssertionError("it waits for something, though nothing has to be asked")


def judge(action: str, kind: str, came: Any, made: Any) -> str | None:
    """What is wrong with an outcome, None where nothing is."""
    if action == "block":
        return None if isinstance(came, PolicyError) and kind in str(came) else "not blocked"
    if action == "redact" and isinstance(came, PolicyError):
        return None
    if not isinstance(came, Checked):
        return f"came out as {came!r}"
    level = came.label.level if came.label is not None else -1
    good = {
        "allow": level == -1 and not came.home and not came.changed,
        "label": level >= LABELS[kind] and kind in came.found,
        "pseudonymise": level >= LABELS[kind] and kind in came.private,
        "redact": came.changed and f"[redacted {kind}]" in text_of(made.body, made.content_type)[0],
        "own": came.home and kind in came.found,
        "ask": kind in came.asked and came.waived is not None and came.waived.level >= LABELS[kind],
    }
    return None if good[action] else f"came out as {came!r}"


def test_every_action_has_an_outcome_that_is_known_here() -> None:
    assert set(ACTIONS) == {"allow", "label", "pseudonymise", "redact", "own", "ask", "block"}
    assert set(get_args(AnswerAction)) == {"allow", "redact", "block"}


@pytest.mark.parametrize("row", usual(rows()), ids=lambda row: f"{row.name}{row.path.rpartition(':')[2]}")
def test_each_cell(row: Row) -> None:
    body, wrong, cells = row.body, [], 0
    for place in free(body):
        if isinstance(body.get(str(place[0])), bytes):
            continue  # a file: its bytes are media
        for kind, canary in CANARIES.items():
            filled = planted(body, place, canary)
            for action in ACTIONS if kind == "secret" else SHORT:
                for way in WAYS if row.name not in FORMS and action in SHORT else WAYS[:1]:
                    made = exchange(row, filled, canary, way)
                    trouble = judge(action, kind, outcome(action, made), made)
                    cells += 1
                    if trouble:
                        wrong.append((place, kind, action, way, trouble))
    assert cells
    assert not wrong, wrong[:3]


def test_all_paths_are_endpoints_with_a_row() -> None:
    for row in rows():
        found = find(row.path.format(model="a/b"), b"")
        assert found is not None, row


def test_every_word_of_a_request_for_embeddings_is_among_what_is_pseudonymised() -> None:
    words = {"model", "encoding_format", "dtype", "truncate", "nulls", "names", "dialect"}  # ours, or never sent on
    for field in msgspec.structs.fields(EmbeddingRequest):
        if field.name not in words | {"inputs"} and "str" in str(field.type):
            value = {"deep": [SECRET]} if field.name == "unknown" else SECRET
            request = EmbeddingRequest("m", ["hi"], **{field.name: value})
            read = pseudonyms._as_conversation(request)
            assert read is not None
            assert SECRET in str(msgspec.to_builtins(read)), field.name
            assert pseudonyms._as_texts(request, read) == request


# Answers

SECRET = CANARIES["secret"]
LOOKED_AT: dict[str, str] = {
    "TextDelta": "text",
    "ThinkingDelta": "text",
    "RefusalDelta": "text",
    "ToolDelta": "arguments",
    "AudioDelta": "transcript",
    "OpaqueDelta": "value",
}
"""What is read by people or tools, by event; the canary may stand in it in two pieces."""
NOT_LOOKED_AT: dict[str, set[str]] = {
    "Started": {"id", "model"},
    "TextDelta": {"signature", "item_id", "citation"},
    "ThinkingDelta": {"signature", "redacted", "id"},
    "RefusalDelta": {"item_id"},
    "ToolStarted": {"id", "name", "signature", "item_id"},
    "AudioDelta": {"data", "id"},
    "MediaDelta": {"part"},
    "OpaqueDelta": {"dialect"},
    "LogprobsDelta": {"value"},
    "Finished": {"finish", "stop_sequence"},
    "Metered": {"usage"},
    "Failed": {"message", "code"},
}
"""Names, numbers, media, signatures that nobody reads, and the provider's own error. Citations and log-probabilities
quote the text and go with it."""
PARTS: dict[str, str] = {"Text": "text", "Thinking": "text", "Refusal": "text", "ToolCall": "arguments"}


def events() -> list[type]:
    return list(get_args(talk.Event))


def test_every_field_of_every_event_is_looked_at_or_said_not_to_be() -> None:
    for event in events():
        words = {
            field.name
            for field in msgspec.structs.fields(event)
            if field.type not in (int, bool, float) and field.type != (int | None)
        }
        known = NOT_LOOKED_AT.get(event.__name__, set()) | {LOOKED_AT.get(event.__name__, "")}
        assert words <= known, f"{event.__name__} has fields without a row: {sorted(words - known)}"


def policy(action: str, mode: str) -> Policy:
    return Policy(MADE["label"].rules, {"secret": action}, mode=mode)  # type: ignore[arg-type]


POLICIES = {(action, mode): policy(action, mode) for action in ("redact", "block") for mode in ("hold", "strict")}


def stream(name: str, pieces: list[str]) -> list[Any]:
    made: list[Any] = [talk.Started("id", "m")]
    if name == "ToolDelta":
        made.append(talk.ToolStarted(0, "call", "tool"))
        pieces = ['{"a": "', *pieces, '"}']
    for piece in pieces:
        if name == "ToolDelta":
            made.append(talk.ToolDelta(0, piece))
        elif name == "OpaqueDelta":
            made.append(talk.OpaqueDelta("chat", {"deep": [piece]}))
        else:
            made.append(getattr(talk, name)(**{LOOKED_AT[name]: piece}))
    return [*made, talk.Finished("stop")]


@pytest.mark.parametrize(("action", "mode"), POLICIES)
@pytest.mark.parametrize("name", LOOKED_AT)
def test_no_channel_of_a_stream_lets_it_through_wherever_it_is_cut(name: str, action: str, mode: str) -> None:
    cuts = range(len(SECRET)) if name != "OpaqueDelta" else range(1)
    for cut in cuts:
        pieces = [f"it is {SECRET[:cut]}", f"{SECRET[cut:]} so"]
        guard = EventGuard(POLICIES[action, mode])
        out = [*guard.feed(stream(name, pieces)), *guard.close()]
        shown = "".join(_said(event) for event in out)
        assert SECRET not in shown.replace('"', ""), (cut, out)
        assert any(verdict.type == "secret" and verdict.action == action for verdict in guard.verdicts), (cut, out)
        assert (guard.blocked is not None) == (action == "block")


def _said(event: Any) -> str:
    name = type(event).__name__
    value = getattr(event, LOOKED_AT[name]) if name in LOOKED_AT else ""
    return value if isinstance(value, str) else json.dumps(value)


@pytest.mark.parametrize(("action", "mode"), POLICIES)
@pytest.mark.parametrize("name", PARTS)
def test_no_part_of_a_whole_answer_does(name: str, action: str, mode: str) -> None:
    text = f"it is {SECRET} so"
    part = talk.ToolCall("id", "tool", json.dumps({"a": text})) if name == "ToolCall" else getattr(talk, name)(text)
    reply, guard = guard_reply(Reply("id", "m", [Choice([part])]), POLICIES[action, mode])
    assert SECRET not in str(msgspec.to_builtins(reply))
    assert (guard.blocked is not None) == (action == "block")
