"""DeepSeek's own API. Read in 2026-11: api-docs.deepseek.com/guides/thinking_mode.

Thinking is on by default. Temperature and penalties do nothing then but are not refused, so they are sent: with
thinking switched off by the client they work.
"""

from msgspec.structs import replace

from freehold.dialects.traits import Traits


def profile(model: str, base: Traits) -> Traits:
    return replace(
        base,
        # After a tool call the thoughts must come back: "The reasoning_content in the thinking mode must be passed
        # back to the API" (400). On other turns they are ignored, so sending them always is right. Only R1, retired
        # in 2026-07, refused them.
        replay_reasoning="reasoning_content",
        demands_reasoning=True,
        thinking="effort",  # reasoning_effort: low, high, max
        # "Thinking mode does not support this tool_choice" (400) for required and for a named function:
        # github.com/deepseek-ai/DeepSeek-V3/issues/1376. deepseek-chat does not think.
        force_tool=model == "deepseek-chat",
        # reasoning_details in a message is refused: github.com/maximhq/bifrost/pull/5277
        strict_messages=True,
    )
