"""The real engine with a tiny random model: everything the gateway relies on, through the official client."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jsonschema
import openai
import pytest

from freehold.own.engine import EngineSpec
from freehold.own.engines.llamacpp import LlamaCpp
from freehold.own.gguf import read_header
from freehold.own.guard import callers_fault

TOOLS_TEMPLATE = """{%- if tools %}<|start|>system
Tools:
{%- for tool in tools %}
{{ tool | tojson }}
{%- endfor %}
Answer <tool_call>{"name": ..., "arguments": ...}</tool_call><|end|>
{%- endif %}
{%- for m in messages %}<|start|>{{ m.role }}
{%- if m.content %}
{{ m.content }}
{%- endif %}
{%- for call in m.tool_calls or [] %}
<tool_call>
{"name": "{{ call.function.name }}", "arguments": {{ call.function.arguments | tojson }}}
</tool_call>
{%- endfor %}<|end|>
{%- endfor %}
{%- if add_generation_prompt %}<|start|>assistant
{% endif %}"""
HELLO = [{"role": "user", "content": "hello"}]


@pytest.fixture(scope="module")
def client(worker: Any) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{worker.url}/v1", api_key=worker.key, max_retries=0, timeout=20) as client:
        yield client


def post(worker: Any, path: str, body: Any, key: str | None = None) -> tuple[int, Any]:
    request = urllib.request.Request(
        worker.url + path,
        body if isinstance(body, bytes) else json.dumps(body).encode(),
        {"authorization": f"Bearer {worker.key if key is None else key}", "content-type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read())


def test_it_listens_on_loopback_only(worker: Any) -> None:
    assert worker.url.startswith("http://127.0.0.1:")


def test_no_key_on_the_command_line(worker: Any) -> None:
    assert worker.key.encode() not in Path(f"/proc/{worker.process.pid}/cmdline").read_bytes()
    assert worker.key.encode() not in Path(f"/proc/{worker.process.pid}/environ").read_bytes()


def test_chat(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(model="tiny", messages=HELLO, max_tokens=5)
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 5
    assert answer.usage.prompt_tokens > 5


def test_chat_streamed_with_usage(client: openai.OpenAI) -> None:
    stream = client.chat.completions.create(
        model="tiny", messages=HELLO, max_tokens=5, stream=True, stream_options={"include_usage": True}
    )
    chunks = list(stream)
    assert [c.choices[0].finish_reason for c in chunks if c.choices and c.choices[0].finish_reason] == ["length"]
    assert [c.usage.completion_tokens for c in chunks if c.usage] == [5]


def test_json_schema_holds_even_for_a_model_that_knows_nothing(client: openai.OpenAI) -> None:
    schema = {
        "type": "object",
        "properties": {"intent": {"enum": ["card_lost", "top_up"]}, "sure": {"type": "boolean"}},
        "required": ["intent", "sure"],
        "additionalProperties": False,
    }
    answer = client.chat.completions.create(
        model="tiny",
        messages=HELLO,
        max_tokens=400,
        response_format={"type": "json_schema", "json_schema": {"name": "intent", "schema": schema}},
    )
    jsonschema.validate(json.loads(answer.choices[0].message.content or ""), schema)


def test_completions(client: openai.OpenAI) -> None:
    answer = client.completions.create(model="tiny", prompt="hello", max_tokens=4)
    assert answer.choices[0].text
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 4


def test_the_same_server_embeds(client: openai.OpenAI) -> None:
    answer = client.embeddings.create(model="tiny", input=["hello", "hello", "quite another text"])
    first, same, other = (item.embedding for item in answer.data)
    assert len(first) == 64
    assert first == pytest.approx(same, abs=1e-3)
    assert first != pytest.approx(other, abs=1e-3)
    assert sum(x * x for x in first) == pytest.approx(1.0, abs=1e-3)


def test_an_embedding_may_fill_the_context(client: openai.OpenAI) -> None:
    assert client.embeddings.create(model="tiny", input="x" * 500).usage.prompt_tokens == 500


def test_tokens_are_counted_in_both_dialects(worker: Any) -> None:
    status, openai_count = post(worker, "/v1/chat/completions/input_tokens", {"messages": HELLO})
    assert status == 200
    _, anthropic_count = post(worker, "/v1/messages/count_tokens", {"messages": HELLO, "max_tokens": 1})
    assert openai_count["input_tokens"] == anthropic_count["input_tokens"] > 5


@pytest.mark.parametrize("key", ["", "wrong", "engine-key-for-test", "engine-key-for-tests-"])
def test_a_wrong_key_is_refused(worker: Any, key: str) -> None:
    assert post(worker, "/v1/chat/completions", {"messages": HELLO}, key)[0] == 401


@pytest.mark.parametrize(
    "body",
    [b"{bad", b"", b"null", b"[" * 10_000, {}, {"messages": "x"}, {"messages": [1]}, {"messages": HELLO, "n": 1000},
     {"messages": HELLO, "max_tokens": -5}, {"messages": HELLO, "temperature": "hot"},
     {"messages": [{"role": "user", "content": "x" * 5000}]}],
)  # fmt: skip
def test_bad_requests_get_a_400(worker: Any, body: Any) -> None:
    status, answer = post(worker, "/v1/chat/completions", body)
    assert (status, answer["error"]["code"]) == (400, 400)


def test_a_prompt_over_the_context_is_named_as_such(worker: Any) -> None:
    _, answer = post(worker, "/v1/completions", {"prompt": "x" * 5000})
    assert answer["error"]["type"] == "exceed_context_size_error"


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/chat/completions", {"messages": HELLO, "tools": [{"type": "web_search"}]}),
        ("/v1/chat/completions", {"messages": [{"role": "user", "content": [
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}]}]}),
        ("/v1/embeddings", {"input": "x" * 5000}),
    ],
)  # fmt: skip
def test_a_500_that_is_the_callers_fault_is_known(worker: Any, path: str, body: Any) -> None:
    status, answer = post(worker, path, body)
    assert status == 500
    assert callers_fault(json.dumps(answer).encode())
    assert not callers_fault(b'{"error":{"code":500,"message":"Compute error.","type":"server_error"}}')


def test_tools_reach_the_prompt_when_the_template_knows_them(
    start_worker: Callable[..., Any], make_gguf: Callable[..., Path]
) -> None:
    """Whether a model then calls them is up to its training; a random one does not."""
    file = make_gguf(template=TOOLS_TEMPLATE)
    worker = start_worker(file)
    tools = [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}]
    _, with_tools = post(worker, "/v1/chat/completions/input_tokens", {"messages": HELLO, "tools": tools})
    _, without = post(worker, "/v1/chat/completions/input_tokens", {"messages": HELLO})
    assert with_tools["input_tokens"] > without["input_tokens"] + 30
    with urllib.request.urlopen(
        urllib.request.Request(worker.url + "/props", headers={"authorization": f"Bearer {worker.key}"}), timeout=20
    ) as answer:
        facts = json.loads(answer.read())
    assert "tools" in LlamaCpp().capabilities(EngineSpec("tiny", file, 512), read_header(file), facts)


def test_endless_generation_ends_at_the_context(worker: Any) -> None:
    body = {"prompt": "hello", "max_tokens": 10**9, "ignore_eos": True}
    status, answer = post(worker, "/v1/completions", body)
    assert status == 200
    assert answer["usage"]["total_tokens"] <= 513


def test_wild_allocations_fail_and_the_engine_lives(worker: Any) -> None:
    """Without the worker's own limit this took gigabytes, and the kernel killed something."""
    for field in ("repeat_last_n", "dry_penalty_last_n"):
        body = {"prompt": "a", "max_tokens": 1, field: 2_000_000_000, "repeat_penalty": 1.1, "dry_multiplier": 1}
        assert post(worker, "/v1/completions", body)[0] == 400
    assert post(worker, "/v1/completions", {"prompt": "a", "max_tokens": 1})[0] == 200


