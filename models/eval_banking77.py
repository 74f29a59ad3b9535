"""Scores the model in the box on the test split of BANKING77, through the llama.cpp that serves it.

Every one of the 3,080 messages goes through a chat completion at temperature 0, as a customer's would: chat
template, tokenizer and weights are those of the shipped file. An answer counts only if it is JSON and
nothing more.

    python models/eval_banking77.py                  # a table, then one line of JSON
    python models/eval_banking77.py --schema         # the same with a JSON schema as response_format
    python models/eval_banking77.py --wrap "Good evening! {} Much obliged."
    python models/eval_banking77.py --out-of-scope   # how sure is it of messages that are not about a bank?
    python models/eval_banking77.py --parity         # does llama.cpp compute what PyTorch trained?

`--parity` reads the file's weights back into PyTorch and compares, message by message, the tokens of the
prompt and the intent chosen.

Data: BANKING77, PolyAI (CC BY 4.0), https://arxiv.org/abs/2003.04807; for `--out-of-scope` CLINC150, Larson
et al. (CC BY 3.0), https://arxiv.org/abs/1909.02027.
"""

import argparse
import csv
import json
import math
import time
import urllib.request
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import xllamacpp

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT.parent / "shared" / "data"
BOX = ROOT / "src" / "freehold" / "own" / "box" / "banking77.gguf"
SILENT = 0


@dataclass(frozen=True)
class Answer:
    """What the model said to one message; `intent` is None when it was not the JSON asked for."""

    intent: str | None
    exact: bool
    confidence: float
    seconds: float


# --- llama.cpp ----------------------------------------------------------------------------------------------


def serve(path: Path, threads: int) -> xllamacpp.Server:
    params = xllamacpp.CommonParams()
    params.model.path = str(path)
    params.n_ctx = 512
    params.n_parallel = 1
    params.n_gpu_layers = 0
    params.cpuparams.n_threads = threads
    params.cpuparams_batch.n_threads = threads
    params.cache_ram_mib = 0
    params.fit_params = False
    params.verbosity = SILENT
    return xllamacpp.Server(params)


def ask(server: xllamacpp.Server, text: str, response_format: dict[str, Any] | None) -> Answer:
    request: dict[str, Any] = {
        "messages": [{"role": "user", "content": text}],
        "temperature": 0,
        "max_tokens": 16,
        "logprobs": True,
    }
    if response_format:
        request["response_format"] = response_format
    began = time.perf_counter()
    choice = server.handle_chat_completions(request)["choices"][0]
    seconds = time.perf_counter() - began
    content = choice["message"]["content"]
    intent = parse(content) if choice["finish_reason"] == "stop" else None
    decision = next((t for t in choice["logprobs"]["content"] if t["token"] == intent), None)
    confidence = math.exp(decision["logprob"]) if decision else 0.0
    return Answer(intent, content == json.dumps({"intent": intent}), confidence, seconds)


def parse(content: str) -> str | None:
    try:
        value = json.loads(content)
    except json.JSONDecodeError:
        return None
    intent = value.get("intent") if isinstance(value, dict) and len(value) == 1 else None
    return intent if isinstance(intent, str) else None


def schema(intents: list[str]) -> dict[str, Any]:
    """A response_format that allows exactly the JSON wanted."""
    body = {
        "type": "object",
        "properties": {"intent": {"type": "string", "enum": intents}},
        "required": ["intent"],
        "additionalProperties": False,
    }
    return {"type": "json_schema", "json_schema": {"name": "intent", "strict": True, "schema": body}}


# --- figures ------------------------------------------------------------------------------------------------


def f1_by_intent(truth: list[str], found: list[str | None]) -> dict[str, float]:
    hits = Counter(t for t, f in zip(truth, found, strict=True) if t == f)
    wanted, given = Counter(truth), Counter(found)
    return {intent: 2 * hits[intent] / (wanted[intent] + given[intent]) for intent in sorted(wanted)}


def calibration_error(confidence: list[float], right: list[bool], bins: int = 15) -> float:
    """Expected calibration error: how far confidence is from accuracy, in bins of equal width."""
    gap = 0.0
    for b in range(bins):
        inside = [i for i, c in enumerate(confidence) if b / bins < c <= (b + 1) / bins]
        gap += abs(sum(right[i] - confidence[i] for i in inside))
    return gap / len(confidence)


def accuracy_of_surest(confidence: list[float], right: list[bool], share: float) -> float:
    surest = sorted(range(len(right)), key=lambda i: -confidence[i])[: round(share * len(right))]
    return sum(right[i] for i in surest) / len(surest)


