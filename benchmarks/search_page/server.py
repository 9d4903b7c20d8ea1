"""Serves an application to browsers until Ctrl-C."""

from __future__ import annotations

import errno
import ipaddress
import socket

from flask import Flask
from werkzeug.serving import WSGIRequestHandler, make_server

SECONDS_OF_SILENCE = 60


class _Handler(WSGIRequestHandler):
    timeout = SECONDS_OF_SILENCE  # a connection that says nothing is closed

    def log_request(self, *args: object, **kwargs: object) -> None:
        """Errors are printed, requests are not: a page of a gallery has dozens."""


def bind(host: str, port: int) -> socket.socket:
    """A socket that listens at an address; port 0 is any free one.

    Raises:
        OSError: if it cannot; says what to do.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=128)
    except OSError as error:
        reasons = {
            errno.EADDRINUSE: f"port {port} is in use: stop the program that uses it, or choose "
            f"another port with --port {port + 1 if port < 65535 else port - 1} (0 is any free "
            "port)",
            errno.EACCES: f"this user may not use port {port}: choose one from 1024 on with --port",
        }
        other = f"this machine has no address {host!r} ({error}): leave --host out, or correct it"
        raise OSError(reasons.get(error.errno or 0, other)) from error


def is_loopback(listening: socket.socket) -> bool:
    """Whether only this machine can connect."""
    return ipaddress.ip_address(listening.getsockname()[0]).is_loopback


def address_of(listening: socket.socket, host: str) -> str:
    """The URL of the page."""
    port = listening.getsockname()[1]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}/"


def serve_forever(app: Flask, listening: socket.socket, host: str) -> None:
    """Answer requests, each in a thread, until Ctrl-C."""
    port = listening.getsockname()[1]
    server = make_server(
        host, port, app, threaded=True, request_handler=_Handler, fd=listening.fileno()
    )
    server.serve_forever()  # returns at Ctrl-C
