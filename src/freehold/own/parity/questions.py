"""What the gate asks: texts that find tokenizers out (digits, scripts, spaces, line ends, contractions) and are long
enough to leave a short attention window, and conversations that use every part of a chat template.

Letters with accents are single characters: llama.cpp does not compose them as some tokenizers do.

Nothing here is secret or personal, and nothing depends on the day.
"""

from typing import Any

from freehold.own.parity.answers import Conversation, Questions

TEXTS = (
    "The weather tomorrow will be",
    "In 1969 about 650,000,000 people saw it; 17.5% of them didn't believe what they'd seen. Here's why:\n",
    'def total(prices: list[float], *, rate=0.19) -> float:\n    """Adds the tax."""\n\treturn sum(prices) * (1 + rate)'
    "\n\n\nprint(",
    "Größe, naïve café, señor – Ελλάδα, Москва, 東京は大きい, 你好，世界！ 안녕하세요 \U0001f600\U0001f680",
    '{"city": "Paris",  "unit": "celsius", "values": [1, 22, 333, 4444, 55555, null, true]}   \n\n  trailing  ',
    "A model answers a question with the words that it has seen together before, one token after another, until the "
    "end. The house has many rooms, and every room has a door; behind every door there is a question, and behind the "
    "question an answer, which is WRITTEN IN CAPITALS, or not; who could say?",
)

WEATHER: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Returns the weather of a city.",
        "parameters": {
            "type": "object",
            "properties": {
                "city": {"type": "string", "description": "Name of the city"},
                "unit": {"type": "string", "enum": ["celsius", "fahrenheit"]},
            },
            "required": ["city"],
        },
    },
}
CALL: dict[str, Any] = {
    "id": "call00001",
    "type": "function",
    "function": {"name": "get_weather", "arguments": '{"city": "Paris", "unit": "celsius"}'},
}


def _said(role: str, content: str) -> dict[str, Any]:
    return {"role": role, "content": content}


CONVERSATIONS = (
    Conversation("single turn", [_said("user", "How is the weather in Paris?")]),
    Conversation(
        "several turns",
        [
            _said("user", "Hello!"),
            _said("assistant", "Hello. What can I do?"),
            _said("user", "  Count to 3,\nthen stop. "),
        ],
    ),
    Conversation("system", [_said("system", "Answer in one word."), _said("user", "Is 2 < 3 & 4 > 3?")]),
    Conversation("tools", [_said("user", "How is the weather in Paris?")], [WEATHER]),
    Conversation(
        "tool result",
        [
            _said("user", "How is the weather in Paris?"),
            {"role": "assistant", "content": "", "tool_calls": [CALL]},
            {"role": "tool", "tool_call_id": "call00001", "name": "get_weather", "content": '{"celsius": 17}'},
        ],
        [WEATHER],
    ),
)


def questions() -> Questions:
    """Returns what every artefact is asked."""
    return Questions(list(TEXTS), list(CONVERSATIONS))
