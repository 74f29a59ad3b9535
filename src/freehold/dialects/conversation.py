"""The canonical conversation: a superset of what the chat dialects can say.

A dialect reads its wire form into these types and writes them out again; what the target dialect cannot carry is
appended to a loss report (a list of dotted field names), never dropped in silence. Two rules keep it lossless:

- Text that must survive byte for byte stays text: tool arguments are the JSON *string* as received, signatures and
  redacted thinking are opaque strings, unknown blocks ride along as `Opaque` and return only to their own dialect.
- Order is meaning: parts stay in wire order (thinking before its tool call, tool results before new user text).

Token usage has one algebra, whatever the provider counts (see `Usage`).
"""

from typing import Any, Literal

from msgspec import Struct, field

CacheTtl = Literal["5m", "1h"]
"""A prompt-cache breakpoint after this part, as Anthropic's `cache_control` has it."""


class Citation(Struct):
    """What a passage of an answer rests on.

    `start`, `end`: characters of the text part it stands on (end exclusive), None where the provider cites the whole
    part. `quote` is the cited passage of the source. `source` is the index of the request's document, `file_id` or
    `url` what it is called elsewhere. `raw` is the object as `dialect` wrote it, and goes back there as it is.
    """

    url: str | None = None
    title: str | None = None
    quote: str | None = None
    start: int | None = None
    end: int | None = None
    source: int | None = None
    file_id: str | None = None
    dialect: str = ""
    raw: Any = None


class Text(Struct):
    text: str
    cache: CacheTtl | None = None
    citations: list[Citation] | None = None
    signature: str | None = None
    """Gemini's `thoughtSignature` may sit on a text part."""
    item_id: str | None = None
    """The id of the message in OpenAI's Responses dialect, which wants it back beside the id of a reasoning item."""


class Image(Struct):
    """Exactly one of `data` (base64), `url` or `file_id` is set."""

    media_type: str | None = None
    data: str | None = None
    url: str | None = None
    file_id: str | None = None
    detail: str | None = None
    cache: CacheTtl | None = None


class Audio(Struct):
    """Base64 audio; `format` is wav, mp3, ... (OpenAI's `input_audio.format`). `id` names an earlier answer."""

    data: str | None = None
    format: str | None = None
    id: str | None = None
    transcript: str | None = None


class Document(Struct):
    """A file: exactly one of `data` (base64), `text`, `url` or `file_id` is set."""

    media_type: str | None = None
    data: str | None = None
    text: str | None = None
    url: str | None = None
    file_id: str | None = None
    title: str | None = None
    context: str | None = None
    citations: bool | None = None
    cache: CacheTtl | None = None
    raw: Any = None
    """The document as Cohere's `documents` has it, with its id: it goes back there as it is."""


class ToolCall(Struct):
    """`arguments` is JSON text, `{}` when the model sent none. `signature` is Gemini's `thoughtSignature`.

    A `custom` call (OpenAI's custom tools) has free text instead of JSON. `item_id` is the call's other id in the
    Responses dialect (`fc_...`), where `id` is the `call_id`.
    """

    id: str
    name: str
    arguments: str = "{}"
    signature: str | None = None
    cache: CacheTtl | None = None
    custom: bool = False
    item_id: str | None = None


class ToolResult(Struct):
    id: str
    parts: "list[Part]" = field(default_factory=list)
    name: str | None = None
    is_error: bool = False
    cache: CacheTtl | None = None


class Thinking(Struct):
    """A model's reasoning. `signature` must be replayed unchanged; `redacted` is encrypted thinking without text.

    Signatures say whose they are: `gemini:` and `openai:` stand before Google's and OpenAI's (thinking.py), Anthropic's
    are bare. `id` is the reasoning item's in OpenAI's Responses dialect, which wants it back with the signature.
    """

    text: str = ""
    signature: str | None = None
    redacted: str | None = None
    id: str | None = None


class Refusal(Struct):
    text: str
    item_id: str | None = None


