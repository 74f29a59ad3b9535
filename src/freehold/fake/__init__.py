"""The fake provider: every dialect that providers speak on one port, answering from a script, keeping its own bill.

It is a product: demos, tests and benchmarks stand on it, and so may those of others. `provider.py` is the object to
start; `script.py` says what can be scripted; `faults/` is the table of everything that can go wrong. The way of a
request: `connection.py` (bytes) -> `routes.py`, `ask.py`, `wants.py` (what is asked) -> `engine.py` (which reply) ->
`answer.py` (what to say) -> `openai.py`, `responses.py`, `anthropic.py`, `gemini.py`, `bedrock.py`, `cohere.py`,
`mistral.py`, `ollama.py` (in which words), or `media.py` (what is no text) -> `wire.py`, `faults/` (as which bytes,
when) -> `served.py` (the bill).
"""

from freehold.fake.provider import FakeProvider
from freehold.fake.script import Call, ErrorBody, Match, Reply, Rule, Script, Tokens
from freehold.fake.served import Row, Served, Totals

__all__ = ["Call", "ErrorBody", "FakeProvider", "Match", "Reply", "Row", "Rule", "Script", "Served", "Tokens", "Totals"]
