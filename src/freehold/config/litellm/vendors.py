"""LiteLLM's provider prefixes, and what each is here. Data only.

Sources: https://docs.litellm.ai/docs/providers, and litellm/constants.py and
litellm/litellm_core_utils/get_llm_provider_logic.py of github.com/BerriAI/litellm for addresses and variables.
A vendor with a `row` is built in here; one with only a `base_url` speaks OpenAI's chat dialect there; one with neither
needs `api_base` in the source, or cannot be called from here at all.
"""

import re

from msgspec import Struct

from freehold.config.schema import DialectName


class Vendor(Struct, frozen=True):
    """`rows`: names of built-in providers, the first that exists is taken."""

    title: str
    rows: tuple[str, ...] = ()
    key: str | None = None
    """The variable LiteLLM reads the key from where none is given."""
    base_url: str | None = None
    dialect: DialectName = "chat"
    host: str | None = None
    """Its own API's host: an `api_base` there is no other place."""
    local: bool = False
    """Runs on one's own machines; counts as owned."""
    cloud: bool = False
    """Signs its requests by a cloud's own means, so an address alone does not help."""
    own_address: bool = False
    """A built-in provider at an address of one's own."""


def _there(title: str, key: str, base_url: str) -> Vendor:
    return Vendor(title, key=key, base_url=base_url)


VENDORS: dict[str, Vendor] = {
    "openai": Vendor("OpenAI", ("openai",), "OPENAI_API_KEY", host="api.openai.com"),
    "text-completion-openai": Vendor("OpenAI", ("openai",), "OPENAI_API_KEY", host="api.openai.com"),
    "anthropic": Vendor("Anthropic", ("anthropic",), "ANTHROPIC_API_KEY", dialect="messages", host="api.anthropic.com"),
    "gemini": Vendor(
        "Google Gemini", ("gemini",), "GEMINI_API_KEY", dialect="gemini", host="generativelanguage.googleapis.com"
    ),
    "xai": Vendor("xAI", ("xai",), "XAI_API_KEY", host="api.x.ai"),
    "mistral": Vendor("Mistral", ("mistral",), "MISTRAL_API_KEY", host="api.mistral.ai"),
    "deepseek": Vendor("DeepSeek", ("deepseek",), "DEEPSEEK_API_KEY", host="api.deepseek.com"),
    "cohere": Vendor("Cohere", ("cohere",), "COHERE_API_KEY", host="api.cohere.ai"),
    "cohere_chat": Vendor("Cohere", ("cohere",), "COHERE_API_KEY", host="api.cohere.ai"),
    "groq": Vendor("Groq", ("groq",), "GROQ_API_KEY", host="api.groq.com"),
    "together_ai": Vendor("Together AI", ("together",), "TOGETHERAI_API_KEY", host="api.together.xyz"),
    "fireworks_ai": Vendor("Fireworks AI", ("fireworks",), "FIREWORKS_AI_API_KEY", host="api.fireworks.ai"),
    "openrouter": Vendor("OpenRouter", ("openrouter",), "OPENROUTER_API_KEY", host="openrouter.ai"),
    "huggingface": Vendor("Hugging Face", ("huggingface",), "HF_TOKEN", host="router.huggingface.co"),
    "cerebras": Vendor("Cerebras", ("cerebras",), "CEREBRAS_API_KEY", host="api.cerebras.ai"),
    "perplexity": Vendor(
        "Perplexity", ("perplexity",), "PERPLEXITYAI_API_KEY", "https://api.perplexity.ai", host="api.perplexity.ai"
    ),
    "voyage": Vendor(
        "Voyage AI", ("voyage",), "VOYAGE_API_KEY", "https://api.voyageai.com/v1", host="api.voyageai.com"
    ),
    "jina_ai": Vendor("Jina AI", ("jina",), "JINA_AI_API_KEY", "https://api.jina.ai/v1", host="api.jina.ai"),
    # Servers on one's own machines.
    "hosted_vllm": Vendor("vLLM", ("vllm",), "HOSTED_VLLM_API_KEY", local=True),
    "vllm": Vendor("vLLM", ("vllm",), local=True),
    "ollama": Vendor("Ollama", ("ollama",), local=True),
    "ollama_chat": Vendor("Ollama", ("ollama",), local=True),
    "lm_studio": Vendor("LM Studio", ("lmstudio",), "LM_STUDIO_API_KEY", local=True),
    "llamafile": Vendor("llamafile", ("llamacpp",), local=True),
    "xinference": Vendor("Xinference", key="XINFERENCE_API_KEY", base_url="http://127.0.0.1:9997/v1", local=True),
    "docker_model_runner": Vendor("Docker Model Runner", local=True),
    # Known addresses that speak OpenAI's chat dialect.
    "ai21": _there("AI21", "AI21_API_KEY", "https://api.ai21.com/studio/v1"),
    "ai21_chat": _there("AI21", "AI21_API_KEY", "https://api.ai21.com/studio/v1"),
    "dashscope": _there("DashScope", "DASHSCOPE_API_KEY", "https://dashscope-intl.aliyuncs.com/compatible-mode/v1"),
    "deepinfra": _there("DeepInfra", "DEEPINFRA_API_KEY", "https://api.deepinfra.com/v1/openai"),
    "featherless_ai": _there("Featherless", "FEATHERLESS_AI_API_KEY", "https://api.featherless.ai/v1"),
    "friendliai": _there("FriendliAI", "FRIENDLI_TOKEN", "https://api.friendli.ai/serverless/v1"),
    "hyperbolic": _there("Hyperbolic", "HYPERBOLIC_API_KEY", "https://api.hyperbolic.xyz/v1"),
    "lambda_ai": _there("Lambda", "LAMBDA_API_KEY", "https://api.lambda.ai/v1"),
    "meta_llama": _there("Llama API", "LLAMA_API_KEY", "https://api.llama.com/compat/v1"),
    "moonshot": _there("Moonshot", "MOONSHOT_API_KEY", "https://api.moonshot.ai/v1"),
    "nebius": _there("Nebius", "NEBIUS_API_KEY", "https://api.studio.nebius.ai/v1"),
    "nscale": _there("Nscale", "NSCALE_API_KEY", "https://inference.api.nscale.com/v1"),
    "nvidia_nim": _there("NVIDIA NIM", "NVIDIA_NIM_API_KEY", "https://integrate.api.nvidia.com/v1"),
    "sambanova": _there("SambaNova", "SAMBANOVA_API_KEY", "https://api.sambanova.ai/v1"),
    "vercel_ai_gateway": _there("Vercel AI Gateway", "VERCEL_AI_GATEWAY_API_KEY", "https://ai-gateway.vercel.sh/v1"),
    "wandb": _there("Weights & Biases", "WANDB_API_KEY", "https://api.inference.wandb.ai/v1"),
    # An address of one's own.
    "azure": Vendor("Azure OpenAI", ("azure",), "AZURE_API_KEY", own_address=True),
    "azure_text": Vendor("Azure OpenAI", ("azure",), "AZURE_API_KEY", own_address=True),
    "azure_ai": Vendor("Azure AI Foundry", ("azure",), "AZURE_AI_API_KEY", own_address=True),
    "custom_openai": Vendor("an OpenAI-compatible server"),
    "openai_like": Vendor("an OpenAI-compatible server", key="OPENAI_LIKE_API_KEY"),
    "litellm_proxy": Vendor("a LiteLLM proxy", key="LITELLM_PROXY_API_KEY"),
    "databricks": Vendor("Databricks", key="DATABRICKS_API_KEY"),
    "snowflake": Vendor("Snowflake", key="SNOWFLAKE_JWT"),
    # Clouds with their own way to sign.
    "bedrock": Vendor("Amazon Bedrock", ("bedrock",), dialect="converse", cloud=True),
    "bedrock_converse": Vendor("Amazon Bedrock", ("bedrock",), dialect="converse", cloud=True),
    "sagemaker": Vendor("Amazon SageMaker", cloud=True),
    "sagemaker_chat": Vendor("Amazon SageMaker", cloud=True),
    "vertex_ai": Vendor("Google Vertex AI", ("vertex",), dialect="gemini", cloud=True),
    "vertex_ai_beta": Vendor("Google Vertex AI", ("vertex",), dialect="gemini", cloud=True),
    "watsonx": Vendor("IBM watsonx", cloud=True),
    "oci": Vendor("Oracle Cloud", cloud=True),
    "replicate": Vendor("Replicate", cloud=True),
    "github_copilot": Vendor("GitHub Copilot", cloud=True),
    "auto_router": Vendor("LiteLLM's own router", cloud=True),
}

