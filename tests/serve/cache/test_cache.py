"""The response cache through a real gateway: every client dialect, whole and streamed, and who gets what from whom."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from canaries import ENDPOINTS, House, Told, canary_house

TEXT = "The card arrives in 3 to 5 days. " * 8
RULES = [
    {"match": {"model": "say"}, "reply": {"text": TEXT, "chunk": 5}},
    {"match": {"model": "call"}, "reply": {"tool_calls": [{"name": "save", "arguments": {"note": "x", "count": 3}}]}},
    {"match": {"model": "short"}, "reply": {"text": TEXT, "finish": "length"}},
    {"match": {"model": "cut"}, "reply": {"fault": "cut_between_events"}},
    {"match": {"model": "angry"}, "reply": {"status": 500, "error": {"message": "no"}}},
]
NAMES = ("one", "two", "team-a", "team-b", "secret", "stern", "never", "limited")
KEYS = {
    "secret": "label: confidential",
    "limited": "requests_per_minute: 2, tokens_per_minute: 100000",
}
EXTRA = "\n".join(
    [
        *(f"  - {{name: {name}, key: fh-{name}-0123456789abcd, {KEYS.get(name, '')}}}" for name in NAMES),
        "models: {mine: [openai/say, anthropic/say]}",
        "checks: {keys: {stern: {answer: {secrets: block}}}}",
        "cache:",
        "  enabled: true",
        "  groups: {team: [team-a, team-b]}",
        "  keys: {never: {enabled: false}}",
    ]
)
CLIENTS = ("chat", "completions", "responses", "messages", "gemini", "ollama", "ollama_generate", "cohere", "mistral")


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with canary_house(tmp_path_factory.mktemp("cache"), EXTRA, {"rules": RULES}) as house:
        yield house


def body_of(client: str, text: str = "when?", **more: Any) -> dict[str, Any]:
    """A request that wants the same answer each time."""
    body: dict[str, Any]
    if client == "gemini":
        body = {"contents": [{"role": "user", "parts": [{"text": text}]}], "generationConfig": {"temperature": 0}}
    elif client == "completions":
        body = {"prompt": text, "temperature": 0, "max_tokens": 500}
    elif client == "ollama_generate":
        body = {"prompt": text, "options": {"temperature": 0}}
    elif client == "ollama":
        body = {"messages": [{"role": "user", "content": text}], "options": {"temperature": 0}}
    elif client == "responses":
        body = {"input": text, "temperature": 0, "store": False}
    else:
        body = {"messages": [{"role": "user", "content": text}], "temperature": 0}
    if client == "messages":
        body["max_tokens"] = 500
    return {**body, **more}


def ask(
    house: House,
    client: str,
    text: str = "when?",
    *,
    key: str = "one",
    stream: bool = False,
    model: str = "openai/say",
    headers: dict[str, str] | None = None,
    **more: Any,
) -> Told:
    told = house.ask(
        ENDPOINTS[client],
        body_of(client, text, **more),
        key=f"fh-{key}-0123456789abcd",
        stream=stream,
        model=model,
        headers=tuple((headers or {}).items()),
    )
    return told._replace(headers={name.lower(): value for name, value in told.headers.items()})


def cache(told: Told) -> str:
    return told.headers.get("x-freehold-cache", "none").partition(";")[0]


def said(body: bytes) -> str:
    """The text of an answer, whole or streamed, in whatever dialect."""
    found: list[str] = []

    def walk(value: Any, name: str = "") -> None:
        if isinstance(value, str) and name in ("text", "content", "response", "delta"):
            found.append(value)
        elif isinstance(value, dict):
            if value.get("type") in ("response.completed", "response.output_text.done", "response.output_item.done"):
                return
            if value.get("type") == "response.content_part.done":
                return
            for key, inner in value.items():
                walk(inner, key)
        elif isinstance(value, list):
            for inner in value:
                walk(inner, name)

    try:
        walk(json.loads(body))
    except ValueError:
        for line in body.decode().splitlines():
            data = line.removeprefix("data:").strip()
            if data.startswith("{"):
                walk(json.loads(data))
    return "".join(found)


@pytest.mark.parametrize("first", ["whole", "streamed"])
@pytest.mark.parametrize("client", CLIENTS)
def test_an_answer_is_given_again_whole_and_streamed(house: House, client: str, first: str) -> None:
    text = f"{client} {first}"
    asked = ask(house, client, text, stream=first == "streamed")
    assert asked.status == 200, asked
    assert cache(asked) == "miss", asked.headers
    calls = len(house.kept)
    for stream in (False, True):
        again = ask(house, client, text, stream=stream)
        assert again.status == 200, again
        assert cache(again) == "hit", again.headers
        assert said(again.body) == said(asked.body) == TEXT
        assert again.headers["x-freehold-deployment"] == "openai/say"
        kind = asked.headers["content-type"] if stream == (first == "streamed") else None
        assert kind is None or again.headers["content-type"] == kind
    assert len(house.kept) == calls


def test_an_answer_has_an_id_of_its_own_each_time(house: House) -> None:
    for client, name in (("chat", "id"), ("messages", "id"), ("responses", "id"), ("gemini", "responseId")):
        ids = [json.loads(ask(house, client, "ids").body)[name] for _ in range(3)]
        assert len(set(ids)) == 3, ids


def test_usage_is_told_as_it_was(house: House) -> None:
    first, again = (json.loads(ask(house, "chat", "usage").body)["usage"] for _ in range(2))
    assert first == again
    stream = ask(house, "chat", "usage", stream=True, stream_options={"include_usage": True})
    assert cache(stream) == "hit"
    events = [json.loads(line[5:]) for line in stream.body.decode().splitlines() if line.startswith("data: {")]
    assert events[-1]["usage"]["total_tokens"] == first["total_tokens"]
    bare = ask(house, "chat", "usage", stream=True)
    assert cache(bare) == "hit"
    assert b'"usage":{' not in bare.body


def test_what_changes_nothing_in_an_answer_does_not_count(house: House) -> None:
    ask(house, "chat", "idle", user="a", metadata={"a": "b"})
    assert cache(ask(house, "chat", "idle", user="b", prompt_cache_key="x")) == "hit"
    assert cache(ask(house, "chat", "idle", seed=1)) == "miss"
    assert cache(ask(house, "chat", "idle", max_tokens=7)) == "miss"
    assert cache(ask(house, "messages", "idle")) == "miss"
    assert cache(ask(house, "chat", "idle", model="anthropic/say")) == "miss"


def test_keys_are_apart_and_groups_together(house: House) -> None:
    assert cache(ask(house, "chat", "tenants", key="one")) == "miss"
    assert cache(ask(house, "chat", "tenants", key="two")) == "miss"
    assert cache(ask(house, "chat", "tenants", key="team-a")) == "miss"
    assert cache(ask(house, "chat", "tenants", key="team-b")) == "hit"
    assert cache(ask(house, "chat", "tenants", key="never")) == "none"


def test_labels_are_apart_and_above_the_clearance_there_is_no_cache(house: House) -> None:
    assert cache(ask(house, "chat", "labels", model="trusted/say")) == "miss"
    assert cache(ask(house, "chat", "labels", model="trusted/say")) == "hit"
    raised = {"x-freehold-label": "confidential"}
    for _ in range(2):
        told = ask(house, "chat", "labels", model="trusted/say", headers=raised)
        assert told.headers["x-freehold-cache"] == "bypass; reason=label"
    told = ask(house, "chat", "labels", model="trusted/say", key="secret")
    assert told.headers["x-freehold-cache"] == "bypass; reason=label"


def test_what_was_found_in_a_request_raises_it_out_of_the_cache(house: House) -> None:
    text = "my key is ghp_Wq7RrT2yUi9OpA5sDfGh4JkLzXcVbN0yMPpM"
    for _ in range(2):
        told = ask(house, "chat", text, model="trusted/say")
        assert told.headers["x-freehold-cache"] == "bypass; reason=label"


@pytest.mark.parametrize(
    ("client", "more", "reason"),
    [
        ("chat", {"temperature": 0.7}, "sampled"),
        ("chat", {"temperature": None}, "sampled"),
        ("responses", {"store": True}, "stored"),
        ("responses", {"store": None}, "stored"),
        ("chat", {"store": True}, "stored"),
        (
            "chat",
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://x.example/a"}}]}]},
            "url",
        ),
        ("messages", {"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, "tools"),
        ("chat", {"messages": [{"role": "user", "content": "x" * 140_000}]}, "size"),
    ],
)  # fmt: skip
def test_what_is_not_looked_up_says_why(house: House, client: str, more: dict[str, Any], reason: str) -> None:
    for _ in range(2):
        told = ask(house, client, "reasons", **more)
        assert told.headers.get("x-freehold-cache") == f"bypass; reason={reason}", told


@pytest.mark.parametrize("model", ["call", "short", "cut", "angry"])
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("client", ["chat", "messages", "gemini"])
def test_what_is_no_finished_plain_answer_is_not_kept(house: House, client: str, model: str, stream: bool) -> None:
    for _ in range(2):
        assert cache(ask(house, client, f"unfit {stream}", model=f"openai/{model}", stream=stream)) in ("miss", "none")
    assert cache(ask(house, client, f"unfit {stream}", model=f"openai/{model}")) in ("miss", "none")


def test_headers_of_the_request_are_heeded(house: House) -> None:
    assert cache(ask(house, "chat", "headers", headers={"cache-control": "no-store"})) == "bypass"
    assert cache(ask(house, "chat", "headers", headers={"x-freehold-cache": "off"})) == "bypass"
    assert cache(ask(house, "chat", "headers")) == "miss"
    assert cache(ask(house, "chat", "headers", headers={"cache-control": "no-cache"})) == "miss"
    assert cache(ask(house, "chat", "headers", headers={"x-freehold-cache": "refresh"})) == "miss"
    assert cache(ask(house, "chat", "headers", headers={"cache-control": "max-age=0"})) == "miss"
    told = ask(house, "chat", "headers", headers={"cache-control": "max-age=1000, nonsense"})
    assert told.headers["x-freehold-cache"].startswith("hit; age=")


def test_keys_with_other_checks_do_not_share_even_in_a_group(tmp_path_factory: pytest.TempPathFactory) -> None:
    secret = "ghp_Wq7RrT2yUi9OpA5sDfGh4JkLzXcVbN0yMPpM"
    extra = "\n".join(
        [
            *(f"  - {{name: {name}, key: fh-{name}-0123456789abcd}}" for name in ("loose", "lax", "soft")),
            "checks: {keys: {soft: {answer: {secrets: redact}}}}",
            "cache: {enabled: true, groups: {all: [loose, lax, soft]}}",
        ]
    )
    rules = [{"match": {"model": "say"}, "reply": {"text": f"it is {secret}, keep it"}}]
    with canary_house(tmp_path_factory.mktemp("cache"), extra, {"rules": rules}) as house:
        for client in ("chat", "messages", "gemini"):
            for stream in (False, True):
                ask(house, client, key="loose", stream=stream)
                assert cache(told := ask(house, client, key="lax", stream=stream)) == "hit"
                assert secret in said(told.body)
                first = "hit" if stream else "miss"
                assert cache(told := ask(house, client, key="soft", stream=stream)) == first
                assert secret[:12] not in said(told.body), told
                assert "keep it" in said(told.body)
                assert cache(ask(house, client, key="soft", stream=stream)) == "hit"


def test_what_was_blocked_for_one_is_not_kept_for_another(tmp_path_factory: pytest.TempPathFactory) -> None:
    secret = "ghp_Wq7RrT2yUi9OpA5sDfGh4JkLzXcVbN0yMPpM"
    extra = "\n".join(
        [
            *(f"  - {{name: {name}, key: fh-{name}-0123456789abcd}}" for name in ("loose", "stern")),
            "checks: {keys: {stern: {answer: {secrets: block}}}}",
            "cache: {enabled: true, groups: {all: [loose, stern]}}",
        ]
    )
    rules = [{"match": {"model": "say"}, "reply": {"text": f"it is {secret}, keep it"}}]
    with canary_house(tmp_path_factory.mktemp("cache"), extra, {"rules": rules}) as house:
        for stream in (False, True):
            ask(house, "chat", f"blocked {stream}", key="stern", stream=stream)
            told = ask(house, "chat", f"blocked {stream}", key="loose", stream=stream)
            assert cache(told) == "miss"
            assert secret in said(told.body)


def test_a_hit_takes_a_request_and_no_tokens(house: House) -> None:
    assert cache(ask(house, "chat", "limits", key="limited")) == "miss"
    assert cache(ask(house, "chat", "limits", key="limited")) == "hit"
    told = ask(house, "chat", "limits", key="limited")
    assert told.status == 429, told


def test_embeddings(house: House) -> None:
    def embed(key: str = "one") -> Told:
        told = house.ask(ENDPOINTS["embeddings"], {"input": ["one", "two"]}, key=f"fh-{key}-0123456789abcd")
        assert told.status == 200
        return told

    first, again = embed(), embed()
    assert [cache(first), cache(again), cache(embed("two"))] == ["miss", "hit", "miss"]
    assert json.loads(first.body) == json.loads(again.body)
