"""`freehold.yaml` as types: the schema is the type, and an unknown key is an error.

Every field is optional; the zero file `{}` runs the model in the box and whatever providers the environment has keys
for. Durations are seconds; money is US dollars per million tokens.
"""

from typing import Annotated, Literal

from msgspec import Meta, Struct, field

from freehold.config.schema_cache import Cache
from freehold.config.schema_checks import Checks
from freehold.config.schema_routing import Auto, Environment, Labels, Name, Objective, Role

Port = Annotated[int, Meta(ge=0, le=65535)]
Positive = Annotated[int, Meta(ge=1)]
Seconds = Annotated[float, Meta(gt=0, le=86400)]
Price = Annotated[float, Meta(ge=0)]
DialectName = Literal[
    "chat", "responses", "messages", "gemini", "converse", "cohere", "mistral", "ollama", "voyage", "jina"
]
Capability = Literal[
    "tools", "parallel_tools", "schema", "images", "audio", "documents", "completions", "embeddings", "rerank",
    "moderations", "image_generation", "speech", "transcription",
]  # fmt: skip


class Server(Struct, forbid_unknown_fields=True, omit_defaults=True):
    """Where the gateway listens. Anything but a loopback address must be asked for."""

    host: str = "127.0.0.1"
    """Address to listen on: an IP address or a host name; `0.0.0.0` for every IPv4 address."""
    port: Port = 8484
    """Port to listen on; 0 takes any free one."""
    workers: Annotated[int, Meta(ge=1, le=256)] = 1
    """Gateway processes sharing the port."""
    max_body_mb: Annotated[int, Meta(ge=1, le=1024)] = 50
    """Largest request body, in MiB; a larger one is answered 413."""
    max_inflight: Positive = 2000
    """Requests one worker works on at a time; more are answered 503 at once."""
    drain_seconds: Seconds = 30.0
    """After SIGTERM, how long running requests may go on."""
    egress: Literal["open", "strict", "none"] = "open"
    """How calls leave this machine. `open`: workers call providers. `strict`: workers run in a network namespace with
    no way out, and one small process beside it, which alone has the providers' keys, sends what it allows. `none`: no
    call leaves at all. docs/egress.md"""


class Timeouts(Struct, forbid_unknown_fields=True, omit_defaults=True):
    """Limits of one call upstream, in seconds. A client's own `x-stainless-timeout` can only shorten `total`."""

    connect: Seconds = 5.0
    """Until the connection stands, TLS included."""
    first_byte: Seconds = 120.0
    """From the request sent to the first byte of the answer."""
    idle: Seconds = 120.0
    """Longest silence inside a stream; thinking models pause for minutes."""
    total: Seconds = 900.0
    """The whole call, attempts on other deployments included."""


class ModelFacts(Struct, forbid_unknown_fields=True, omit_defaults=True):
    """What the owner declares of one model; fills gaps in and overrides what is built in."""

    context: Positive | None = None
    """Tokens the model takes, prompt and answer together."""
    max_output: Positive | None = None
    """Tokens it can answer with."""
    input: Price | None = None
    """US dollars per million uncached input tokens."""
    output: Price | None = None
    """US dollars per million output tokens."""
    cached: Price | None = None
    """US dollars per million input tokens read from a prompt cache."""
    can: list[Capability] | None = None
    """What it can do; a request that needs more is not sent to it."""
    strength: Annotated[float, Meta(ge=0, le=1)] | None = None
    """0 to 1: how able it is, as far as nothing is learned of it (1: the ablest there is)."""
    region: str | None = None
    """Where it runs, such as `eu` or `us`; its provider's where it is not given."""
    retires: str | None = None
    """ISO 8601 date from which on it is not chosen any more."""


