"""Conversion of a safetensors repository to GGUF, and quantisation, without torch and without a llama.cpp checkout.

    config.py        config.json, every number checked before it is used
    checkpoint.py    the tensors of a folder, mapped, never copied whole
    family.py        what a family of models is: data plus small functions (families/ holds one file per family)
    metadata.py      hyperparameters as GGUF keys; rotary scaling
    tensors.py       which tensor goes where, with which shape; experts stacked, heads permuted
    tokenizer.py     tokenizer.json (bpe.py, pretokenizers.py) or tokenizer.model (sentencepiece.py); specials.py
    writer.py        the file, tensor by tensor; encode.py holds the number formats
    quantise.py      GGUF to smaller GGUF
    core.py          `convert`, `supported`
    child.py         the same in a child process; `python -m freehold.own.convert` is that child

Nothing here is imported by the gateway or at the start of the CLI. numpy and gguf come with `freehold[own]`.
"""