_MADE_BY = (
    (re.compile(r"gpt-|chatgpt-|o[1-9](?:-|$)|text-embedding-|dall-e|whisper-|tts-|ft:gpt-|babbage|davinci"), "openai"),
    (re.compile(r"claude-"), "anthropic"),
    (re.compile(r"gemini-|imagen-"), "vertex_ai"),
    (re.compile(r"command|embed-(?:english|multilingual)|rerank-"), "cohere"),
    (re.compile(r"mistral-|codestral-|ministral-"), "mistral"),
    (re.compile(r"deepseek-(?:chat|reasoner|coder)$"), "deepseek"),
    (re.compile(r"grok-"), "xai"),
)
"""A name without a prefix is looked up in LiteLLM's price list; these are the families that stand there bare."""

_ROUTES = {
    "openai": ("responses", "chat", "completions"),
    "azure": ("responses", "o_series", "gpt5_series", "chat"),
    "bedrock": ("converse", "converse_like", "invoke", "async_invoke"),
    "anthropic": ("messages",),
}
"""Words between prefix and model that choose one of the vendor's own APIs."""


def split(model: str, given: str | None = None) -> tuple[str | None, str, str | None]:
    """Returns LiteLLM's prefix (None: it has none that is known), the vendor's name of the model, and the route.

    `given` is `custom_llm_provider`, which wins over the prefix.
    """
    head, slash, rest = model.partition("/")
    prefix: str | None = head if slash and head in VENDORS else None
    name = rest if prefix else model
    if given in VENDORS:
        prefix = given
    elif prefix is None:
        prefix = next((vendor for pattern, vendor in _MADE_BY if pattern.match(model)), None)
    route, slash, rest = name.partition("/")
    if slash and route in _ROUTES.get(prefix or "", ()):
        return prefix, rest, route
    return prefix, name, None
