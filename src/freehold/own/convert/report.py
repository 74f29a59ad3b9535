"""What a conversion or a quantisation tells about its result."""

from msgspec import Struct


class Report(Struct, frozen=True, kw_only=True):
    """What was made. Sizes are bytes; `quantisation` is what was asked for, or the type of most weights; `tokenizer` is
    llama.cpp's name of it; `notes` are sentences for a person."""

    path: str
    architecture: str
    family: str
    parameters: int
    size: int
    quantisation: str
    tensors: int
    context: int
    vocabulary: int
    tokenizer: str
    seconds: float
    notes: tuple[str, ...] = ()
