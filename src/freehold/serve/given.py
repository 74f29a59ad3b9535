"""What the inside is given by the process outside of its namespace (outer.py): through a descriptor, so that it stands
in no command line and in no environment."""

import os
import socket
from pathlib import Path

import msgspec
from msgspec import Struct

from freehold.call.transport import Way


class Given(Struct):
    """`listener` is the descriptor of a listening socket that was made outside: what it accepts, it accepts there."""

    listener: int
    pid: int
    """The process outside, which signals are for."""
    reading: str = ""
    """The configuration without keys; empty where there is none."""
    egress: str = ""
    """Where the egress process listens."""
    key: bytes = b""
    """What tickets are signed with; empty where there is no egress process."""

    @classmethod
    def read(cls, descriptor: int) -> "Given":
        """Reads what `written` wrote, once."""
        with os.fdopen(descriptor, "rb") as pipe:
            return msgspec.msgpack.decode(pipe.read(), type=cls)

    def written(self) -> int:
        """Returns a descriptor to be inherited, which `read` reads."""
        reader, writer = os.pipe()
        with os.fdopen(writer, "wb") as pipe:
            pipe.write(msgspec.msgpack.encode(self))
        os.set_inheritable(reader, True)
        return reader

    def listening(self) -> socket.socket:
        """Returns the listening socket."""
        return socket.socket(fileno=self.listener)

    def way(self) -> Way:
        """Returns the way out of one worker. Raises OSError."""
        return Way(Path(self.egress), self.key)
