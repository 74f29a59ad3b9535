"""The key that signs tree heads: where it lies, and who does the arithmetic.

There is no signature in Python's standard library, and a keyed hash is none: who can check one can make one, so an
auditor could not be told from a forger. So: Ed25519 by the `cryptography` package where it is installed (the extra
`audit`), by ed25519.py where it is not. The same key, the same signatures, nothing to migrate.

The secret is one line of 64 hexadecimal digits in a file of its owner's only. Verifier keys are written as the Go
checksum database and other transparency logs write them: name+hash+key, the hash being 4 bytes in hexadecimal, the key
base64 with a first byte 1 for Ed25519 (https://c2sp.org/signed-note).
"""

import base64
import binascii
import os
import secrets
from hashlib import sha256
from pathlib import Path
from typing import Final, NamedTuple

from freehold.errors import BadRequest, InternalError
from freehold.record.receipts import ed25519

VARIABLE: Final = "FREEHOLD_AUDIT_KEY_FILE"
"""Names the key's file, where it is not to lie in the state folder."""
_KIND: Final = b"\1"
"""The signature type of Ed25519."""


class Verifier(NamedTuple):
    """A public key, with the name of the log that it signs for."""

    name: str
    public: bytes

    @classmethod
    def parse(cls, text: str) -> "Verifier":
        """Reads name+hash+key. Raises BadRequest."""
        wrong = BadRequest("this is no verifier key", code="audit_key", hint="it looks like name+1a2b3c4d+AbCd...=")
        name, hashed, key = [*text.strip().split("+", 2), "", ""][:3]
        try:
            decoded = base64.b64decode(key, validate=True)
        except (binascii.Error, ValueError):
            raise wrong from None
        if not name or len(decoded) != 33 or decoded[:1] != _KIND:
            raise wrong
        found = cls(name, decoded[1:])
        if found.id.hex() != hashed:
            raise wrong
        return found

    @property
    def id(self) -> bytes:
        """Four bytes that stand for name and key in a signature's line."""
        return sha256(self.name.encode() + b"\n" + _KIND + self.public).digest()[:4]

    def __str__(self) -> str:
        return f"{self.name}+{self.id.hex()}+{base64.b64encode(_KIND + self.public).decode()}"

    def verifies(self, message: bytes, signature: bytes) -> bool:
        try:
            from cryptography.exceptions import InvalidSignature
            from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
        except ImportError:
            return ed25519.verify(self.public, message, signature)
        try:
            Ed25519PublicKey.from_public_bytes(self.public).verify(signature, message)
        except (InvalidSignature, ValueError):
            return False
        return True


class Signer:
    """A secret key in the service of the log called `name`."""

    def __init__(self, name: str, seed: bytes) -> None:
        self._seed = seed
        self.verifier = Verifier(name, _public(seed))

    def sign(self, message: bytes) -> bytes:
        """Returns the 64 bytes of the signature."""
        try:
            from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
        except ImportError:
            return ed25519.sign(self._seed, message, self.verifier.public)
        return Ed25519PrivateKey.from_private_bytes(self._seed).sign(message)


def _public(seed: bytes) -> bytes:
    try:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    except ImportError:
        return ed25519.public_key(seed)
    return Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()


def secret(path: Path, size: int = ed25519.SEED_BYTES) -> bytes:
    """Returns the secret in `path`, made where there is none. Raises InternalError for a file that holds no secret, and
    OSError."""
    try:
        text = path.read_text("ascii", "replace").strip()
    except FileNotFoundError:
        return _made(path, size)
    try:
        found = bytes.fromhex(text)
    except ValueError:
        found = b""
    if len(found) != size:
        raise InternalError(
            f"{path} holds no key: {2 * size} hexadecimal digits are wanted",
            code="audit_key",
            hint="put the right file there; a new key would be announced in the log, and shown by every verification",
        )
    return found


def _made(path: Path, size: int) -> bytes:
    """A new secret. Of several processes that make one at once, one wins."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    made = secrets.token_bytes(size)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(made.hex() + "\n")
            file.flush()
            os.fsync(file.fileno())
        os.link(temporary, path)
    except FileExistsError:
        return secret(path, size)
    finally:
        temporary.unlink(missing_ok=True)
    return made
