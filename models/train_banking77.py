"""Trains the model in the box: a Llama of 1.6 M parameters that names the intent of a message to a bank.

One narrow skill, from random weights, on one CPU core, in about ten minutes. The model reads

    <|user|> i am still waiting on my card?<|answer|>

and writes four tokens, of which only the second is a decision:

    {"intent": "   card_arrival   "}   <|end|>

Each of the 77 intents is one token of the vocabulary, so a single softmax decides, its top probability is
the confidence, and a grammar that allows some intents only (a JSON schema with an enum) picks the likeliest
of those.

What makes so small a model good on 10,003 messages:

  * a byte-level BPE of 2,000 tokens learnt on the messages, and tokens taken apart at random;
  * words left out and swapped at random, a greeting or thanks added, dropout, label smoothing, weight decay;
  * a second loss, next-token prediction on the message itself, which keeps the features honest;
  * a moving average of the weights, which is what ships.

The file is written in GGUF with the `llama` architecture, so a stock llama.cpp runs it. Rotary embeddings
turn neighbouring pairs, as llama.cpp does for this architecture, and no weight needs permuting.

    pip install -r models/requirements.txt
    python models/train_banking77.py                  # train on the whole train split, write the GGUF
    python models/train_banking77.py --holdout 1000   # keep 1,000 messages out, report the accuracy on them
    python models/eval_banking77.py                   # score the GGUF on the test split through llama.cpp

The test split is not read here. Data: BANKING77, PolyAI (CC BY 4.0), https://arxiv.org/abs/2003.04807.
"""

import argparse
import copy
import csv
import json
import math
import random
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

import gguf
import torch
import torch.nn.functional as F
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from torch import Tensor, nn

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT.parent / "shared" / "data"
BOX = ROOT / "src" / "freehold" / "own" / "box" / "banking77.gguf"
TEMPLATE = Path(__file__).with_name("banking77.jinja")

END, USER, ANSWER = "<|end|>", "<|user|>", "<|answer|>"
OPEN, CLOSE = '{"intent":Ġ"', '"}'  # Ġ is a space in the byte alphabet of GPT-2

# The messages of the data come straight to the point; those of customers do not always.
GREETINGS = (
    "hi,",
    "hello!",
    "hey there.",
    "good morning,",
    "dear sir or madam,",
    "hi team, hope you are well.",
    "hello, i hope you are having a good day.",
    "hi, i have a question.",
    "hello, i need some help please.",
    "sorry to bother you.",
)
THANKS = (
    "thanks!",
    "thank you.",
    "please help.",
    "can you help me?",
    "please let me know.",
    "many thanks in advance.",
    "thank you so much for your help.",
    "i look forward to hearing from you.",
    "kind regards",
    "best wishes, sam",
)


@dataclass(frozen=True)
class Config:
    """Everything that decides the result, with the seed."""

    bpe_vocab: int = 2000
    context: int = 1024
    dim: int = 160
    layers: int = 3
    heads: int = 5
    ffn: int = 448
    rope_theta: float = 10_000.0
    norm_eps: float = 1e-5
    dropout: float = 0.2
    epochs: int = 16
    batch: int = 64
    lr: float = 2e-3
    warmup: int = 200
    weight_decay: float = 0.1
    label_smoothing: float = 0.1
    lm_weight: float = 0.3
    lm_share: float = 0.5
    frame_weight: float = 0.1
    ema: float = 0.998
    token_split: float = 0.12
    word_drop: float = 0.1
    word_swap: float = 0.1
    courtesy: float = 0.15
    seed: int = 1


# --- data ---------------------------------------------------------------------------------------------------


def normalise(text: str) -> str:
    """One line, lower case, plain apostrophes. The chat template does the same to what a user sends."""
    return " ".join(text.lower().replace("’", "'").split())


