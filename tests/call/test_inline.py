"""URLs in a conversation replaced by what they point at: which, how often, how many, and what a failure says."""

import asyncio
import json
from base64 import b64decode, b64encode

import msgspec
import pytest

from freehold.call import talk
from freehold.call.breaker import Breaker
from freehold.call.fetch_url import Fetched, UrlLimits
from freehold.call.inline import AT_A_TIME, FETCHED, inline
from freehold.call.languages import CLIENT, PROVIDER
from freehold.call.talk import Talk
from freehold.call.target import Address, Target
from freehold.call.transport import Origin, Pool
from freehold.config.schema import Timeouts
from freehold.decide import Deployment
from freehold.dialects.conversation import Conversation, Document, Image, Losses, Text, ToolResult, Turn
from freehold.dialects.traits import Traits
from freehold.errors import BadRequest, LossRefused

PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 20
PDF = b"%PDF-1.7\n%"
IMAGE = "https://files.test/a.png"
FILE = "https://files.test/b.pdf"
LIMITS = UrlLimits()


class Web:
    """Answers by URL, and keeps what was asked and how many were under way at once."""

    def __init__(self, pages: dict[str, Fetched] | None = None, *, slow: bool = False) -> None:
        self.pages = pages or {IMAGE: Fetched("image/png", PNG), FILE: Fetched("application/pdf", PDF)}
        self.slow = slow
        self.asked: list[str] = []
        self.types: dict[str, tuple[str, ...]] = {}
        self.running = self.most = self.cancelled = 0

    async def __call__(self, url: str, *, limits: UrlLimits) -> Fetched:
        self.asked.append(url)
        self.types[url] = limits.types
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            await asyncio.sleep(0)
            if url not in self.pages:
                raise BadRequest("The URL could not be fetched.", code="url_not_fetched")
            if self.slow:
                await asyncio.Event().wait()
            return self.pages[url]
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.running -= 1


def asking(*parts: object, system: list[object] | None = None) -> Conversation:
    return Conversation("m", system=system or [], turns=[Turn("user", [Text("look")]), Turn("user", list(parts))])  # type: ignore[arg-type]


async def test_urls_become_data_wherever_they_stand_and_the_original_stays() -> None:
    given = asking(
        Image(url=IMAGE, detail="high", cache="5m"),
        Document(url=FILE, title="b"),
        ToolResult("t", [Image(url=IMAGE), Text("x")]),
        system=[Image(url="HTTPS://files.test/up.png"), Text("be brief")],
    )
    before = msgspec.json.encode(given)
    web = Web(
        {
            IMAGE: Fetched("image/png", PNG),
            FILE: Fetched("application/pdf", PDF),
            "HTTPS://files.test/up.png": Fetched("image/webp", b"webp"),
        }
    )
    made = await inline(given, LIMITS, fetch=web)
    assert made is not None
    picture = b64encode(PNG).decode()
    assert made.turns[1].parts == [
        Image("image/png", picture, detail="high", cache="5m"),
        Document("application/pdf", b64encode(PDF).decode(), title="b"),
        ToolResult("t", [Image("image/png", picture), Text("x")]),
    ]
    assert made.system == [Image("image/webp", b64encode(b"webp").decode()), Text("be brief")]
    assert sorted(web.asked) == sorted([IMAGE, FILE, "HTTPS://files.test/up.png"])
    assert msgspec.json.encode(given) == before


@pytest.mark.parametrize(
    "part",
    [
        Text(IMAGE),
        Image("image/png", "AAAA"),
        Image(url="data:image/png;base64,AAAA"),
        Image(url="gs://bucket/a.png"),
        Document(url="s3://bucket/a.pdf"),
        Image(file_id="file-1"),
        Document(text="https://files.test/"),
        ToolResult("t", [Text("x")]),
    ],
)
async def test_nothing_is_fetched_that_is_no_web_address(part: object) -> None:
    web = Web()
    assert await inline(asking(part), LIMITS, fetch=web) is None
    assert not web.asked


async def test_only_the_kinds_that_were_asked_for() -> None:
    web = Web()
    given = asking(Image(url=IMAGE), Document(url=FILE))
    made = await inline(given, LIMITS, kinds=frozenset({Document}), fetch=web)
    assert made is not None
    assert made.turns[1].parts[0] == Image(url=IMAGE)
    assert web.asked == [FILE]
    assert await inline(asking(Image(url=IMAGE)), LIMITS, kinds=frozenset({Document}), fetch=web) is None


async def test_an_image_must_be_one() -> None:
    web = Web()
    await inline(asking(Image(url=IMAGE), Document(url=FILE)), LIMITS, fetch=web)
    assert web.types == {IMAGE: ("image/",), FILE: LIMITS.types}


async def test_a_few_at_a_time() -> None:
    pages = {f"https://files.test/{n}.png": Fetched("image/png", PNG) for n in range(12)}
    web = Web(pages)
    assert await inline(asking(*(Image(url=url) for url in pages)), LIMITS, fetch=web) is not None
    assert web.most == AT_A_TIME


async def test_a_failure_names_the_part_and_ends_the_others() -> None:
    web = Web(slow=True)
    given = asking(Image(url=IMAGE), ToolResult("t", [Document(url="https://files.test/none.pdf")]))
    with pytest.raises(BadRequest) as refused:
        await inline(given, LIMITS, fetch=web)
    assert refused.value.param == "messages.1.document"
    assert (web.running, web.cancelled) == (0, 1)