def figures(truth: list[str], answers: list[Answer]) -> dict[str, Any]:
    found = [answer.intent for answer in answers]
    right = [t == f for t, f in zip(truth, found, strict=True)]
    confidence = [answer.confidence for answer in answers]
    seconds = sorted(answer.seconds for answer in answers)
    f1 = f1_by_intent(truth, found)
    worst = sorted(f1, key=f1.__getitem__)[:10]
    confusions = Counter((t, f) for t, f in zip(truth, found, strict=True) if t != f).most_common(5)
    return {
        "messages": len(truth),
        "accuracy": round(sum(right) / len(right), 4),
        "macro_f1": round(sum(f1.values()) / len(f1), 4),
        "valid_json": round(sum(f is not None for f in found) / len(found), 4),
        "exact_form": round(sum(answer.exact for answer in answers) / len(answers), 4),
        "mean_confidence": round(sum(confidence) / len(confidence), 4),
        "calibration_error": round(calibration_error(confidence, right), 4),
        "accuracy_of_surest_80_percent": round(accuracy_of_surest(confidence, right, 0.8), 4),
        "median_ms": round(1000 * seconds[len(seconds) // 2], 2),
        "worst_intents_f1": {intent: round(f1[intent], 3) for intent in worst},
        "most_confused": [f"{wanted} -> {given}: {n}" for (wanted, given), n in confusions],
    }


def out_of_scope(inside: list[Answer], outside: list[Answer]) -> dict[str, Any]:
    """What a threshold on the confidence lets through, of messages with an intent and of those with none."""
    shares = {
        f"{threshold:.1f}": {
            "in_scope": round(sum(a.confidence >= threshold for a in inside) / len(inside), 3),
            "out_of_scope": round(sum(a.confidence >= threshold for a in outside) / len(outside), 3),
        }
        for threshold in (0.3, 0.5, 0.7, 0.9)
    }
    return {"messages": len(outside), "share_at_or_above_confidence": shares}


def table(result: dict[str, Any]) -> str:
    lines = ["| figure | value |", "| --- | ---: |"]
    lines += [f"| {name} | {value} |" for name, value in result.items() if isinstance(value, int | float)]
    lines += ["", "| worst intents | F1 |", "| --- | ---: |"]
    lines += [f"| {intent} | {value:.3f} |" for intent, value in result["worst_intents_f1"].items()]
    lines += ["", "Most confused:", *(f"- {line}" for line in result["most_confused"])]
    return "\n".join(lines)


# --- parity -------------------------------------------------------------------------------------------------


def parity(path: Path, server: xllamacpp.Server, texts: list[str], answers: list[Answer]) -> dict[str, Any]:
    """On how many messages llama.cpp and PyTorch agree: the tokens of the prompt, and the intent chosen."""
    import train_banking77 as training

    model, vocab = training.load(path)
    normal = [training.normalise(text) for text in texts]
    expected = [vocab.prompt(message)[:-1] for message in vocab.encode(normal)]
    same_tokens = sum(prompt_tokens(server, t) == e for t, e in zip(texts, expected, strict=True))
    chosen = [vocab.intents[i] for i in training.intent_logits(model, vocab, normal).argmax(dim=1).tolist()]
    same_intent = sum(c == answer.intent for c, answer in zip(chosen, answers, strict=True))
    return {"messages": len(texts), "same_tokens": same_tokens, "same_intent": same_intent}


def prompt_tokens(server: xllamacpp.Server, text: str) -> list[int]:
    rendered = post(server, "/apply-template", {"messages": [{"role": "user", "content": text}]})["prompt"]
    return post(server, "/tokenize", {"content": rendered, "parse_special": True})["tokens"]


def post(server: xllamacpp.Server, path: str, body: dict[str, Any]) -> dict[str, Any]:
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(server.listening_address + path, json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request) as response:
        return json.load(response)


def main() -> None:
    parser = argparse.ArgumentParser(description="Scores the model in the box through llama.cpp.")
    parser.add_argument("--data", type=Path, default=DATA, help="folder of banking77_test.csv")
    parser.add_argument("--model", type=Path, default=BOX)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--schema", action="store_true", help="ask for the JSON with a schema")
    parser.add_argument("--wrap", default="{}", help="text around each message, {} standing for the message")
    parser.add_argument("--out-of-scope", action="store_true", help="read clinc150_full.json as well")
    parser.add_argument("--parity", action="store_true", help="compare llama.cpp with PyTorch as well")
    args = parser.parse_args()

    with (args.data / "banking77_test.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    texts, truth = [args.wrap.format(row["text"]) for row in rows], [row["category"] for row in rows]
    server = serve(args.model, args.threads)
    response_format = schema(sorted(set(truth))) if args.schema else None
    answers = [ask(server, text, response_format) for text in texts]
    result = figures(truth, answers)
    if args.out_of_scope:
        clinc = json.loads((args.data / "clinc150_full.json").read_text(encoding="utf-8"))
        others = [ask(server, text, response_format) for text, _ in clinc["oos_test"]]
        result["out_of_scope"] = out_of_scope(answers, others)
    if args.parity:
        result["parity"] = parity(args.model, server, texts, answers)
    print(table(result))
    print(json.dumps(result))


if __name__ == "__main__":
    main()