class Provider(Struct, forbid_unknown_fields=True, omit_defaults=True):
    """One rented provider, or a server of one's own that speaks a known dialect.

    A name found in providers.toml inherits that row; another name needs `base_url`, and `dialect` if it is not chat.
    """

    base_url: str | None = None
    """Where its API is, with or without `/v1`."""
    api_key: str | None = None
    """Its key, best as `${VARIABLE}`; without one the provider's usual variable is used."""
    dialect: DialectName | None = None
    """The language it speaks; needed only where it is not that of its row in providers.toml."""
    headers: dict[str, str] = field(default_factory=dict)
    """Sent with every request, instead of the row's own of the same name."""
    owned: bool | None = None
    """True: this endpoint runs on one's own machines, so it counts as owned. Servers such as Ollama and vLLM do without
    it where their address is one of this host or of a private network; of any other it is not known whose it is."""
    models: dict[str, ModelFacts] = field(default_factory=dict)
    """Its models, by the name it has for them, with what is to be known of each."""
    timeouts: Timeouts | None = None
    """Instead of the general `timeouts`."""
    max_connections: Positive = 1000
    """Connections one worker may hold to it."""
    region: str | None = None
    """Where it answers, such as `eu`; for Bedrock and Vertex AI the cloud's own name, such as `eu-central-1`."""
    cleared: str | None = None
    """The highest label it may see, such as `confidential+phi`; `internal` for a rented provider where it is not given,
    everything for an owned one."""
    policy: str | None = None
    """Which of its terms hold, by a row of docs/providers-policies.md such as `openai-zdr`, or `contract` for terms of
    one's own; without it, its strictest. They cap `cleared`."""
    project: str | None = None
    """Vertex AI: the project's id."""
    api_version: str | None = None
    """Azure OpenAI: an API version such as `2024-10-21` calls deployments by path; without one, the v1 API."""
    credentials: str | None = None
    """Vertex AI: a credentials file, where it is not the one of GOOGLE_APPLICATION_CREDENTIALS."""
    profile: str | None = None
    """Bedrock: a profile of ~/.aws, where it is not the one of AWS_PROFILE."""


class OwnedAdapter(Struct, forbid_unknown_fields=True, omit_defaults=True):
    """LoRA weights on an owned model, asked for as `own/NAME`."""

    name: Name
    """NAME in `own/NAME`."""
    path: str
    """A LoRA in GGUF for llama.cpp, a folder as `peft` writes it for other engines."""
    scale: float = 1.0
    """How strongly it is applied."""


class Canary(Struct, forbid_unknown_fields=True, omit_defaults=True):
    """A share of an owned model's requests goes to another version, until that has shown what it is worth."""

    version: str
    """The version that is tried, such as `v4`."""
    percent: Annotated[float, Meta(gt=0, le=100)] = 5.0
    """Of requests, chosen at random, that it gets."""
    requests: Positive = 200
    """Its requests after which it is judged."""
    errors: Annotated[float, Meta(ge=0, le=1)] = 0.01
    """Most that its share of failed requests may be above the present version's."""
    slower: Annotated[float, Meta(gt=0)] = 1.5
    """Most that its median time may be, in multiples of the present version's."""
    promote: bool = True
    """Whether it takes over by itself when it passes. One that fails is always taken back."""


class Shadow(Struct, forbid_unknown_fields=True, omit_defaults=True):
    """Copies of an owned model's requests go to another one, whose answers are thrown away: they are only counted."""

    to: Name
    """The owned model that gets the copies, as `own/NAME`."""
    percent: Annotated[float, Meta(gt=0, le=100)] = 100.0
    """Of requests, chosen at random, that are copied."""


EngineName = Literal[
    "llamacpp", "llama-server", "transformers", "vllm", "sglang", "trtllm", "ollama", "lmstudio", "mlx", "command"
]


