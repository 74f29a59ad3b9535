import pytest

from freehold.call.profiles.speaks import dialect_of


@pytest.mark.parametrize(
    ("provider", "model", "usual", "dialect"),
    [
        ("openai", "gpt-5.4", "chat", "chat"),
        ("openai", "o3-pro", "chat", "responses"),
        ("openai", "gpt-5-codex", "chat", "responses"),
        ("openai", "o4-mini-deep-research", "chat", "responses"),
        ("azure", "gpt-5.2-pro", "chat", "responses"),
        ("vertex", "claude-sonnet-4-5@20250929", "gemini", "messages"),
        ("vertex", "gemini-2.5-pro", "gemini", "gemini"),
        ("openrouter", "openai/o3-pro", "chat", "chat"),
    ],
)
def test_some_models_are_spoken_to_in_another_language(provider: str, model: str, usual: str, dialect: str) -> None:
    assert dialect_of(provider, model, usual) == dialect
