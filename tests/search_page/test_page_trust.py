"""Requests of other sites' pages are refused."""

import socket

import pytest

from benchmarks.search_page.app import create_app


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1:8000", "127.0.0.1", "localhost:9000", "LOCALHOST", "[::1]:8000", "192.168.1.7:80"],
)
def test_names_of_this_machine(client, host):
    assert client.get("/api/info", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8000",
        "127.0.0.1.evil.example",
        "localhost.evil.example",
        "evil.example#127.0.0.1",
        "user@evil.example",
        "[::1",
        "",
        "127.0.0.1, evil.example",
    ],
)
@pytest.mark.parametrize("address", ["/", "/api/info", "/pictures/0", "/static/page.js"])
def test_dns_rebinding(client, host, address):
    response = client.get(address, headers={"Host": host})
    assert response.status_code == 400
    assert "is not served as" in response.json["error"]


def test_the_name_that_was_asked_for(pictures):
    client = create_app(pictures, host="search.example").test_client()
    names = ("search.example:8000", socket.gethostname(), "127.0.0.1", "other.example")
    statuses = [client.get("/api/info", headers={"Host": name}).status_code for name in names]
    assert statuses == [200, 200, 200, 400]


@pytest.mark.parametrize(
    ("site", "status"),
    [("same-origin", 200), ("none", 200), ("cross-site", 403), ("same-site", 403)],
)
def test_other_sites_cannot_search(client, folders, site, status):
    headers = {"Sec-Fetch-Site": site}
    content = (folders.root / folders.paths[0]).read_bytes()
    assert client.get("/api/search?row=0", headers=headers).status_code == status
    assert client.get("/pictures/0", headers=headers).status_code == status
    assert client.post("/api/search", data=content, headers=headers).status_code == status
    assert client.get("/", headers=headers).status_code == 200  # a link to the page


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Origin": "http://localhost"}, 200),
        ({"Origin": "http://localhost:8000"}, 403),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "https://proxy.example", "Sec-Fetch-Site": "same-origin"}, 200),
    ],
)
def test_browsers_that_name_only_the_origin(client, headers, status):
    headers = {"Host": "localhost", **headers}
    assert client.get("/api/search?row=0", headers=headers).status_code == status
    assert client.get("/", headers=headers).status_code == 200


def test_headers(client):
    for address in ("/", "/api/info", "/pictures/0", "/pictures/99", "/nothing"):
        headers = client.get(address).headers
        assert "default-src 'none'" in headers["Content-Security-Policy"]
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
        assert "Access-Control-Allow-Origin" not in headers
