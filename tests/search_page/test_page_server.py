"""The command in a process of its own, and the addresses it can have."""

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from benchmarks.search_page.server import address_of, bind, is_loopback

COMMAND = """
import typer
from benchmarks.search_page.command import serve
app = typer.Typer()
app.command()(serve)
app()
"""


@pytest.fixture(scope="module")
def process(folders):
    options = [folders.gallery, "--compare", folders.flat, "--port", "0"]
    options += ["--model", folders.model, "--compare-model", folders.flat_model]
    with subprocess.Popen(
        [sys.executable, "-c", COMMAND, *map(str, options)],
        cwd=Path(__file__).parents[2],
        env=os.environ | {"OMP_NUM_THREADS": "2", "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # a process that a script starts with "&" ignores Ctrl-C, and so do all that it starts
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as process:
        yield process
        process.kill()


def test_the_command(process, folders):
    """It answers several requests at a time, prints what is needed and ends at Ctrl-C."""
    line = process.stdout.readline()
    number, _, rest = line.partition(" pictures at http://127.0.0.1:")
    assert number == "30", process.stderr.read()
    port = int(rest.partition("/")[0])

    def search(row):
        content = (folders.root / folders.paths[row]).read_bytes()
        url = f"http://127.0.0.1:{port}/api/search?k=1"
        with urllib.request.urlopen(url, content, timeout=30) as answer:
            found = json.load(answer)["galleries"]
        return [gallery["answers"][0]["row"] for gallery in found]

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(search, range(16))) == [[row, row] for row in range(16)]
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=20)
    assert (process.returncode, output, errors) == (0, "\nended\n", "")


def test_a_port_in_use():
    with bind("127.0.0.1", 0) as first:
        port = first.getsockname()[1]
        with pytest.raises(OSError, match=rf"port {port} is in use: .* --port \d+"):
            bind("127.0.0.1", port)
    with bind("127.0.0.1", port):
        pass  # it can be used again at once


def test_an_address_of_another_machine():
    for host in ("192.0.2.1", "no-such-name.invalid"):
        with pytest.raises(OSError, match="this machine has no address"):
            bind(host, 0)


@pytest.mark.parametrize(
    ("host", "loopback"), [("127.0.0.1", True), ("localhost", True), ("0.0.0.0", False)]
)
def test_which_addresses_others_can_reach(host, loopback):
    with bind(host, 0) as listening:
        port = listening.getsockname()[1]
        assert is_loopback(listening) == loopback
        assert address_of(listening, host) == f"http://{host}:{port}/"


@pytest.mark.skipif(not socket.has_ipv6, reason="needs IPv6")
def test_ipv6():
    try:
        listening = bind("::1", 0)
    except OSError:
        pytest.skip("this machine has no IPv6")
    with listening:
        assert address_of(listening, "::1") == f"http://[::1]:{listening.getsockname()[1]}/"
