"""A client may send a provider's key, left in its environment, beside ours."""

import pytest

from freehold.admit.keys import Keyring
from freehold.config.schema import Key
from freehold.errors import Unauthorized

OURS, THEIRS = b"fh-0123456789abcdef", b"sk-ant-somebody-elses"


def test_the_key_that_is_known_counts() -> None:
    keyring = Keyring([Key("ci", key=OURS.decode())])
    for headers in (
        {b"authorization": b"Bearer " + OURS, b"x-api-key": THEIRS},
        {b"authorization": b"Bearer " + THEIRS, b"x-api-key": OURS},
        {b"x-goog-api-key": OURS},
        {b"api-key": OURS},
    ):
        assert keyring.authenticate(headers).name == "ci"
    for headers in ({b"authorization": b"Bearer " + THEIRS, b"x-api-key": THEIRS}, {b"x-api-key": THEIRS}, {}):
        with pytest.raises(Unauthorized):
            keyring.authenticate(headers)