def read(path: Path) -> tuple[list[str], list[str]]:
    """The messages, normalised, and the intent of each."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return [normalise(row["text"]) for row in rows], [row["category"] for row in rows]


def augment(text: str, rng: random.Random, config: Config) -> str:
    """Leaves out some words, sometimes swaps two neighbours, sometimes greets or thanks."""
    words = text.split(" ")
    if len(words) > 3:
        words = [word for word in words if rng.random() > config.word_drop] or words
    if len(words) > 2 and rng.random() < config.word_swap:
        i = rng.randrange(len(words) - 1)
        words[i], words[i + 1] = words[i + 1], words[i]
    before = [rng.choice(GREETINGS)] if rng.random() < config.courtesy else []
    after = [rng.choice(THANKS)] if rng.random() < config.courtesy else []
    return " ".join([*before, *words, *after])


# --- vocabulary ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Vocabulary:
    """Control tokens, learnt byte-level BPE, then the tokens of the answer: its frame, and each intent.

    No merge leads to the tokens of the answer, so no message is ever read as one of them.
    """

    bpe: Tokenizer
    ids: dict[str, int]
    merges: list[tuple[str, str]]
    intents: list[str]

    @classmethod
    def learn(cls, texts: list[str], intents: list[str], size: int) -> "Vocabulary":
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        trainer = trainers.BpeTrainer(
            vocab_size=size,
            min_frequency=2,
            initial_alphabet=alphabet,
            special_tokens=[END, USER, ANSWER],
            show_progress=False,
        )
        learner = byte_level(models.BPE())
        learner.train_from_iterator([f" {text}" for text in texts], trainer)
        learnt = json.loads(learner.to_str())["model"]
        ids, merges = learnt["vocab"], [tuple(merge) for merge in learnt["merges"]]
        for token in (OPEN, CLOSE, *intents):
            if token in ids:
                raise ValueError(f"{token!r} is a token of the messages too")
            ids[token] = len(ids)
        return cls(byte_level(models.BPE(ids, merges)), ids, merges, intents)

    def encode(self, texts: list[str]) -> list[list[int]]:
        return [encoding.ids for encoding in self.bpe.encode_batch([f" {text}" for text in texts])]

    def prompt(self, message: list[int]) -> list[int]:
        """The tokens up to the decision: what comes next is the token of the intent."""
        return [self.ids[USER], *message, self.ids[ANSWER], self.ids[OPEN]]

    @cached_property
    def parts(self) -> dict[int, tuple[int, int]]:
        """The two tokens that each learnt token was merged from."""
        return {self.ids[a + b]: (self.ids[a], self.ids[b]) for a, b in self.merges}

    def split(self, message: list[int], share: float, rng: random.Random) -> list[int]:
        """Takes a share of the tokens apart again, and of their parts: BPE dropout, with a seed."""
        pieces: list[int] = []
        for token in message:
            if token in self.parts and rng.random() < share:
                pieces += self.split(list(self.parts[token]), share, rng)
            else:
                pieces.append(token)
        return pieces

    @property
    def intent_ids(self) -> list[int]:
        return [self.ids[intent] for intent in self.intents]


def byte_level(model: models.BPE) -> Tokenizer:
    """A tokenizer that cuts text as GPT-2 did; llama.cpp has the same one built in."""
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    return tokenizer


def pad(rows: list[list[int]]) -> tuple[Tensor, Tensor]:
    """One matrix, padded on the right, and the true lengths. A causal model never looks at the padding."""
    lengths = torch.tensor([len(row) for row in rows])
    return nn.utils.rnn.pad_sequence([torch.tensor(row) for row in rows], batch_first=True), lengths


# --- model --------------------------------------------------------------------------------------------------


class Block(nn.Module):
    """Attention and a gated feed-forward layer, each normalised first and added to the stream."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        d = config.dim
        self.heads, self.eps = config.heads, config.norm_eps
        self.attn_norm = nn.Parameter(torch.ones(d))
        self.q, self.k, self.v, self.o = (nn.Linear(d, d, bias=False) for _ in range(4))
        self.ffn_norm = nn.Parameter(torch.ones(d))
        self.gate, self.up = (nn.Linear(d, config.ffn, bias=False) for _ in range(2))
        self.down = nn.Linear(config.ffn, d, bias=False)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        h = F.rms_norm(x, x.shape[-1:], self.attn_norm, self.eps)
        q, k, v = (w(h).unflatten(-1, (self.heads, -1)).transpose(1, 2) for w in (self.q, self.k, self.v))
        attended = F.scaled_dot_product_attention(rotate(q, cos, sin), rotate(k, cos, sin), v, is_causal=True)
        x = x + self.dropout(self.o(attended.transpose(1, 2).flatten(2)))
        h = F.rms_norm(x, x.shape[-1:], self.ffn_norm, self.eps)
        return x + self.dropout(self.down(F.silu(self.gate(h)) * self.up(h)))


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary position embedding of neighbouring pairs (llama.cpp: ROPE_TYPE_NORM)."""
    even, odd = x[..., 0::2], x[..., 1::2]
    return torch.stack((even * cos - odd * sin, even * sin + odd * cos), dim=-1).flatten(-2)


class Llama(nn.Module):
    """Tokens in, hidden states out; `head` turns hidden states into logits, where they are wanted."""

    def __init__(self, config: Config, vocab: int) -> None:
        super().__init__()
        self.config = config
        self.embed = nn.Embedding(vocab, config.dim)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.norm = nn.Parameter(torch.ones(config.dim))
        self.head = nn.Linear(config.dim, vocab, bias=False)
        self.dropout = nn.Dropout(config.dropout)
        size = config.dim // config.heads
        turns = config.rope_theta ** (-torch.arange(0, size, 2) / size)
        angles = torch.outer(torch.arange(config.context), turns)
        self.register_buffer("cos", angles.cos(), persistent=False)
        self.register_buffer("sin", angles.sin(), persistent=False)
        for name, weight in self.named_parameters():
            if weight.dim() > 1:
                into_stream = name.endswith(("o.weight", "down.weight"))
                nn.init.normal_(weight, std=0.02 / math.sqrt(2 * config.layers) if into_stream else 0.02)

    def forward(self, ids: Tensor) -> Tensor:
        length = ids.shape[1]
        x = self.dropout(self.embed(ids))
        for block in self.blocks:
            x = block(x, self.cos[:length], self.sin[:length])
        return self.dropout(F.rms_norm(x, x.shape[-1:], self.norm, self.config.norm_eps))


# --- training -----------------------------------------------------------------------------------------------


def batches(lengths: list[int], size: int, rng: random.Random) -> Iterator[list[int]]:
    """Batches of messages of like length, so that little is padding, in random order."""
    order = rng.sample(range(len(lengths)), len(lengths))
    pool = 20 * size
    pools = [sorted(order[i : i + pool], key=lengths.__getitem__) for i in range(0, len(order), pool)]
    chunks = [messages[i : i + size] for messages in pools for i in range(0, len(messages), size)]
    rng.shuffle(chunks)
    yield from chunks


def loss_of(model: Llama, vocab: Vocabulary, prompts: list[list[int]], targets: Tensor) -> Tensor:
    """The intent's cross-entropy, plus a little for the frame of the answer and for the message itself."""
    config, ids = model.config, vocab.ids
    answered = [[*p, vocab.intent_ids[t], ids[CLOSE]] for p, t in zip(prompts, targets.tolist(), strict=True)]
    tokens, lengths = pad(answered)
    hidden = model(tokens)
    row = torch.arange(len(prompts))

    def at(back: int) -> Tensor:
        return model.head(hidden[row, lengths - back])

    intent_logp = at(3).log_softmax(dim=-1)[:, vocab.intent_ids]
    smooth = config.label_smoothing
    intent = -(1 - smooth) * intent_logp[row, targets].mean() - smooth * intent_logp.mean()
    frame = sum(
        F.cross_entropy(at(back), torch.full_like(targets, ids[token]))
        for back, token in ((4, OPEN), (2, CLOSE), (1, END))
    )
    in_message = torch.arange(tokens.shape[1] - 1) < (lengths - 5)[:, None]
    in_message &= torch.rand(in_message.shape) < config.lm_share
    message = F.cross_entropy(model.head(hidden[:, :-1][in_message]), tokens[:, 1:][in_message])
    return intent + config.frame_weight * frame + config.lm_weight * message


