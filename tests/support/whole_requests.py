"""One request of each client dialect that uses nearly everything the dialect has: where tests and fuzzing start from.

`REQUESTS` has the body by dialect, `PATHS` where the gateway takes it. The model is the caller's to fill in.
"""

import copy
from typing import Any

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
PDF = "JVBERi0xLjcKJQ=="
WAV = "UklGRiQAAABXQVZFZm10IA=="
SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string", "enum": ["Bern", "Rome"]}, "days": {"type": "integer", "minimum": 1}},
    "required": ["city"],
    "additionalProperties": False,
}
ARGUMENTS = '{"city": "Bern", "days": 2}'

_CHAT: dict[str, Any] = {
    "model": "m",
    "messages": [
        {"role": "system", "content": "Be brief."},
        {
            "role": "user",
            "name": "ann",
            "content": [
                {"type": "text", "text": "What is this?"},
                {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}", "detail": "low"}},
                {"type": "input_audio", "input_audio": {"data": WAV, "format": "wav"}},
                {"type": "file", "file": {"filename": "a.pdf", "file_data": f"data:application/pdf;base64,{PDF}"}},
            ],
        },
        {
            "role": "assistant",
            "content": "Let me look.",
            "reasoning_content": "It may rain.",
            "tool_calls": [
                {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": ARGUMENTS}}
            ],
        },
        {"role": "tool", "tool_call_id": "call_1", "content": [{"type": "text", "text": "rain"}]},
        {"role": "assistant", "content": None, "refusal": "I cannot."},
        {"role": "user", "content": "And tomorrow?"},
    ],
    "tools": [
        {
            "type": "function",
            "function": {"name": "weather", "description": "d", "parameters": SCHEMA, "strict": True},
        },
        {"type": "custom", "custom": {"name": "free", "description": "d", "format": {"type": "text"}}},
    ],
    "tool_choice": {"type": "function", "function": {"name": "weather"}},
    "parallel_tool_calls": False,
    "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": SCHEMA, "strict": True}},
    "reasoning_effort": "low",
    "max_completion_tokens": 50,
    "temperature": 0.5,
    "top_p": 0.9,
    "seed": 7,
    "stop": ["END"],
    "n": 1,
    "presence_penalty": 0.1,
    "frequency_penalty": 0.1,
    "logit_bias": {"50256": -100},
    "logprobs": True,
    "top_logprobs": 2,
    "stream": False,
    "stream_options": None,
    "user": "u",
    "metadata": {"a": "b"},
    "service_tier": "auto",
    "modalities": ["text"],
    "verbosity": "low",
    "store": False,
    "prompt_cache_key": "k",
    "safety_identifier": "s",
}
_RESPONSES: dict[str, Any] = {
    "model": "m",
    "instructions": "Be brief.",
    "input": [
        {
            "type": "message",
            "role": "user",
            "content": [
                {"type": "input_text", "text": "What is this?"},
                {"type": "input_image", "image_url": f"data:image/png;base64,{PIXEL}", "detail": "auto"},
                {"type": "input_file", "filename": "a.pdf", "file_data": f"data:application/pdf;base64,{PDF}"},
            ],
        },
        {
            "type": "reasoning",
            "id": "rs_1",
            "summary": [{"type": "summary_text", "text": "thought"}],
            "encrypted_content": "gAAA",
        },
        {
            "type": "message",
            "id": "msg_1",
            "role": "assistant",
            "status": "completed",
            "content": [{"type": "output_text", "text": "Rain.", "annotations": []}],
        },
        {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "weather", "arguments": ARGUMENTS},
        {"type": "function_call_output", "call_id": "call_1", "output": "rain"},
        {"type": "custom_tool_call", "id": "ctc_1", "call_id": "call_2", "name": "free", "input": "x"},
        {"type": "custom_tool_call_output", "call_id": "call_2", "output": [{"type": "input_text", "text": "y"}]},
        {"role": "user", "content": "And tomorrow?"},
    ],
    "tools": [
        {"type": "function", "name": "weather", "description": "d", "parameters": SCHEMA, "strict": True},
        {"type": "custom", "name": "free", "format": {"type": "text"}},
        {"type": "web_search"},
    ],
    "tool_choice": {"type": "function", "name": "weather"},
    "parallel_tool_calls": True,
    "text": {"format": {"type": "json_schema", "name": "n", "schema": SCHEMA, "strict": True}, "verbosity": "low"},
    "reasoning": {"effort": "low", "summary": "auto"},
    "include": ["reasoning.encrypted_content"],
    "max_output_tokens": 50,
    "temperature": 0.5,
    "top_p": 0.9,
    "top_logprobs": 2,
    "stream": False,
    "store": False,
    "background": False,
    "truncation": "disabled",
    "metadata": {"a": "b"},
    "user": "u",
    "service_tier": "auto",
    "prompt_cache_key": "k",
    "safety_identifier": "s",
}
_MESSAGES: dict[str, Any] = {
    "model": "m",
    "max_tokens": 50,
    "system": [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral", "ttl": "1h"}}],
    "messages": [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "What is this?"},
                {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXEL}},
                {
                    "type": "document",
                    "source": {"type": "base64", "media_type": "application/pdf", "data": PDF},
                    "title": "a.pdf",
                    "context": "c",
                    "citations": {"enabled": True},
                },
            ],
        },
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "It may rain.", "signature": "EqQB"},
                {"type": "redacted_thinking", "data": "EmwK"},
                {"type": "text", "text": "Let me look.", "citations": None},
                {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"city": "Bern"}},
            ],
        },
        {
            "role": "user",
            "content": [
                {
                    "type": "tool_result",
                    "tool_use_id": "toolu_1",
                    "content": [{"type": "text", "text": "rain"}],
                    "is_error": False,
                }
            ],
        },
    ],
    "tools": [
        {"name": "weather", "description": "d", "input_schema": SCHEMA, "strict": True},
        {"type": "web_search_20250305", "name": "web_search", "max_uses": 1},
    ],
    "tool_choice": {"type": "auto", "disable_parallel_tool_use": True},
    "thinking": {"type": "enabled", "budget_tokens": 1024},
    "output_config": {"format": {"type": "json_schema", "schema": SCHEMA}, "effort": "low"},
    "temperature": 1.0,
    "top_p": 0.9,
    "top_k": 5,
    "stop_sequences": ["END"],
    "stream": False,
    "metadata": {"user_id": "u"},
    "service_tier": "auto",
}
_GEMINI: dict[str, Any] = {
    "systemInstruction": {"parts": [{"text": "Be brief."}]},
    "contents": [
        {
            "role": "user",
            "parts": [
                {"text": "What is this?"},
                {"inlineData": {"mimeType": "image/png", "data": PIXEL}},
                {"fileData": {"mimeType": "application/pdf", "fileUri": "gs://bucket/a.pdf"}},
                {"inline_data": {"mime_type": "audio/wav", "data": WAV}},
            ],
        },
        {
            "role": "model",
            "parts": [
                {"text": "It may rain.", "thought": True},
                {"functionCall": {"id": "f1", "name": "weather", "args": {"city": "Bern"}}, "thoughtSignature": "AAAA"},
                {"executableCode": {"language": "PYTHON", "code": "1"}},
            ],
        },
        {
            "role": "user",
            "parts": [{"functionResponse": {"id": "f1", "name": "weather", "response": {"result": "rain"}}}],
        },
    ],
    "tools": [
        {"functionDeclarations": [{"name": "weather", "description": "d", "parametersJsonSchema": SCHEMA}]},
        {"googleSearch": {}},
    ],
    "toolConfig": {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["weather"]}},
    "safetySettings": [{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_NONE"}],
    "generationConfig": {
        "temperature": 0.5,
        "topP": 0.9,
        "topK": 5,
        "candidateCount": 1,
        "maxOutputTokens": 50,
        "stopSequences": ["END"],
        "seed": 7,
        "presencePenalty": 0.1,
        "frequencyPenalty": 0.1,
        "responseLogprobs": True,
        "logprobs": 2,
        "responseMimeType": "application/json",
        "responseSchema": {"type": "OBJECT", "properties": {"city": {"type": "STRING", "nullable": True}}},
        "responseModalities": ["TEXT"],
        "speechConfig": {"voiceConfig": {"prebuiltVoiceConfig": {"voiceName": "Kore"}}},
        "thinkingConfig": {"includeThoughts": True, "thinkingBudget": 100},
    },
    "labels": {"a": "b"},
}
_OLLAMA_OPTIONS = {"temperature": 0.5, "top_p": 0.9, "top_k": 5, "seed": 7, "num_predict": 50, "stop": ["END"]}
_OLLAMA: dict[str, Any] = {
    "model": "m",
    "messages": [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "What is this?", "images": [PIXEL]},
        {
            "role": "assistant",
            "content": "",
            "thinking": "It may rain.",
            "tool_calls": [{"function": {"name": "weather", "arguments": {"city": "Bern"}}}],
        },
        {"role": "tool", "tool_name": "weather", "content": "rain"},
    ],
    "tools": [{"type": "function", "function": {"name": "weather", "description": "d", "parameters": SCHEMA}}],
    "format": SCHEMA,
    "think": "low",
    "stream": False,
    "keep_alive": "5m",
    "logprobs": True,
    "top_logprobs": 2,
    "options": _OLLAMA_OPTIONS,
}
_COHERE: dict[str, Any] = {
    "model": "m",
    "messages": [
        {"role": "system", "content": "Be brief."},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "What is this?"},
                {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}", "detail": "auto"}},
            ],
        },
        {
            "role": "assistant",
            "tool_plan": "I will look.",
            "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "weather", "arguments": ARGUMENTS}}],
        },
        {
            "role": "tool",
            "tool_call_id": "c1",
            "content": [{"type": "document", "document": {"id": "d", "data": {"text": "rain"}}}],
        },
        {
            "role": "assistant",
            "content": [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "Rain."}],
            "citations": [{"start": 0, "end": 4, "text": "Rain", "sources": [{"type": "tool", "id": "c1:0"}]}],
        },
        {"role": "user", "content": "And tomorrow?"},
    ],
    "documents": ["text", {"id": "d1", "data": {"title": "t", "text": "x"}}],
    "citation_options": {"mode": "FAST"},
    "tools": [{"type": "function", "function": {"name": "weather", "description": "d", "parameters": SCHEMA}}],
    "strict_tools": True,
    "tool_choice": "REQUIRED",
    "response_format": {"type": "json_object", "schema": SCHEMA},
    "thinking": {"type": "enabled", "token_budget": 100},
    "safety_mode": "OFF",
    "max_tokens": 50,
    "stop_sequences": ["END"],
    "temperature": 0.5,
    "p": 0.9,
    "k": 5,
    "seed": 7,
    "frequency_penalty": 0.1,
    "presence_penalty": 0.1,
    "logprobs": True,
    "stream": False,
    "priority": 0,
}
_MISTRAL: dict[str, Any] = {
    "model": "m",
    "messages": [
        {"role": "system", "content": "Be brief."},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "What is this?"},
                {"type": "image_url", "image_url": f"data:image/png;base64,{PIXEL}"},
                {"type": "document_url", "document_url": f"data:application/pdf;base64,{PDF}", "document_name": "a"},
                {"type": "input_audio", "input_audio": WAV},
            ],
        },
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}], "closed": True},
                {"type": "text", "text": "Rain."},
                {"type": "reference", "reference_ids": [1]},
            ],
            "tool_calls": [{"id": "abcdefghi", "function": {"name": "weather", "arguments": {"city": "Bern"}}}],
            "prefix": False,
        },
        {"role": "tool", "tool_call_id": "abcdefghi", "name": "weather", "content": "rain"},
    ],
    "tools": [{"type": "function", "function": {"name": "weather", "description": "d", "parameters": SCHEMA}}],
    "tool_choice": "any",
    "parallel_tool_calls": False,
    "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": SCHEMA, "strict": True}},
    "max_tokens": 50,
    "temperature": 0.5,
    "top_p": 0.9,
    "random_seed": 7,
    "stop": ["END"],
    "n": 1,
    "safe_prompt": True,
    "prompt_mode": "reasoning",
    "stream": False,
}

