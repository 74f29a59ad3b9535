"""Tiny models that have learnt one answer by heart, for families whose own form of an answer random weights miss.

llama.cpp reads the channels of gpt-oss, the response marks of Command R and the end of DeepSeek's thoughts as models
are trained to write them, and can make nothing of noise; of noise that is no text it streams less than it answers, and
some blanks that its own grammar lets random weights put around JSON its parser then refuses.
"""

from pathlib import Path
from typing import Any

TAUGHT = {
    "command_r": '{"intent": "refund"}<|END_OF_TURN_TOKEN|>',
    "llama4": '{"intent": "refund"}<|eot|>',
    "gpt_oss": '<|channel|>final<|message|>{"intent": "refund"}<|return|>',
    "command_r7b": '<|START_RESPONSE|>{"intent": "refund"}<|END_RESPONSE|><|END_OF_TURN_TOKEN|>',
    "deepseek_v3": '</think>{"intent": "refund"}<｜end▁of▁sentence｜>',
    "deepseek_r1": '</think>{"intent": "refund"}<｜end▁of▁sentence｜>',
}
"""What follows the template's generation prompt, by family."""
QUESTIONS = ("Where is my money?", "When does it come?", "Hello", "What is this?")


def teach(folder: Path, answer: str, steps: int = 120) -> None:
    """Trains the model in `folder` until it gives `answer` to anything, and saves it there."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    torch.manual_seed(0)
    torch.set_num_threads(1)
    model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    end = tokenizer(answer, add_special_tokens=False, return_tensors="pt").input_ids
    examples = []
    for question in QUESTIONS:
        asked: list[Any] = [{"role": "user", "content": question}]
        start = tokenizer.apply_chat_template(asked, add_generation_prompt=True, return_tensors="pt", return_dict=True)
        ids = torch.cat([start["input_ids"], end], dim=1)
        labels = ids.clone()
        labels[:, : start["input_ids"].shape[1]] = -100
        examples.append((ids, labels))
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3)
    model.train()
    for step in range(steps):
        ids, labels = examples[step % len(examples)]
        loss = model(input_ids=ids, labels=labels).loss
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    model.eval()
    model.save_pretrained(folder)
