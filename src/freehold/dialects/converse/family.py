"""Model ids of Bedrock: whose model it is, and the path it is called by.

An id is `[REGION.]MAKER.MODEL`, where REGION is a group of regions (us, eu, apac, global, ...), or the ARN of one, or
of a profile made by the customer, which does not tell the model
(https://docs.aws.amazon.com/bedrock/latest/userguide/inference-profiles-support.html). Converse is one API for all of
them, but what stands outside it (`additionalModelRequestFields`) is each maker's own, and so are some of its limits.
"""

from urllib.parse import quote

from freehold.dialects.traits import Traits

MAKERS = frozenset(
    {
        "ai21", "amazon", "anthropic", "cohere", "deepseek", "google", "luma", "meta", "minimax", "mistral",
        "moonshot", "moonshotai", "nvidia", "openai", "qwen", "stability", "twelvelabs", "writer", "zai",
    }
)  # fmt: skip

TOP_K = {"anthropic": "top_k", "mistral": "top_k", "cohere": "k"}
"""Where `top_k` stands among the additional fields; Amazon's models want it in an `inferenceConfig` of their own."""

CACHING = {"anthropic": ("tools", "system", "messages"), "amazon": ("system", "messages")}
"""Where a cache point is accepted: https://docs.aws.amazon.com/bedrock/latest/userguide/prompt-caching.html."""


def family(model: str, traits: Traits) -> str:
    """The maker of `model`, or "" where nothing tells. Only Claude thinks with a budget or adaptively."""
    for word in model.rpartition("/")[2].split(".")[:2]:
        if word in MAKERS:
            return word
    return "anthropic" if traits.thinking in ("budget", "adaptive") else ""


def path(model: str, stream: bool) -> str:
    """The path of Converse. The id is one segment: `:` and the `/` of an ARN are percent-encoded, as the SDKs do."""
    return f"/model/{_segment(model)}/{'converse-stream' if stream else 'converse'}"


def count_path(model: str) -> str:
    return f"/model/{_segment(model)}/count-tokens"


def invoke_path(model: str, stream: bool = False) -> str:
    """The path of InvokeModel, for embeddings and for Claude in Anthropic's own language."""
    return f"/model/{_segment(model)}/{'invoke-with-response-stream' if stream else 'invoke'}"


def _segment(model: str) -> str:
    """One segment of a path; `.` and `..` would be another path."""
    return quote(model, safe="") if model.strip(".") else model.replace(".", "%2E")
