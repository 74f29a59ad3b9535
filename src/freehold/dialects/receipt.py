"""What must be known of an answer that was passed through unread: who answered, why it stopped, what it used."""

from msgspec import Struct

from freehold.dialects.conversation import Failed, Finish, Usage


class Receipt(Struct):
    """`finish` is the first choice's, `usage` None where the provider was silent, `failed` an error sent as 200."""

    id: str = ""
    model: str = ""
    usage: Usage | None = None
    finish: Finish | None = None
    failed: Failed | None = None
