"""Tool calls for engines that do not do them all by themselves: llama.cpp's, embedded or as a server.

Two things are missing there. A call that is asked for (`tool_choice` `required` or a named function) is not enforced:
the parser lets the model write freely before it calls, and a small model never does. And a template that knows no
tools (Gemma, Falcon, Phi) shows the model none.

So a forced call is asked for as an answer by JSON schema, `{"name": ..., "arguments": ...}`, which the engine does
enforce; and where the template knows no tools, they are told in words, with that same form for a call, and calls and
results of the conversation become plain turns. What the model then writes is turned into tool calls, streamed as it
comes. Tried with xllamacpp 2026.10.11549: `tools` with `tool_choice: "none"` and `response_format` still shows the
tools to the model, and the schema holds.

    request.py   what goes to the engine
    schema.py    calls as a JSON schema
    words.py     tools, calls and results in words
    reader.py    text -> text and calls, in whatever pieces it comes
    answer.py    chat completions and their chunks, rewritten

Nothing here reads or writes the network; call/rewritten.py puts it between a request and its engine.
"""

from freehold.own.tools.request import IN_WORDS, assist

__all__ = ["IN_WORDS", "assist"]