class Owned(Struct, forbid_unknown_fields=True, omit_defaults=True):
    """One owned model, served as `own/NAME`: a file or folder on disk, or weights that were pulled.

    A pulled model needs no entry here; one changes how it is run.
    """

    path: str | None = None
    """A GGUF file or a folder with safetensors. This or `pull`, or `name` alone for a model of the store."""
    pull: str | None = None
    """Where the weights come from, as `freehold pull` takes it: `ORG/NAME[@REVISION][:QUANTISATION]`, a URL,
    `ollama:NAME[:TAG]` or a folder. `freehold up` pulls what is not there yet."""
    name: Name | None = None
    """NAME in `own/NAME`; the name of the file or repository where it is not given."""
    version: str | None = None
    """The version of the weights to serve, such as `v3`; the current one where it is not given."""
    quantisation: str | None = None
    """Which of the artefacts of the weights to serve, such as `Q4_K_M`."""
    engine: EngineName | None = None
    """What runs it; llama.cpp where it is not given."""
    context: Positive | None = None
    """Tokens of context for each request; the model's own where it is not given."""
    parallel: Annotated[int, Meta(ge=1, le=256)] = 4
    """Requests it answers at a time."""
    threads: Positive | None = None
    """CPU threads; the engine chooses where it is not given."""
    gpu_layers: Annotated[int, Meta(ge=0)] = 0
    """Layers to put on the GPU."""
    load: Literal["start", "demand", "pinned"] | None = None
    """When it is loaded: with the gateway, when the first request comes, or with the gateway and never unloaded to make
    room. `start` for what is configured, `demand` for what was only pulled."""
    idle: Seconds | None = None
    """Seconds without a request after which it is unloaded; never where it is not given."""
    sleep: Annotated[int, Meta(ge=1, le=2)] | None = None
    """Put to sleep instead of unloaded, where the engine can: 1 keeps the weights in RAM, 2 drops them."""
    memory: str | None = None
    """Its need, such as `12GiB`, where the estimate is wrong."""
    adapters: list[OwnedAdapter] = field(default_factory=list)
    """LoRA weights on it, each a model of its own."""
    projector: str | None = None
    """A vision model's projector: a GGUF file."""
    canary: Canary | None = None
    """Another version that gets a share of the requests."""
    shadow: Shadow | None = None
    """Another owned model that gets copies of the requests."""
    args: list[str] = field(default_factory=list)
    """Added to the engine's command line."""
    command: list[str] = field(default_factory=list)
    """Engine `command`: the whole command line, with ${PORT}, ${MODEL}, ${NAME} and ${API_KEY} to be filled in."""
    env: dict[str, str] = field(default_factory=dict)
    """Environment variables for the engine, which sees none of ours but harmless ones."""
    url: str | None = None
    """Engines `ollama` and `lmstudio`: where the server runs that loads the model."""
    model: str | None = None
    """What the engine calls the model, where that is not NAME."""
    remote_code: bool = False
    """True: Python code inside the repository may be run by the engine. Read it first: it can do all you can do."""
    pickles: bool = False
    """True: where `pull` finds weights as pickles only, they are fetched and safetensors made of them, in a process of
    its own that runs no code of theirs. False: they are refused."""
    facts: ModelFacts | None = None
    """What `auto` should know of it."""


class Engines(Struct, forbid_unknown_fields=True, omit_defaults=True):
    """How owned models share this machine."""

    memory: str | None = None
    """RAM for all engines together, such as `20GiB`; what the machine has free where it is not given."""
    gpu_memory: str | None = None
    """Memory of each GPU for all engines together; what the GPU has free where it is not given."""
    queue: Seconds = 60.0
    """How long a request waits for its model to be loaded before it goes elsewhere or is answered 503."""
    waiting: Positive = 500
    """Requests that may wait for one model; more are answered 503 at once."""
    stall: Seconds = 30.0
    """An engine that works on requests and sends no byte for this long is tested, and replaced if it fails."""


class Key(Struct, forbid_unknown_fields=True, omit_defaults=True):
    """A virtual key. Give `key` (or `${VARIABLE}`), or only its `hash` as `freehold keys add` prints it."""

    name: Name
    """Shown in the ledger instead of the key."""
    key: str | None = None
    """What clients send; at least 16 characters, best as `${VARIABLE}`."""
    hash: str | None = None
    """Instead of `key`: its hash, as `freehold keys add` prints it."""
    models: list[Name] | None = None
    """Names this key may ask for; none means all."""
    requests_per_minute: Positive | None = None
    """Over this, 429."""
    providers: list[Name] | None = None
    """Providers that may answer it (`own` for owned models); none means all."""
    label: str | None = None
    """The least label of its requests, such as `confidential`; headers can only raise it."""
    environment: Name | None = None
    """The environment its requests belong to, instead of the gateway's."""
    role: Name | None = None
    """What its requests are for: a name under `roles`."""
    objective: Objective | None = None
    """Instead of the objective of the route that it asks for."""
    budget: str | None = None
    """Most that it may spend, such as `$200/month`, `$30/week` or `$5/day` (UTC)."""
    tokens_per_minute: Positive | None = None
    """Input and output tokens together; over this, 429."""
    expires: str | None = None
    """ISO 8601 date or time after which the key is refused."""


