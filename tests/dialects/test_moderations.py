"""Moderations: OpenAI's form in and out, Mistral's categories beside it, and nothing unjudged that looks harmless."""

import gzip
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mistralai.client.models import ChatModerationRequest, ClassificationRequest, ModerationResponse
from openai.types import ModerationCreateResponse

from freehold.dialects import moderations
from freehold.dialects.conversation import Usage
from freehold.errors import BadRequest, LossRefused, ProviderError, UpstreamBroken

RECORDED = Path(__file__).parents[3] / "shared" / "recorded" / "exchanges.jsonl.gz"
TEXT = {"type": "text", "text": "hello"}
IMAGE = {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}
MESSAGES = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
MISTRAL_RESULT = {
    "categories": {
        "sexual": False,
        "hate_and_discrimination": False,
        "violence_and_threats": True,
        "dangerous": False,
        "criminal": False,
        "selfharm": False,
        "health": False,
        "financial": False,
        "law": False,
        "pii": False,
        "jailbreaking": False,
    },
    "category_scores": {
        "sexual": 0.1,
        "hate_and_discrimination": 0.2,
        "violence_and_threats": 0.9,
        "dangerous": 0.3,
        "criminal": 0.4,
        "selfharm": 0.05,
        "health": 0.0,
        "financial": 0.0,
        "law": 0.0,
        "pii": 0.01,
        "jailbreaking": 0.0,
    },
}
MISTRAL = {"id": "i", "model": "mistral-moderation-2603", "results": [MISTRAL_RESULT]}
UNJUDGED = [
    "harassment",
    "harassment/threatening",
    "hate/threatening",
    "illicit/violent",
    "self-harm/instructions",
    "self-harm/intent",
    "sexual/minors",
    "violence/graphic",
]


def openai(flagged=False) -> dict:
    categories = dict.fromkeys(moderations.CATEGORIES, False) | {"violence": flagged}
    return {
        "id": "modr-1",
        "model": "omni-moderation-latest",
        "results": [
            {
                "flagged": flagged,
                "categories": categories,
                "category_scores": dict.fromkeys(categories, 0.25),
                "category_applied_input_types": {name: ["text"] for name in categories},
            }
        ],
    }


def body(given, **fields) -> bytes:
    return json.dumps({"model": "asked", "input": given, **fields}).encode()


def read(given, **fields):
    return moderations.read_request(body(given, **fields))


def test_the_glance():
    seen = moderations.peek(body([TEXT, IMAGE]))
    assert (seen.model, seen.stream) == ("asked", False)
    assert moderations.peek(b'{"input":"a"}').model == moderations.DEFAULT_MODEL
    assert moderations.peek(b'{"model":null,"input":"a"}').model == moderations.DEFAULT_MODEL
    with pytest.raises(BadRequest) as caught:
        moderations.peek(b'{"model":"m"}')
    assert caught.value.param == "input"


def test_forms_of_input():
    assert read("a").texts == ["a"]
    assert read(["a", "b"]).texts == ["a", "b"]
    assert read([TEXT, IMAGE]).parts == [TEXT, IMAGE]
    assert read(MESSAGES).chats == [MESSAGES]
    assert read([MESSAGES, MESSAGES[:1]]).chats == [MESSAGES, MESSAGES[:1]]
    counts = [read(given).count for given in ("a", ["a", "b"], [TEXT, IMAGE], MESSAGES, [MESSAGES, MESSAGES])]
    assert counts == [1, 2, 1, 1, 2]


@pytest.mark.parametrize(
    ("given", "param"),
    [
        (None, "input"),
        ([], "input"),
        (1, "input"),
        (["a", 1], "input.1"),
        ([1], "input.0"),
        ([{}], "input.0.type"),
        ([{"type": "text"}], "input.0.text"),
        ([{"type": "image_url", "image_url": "u"}], "input.0.image_url"),
        ([{"type": "image_url", "image_url": {}}], "input.0.image_url.url"),
        ([{"role": 1}], "input.0.role"),
        ([[]], "input.0"),
        ([[{}]], "input.0.0.role"),
        ([MESSAGES, "a"], "input.1"),
    ],
)
def test_wrong_inputs_are_named(given, param):
    with pytest.raises(BadRequest) as caught:
        read(given)
    assert caught.value.param == param


def test_pass_through():
    raw = body("a", made_up=[1.50])
    assert moderations.patch_request(raw, model="asked") is raw
    patched = moderations.patch_request(raw, model="other")
    assert json.loads(patched) == {"model": "other", "input": "a", "made_up": [1.5]}
    assert json.loads(moderations.patch_request(b'{"input":"a"}', model="x")) == {"input": "a", "model": "x"}


def test_openai_as_provider():
    written = json.loads(moderations.write_request("served", read([TEXT, IMAGE], made_up=1), []))
    assert written == {"model": "served", "input": [TEXT, IMAGE], "made_up": 1}
    with pytest.raises(LossRefused):
        moderations.write_request("served", read(MESSAGES), [])


def test_mistral_as_provider():
    losses: list[str] = []
    written = json.loads(moderations.write_mistral_request("m", read(["a", "b"], metadata={"k": 1}, x=1), losses))
    assert written == {"model": "m", "input": ["a", "b"], "metadata": {"k": 1}}
    ClassificationRequest.model_validate(written)
    assert losses == [*(f"results.categories.{name}" for name in UNJUDGED), "x"]
    together = json.loads(moderations.write_mistral_request("m", read([TEXT, TEXT]), []))
    assert together["input"] == ["hello\nhello"]


