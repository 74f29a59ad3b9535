"""The original's own answers, computed by transformers: `python -m freehold.own.parity.reference`.

A child process: torch is slow to import, takes memory that only its end gives back, and reads files of strangers.
It reads one line from stdin, a `Task`, and writes one line to stdout: `Answers`, or `{"error": ...}`. When stdin ends,
its parent is gone and it ends too. No code of the repository is run (trust_remote_code is off), pickles are not opened
(use_safetensors), and nothing is fetched.

Arithmetic is float32 where it fits into memory, whatever the file holds: the original is what the file means, not what
one data type makes of it. Weights that stand in MXFP4 (gpt-oss) or in blocks of FP8 (DeepSeek V3) are multiplied out
here, because the libraries that do it need a GPU.
"""

import os
import resource
import sys
import threading
from pathlib import Path
from typing import Any, Literal

import msgspec
from msgspec import Struct

from freehold.own.parity.answers import Answers, Conversation, Ends, Passage, Position, Questions, Rendered

MXFP4_VALUES = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, -0.0, -0.5, -1.0, -1.5, -2.0, -3.0, -4.0, -6.0)
"""E2M1, in the order of its four bits: OCP Microscaling Formats (MX) Specification v1.0, section 5.3."""
MXFP4_BIAS = 127
MULTIPLIED_OUT = ("mxfp4", "fp8")


class Task(Struct):
    """`folder` holds config.json, tokenizer.json and safetensors. Past `memory_limit` bytes allocations fail."""

    folder: str
    questions: Questions
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    threads: int = 1
    memory_limit: int = 0


def main() -> int:
    """Returns the exit status: 0 answered, 3 could not."""
    answer = os.dup(1)
    os.dup2(2, 1)
    line = sys.stdin.buffer.readline(16 << 20)
    if not line:
        return 0
    task = msgspec.json.decode(line, type=Task)
    threading.Thread(target=_watch_parent, daemon=True).start()
    if task.memory_limit:
        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        if hard == resource.RLIM_INFINITY or task.memory_limit < hard:
            resource.setrlimit(resource.RLIMIT_DATA, (task.memory_limit, task.memory_limit))
    try:
        said = msgspec.json.encode(answers(task))
        status = 0
    except Exception as error:  # whatever a library makes of a stranger's files
        said, status = msgspec.json.encode({"error": _words(error)}), 3
    with os.fdopen(answer, "wb") as out:
        out.write(said + b"\n")
    sys.stderr.flush()
    os._exit(status)


def answers(task: Task) -> Answers:
    """Loads the original and asks it everything."""
    import torch
    import transformers

    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    torch.set_num_threads(task.threads)
    folder = Path(task.folder)
    words = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    model = load(folder, getattr(torch, task.dtype))
    ends = _ends(folder, words)
    asked = task.questions
    with torch.inference_mode():
        passages = [_passage(model, text, list(words(text)["input_ids"]), ends, asked) for text in asked.texts]
    return Answers(
        who=f"transformers {transformers.__version__}, torch {torch.__version__}, {task.dtype}",
        passages=passages,
        chats=[rendered(words, one) for one in asked.conversations] if words.chat_template else [],
        ends=ends,
        template=bool(words.chat_template),
    )


def load(folder: Path, dtype: Any) -> Any:
    """Returns the model of `folder`, on the CPU, evaluating."""
    import transformers

    config = transformers.AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    options: dict[str, Any] = {
        "dtype": dtype,
        "attn_implementation": "eager",
        "trust_remote_code": False,
        "local_files_only": True,
    }
    stored = getattr(config, "quantization_config", None)
    method = (stored or {}).get("quant_method") if isinstance(stored, dict | None) else stored.quant_method
    if method in MULTIPLIED_OUT:
        del config.quantization_config
        own_class = getattr(transformers, config.architectures[0])
        model = own_class.from_pretrained(None, config=config, state_dict=_multiplied_out(folder, dtype), **options)
    else:
        model = transformers.AutoModelForCausalLM.from_pretrained(
            folder, config=config, use_safetensors=True, **options
        )
    return model.eval()


