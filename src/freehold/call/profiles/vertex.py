"""Google Vertex AI: Gemini as at Google's own API, and Claude as at Anthropic's."""

from freehold.call.profiles import anthropic, gemini
from freehold.dialects.traits import Traits


def profile(model: str, base: Traits) -> Traits:
    return anthropic.profile(model, base) if model.startswith("claude-") else gemini.profile(model, base)
