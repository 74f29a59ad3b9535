"""One scale for how much a model may think, whatever the dialect calls it.

Three vocabularies meet here: effort words (OpenAI `reasoning_effort`, Anthropic `output_config.effort`), token budgets
(Anthropic `budget_tokens`, Gemini 2.5 `thinkingBudget`) and Gemini 3's `thinkingLevel`. As of 2026-11:

    effort    budget (tokens)   Anthropic effort   Gemini level
    minimal   1,024             low                low
    low       2,048             low                low
    medium    8,192             medium             medium
    high      24,576            high               high
    xhigh     32,768            xhigh              high
    max       49,152            max                high

8,192 and 24,576 are what Google's own OpenAI endpoint uses for medium and high
(https://ai.google.dev/gemini-api/docs/openai#thinking); 1,024 is the least Anthropic accepts. A budget goes back to the
word whose budget is the nearest one not below it. Gemini 3 Pro knows no `minimal` level and no dialect can tell it from
Flash, so that word becomes `low`.
"""

from freehold.dialects.conversation import Reasoning

BUDGETS = {"minimal": 1024, "low": 2048, "medium": 8192, "high": 24576, "xhigh": 32768, "max": 49152}

ANTHROPIC_EFFORT = {"minimal": "low", "low": "low", "medium": "medium", "high": "high", "xhigh": "xhigh", "max": "max"}

GEMINI_LEVEL = {
    "minimal": "low",
    "low": "low",
    "medium": "medium",
    "high": "high",
    "xhigh": "high",
    "max": "high",
}

GEMINI_TAG = "gemini:"
"""Put before a thought's signature that is Google's: a client may bring it back to a conversation with Anthropic, who
would refuse it. Signatures without a tag are Anthropic's."""

OPENAI_TAG = "openai:"
"""The same before the `encrypted_content` of OpenAI's reasoning items."""


def effort_of(reasoning: Reasoning) -> str | None:
    """The effort word asked for, or the one a budget amounts to; None where the client left it to the model."""
    if reasoning.effort is not None:
        return reasoning.effort if reasoning.effort in BUDGETS else None
    if reasoning.budget is None or reasoning.budget <= 0:
        return None
    return next((word for word, budget in BUDGETS.items() if reasoning.budget <= budget), "max")


def budget_of(reasoning: Reasoning) -> int | None:
    """The budget asked for, or the one an effort word amounts to; None where the client left it to the model."""
    if reasoning.budget is not None:
        return reasoning.budget
    return BUDGETS.get(reasoning.effort) if reasoning.effort is not None else None