def train(vocab: Vocabulary, texts: list[str], intents: list[str], config: Config) -> Llama:
    """Returns the moving average of the weights. A fixed number of steps: the same seed, the same model."""
    rng = random.Random(config.seed)
    torch.manual_seed(config.seed)
    torch.set_flush_denormal(True)
    model = Llama(config, len(vocab.ids))
    average = copy.deepcopy(model).eval()
    targets = torch.tensor([vocab.intents.index(intent) for intent in intents])
    steps = config.epochs * math.ceil(len(texts) / config.batch)
    optimizer = torch.optim.AdamW(
        [
            {"params": [p for p in model.parameters() if p.dim() > 1], "weight_decay": config.weight_decay},
            {"params": [p for p in model.parameters() if p.dim() == 1], "weight_decay": 0.0},
        ],
        betas=(0.9, 0.98),
    )
    parameters = sum(p.numel() for p in model.parameters())
    print(f"{parameters:,} parameters, {len(texts):,} messages, {steps:,} steps")
    step, began = 0, time.monotonic()
    for epoch in range(config.epochs):
        total = 0.0
        messages = vocab.encode([augment(text, rng, config) for text in texts])
        prompts = [vocab.prompt(vocab.split(message, config.token_split, rng)) for message in messages]
        for chunk in batches([len(p) for p in prompts], config.batch, rng):
            step += 1
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(step, steps, config)
            loss = loss_of(model, vocab, [prompts[i] for i in chunk], targets[chunk])
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            update_average(average, model, min(config.ema, step / (step + 10)))
            total += loss.item() * len(chunk)
        seconds = time.monotonic() - began
        print(f"epoch {epoch + 1:3d}  loss {total / len(texts):.3f}  {seconds:4.0f} s", flush=True)
    return average