class Breaker(Struct, forbid_unknown_fields=True, omit_defaults=True):
    """A deployment that fails `failures` times in a row is left alone for `cooldown` seconds, then tried once."""

    failures: Positive = 5
    """Failures in a row that open it."""
    cooldown: Seconds = 15.0
    """Seconds until the next try; it grows with every time it opens again."""
    share: Annotated[float, Meta(gt=0, le=1)] = 0.5
    """Or this share of the recent calls failed."""
    volume: Positive = 20
    """Recent calls below which the share says nothing."""


class Early(Struct, forbid_unknown_fields=True, omit_defaults=True):
    """The beginning of a stream is held back until there is this much of it; then the client sees it at once."""

    seconds: Annotated[float, Meta(ge=0, le=10)] = 2.0
    """Longest time that what comes before the first content is held back."""
    bytes: Annotated[int, Meta(ge=0, le=65536)] = 0
    """Bytes of content that are held back too; 0: the first content is shown at once."""


class Config(Struct, forbid_unknown_fields=True, omit_defaults=True):
    """The whole of freehold.yaml."""

    server: Server = field(default_factory=Server)
    """Where the gateway listens."""
    providers: dict[Name, Provider] = field(default_factory=dict)
    """Rented providers and model servers, by name. The name is the first part of `provider/model`."""
    own: list[Owned] = field(default_factory=list)
    """Models that the gateway runs itself."""
    engines: Engines = field(default_factory=Engines)
    """How owned models share this machine."""
    models: dict[Name, list[Name] | Auto] = field(default_factory=dict)
    """An alias: deployments in order of preference; or a route with its rules."""
    roles: dict[Name, Role] = field(default_factory=dict)
    """Kinds of work, such as `bulk` and `customer-facing`."""
    environment: Name | None = None
    """The environment this gateway is, such as `prod`: a name under `environments`."""
    environments: dict[Name, Environment] = field(default_factory=dict)
    """Who may answer in which environment."""
    labels: Labels = field(default_factory=Labels)
    """How sensitive requests are, and who may see them."""
    checks: Checks = field(default_factory=Checks)
    """What is looked for in requests and answers, and what is done about it."""
    cache: Cache = field(default_factory=Cache)
    """Answers that are kept and given again."""
    predictor: str | None = None
    """A file that `freehold route train` wrote; the one in the state folder, else the built-in one, where it is not
    given."""
    learn: bool = True
    """Whether requests that a route decided leave their reading (some thirty numbers, no words) in the ledger, so that
    `freehold route train --ledger` can learn from them. Nothing does that is more sensitive than
    `labels.sinks.training` says (`internal` where it is not given)."""
    keys: list[Key] = field(default_factory=list)
    """Virtual keys, besides those made by `freehold keys add`."""
    timeouts: Timeouts = field(default_factory=Timeouts)
    """Limits of calls upstream."""
    retries: Annotated[int, Meta(ge=0, le=10)] = 2
    """Attempts after the first on the same request, over all deployments together."""
    breaker: Breaker = field(default_factory=Breaker)
    """When a failing deployment is left alone."""
    early: Early = field(default_factory=Early)
    """How much of a stream is held back, so that one that dies at once can still be answered by another model."""
    strict: bool = False
    """True: a field the chosen provider cannot carry is a 400 instead of an `x-freehold-lost` header."""
    fetch_urls: bool = True
    """Whether URLs of images and files are fetched, public https ones only, for a provider that takes bytes only.
    False: such a request is a 400. A provider that takes URLs gets them as they are, either way."""
    responses_days: Annotated[int, Meta(ge=0, le=3650)] = 30
    """How long answers of the Responses API are kept for `previous_response_id` and retrieval; 0 keeps none."""
    box: bool = True
    """Whether the model in the box, own/banking77, is served."""
    discover: bool = True
    """Whether providers with a key in the environment are offered without being configured."""