REQUESTS: dict[str, dict[str, Any]] = {
    "chat": _CHAT,
    "completions": {
        "model": "m",
        "prompt": "Once",
        "suffix": None,
        "max_tokens": 50,
        "temperature": 0.5,
        "top_p": 0.9,
        "n": 1,
        "stop": ["END"],
        "logprobs": 2,
        "echo": False,
        "seed": 7,
        "best_of": 1,
        "presence_penalty": 0.1,
        "frequency_penalty": 0.1,
        "logit_bias": {"50256": -100},
        "user": "u",
        "stream": False,
    },
    "responses": _RESPONSES,
    "messages": _MESSAGES,
    "count_tokens": {name: _MESSAGES[name] for name in ("model", "system", "messages", "tools", "tool_choice")},
    "gemini": _GEMINI,
    "gemini_stream": _GEMINI,
    "gemini_count": {"generateContentRequest": {"model": "models/m", **_GEMINI}},
    "gemini_embed": {
        "content": {"parts": [{"text": "hello"}]},
        "taskType": "RETRIEVAL_QUERY",
        "title": "t",
        "outputDimensionality": 4,
    },
    "gemini_embed_batch": {"requests": [{"model": "models/m", "content": {"parts": [{"text": "hello"}]}}]},
    "ollama": _OLLAMA,
    "ollama_generate": {
        "model": "m",
        "prompt": "Once",
        "suffix": "",
        "system": "Be brief.",
        "template": "",
        "images": [PIXEL],
        "context": [1, 2],
        "format": SCHEMA,
        "think": False,
        "raw": False,
        "stream": False,
        "keep_alive": 60,
        "options": _OLLAMA_OPTIONS,
    },
    "ollama_embed": {
        "model": "m",
        "input": ["hello"],
        "truncate": True,
        "dimensions": 4,
        "keep_alive": "5m",
        "options": {},
    },
    "cohere": _COHERE,
    "mistral": _MISTRAL,
    "embeddings": {
        "model": "m",
        "input": ["hello"],
        "encoding_format": "float",
        "dimensions": 4,
        "user": "u",
        "input_type": "query",
    },
    "rerank": {
        "model": "m",
        "query": "rain",
        "documents": ["rain", {"text": "sun"}],
        "top_n": 1,
        "return_documents": True,
        "max_tokens_per_doc": 100,
    },
    "moderations": {
        "model": "m",
        "input": [
            {"type": "text", "text": "hello"},
            {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}},
        ],
    },
    "images": {
        "model": "m",
        "prompt": "a cat",
        "n": 1,
        "size": "1024x1024",
        "quality": "low",
        "background": "auto",
        "output_format": "png",
        "output_compression": 90,
        "moderation": "auto",
        "response_format": "b64_json",
        "style": "vivid",
        "stream": False,
        "partial_images": 0,
        "user": "u",
    },
    "image_edits": {
        "model": "m",
        "prompt": "a cat",
        "images": [{"image_url": f"data:image/png;base64,{PIXEL}"}],
        "mask": {"image_url": f"data:image/png;base64,{PIXEL}"},
        "n": 1,
        "size": "1024x1024",
    },
    "speech": {
        "model": "m",
        "input": "hello",
        "voice": "alloy",
        "instructions": "softly",
        "response_format": "wav",
        "speed": 1.0,
        "stream_format": "audio",
    },
}