def learning_rate(step: int, steps: int, config: Config) -> float:
    """Up in a straight line, then down along a cosine to a fiftieth."""
    return config.lr * min(1.0, step / config.warmup) * (0.51 + 0.49 * math.cos(math.pi * step / steps))


@torch.no_grad()
def update_average(average: Llama, model: Llama, keep: float) -> None:
    torch._foreach_lerp_(list(average.parameters()), list(model.parameters()), 1 - keep)


@torch.no_grad()
def intent_logits(model: Llama, vocab: Vocabulary, texts: list[str], batch: int = 250) -> Tensor:
    """The logits of the 77 intents for each message."""
    model.eval()
    rows = []
    for i in range(0, len(texts), batch):
        tokens, lengths = pad([vocab.prompt(message) for message in vocab.encode(texts[i : i + batch])])
        rows.append(model.head(model(tokens)[torch.arange(len(lengths)), lengths - 1])[:, vocab.intent_ids])
    return torch.cat(rows)


def accuracy(model: Llama, vocab: Vocabulary, texts: list[str], intents: list[str]) -> float:
    found = intent_logits(model, vocab, texts).argmax(dim=1).tolist()
    return sum(vocab.intents[i] == intent for i, intent in zip(found, intents, strict=True)) / len(texts)


# --- GGUF ---------------------------------------------------------------------------------------------------


def export(model: Llama, vocab: Vocabulary, path: Path) -> None:
    """Writes weights (Q8_0), tokenizer, chat template and credits into one file that llama.cpp loads."""
    config = model.config
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = gguf.GGUFWriter(path, "llama")
    add_credits(writer, sum(p.numel() for p in model.parameters()))
    writer.add_vocab_size(len(vocab.ids))
    writer.add_context_length(config.context)
    writer.add_embedding_length(config.dim)
    writer.add_block_count(config.layers)
    writer.add_feed_forward_length(config.ffn)
    writer.add_head_count(config.heads)
    writer.add_head_count_kv(config.heads)
    writer.add_rope_dimension_count(config.dim // config.heads)
    writer.add_rope_freq_base(config.rope_theta)
    writer.add_layer_norm_rms_eps(config.norm_eps)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q8_0)
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    add_tokenizer(writer, vocab)
    for name, weight in tensors(model):
        array = weight.detach().float().numpy()
        if weight.dim() == 1:
            writer.add_tensor(name, array)
        else:
            quantized = gguf.quants.quantize(array, gguf.GGMLQuantizationType.Q8_0)
            writer.add_tensor(name, quantized, raw_dtype=gguf.GGMLQuantizationType.Q8_0)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def add_credits(writer: gguf.GGUFWriter, parameters: int) -> None:
    writer.add_name("Freehold banking77")
    writer.add_author("Freehold")
    writer.add_organization("Freehold")
    writer.add_version("1")
    writer.add_size_label(f"{parameters / 1e6:.1f}M")
    writer.add_license("apache-2.0")
    writer.add_description(
        "Reads one short English message to a bank and answers with JSON, one of 77 intents. "
        "Not a chat model. Trained from scratch on BANKING77 by PolyAI (CC BY 4.0)."
    )
    writer.add_languages(["en"])
    writer.add_tags(["text-classification", "intent-detection", "banking77"])
    writer.add_dataset_count(1)
    writer.add_dataset_name(0, "BANKING77")
    writer.add_dataset_author(0, "Casanueva et al., PolyAI")
    writer.add_dataset_organization(0, "PolyAI")
    writer.add_dataset_description(0, "10,003 messages to a bank with 77 intents, train split; CC BY 4.0")
    writer.add_dataset_repo_url(0, "https://github.com/PolyAI-LDN/task-specific-datasets")


