"""What a vector is for, in every provider's words.

Retrieval models embed a question and the text that answers it differently, and each API has its own names for that:
Cohere's and Voyage's `input_type`, Gemini's `taskType`, Jina's `task`. Sources:
https://docs.cohere.com/reference/embed, https://docs.voyageai.com/reference/embeddings-api,
https://ai.google.dev/gemini-api/docs/embeddings, https://api.jina.ai/redoc.
"""

from collections.abc import Mapping

TASKS: Mapping[str, tuple[str, ...]] = {
    "query": ("search_query", "retrieval_query", "retrieval.query"),
    "document": ("passage", "search_document", "retrieval_document", "retrieval.passage"),
    "classification": (),
    "clustering": ("separation",),
    "similarity": ("semantic_similarity", "sentence_similarity", "text-matching"),
    "question_answering": ("qa.query",),
    "fact_verification": (),
    "code_query": ("code_retrieval_query", "code.query", "nl2code.query"),
    "code_document": ("code.passage", "nl2code.passage"),
}
"""Canonical word -> others' words for it."""

_CANONICAL = {word: task for task, words in TASKS.items() for word in (task, *words)}

COHERE = {
    "query": "search_query",
    "document": "search_document",
    "classification": "classification",
    "clustering": "clustering",
    "image": "image",
}
VOYAGE = {"query": "query", "document": "document"}
GEMINI = {
    "query": "RETRIEVAL_QUERY",
    "document": "RETRIEVAL_DOCUMENT",
    "classification": "CLASSIFICATION",
    "clustering": "CLUSTERING",
    "similarity": "SEMANTIC_SIMILARITY",
    "question_answering": "QUESTION_ANSWERING",
    "fact_verification": "FACT_VERIFICATION",
    "code_query": "CODE_RETRIEVAL_QUERY",
}
GEMINI_PROMPTS = {
    "query": "task: search result | query: ",
    "classification": "task: classification | query: ",
    "clustering": "task: clustering | query: ",
    "similarity": "task: sentence similarity | query: ",
    "question_answering": "task: question answering | query: ",
    "fact_verification": "task: fact checking | query: ",
    "code_query": "task: code retrieval | query: ",
}
"""gemini-embedding-2 ignores `taskType` and takes the task as words before the text instead."""
JINA = {
    "query": "retrieval.query",
    "document": "retrieval.passage",
    "classification": "classification",
    "clustering": "separation",
    "similarity": "text-matching",
    "code_query": "code.query",
    "code_document": "code.passage",
}


def read_task(word: str) -> str:
    """The canonical word for a provider's; an unknown one stays as it is."""
    return _CANONICAL.get(word.lower(), word)
