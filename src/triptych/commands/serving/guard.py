"""What keeps pages of other sites away from a server that asks for no password.

Such a page could send requests from the browser of somebody who reaches the server. It could read the answers, too, if
its name led to the address of the server (DNS rebinding). An address cannot be made to lead elsewhere.
"""

from __future__ import annotations

from collections.abc import Collection
from ipaddress import ip_address
from urllib.parse import urlsplit

from fastapi import Request, Response
from fastapi.responses import JSONResponse

from triptych.errors import ConfigError

LOCAL = "localhost"
# The page loads its own files only, and no page may show or read what comes from here.
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src blob: data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


def refuse(request: Request, names: Collection[str]) -> Response | None:
    """Return the answer to a request that is meant for another server, or that a page of another site sends.

    Args:
        request: a request.
        names: of this server, besides its addresses, in lower case.
    """
    host, origin = request.headers.get("host", ""), request.headers.get("origin")
    if not is_own(host, names):
        return JSONResponse({"detail": "this server has another name: --allow-host allows one"}, 421)
    if origin is not None and origin.partition("://")[2] != host:
        return JSONResponse({"detail": "pages of other sites may not use this server"}, 403)
    return None


def check_name(name: str) -> str:
    """Return a name that a server may have, in lower case.

    Raises:
        ConfigError: no Host header has it.

    >>> check_name("box:80")
    Traceback (most recent call last):
    triptych.errors.ConfigError: --allow-host 'box:80' is no name of a machine: name it without scheme, port or *, \
such as box.example
    """
    if "*" in name or not is_own(name, {name.lower()}):
        rule = "name it without scheme, port or *, such as box.example"
        raise ConfigError(f"--allow-host {name!r} is no name of a machine: {rule}")
    return name.lower()


def is_own(host: str, names: Collection[str]) -> bool:
    """Return whether a Host header has an address, or one of some names.

    >>> [is_own(host, {"box"}) for host in ("127.0.0.1:8000", "[::1]", "localhost", "BOX:80", "evil.example", "")]
    [True, True, True, True, False, False]
    """
    try:
        name = urlsplit(f"//{host}").hostname or ""
        if name and (name == LOCAL or name in names):
            return True
        ip_address(name)
    except ValueError:
        return False
    return True