PATHS = {
    "chat": "/v1/chat/completions",
    "completions": "/v1/completions",
    "responses": "/v1/responses",
    "messages": "/v1/messages",
    "count_tokens": "/v1/messages/count_tokens",
    "gemini": "/v1beta/models/{model}:generateContent",
    "gemini_stream": "/v1beta/models/{model}:streamGenerateContent?alt=sse",
    "gemini_count": "/v1beta/models/{model}:countTokens",
    "gemini_embed": "/v1beta/models/{model}:embedContent",
    "gemini_embed_batch": "/v1beta/models/{model}:batchEmbedContents",
    "ollama": "/api/chat",
    "ollama_generate": "/api/generate",
    "ollama_embed": "/api/embed",
    "cohere": "/v2/chat",
    "mistral": "/mistral/v1/chat/completions",
    "embeddings": "/v1/embeddings",
    "rerank": "/v1/rerank",
    "moderations": "/v1/moderations",
    "images": "/v1/images/generations",
    "image_edits": "/v1/images/edits",
    "speech": "/v1/audio/speech",
}

FORMS: dict[str, str] = {
    "image_edits": "/v1/images/edits",
    "image_variations": "/v1/images/variations",
    "transcriptions": "/v1/audio/transcriptions",
    "translations": "/v1/audio/translations",
}
"""Paths that take multipart forms."""


def request(dialect: str, model: str) -> tuple[str, dict[str, Any]]:
    """Path and body, for `model`."""
    body = copy.deepcopy(REQUESTS[dialect])
    if "model" in body:
        body["model"] = model
    return PATHS[dialect].format(model=model), body