def rendered(words: Any, one: Conversation) -> Rendered:
    """Renders a conversation as transformers does. Some templates want a call's arguments as an object, others as text:
    the object first."""
    trouble = ""
    for messages in (_objects(one.messages), one.messages):
        try:
            text = words.apply_chat_template(messages, tools=one.tools, tokenize=False, add_generation_prompt=True)
        except Exception as error:  # a template raises what it likes
            trouble = trouble or _words(error)
            continue
        begin = words.bos_token if words.bos_token and text.startswith(words.bos_token) else ""
        return Rendered(one.name, text, begin, list(words(text, add_special_tokens=False)["input_ids"]))
    return Rendered(one.name, error=trouble)


def _objects(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Returns messages with a tool call's arguments parsed."""
    found = []
    for message in messages:
        if calls := message.get("tool_calls"):
            parsed = [
                call
                | {"function": call["function"] | {"arguments": msgspec.json.decode(call["function"]["arguments"])}}
                for call in calls
            ]
            message = message | {"tool_calls": parsed}
        found.append(message)
    return found


def _ends(folder: Path, words: Any) -> Ends:
    """What ends an answer: generation_config.json says it, or else the tokenizer."""
    named = words.eos_token_id
    if (folder / "generation_config.json").is_file():
        import transformers

        told = transformers.GenerationConfig.from_pretrained(folder, local_files_only=True).eos_token_id
        named = named if told is None else told
    ids = [named] if isinstance(named, int) else list(named or [])
    special = sorted(place for place, token in words.added_tokens_decoder.items() if token.special)
    return Ends(ids, special, words.eos_token_id)


def _passage(model: Any, text: str, ids: list[int], ends: Ends, asked: Questions) -> Passage:
    """Goes on greedily, then looks at the whole sequence in one piece, without a cache."""
    import torch

    said: list[int] = []
    ended = False
    given = asked.begin(ids)
    state = model(input_ids=torch.tensor([given]), use_cache=True)
    for _ in range(asked.continuation):
        token = int(state.logits[0, -1].argmax())
        if token in ends.ids:
            ended = True
            break
        said.append(token)
        state = model(input_ids=torch.tensor([[token]]), past_key_values=state.past_key_values, use_cache=True)
    whole = given + said
    first = max(1, len(given) - asked.window)
    logits = model(input_ids=torch.tensor([whole]), use_cache=False).logits[0, first - 1 :].float()
    best = torch.log_softmax(logits, -1).topk(min(asked.top, logits.shape[-1]))
    pairs = zip(best.indices.tolist(), best.values.tolist(), strict=True)
    return Passage(text, ids, said, ended, [Position(first + n, *pair) for n, pair in enumerate(pairs)])


def _multiplied_out(folder: Path, dtype: Any) -> dict[str, Any]:
    """Returns all tensors of the folder as plain numbers of `dtype`."""
    from safetensors import safe_open

    stored: dict[str, Any] = {}
    for file in sorted(folder.glob("*.safetensors")):
        with safe_open(file, "pt") as opened:
            stored |= {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    found = {}
    for name in list(stored):
        if name.endswith(("_scales", "_scale_inv")):
            continue
        weight = stored.pop(name)
        if name.endswith("_blocks"):
            name = name.removesuffix("_blocks")
            weight = mxfp4(weight, stored[f"{name}_scales"])
        elif f"{name}_scale_inv" in stored:
            weight = fp8(weight, stored[f"{name}_scale_inv"])
        found[name] = weight.to(dtype)
    return found


def mxfp4(blocks: Any, scales: Any) -> Any:
    """Returns (expert, in, out) of blocks (expert, out, in/32, 16) and scales (expert, out, in/32), in float32."""
    import torch

    table = torch.tensor(MXFP4_VALUES)
    pairs = torch.stack((blocks & 15, blocks >> 4), -1).flatten(-2).long()
    values = table[pairs] * torch.exp2(scales.float() - MXFP4_BIAS).unsqueeze(-1)
    return values.flatten(-2).transpose(1, 2).contiguous()


def fp8(weight: Any, scale: Any) -> Any:
    """Returns a matrix in float32; each block of it shares one factor, and blocks are as large as the shapes say."""
    import torch

    rows, columns = (-(-size // count) for size, count in zip(weight.shape, scale.shape, strict=True))
    rows, columns = (1 << (size - 1).bit_length() for size in (rows, columns))
    grown = torch.repeat_interleave(torch.repeat_interleave(scale.float(), rows, 0), columns, 1)
    return weight.float() * grown[: weight.shape[0], : weight.shape[1]]


def _words(error: Exception) -> str:
    text = str(error).strip() or type(error).__name__
    return text[:500]


def _watch_parent() -> None:
    while os.read(0, 4096):
        pass
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main())