class Opaque(Struct):
    """A block only `dialect` understands (server tools, compaction, ...), kept as decoded JSON."""

    dialect: str
    value: Any


Part = Text | Image | Audio | Document | ToolCall | ToolResult | Thinking | Refusal | Opaque


class Turn(Struct):
    """One message. `system` here is an instruction in mid-conversation; leading ones stand in `Conversation.system`."""

    role: Literal["user", "assistant", "system"]
    parts: list[Part] = field(default_factory=list)
    name: str | None = None


class Tool(Struct):
    """A function tool; `schema` is JSON Schema of the arguments. Any other kind of tool is `opaque`.

    `origin` is a tool this function stands in for, whole, for writers of its own dialect: a custom tool (the function
    then takes one string, `input`) or a namespace (the same `origin` on each of its functions).
    """

    name: str
    description: str | None = None
    schema: dict[str, Any] | None = None
    strict: bool | None = None
    cache: CacheTtl | None = None
    opaque: Opaque | None = None
    origin: Opaque | None = None


class ToolChoice(Struct):
    """`mode` tool: exactly `name`; `names` limits `required`/`auto` to some tools (allowed_tools)."""

    mode: Literal["auto", "none", "required", "tool"]
    name: str | None = None
    names: list[str] | None = None


class Voice(Struct):
    """Spoken output: OpenAI's `audio` field of a chat request."""

    name: str
    format: str = "wav"


class OutputFormat(Struct):
    """`json`: any JSON object. `schema`: JSON matching `schema`."""

    kind: Literal["text", "json", "schema"]
    schema: dict[str, Any] | None = None
    name: str | None = None
    description: str | None = None
    strict: bool | None = None


class Reasoning(Struct):
    """What the client asked of the model's thinking: an effort word, a token budget, or off (`enabled` False)."""

    enabled: bool = True
    effort: str | None = None
    budget: int | None = None
    adaptive: bool = False
    include: bool | None = None
    """Whether thoughts are wanted in the answer (Gemini's includeThoughts)."""
    summary: str | None = None
    """How much of them (Responses): `auto`, `concise`, `detailed`. `include` says the same to every dialect."""


class Conversation(Struct):
    """One request. `unknown` holds top-level fields the dialect's reader does not know, by wire name."""

    model: str
    system: list[Part] = field(default_factory=list)
    turns: list[Turn] = field(default_factory=list)
    tools: list[Tool] = field(default_factory=list)
    tool_choice: ToolChoice | None = None
    parallel_tools: bool | None = None
    output: OutputFormat | None = None
    reasoning: Reasoning | None = None
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    seed: int | None = None
    stop: list[str] = field(default_factory=list)
    n: int = 1
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    logit_bias: dict[str, float] | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
    stream: bool = False
    include_usage: bool = False
    """Whether the client asked for usage in its stream (chat dialect; others always get it)."""
    user: str | None = None
    metadata: dict[str, Any] | None = None
    service_tier: str | None = None
    modalities: list[str] | None = None
    """What the answer may consist of: `text`, `audio`, `image`; None: text."""
    voice: Voice | None = None
    verbosity: str | None = None
    store: bool | None = None
    prompt_cache_key: str | None = None
    safety_identifier: str | None = None
    previous: str | None = None
    """Responses' `previous_response_id`: the turns before these, which somebody else keeps."""
    unknown: dict[str, Any] = field(default_factory=dict)
    dialect: str = ""
    """Whose reader made it (`chat`, `messages`, ...): `unknown` is written back to this dialect only."""
    places: list[int] = field(default_factory=list)
    """The number of the client's message that each turn began with; empty where they count alike."""