def add_tokenizer(writer: gguf.GGUFWriter, vocab: Vocabulary) -> None:
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    tokens = sorted(vocab.ids, key=vocab.ids.__getitem__)
    writer.add_token_list(tokens)
    control, normal = gguf.TokenType.CONTROL, gguf.TokenType.NORMAL
    writer.add_token_types([control if token in (END, USER, ANSWER) else normal for token in tokens])
    writer.add_token_merges([" ".join(merge) for merge in vocab.merges])
    writer.add_bos_token_id(vocab.ids[USER])
    writer.add_eos_token_id(vocab.ids[END])
    writer.add_pad_token_id(vocab.ids[END])
    writer.add_add_bos_token(False)
    writer.add_add_eos_token(False)
    writer.add_chat_template(TEMPLATE.read_text(encoding="utf-8"))


def tensors(model: Llama) -> Iterator[tuple[str, Tensor]]:
    """Every weight under its name in GGUF."""
    yield "token_embd.weight", model.embed.weight
    for i, block in enumerate(model.blocks):
        yield f"blk.{i}.attn_norm.weight", block.attn_norm
        yield f"blk.{i}.attn_q.weight", block.q.weight
        yield f"blk.{i}.attn_k.weight", block.k.weight
        yield f"blk.{i}.attn_v.weight", block.v.weight
        yield f"blk.{i}.attn_output.weight", block.o.weight
        yield f"blk.{i}.ffn_norm.weight", block.ffn_norm
        yield f"blk.{i}.ffn_gate.weight", block.gate.weight
        yield f"blk.{i}.ffn_up.weight", block.up.weight
        yield f"blk.{i}.ffn_down.weight", block.down.weight
    yield "output_norm.weight", model.norm
    yield "output.weight", model.head.weight


@torch.no_grad()
def load(path: Path) -> tuple[Llama, Vocabulary]:
    """Reads a file written by `export` back, for comparing PyTorch with llama.cpp."""
    reader = gguf.GGUFReader(path)
    fields = reader.fields
    tokens: list[str] = fields["tokenizer.ggml.tokens"].contents()
    merges = [tuple(merge.split(" ")) for merge in fields["tokenizer.ggml.merges"].contents()]
    ids = {token: i for i, token in enumerate(tokens)}
    vocab = Vocabulary(byte_level(models.BPE(ids, merges)), ids, merges, tokens[ids[CLOSE] + 1 :])
    config = Config(
        context=fields["llama.context_length"].contents(),
        dim=fields["llama.embedding_length"].contents(),
        layers=fields["llama.block_count"].contents(),
        heads=fields["llama.attention.head_count"].contents(),
        ffn=fields["llama.feed_forward_length"].contents(),
        rope_theta=fields["llama.rope.freq_base"].contents(),
        norm_eps=fields["llama.attention.layer_norm_rms_epsilon"].contents(),
    )
    model = Llama(config, len(tokens))
    stored = {tensor.name: tensor for tensor in reader.tensors}
    for name, weight in tensors(model):
        array = gguf.quants.dequantize(stored[name].data, stored[name].tensor_type)
        weight.copy_(torch.tensor(array))
    return model.eval(), vocab


def main() -> None:
    parser = argparse.ArgumentParser(description="Trains the model in the box and writes it as GGUF.")
    parser.add_argument("--data", type=Path, default=DATA, help="folder of banking77_train.csv")
    parser.add_argument("--out", type=Path, default=BOX, help="the GGUF to write")
    parser.add_argument("--holdout", type=int, default=0, help="messages to score; no GGUF is written then")
    parser.add_argument("--threads", type=int, default=1, help="more are little faster at this size")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)

    config = Config()
    print(json.dumps(asdict(config)))
    texts, intents = read(args.data / "banking77_train.csv")
    order = random.Random(0).sample(range(len(texts)), len(texts))
    held, kept = order[: args.holdout], order[args.holdout :]
    texts_kept, intents_kept = [texts[i] for i in kept], [intents[i] for i in kept]
    vocab = Vocabulary.learn(texts_kept, sorted(set(intents)), config.bpe_vocab)
    began = time.monotonic()
    model = train(vocab, texts_kept, intents_kept, config)
    print(f"trained in {time.monotonic() - began:.0f} s, {time.process_time():.0f} s of CPU time")
    if held:
        share = accuracy(model, vocab, [texts[i] for i in held], [intents[i] for i in held])
        print(f"accuracy on {len(held):,} messages held out: {share:.4f}")
    else:
        export(model, vocab, args.out)
        print(f"wrote {args.out} ({args.out.stat().st_size / 1e6:.2f} MB)")


if __name__ == "__main__":
    main()
