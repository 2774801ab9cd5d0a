"""A real gateway whose names resolve as a test says: `TEST_NAMES` is JSON, from a name to its successive answers.

The last answer of a name is repeated. Names that are not listed are resolved normally.
"""

import json
import os
import socket
from collections.abc import Sequence
from typing import Any

from api.app import main

_answers: dict[str, list[list[str]]] = json.loads(os.environ["TEST_NAMES"])
_real = socket.getaddrinfo


def getaddrinfo(host: Any, port: Any, *more: Any, **named: Any) -> Sequence[Any]:
    known = _answers.get(host)
    if known is None:
        return _real(host, port, *more, **named)
    found = known.pop(0) if len(known) > 1 else known[0]
    if not found:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    return [entry for address in found for entry in _real(address, port, type=socket.SOCK_STREAM)]


socket.getaddrinfo = getaddrinfo  # type: ignore[assignment]  # every caller of ours reads its answer alike

if __name__ == "__main__":
    main()
