"""A placeholder is found again whatever a model, Markdown or a stream did to it."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freehold.check.detect import Rules
from freehold.check.pseudonyms import Restorer, Vault, restore
from freehold.check.pseudonyms.placeholders import TAGS, normal
from freehold.check.stream import EventGuard, Holder, Policy
from freehold.dialects.conversation import Event, Finished, TextDelta, ThinkingDelta, ToolDelta, ToolStarted

RULES = Rules()
POLICY = Policy(RULES, {})
REDACT = Policy(RULES, {"email": "redact", "phone": "redact"})
SECRET = b"s" * 32
VALUES = {"email": "Bob@Example.com", "phone": "+1 (415) 555-2671", "person": "Ann Jönsson", "secret": "hunter2x9"}


def vault() -> tuple[Vault, dict[str, str]]:
    made = Vault(SECRET)
    return made, {kind: made.hide(kind, value) for kind, value in VALUES.items()}


def by_letters(text: str, made: Vault, policy: Policy = POLICY, size: int = 1) -> tuple[str, Holder]:
    holder = Holder(policy, Restorer(made))
    out = [holder.feed("text", text[at : at + size]) for at in range(0, len(text), size)]
    return "".join(out) + holder.close("text"), holder


def test_the_shape() -> None:
    _, given_ = vault()
    assert re.fullmatch(r"PHONE[2-9B-Z]{8}", given_["phone"])
    assert re.fullmatch(r"email[2-9b-z]{8}@private\.invalid", given_["email"])
    assert all(tag.isalpha() and tag.isupper() for tag in TAGS.values())


def test_the_same_value_has_the_same_placeholder_and_another_conversation_another() -> None:
    first, second = vault()[1], vault()[1]
    assert first == second
    other = Vault(b"t" * 32)
    assert all(other.hide(kind, value) != first[kind] for kind, value in VALUES.items())


def test_spellings_are_told_apart_and_look_alike() -> None:
    made, given_ = vault()
    lower = made.hide("email", "bob@example.com")
    assert lower != given_["email"]
    assert lower[:10] == given_["email"][:10]
    assert restore(f"{lower} {given_['email']}", made) == "bob@example.com Bob@Example.com"


def test_no_placeholder_stands_in_the_text_already() -> None:
    made = Vault(SECRET)
    made.avoid("Is xx" + vault()[1]["phone"][5:].lower() + " one?")
    assert made.hide("phone", VALUES["phone"]) != vault()[1]["phone"]


def test_one_of_an_earlier_turn_that_came_back_with_the_history_stays_the_same() -> None:
    made = Vault(SECRET)
    made.avoid("Called PHONE" + vault()[1]["phone"][5:].lower() + " and EMAIL22222222.")
    assert made.hide("phone", VALUES["phone"]) == vault()[1]["phone"]
    restorer = Restorer(made)
    holder = Holder(POLICY, restorer)
    holder.feed("text", "EMAIL22222222 or EMAIL33333333")
    holder.close("text")
    assert restorer.unknown == 1


def test_nothing_shows_what_is_in_it() -> None:
    made, _ = vault()
    assert repr(made) == "<Vault of 4>"
    made.wipe()
    assert len(made) == 0
    assert restore("PHONE22222222", made) == "PHONE22222222"


CHANGES = {
    "as it is": lambda text: text,
    "lower case": str.lower,
    "upper case": str.upper,
    "title case": str.title,
    "bold": lambda text: f"**{text}**",
    "code": lambda text: f"`{text}`",
    "half bold": lambda text: f"**{text[:6]}**{text[6:]}",
    "escaped": lambda text: text[:5] + "\\" + text[5:],
    "escaped underscore": lambda text: text[:5] + "\\_" + text[5:],
    "zero width": lambda text: "\u200b".join(text),
    "possessive": lambda text: f"{text}'s",
    "glued": lambda text: f"x{text}y",
    "link": lambda text: f"[{text}](mailto:{text})",
    "quoted": lambda text: f'"{text}"',
}


@pytest.mark.parametrize("kind", VALUES)
@pytest.mark.parametrize("name", CHANGES)
def test_it_comes_back_from_any_change(name: str, kind: str) -> None:
    made, given_ = vault()
    text = f"Write to {CHANGES[name](given_[kind])}. Then go on."
    whole = restore(text, made)
    assert VALUES[kind] in whole
    assert given_[kind].lower() not in whole.lower()
    assert whole.count("**") == text.count("**")
    for policy in (POLICY, REDACT):
        assert by_letters(text, made, policy)[0] == whole
        assert by_letters(text, made, policy, 4)[0] == whole


@pytest.mark.parametrize("gap", [" ", "-", "\\_", "_"])
def test_a_tag_parted_from_its_code_goes_with_it(gap: str) -> None:
    made, given_ = vault()
    text = f"The Phone{gap}{given_['phone'][5:]} rings."
    assert restore(text, made).replace("_", "") == f"The {VALUES['phone']} rings."
    assert by_letters(text, made)[0] == restore(text, made)


def test_the_code_alone_is_enough_and_a_url_gets_it_escaped() -> None:
    made, given_ = vault()
    code = given_["email"].partition("@")[0][5:]
    assert restore(f"Dear {code.upper()},", made) == "Dear Bob@Example.com,"
    escaped = given_["email"].replace("@", "%40")
    assert restore(f"https://x.example/?to={escaped}", made) == "https://x.example/?to=Bob%40Example.com"


def test_what_a_model_made_up_stays_and_is_counted() -> None:
    made, given_ = vault()
    restorer = Restorer(made)
    holder = Holder(POLICY, restorer)
    text = f"PHONE99999999 and {given_['phone']}"
    assert holder.feed("text", text) + holder.close("text") == f"PHONE99999999 and {VALUES['phone']}"
    assert (restorer.restored, restorer.unknown) == (1, 1)


@settings(max_examples=120, deadline=None)
@given(
    st.lists(
        st.sampled_from(sorted(VALUES)) | st.text(max_size=8) | st.sampled_from(["phone ", "EMAIL", "@", "7F", "*"])
    ),
    st.lists(st.integers(0, 999), max_size=20),
)
def test_pieces_make_no_difference(parts: list[str], cuts: list[int]) -> None:
    made, given_ = vault()
    text = "".join(given_.get(part, part) for part in parts)
    places = [0, *sorted({cut % (len(text) + 1) for cut in cuts}), len(text)]
    holder = Holder(POLICY, Restorer(made))
    out = "".join(holder.feed("t", text[a:b]) for a, b in zip(places, places[1:], strict=False)) + holder.close("t")
    assert out == restore(text, made)


def test_what_comes_back_is_not_redacted_and_what_a_model_says_is() -> None:
    made, given_ = vault()
    out, _ = by_letters(f"{given_['email']} or jim@example.com?", made, REDACT)
    assert out == "Bob@Example.com or [redacted email]?"


def test_a_stream_restores_texts_and_only_cleared_tools() -> None:
    made, given_ = vault()
    quoted, mail = made.hide("secret", 'quote"d'), given_["email"]
    events: list[Event] = [ThinkingDelta(given_["phone"])]
    events += [TextDelta(letter) for letter in f"To {given_['email']}!"]
    for index, name in enumerate(["local_mail", "web_search"]):
        events.append(ToolStarted(index, str(index), name))
        events += [ToolDelta(index, letter) for letter in f'{{"to": "{mail}", "x": "{quoted}"}}']
    guard = EventGuard(POLICY, restore=Restorer(made), restore_in_tool=lambda name: name.startswith("local"))
    out = guard.feed([*events, Finished("tool_calls")])
    assert "".join(event.text for event in out if isinstance(event, TextDelta)) == "To Bob@Example.com!"
    assert "".join(event.text for event in out if isinstance(event, ThinkingDelta)) == given_["phone"]
    arguments = ["".join(e.arguments for e in out if isinstance(e, ToolDelta) and e.index == index) for index in (0, 1)]
    assert arguments[0] == '{"to": "Bob@Example.com", "x": "quote\\"d"}'
    assert arguments[1] == f'{{"to": "{mail}", "x": "{quoted}"}}'


@pytest.mark.parametrize(
    ("one", "other"),
    [("+1 (415) 555-2671", "1 415 555 2671"), ("Bob@X.com", "bob@x.com"), ("4111-1111 1111", "411111111111")],
)
def test_spellings_have_one_normal_form(one: str, other: str) -> None:
    assert normal(one) == normal(other)


def test_monitoring_restores_too() -> None:
    made, given_ = vault()
    policy = Policy(RULES, {"email": "redact"}, mode="monitor")
    out, holder = by_letters(f"{given_['phone']} and jim@example.com!", made, policy)
    assert out == f"{VALUES['phone']} and jim@example.com!"
    assert [verdict.seen for verdict in holder.verdicts] == [len("jim@example.com")]