class Usage(Struct):
    """Tokens of one answer, in disjoint classes where money is concerned.

    input total = uncached + cache_read + cache_write_5m + cache_write_1h. `output` includes `reasoning`.
    `audio_input`, `audio_output` are subsets of uncached and output. `estimated`: we counted, the provider was silent.
    `search_units` is what Cohere bills a rerank by, beside or instead of tokens. So are `images` (made), `seconds` (of
    sound heard) and `characters` (spoken); `image_input`, `image_output` are tokens, subsets of uncached and output.
    """

    uncached: int = 0
    cache_read: int = 0
    cache_write_5m: int = 0
    cache_write_1h: int = 0
    output: int = 0
    reasoning: int = 0
    audio_input: int = 0
    audio_output: int = 0
    estimated: bool = False
    search_units: int = 0
    image_input: int = 0
    image_output: int = 0
    images: int = 0
    seconds: float = 0.0
    characters: int = 0

    @property
    def input(self) -> int:
        return self.uncached + self.cache_read + self.cache_write_5m + self.cache_write_1h


Finish = Literal["stop", "length", "tool_calls", "content_filter", "pause", "error"]
"""Why the model stopped. `pause` is Anthropic's pause_turn; a refusal is `content_filter`."""


class Choice(Struct):
    parts: list[Part] = field(default_factory=list)
    finish: Finish = "stop"
    stop_sequence: str | None = None
    refused: bool = False
    """The provider named a refusal (Anthropic's stop_reason refusal) rather than a filter."""
    logprobs: Any = None
    index: int = 0


class Reply(Struct):
    """One whole answer. `model` is who served it, as the provider names it."""

    id: str
    model: str
    choices: list[Choice] = field(default_factory=list)
    usage: Usage | None = None
    created: int = 0
    service_tier: str | None = None


# Stream events. `choice` is the index of the alternative (n > 1); parts of one choice arrive in order: a writer closes
# the open block whenever the kind changes.


class Started(Struct):
    id: str
    model: str
    created: int = 0


class TextDelta(Struct):
    text: str
    choice: int = 0
    signature: str | None = None
    citation: Citation | None = None
    item_id: str | None = None


class ThinkingDelta(Struct):
    """Thinking text, or its signature, or (whole, at once) a redacted block."""

    text: str = ""
    signature: str | None = None
    redacted: str | None = None
    choice: int = 0
    id: str | None = None


class RefusalDelta(Struct):
    text: str
    choice: int = 0
    item_id: str | None = None


class ToolStarted(Struct):
    """`index` counts a choice's tool calls densely from 0, whatever the provider's own numbering."""

    index: int
    id: str
    name: str
    choice: int = 0
    signature: str | None = None
    custom: bool = False
    item_id: str | None = None


class ToolDelta(Struct):
    index: int
    arguments: str
    choice: int = 0


class AudioDelta(Struct):
    """A piece of spoken output: base64 `data`, or its `transcript`. `id` names the sound for later turns."""

    data: str = ""
    transcript: str = ""
    id: str | None = None
    choice: int = 0


class MediaDelta(Struct):
    """A whole image or file inside an answer."""

    part: Image | Audio | Document
    choice: int = 0


class OpaqueDelta(Struct):
    """A raw event of `dialect` that has no canonical form; only the same dialect may show it."""

    dialect: str
    value: Any
    choice: int = 0


class LogprobsDelta(Struct):
    value: Any
    choice: int = 0


class Finished(Struct):
    finish: Finish
    choice: int = 0
    stop_sequence: str | None = None
    refused: bool = False


class Metered(Struct):
    """Usage so far; later ones replace earlier ones, they are never added."""

    usage: Usage


class Failed(Struct):
    """The provider reported an error inside a 200 stream. Nothing follows."""

    message: str
    code: str | None = None
    status: int | None = None


Event = (
    Started
    | TextDelta
    | ThinkingDelta
    | RefusalDelta
    | ToolStarted
    | ToolDelta
    | AudioDelta
    | MediaDelta
    | OpaqueDelta
    | LogprobsDelta
    | Finished
    | Metered
    | Failed
)

Losses = list[str]
"""Dotted names, in the source dialect's words, of what a writer could not carry: `logit_bias`, `messages.2.audio`."""