async def test_too_many_are_refused_before_one_is_fetched() -> None:
    web = Web()
    given = asking(*(Image(url=f"https://files.test/{n}") for n in range(3)))
    with pytest.raises(BadRequest, match="3 URLs to fetch; 2 are allowed") as refused:
        await inline(given, LIMITS, most=2, fetch=web)
    assert refused.value.param == "messages.1.image"
    assert not web.asked
    same = asking(*(Image(url=IMAGE) for _ in range(50)))
    assert await inline(same, LIMITS, most=1, fetch=web) is not None
    assert web.asked == [IMAGE]


async def test_too_much_together() -> None:
    given = asking(Image(url=IMAGE), Document(url=FILE))
    size = len(PNG) + len(PDF)
    assert await inline(given, LIMITS, total=size, fetch=Web()) is not None
    with pytest.raises(BadRequest, match="bytes together") as refused:
        await inline(given, LIMITS, total=size - 1, fetch=Web())
    assert refused.value.param == "messages.1.document"


# Which dialects need it


@pytest.mark.parametrize("dialect", PROVIDER)
@pytest.mark.parametrize("part", [Image("image/png", url=IMAGE), Document("application/pdf", url=FILE)])
def test_the_table_holds_what_the_writers_cannot_point_at(dialect: str, part: Image | Document) -> None:
    """A URL that a writer drops must be fetched for it, and only such a one."""
    losses: Losses = []
    conversation = asking(part)
    conversation.model = "anthropic.claude-sonnet-4-5"
    conversation.dialect = "responses"
    body = PROVIDER[dialect].write_request(conversation, losses, Traits())
    carried = (part.url or "").encode() in body
    assert carried == (type(part) not in FETCHED.get(dialect, ()))
    name = f"messages.1.{type(part).__name__.lower()}"
    assert carried == (name not in losses)


# In a call


def target(dialect: str, fetch: UrlLimits | None, *more: str) -> Target:
    deployment = Deployment(
        name=f"{dialect}/m", provider=dialect, model="anthropic.claude-sonnet-4-5", owned=False, dialect=dialect
    )
    pool = Pool(Origin.parse("http://127.0.0.1:9"), connect_timeout=1.0, limit=1)
    address = Address(pool, dict.fromkeys((dialect, *more), "/x"), [], dialect)
    return Target(deployment, address, Traits(), Timeouts(), Breaker(5, 30.0), fetch=fetch)


def picture_talk() -> Talk:
    body = {
        "model": "m",
        "messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": IMAGE}}]}],
    }
    raw = json.dumps(body).encode()
    return Talk("chat", raw, CLIENT["chat"].peek(raw))


async def test_a_provider_of_bytes_gets_bytes_and_one_of_urls_the_url(monkeypatch: pytest.MonkeyPatch) -> None:
    web = Web()

    async def fetching(conversation: Conversation, limits: UrlLimits, **rest: object) -> Conversation | None:
        return await inline(conversation, limits, fetch=web, **rest)  # type: ignore[arg-type]

    monkeypatch.setattr(talk, "inline", fetching)
    asked = picture_talk()
    assert asked.peek.images
    bedrock = target("converse", LIMITS)
    for _ in range(2):
        await asked.ready(bedrock)
    prepared = asked.prepare(bedrock)
    (block,) = json.loads(prepared.body)["messages"][0]["content"]
    assert b64decode(block["image"]["source"]["bytes"]) == PNG
    assert prepared.losses == []
    assert web.asked == [IMAGE]
    assert json.loads(asked.prepare(target("messages", LIMITS)).body)["messages"][0]["content"][0]["source"] == {
        "type": "url",
        "url": IMAGE,
    }


async def test_a_second_language_of_a_provider_of_bytes_takes_no_urls_either(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ollama speaks OpenAI's dialect too, in which a URL is nothing to it; without one the bytes pass through."""
    web = Web()

    async def fetching(conversation: Conversation, limits: UrlLimits, **rest: object) -> Conversation | None:
        return await inline(conversation, limits, fetch=web, **rest)  # type: ignore[arg-type]

    monkeypatch.setattr(talk, "inline", fetching)
    local = target("ollama", LIMITS, "chat")
    asked = picture_talk()
    await asked.ready(local)
    assert json.loads(asked.prepare(local).body)["messages"][0]["images"] == [b64encode(PNG).decode()]
    raw = b'{"model": "m", "messages": [{"role": "user", "content": "\\"image_url\\""}], "new": 1}'
    plain = Talk("chat", raw, CLIENT["chat"].peek(raw))
    await plain.ready(local)
    assert json.loads(plain.prepare(local).body)["new"] == 1


async def test_a_gateway_that_does_not_fetch_says_so() -> None:
    with pytest.raises(LossRefused, match="fetch_urls: false") as refused:
        await picture_talk().ready(target("converse", None))
    assert (refused.value.status, refused.value.param) == (400, "messages.0.image")


async def test_a_request_without_urls_is_ready_whatever_the_configuration() -> None:
    raw = b'{"model": "m", "messages": [{"role": "user", "content": "\\"image_url\\""}]}'
    asked = Talk("chat", raw, CLIENT["chat"].peek(raw))
    for fetch in (None, LIMITS):
        await asked.ready(target("converse", fetch))
    assert json.loads(asked.prepare(target("converse", None)).body)["messages"]
