"""The OpenAI Responses dialect: text and function calls, whole and streamed.

Shapes as in the `openai` SDK's `types/responses/`. Events are named and numbered; there is no `[DONE]`.
"""

from typing import Any

from freehold.fake.answer import ID, Answer
from freehold.fake.ask import Ask
from freehold.fake.openai import error
from freehold.fake.speak import Speaker, Stream, encode, named, slices


def _usage(answer: Answer) -> dict[str, Any] | None:
    counted = answer.usage
    if counted is None:
        return None
    return {
        "input_tokens": counted.input,
        "input_tokens_details": {"cached_tokens": counted.cache_read, "cache_write_tokens": counted.cache_write},
        "output_tokens": counted.output,
        "output_tokens_details": {"reasoning_tokens": counted.reasoning},
        "total_tokens": counted.input + counted.output,
    }


def _status(answer: Answer) -> str:
    return "incomplete" if answer.finish in ("length", "content_filter") else "completed"


def _response(answer: Answer, output: list[Any], status: str, *, done: bool) -> dict[str, Any]:
    reason = {"length": "max_output_tokens", "content_filter": "content_filter"}.get(answer.finish)
    return {
        "id": f"resp_{ID}",
        "object": "response",
        "created_at": answer.created,
        "status": status,
        "error": None,
        "incomplete_details": {"reason": reason} if done and reason else None,
        "instructions": None,
        "metadata": {},
        "model": answer.model,
        "output": output,
        "parallel_tool_calls": True,
        "temperature": 1.0,
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
        "text": {"format": {"type": "text"}},
        "usage": _usage(answer) if done else None,
    }


def _part(answer: Answer, *, empty: bool = False) -> dict[str, Any]:
    if answer.refusal:
        return {"type": "refusal", "refusal": "" if empty else answer.refusal}
    return {"type": "output_text", "text": "" if empty else answer.text, "annotations": [], "logprobs": []}


def _items(answer: Answer) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = []
    if answer.thinking:
        summary = [{"type": "summary_text", "text": answer.thinking}]
        items.append({"id": f"rs_{ID}", "type": "reasoning", "summary": summary})
    if answer.text or answer.refusal:
        items.append(
            {
                "id": f"msg_{ID}",
                "type": "message",
                "role": "assistant",
                "status": "completed",
                "content": [_part(answer)],
            }
        )
    for i, call in enumerate(answer.calls):
        items.append(
            {
                "id": f"fc_{ID}{i}",
                "type": "function_call",
                "call_id": f"call_{ID}{i}",
                "name": call.name,
                "arguments": call.arguments,
                "status": "completed",
            }
        )
    return items


def whole(ask: Ask, answer: Answer) -> bytes:
    return encode(_response(answer, _items(answer), _status(answer), done=True))


def stream(ask: Ask, answer: Answer) -> Stream:
    items = _items(answer)
    opened = _response(answer, [], "in_progress", done=False)
    events: list[dict[str, Any]] = [
        {"type": "response.created", "response": opened},
        {"type": "response.in_progress", "response": opened},
    ]
    first = len(events)
    for index, item in enumerate(items):
        events += _item_events(answer, index, item)
    last = len(events)
    finished = _response(answer, items, _status(answer), done=True)
    events.append({"type": f"response.{_status(answer)}", "response": finished})
    parts = [named(event["type"], {**event, "sequence_number": number}) for number, event in enumerate(events)]
    return Stream(parts, first, last)


def _item_events(answer: Answer, index: int, item: dict[str, Any]) -> list[dict[str, Any]]:
    where = {"item_id": item["id"], "output_index": index}
    started: dict[str, Any]
    if item["type"] == "message":
        started = {**item, "status": "in_progress", "content": []}
        middle = _message_events(answer, {**where, "content_index": 0})
    elif item["type"] == "function_call":
        started = {**item, "status": "in_progress", "arguments": ""}
        kind = "response.function_call_arguments"
        middle = [{"type": f"{kind}.delta", **where, "delta": text} for text in slices(item["arguments"])]
        middle.append({"type": f"{kind}.done", **where, "name": item["name"], "arguments": item["arguments"]})
    else:
        started = {**item, "summary": []}
        where = {**where, "summary_index": 0}
        kind = "response.reasoning_summary_text"
        middle = [
            {
                "type": "response.reasoning_summary_part.added",
                **where,
                "part": {"type": "summary_text", "text": ""},
            },
            *({"type": f"{kind}.delta", **where, "delta": text} for text in slices(answer.thinking)),
            {"type": f"{kind}.done", **where, "text": answer.thinking},
            {"type": "response.reasoning_summary_part.done", **where, "part": item["summary"][0]},
        ]
    return [
        {"type": "response.output_item.added", "output_index": index, "item": started},
        *middle,
        {"type": "response.output_item.done", "output_index": index, "item": item},
    ]


def _message_events(answer: Answer, where: dict[str, Any]) -> list[dict[str, Any]]:
    if answer.refusal:
        deltas = [{"type": "response.refusal.delta", **where, "delta": text} for text in slices(answer.refusal)]
        done: dict[str, Any] = {"type": "response.refusal.done", **where, "refusal": answer.refusal}
    else:
        kind = "response.output_text"
        deltas = [{"type": f"{kind}.delta", **where, "delta": text, "logprobs": []} for text in answer.pieces]
        done = {"type": f"{kind}.done", **where, "text": answer.text, "logprobs": []}
    return [
        {"type": "response.content_part.added", **where, "part": _part(answer, empty=True)},
        *deltas,
        done,
        {"type": "response.content_part.done", **where, "part": _part(answer)},
    ]


def stream_error(message: str) -> bytes:
    return named(
        "error", {"type": "error", "code": "server_error", "message": message, "param": None, "sequence_number": 0}
    )


RESPONSES = Speaker(whole, stream, error, stream_error, b"x-request-id")
