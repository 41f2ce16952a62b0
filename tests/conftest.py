"""Every test runs without a network, and so does every program a test starts."""

import os
import sys
from typing import Any

LOCAL = ("localhost", "127.0.0.1", "::1", "0.0.0.0", "::", "")


def refuse_network(event: str, arguments: tuple[Any, ...]) -> None:
    """An audit hook: Python calls it before it looks up a name or opens a connection, whatever library asks."""
    if event == "socket.getaddrinfo":
        host = arguments[0]
    elif event in ("socket.connect", "socket.sendto"):
        address = arguments[-1]
        host = address[0] if isinstance(address, tuple) else None  # else a Unix socket: of this machine
    else:
        return
    host = host.decode() if isinstance(host, bytes) else host
    if host is not None and host not in (*LOCAL, os.uname().nodename):
        raise AssertionError(f"a test tried to reach {host}: tests run without a network")


sys.addaudithook(refuse_network)
# Programs that a test starts inherit no hook; a proxy that nobody serves stops them as well.
for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
    os.environ[name] = "http://127.0.0.1:9"
