import threading

import pytest
from page_gallery import make_galleries
from werkzeug.serving import make_server

from benchmarks.search_page.app import create_app
from benchmarks.search_page.loading import load


@pytest.fixture(scope="session")
def folders(tmp_path_factory):
    """Folders of pictures, two models and their galleries, as the commands write them."""
    return make_galleries(tmp_path_factory.mktemp("search_page"))


@pytest.fixture(scope="session")
def pictures(folders):
    return load(folders.gallery, folders.flat, folders.model, folders.flat_model)


@pytest.fixture
def client(pictures):
    return create_app(pictures).test_client()


@pytest.fixture
def ask(client):
    """Asks for JSON; checks that the answer is what was expected of it."""

    def get(address, status=200, **options):
        response = client.get(address, **options)
        assert response.status_code == status, response.text
        return response.json

    return get


@pytest.fixture
def upload(client):
    def post(content, parameters="k=3", status=200, **options):
        response = client.post(f"/api/search?{parameters}", data=content, **options)
        assert response.status_code == status, response.text
        return response.json

    return post


@pytest.fixture(scope="session")
def address(pictures):
    """The page in a server of its own thread."""
    server = make_server("127.0.0.1", 0, create_app(pictures), threaded=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.port}/"
    server.shutdown()