def test_more_requests_than_slots_all_get_answers(worker: Any) -> None:
    results: list[int] = []

    def ask() -> None:
        results.append(post(worker, "/v1/completions", {"prompt": "a", "max_tokens": 20})[0])

    threads = [threading.Thread(target=ask) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert results == [200] * 12


def test_sigterm_lets_a_running_answer_end(start_worker: Callable[..., Any], tiny: Path) -> None:
    worker = start_worker(tiny)
    with openai.OpenAI(base_url=f"{worker.url}/v1", api_key=worker.key, max_retries=0, timeout=20) as client:
        stream = client.completions.create(
            model="tiny", prompt="hello", max_tokens=400, stream=True, extra_body={"ignore_eos": True}
        )
        chunks = iter(stream)
        next(chunks)
        worker.process.send_signal(signal.SIGTERM)
        assert list(chunks)[-1].choices[0].finish_reason == "length"
    assert worker.process.wait(10) == 0


def test_sigterm_ends_an_idle_engine(start_worker: Callable[..., Any], tiny: Path) -> None:
    worker = start_worker(tiny)
    worker.process.send_signal(signal.SIGTERM)
    assert worker.process.wait(10) == 0


def test_end_of_stdin_ends_it(start_worker: Callable[..., Any], tiny: Path) -> None:
    worker = start_worker(tiny)
    worker.process.stdin.close()
    assert worker.process.wait(10) == 0


def test_it_dies_with_its_parent(tmp_path: Path, tiny: Path, engine_needed: None, is_alive: Any) -> None:
    """The parent is killed and its end of the child's stdin stays open elsewhere, so only the kernel can tell."""
    program = """
import json, os, subprocess, sys, time
from pathlib import Path
from freehold.own.engine import EngineSpec
from freehold.own.gguf import read_header
from freehold.own.engines.llamacpp import LlamaCpp
path = Path(sys.argv[1])
plan = LlamaCpp().plan(EngineSpec("tiny", path, 512), read_header(path), "k")
child = subprocess.Popen(plan.argv, stdin=int(sys.argv[2]), stdout=subprocess.PIPE, env=plan.env)
os.write(int(sys.argv[3]), plan.message)
json.loads(child.stdout.readline())["url"]
print(child.pid, flush=True)
time.sleep(60)
"""
    reader, writer = os.pipe()
    parent = subprocess.Popen(
        [sys.executable, "-c", program, str(tiny), str(reader), str(writer)],
        stdout=subprocess.PIPE,
        pass_fds=(reader, writer),
    )
    try:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert is_alive(pid)
        parent.kill()
        parent.wait()
        deadline = time.monotonic() + 10
        while is_alive(pid) and time.monotonic() < deadline:
            time.sleep(0.02)
        assert not is_alive(pid)
    finally:
        parent.kill()
        parent.wait()
        assert parent.stdout is not None
        parent.stdout.close()
        os.close(reader)
        os.close(writer)


def test_a_model_the_engine_cannot_load(start_worker: Callable[..., Any], make_gguf: Callable[..., Path]) -> None:
    refused = start_worker(make_gguf(skip="blk.1.attn_q"))
    assert refused.url == ""
    assert "could not load" in refused.key
    assert refused.process.wait(10) == 3


def test_a_port_in_use_is_named(start_worker: Callable[..., Any], worker: Any, tiny: Path) -> None:
    port = int(worker.url.rpartition(":")[2])
    refused = start_worker(tiny, port=port)
    assert refused.key == f"port {port} on 127.0.0.1 cannot be had: Address already in use"