def test_mistral_s_conversations():
    losses: list[str] = []
    written = json.loads(moderations.write_mistral_request("m", read(MESSAGES), losses))
    assert written == {"model": "m", "input": [MESSAGES]}
    ChatModerationRequest.model_validate(written)
    assert losses == []


def test_an_image_nobody_looked_at_is_not_passed_over():
    with pytest.raises(LossRefused) as caught:
        moderations.write_mistral_request("m", read([TEXT, IMAGE]), [])
    assert caught.value.param == "input.1"


@pytest.mark.parametrize("flagged", [True, False])
def test_openai_s_answer(flagged):
    raw = json.dumps(openai(flagged)).encode()
    reply = moderations.read_reply(raw, 1)
    assert reply.as_sent
    assert reply.usage is None
    assert json.loads(moderations.write_reply(reply)) == openai(flagged)
    assert moderations.read_receipt(raw).model == "omni-moderation-latest"


def test_mistral_s_answer_in_openai_s_form():
    ModerationResponse.model_validate(MISTRAL)
    reply = moderations.read_reply(json.dumps({**MISTRAL, "usage": {"prompt_tokens": 7}}).encode(), 1)
    assert not reply.as_sent
    assert reply.usage == Usage(uncached=7)
    out = json.loads(moderations.write_reply(reply))
    result = ModerationCreateResponse.model_validate(out).results[0]
    assert result.flagged
    assert result.categories.violence
    assert not result.categories.harassment
    assert result.category_scores.violence == 0.9
    assert result.category_scores.illicit == 0.4
    assert result.category_applied_input_types.violence == ["text"]
    raw = out["results"][0]
    assert [name for name, kinds in raw["category_applied_input_types"].items() if not kinds] == UNJUDGED
    assert {name: raw["categories"][name] for name in MISTRAL_RESULT["categories"]} == MISTRAL_RESULT["categories"]
    scores = {name: raw["category_scores"][name] for name in MISTRAL_RESULT["category_scores"]}
    assert scores == MISTRAL_RESULT["category_scores"]
    ModerationResponse.model_validate(out)


def test_a_category_only_mistral_has_still_flags():
    value = json.loads(json.dumps(MISTRAL))
    value["results"][0]["categories"] |= {"violence_and_threats": False, "pii": True}
    result = moderations.read_reply(json.dumps(value).encode(), 1).results[0]
    assert result.flagged
    assert [name for name in moderations.CATEGORIES if result.categories[name]] == []


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{}",
        b"[]",
        b'{"results":[]}',
        b'{"results":[{}]}',
        b'{"results":[{"categories":{"a":1},"category_scores":{}}]}',
        b'{"results":[{"categories":{},"category_scores":{"a":"b"}}]}',
        json.dumps({**openai(), "results": openai()["results"] * 2}).encode(),
    ],
)
def test_garbage_is_the_providers_fault(raw):
    with pytest.raises(UpstreamBroken):
        moderations.read_reply(raw, 1)


def test_an_error_sent_as_success():
    with pytest.raises(ProviderError, match="no such model"):
        moderations.read_reply(b'{"error":{"message":"no such model"}}', 1)
    assert "error" in json.loads(moderations.write_error(BadRequest("bad"), "r"))


def test_recorded_results():
    """OpenAI moderates chats beside their answers; the results are those of the endpoint."""
    if not RECORDED.exists():
        pytest.skip("the recorded exchanges are not beside the repository")
    with gzip.open(RECORDED) as lines:
        found = [json.loads(line) for line in lines if b"test_openai_moderation_flagged" in line]
    for side in ("input", "output"):
        given = found[0]["response"]["moderation"][side]
        value = {"id": "i", "model": given["model"], "results": given["results"]}
        reply = moderations.read_reply(json.dumps(value).encode(), 1)
        assert reply.as_sent
        assert reply.results[0].flagged == given["results"][0]["flagged"]
        assert reply.results[0].scores == given["results"][0]["category_scores"]
        ModerationCreateResponse.model_validate_json(moderations.write_reply(reply))


ODD = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(["type", "text", "role", "image_url", "url", "categories", "category_scores", "flagged"]),
            inner,
        )
    ),
    max_leaves=6,
)


@settings(deadline=None)
@given(ODD, ODD)
def test_anything_is_read_or_refused(given_input, model):
    raw = json.dumps({"input": given_input, "model": model}).encode()
    try:
        moderations.peek(raw)
        request = moderations.read_request(raw)
    except BadRequest as error:
        assert error.message  # noqa: PT017
        return
    for write in (moderations.write_request, moderations.write_mistral_request):
        try:
            write("m", request, [])
        except LossRefused as error:
            assert error.param  # noqa: PT017


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(["results", "id", "model", "usage", "error"]), ODD))
def test_any_reply_is_read_or_broken(value):
    raw = json.dumps(value).encode()
    for verb in (lambda one: moderations.read_reply(one, 1), moderations.read_receipt):
        try:
            verb(raw)
        except ProviderError as error:
            assert error.message  # noqa: PT017
