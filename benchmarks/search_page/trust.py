"""Which requests are answered: those of the page itself, and of programs on this machine."""

from __future__ import annotations

import ipaddress
import socket
from urllib.parse import urlsplit

from flask import Flask, Response, abort, request

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
        "img-src 'self' blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


def names_this_machine(host: str, served_as: str) -> bool:
    """Whether a ``Host`` header can only come from a page that this program serves.

    By DNS rebinding another site's page reaches a server on loopback under that site's name, and
    could read its answers. An address cannot be rebound, and the other names here are the
    machine's own. (Werkzeug's ``trusted_hosts`` matches no IPv6 address.)

    Example:
        >>> names_this_machine("127.0.0.1:8000", "127.0.0.1"), names_this_machine("evil.com", "")
        (True, False)
    """
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:  # e.g. a bracket that is never closed
        return False
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return name in {"localhost", socket.gethostname().lower(), served_as.lower()} - {""}
    return True


def protect(app: Flask, served_as: str) -> None:
    """Refuse other sites' requests to ``app``, and tell browsers what the page may load."""

    @app.before_request
    def refuse_other_sites() -> None:
        host = request.headers.get("Host", "")
        if not names_this_machine(host, served_as):
            abort(400, f"This page is not served as {host!r}. Start it with --host and that name.")
        origin = request.headers.get("Origin")  # older browsers say no more about a page
        is_own = origin is None or urlsplit(origin).netloc == host
        came_from = request.headers.get("Sec-Fetch-Site", "none" if is_own else "cross-site")
        if request.path != "/" and came_from not in ("none", "same-origin"):
            abort(403, "Another site's page may not use this one.")

    @app.after_request
    def add_headers(response: Response) -> Response:
        response.headers.update(HEADERS)
        return response
