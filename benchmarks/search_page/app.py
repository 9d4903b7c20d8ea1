"""The search page as a Flask application."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from threading import BoundedSemaphore, Lock
from typing import Any

from flask import Flask, Response, jsonify, request
from werkzeug.exceptions import BadRequest, HTTPException, NotFound, RequestEntityTooLarge

from . import api, comparison
from .files import AT_ONCE
from .gallery import SearchedPictures
from .reading import LARGEST_UPLOAD, read_upload
from .trust import protect

MOST_ANSWERS = 100
MOST_PER_PAGE = 200
SUGGESTIONS = 20
SIDES = (240, 960)  # pixels of the longer side of a picture that is sent


def create_app(pictures: SearchedPictures, host: str = "127.0.0.1") -> Flask:
    """The page and its JSON API, which ``docs/search_page.md`` describes.

    Arguments:
        pictures: what is shown and searched.
        host: the name or address that it is served as.
    """
    app = Flask(__name__, static_folder="static", static_url_path="/static")
    app.config["MAX_CONTENT_LENGTH"] = LARGEST_UPLOAD + 1  # a body without a length is cut there
    app.json.sort_keys = False  # type: ignore[attr-defined]
    protect(app, host)
    compared_once = _once(lambda: comparison.compare(pictures))
    uploads = BoundedSemaphore(AT_ONCE)  # they are held in memory until they are searched for

    @app.get("/")
    def page() -> Response:
        return app.send_static_file("page.html")

    @app.get("/api/info")
    def info() -> dict[str, Any]:
        return api.information(pictures)

    @app.get("/api/pictures")
    def listing() -> dict[str, Any]:
        start = _integer("start", 0, 0, len(pictures))
        count = _integer("count", 60, 1, MOST_PER_PAGE)
        return api.listing(pictures, request.args.get("name", ""), start, count)

    @app.get("/api/names")
    def names() -> dict[str, Any]:
        text, fine_only = request.args.get("like", ""), "level" in request.args
        if request.args.get("level", "0") != "0":
            raise BadRequest("level must be 0, for the names of the classes alone, or left out.")
        return {"names": pictures.classes.suggestions(text, SUGGESTIONS, fine_only)}

    @app.get("/api/comparison")
    def compared() -> dict[str, Any]:
        if len(pictures.galleries) < 2 or len(pictures) < 2 or not pictures.classes.has_names:
            raise BadRequest("This needs --compare and two pictures whose classes are known.")
        return comparison.as_json(pictures, compared_once())

    @app.get("/api/search")
    def search_by_row() -> dict[str, Any]:
        row = _integer("row", None, 0, len(pictures) - 1)
        return api.neighbours_of_row(pictures, row, _answers_asked())

    @app.post("/api/search")
    def search_by_upload() -> dict[str, Any]:
        if not pictures.takes_uploads:
            raise BadRequest(pictures.why_no_uploads)
        if (request.mimetype or "").startswith("multipart/"):
            raise BadRequest("Send the file itself as the body, not a form.")
        content = request.get_data()
        if len(content) > LARGEST_UPLOAD:
            raise RequestEntityTooLarge
        k, name = _answers_asked(), request.args.get("class", "")
        with uploads:
            return api.neighbours_of_picture(pictures, read_upload(content), k, name)

    @app.get("/pictures/<int:row>")
    def picture(row: int) -> Response:
        if row >= len(pictures):
            raise NotFound(f"The gallery has rows 0 to {len(pictures) - 1}.")
        side = request.args.get("side", str(SIDES[0]))
        if side not in map(str, SIDES):
            allowed = " or ".join(map(str, SIDES))
            raise BadRequest(f"side must be {allowed}, but it is {side!r}.")
        return _picture(pictures, row, int(side))

    app.register_error_handler(HTTPException, _as_json)
    app.register_error_handler(ValueError, lambda error: _as_json(BadRequest(str(error))))
    return app


def _once(compute: Callable[[], Any]) -> Callable[[], Any]:
    """A function that computes at its first call, for which other threads wait."""
    lock, remembered = Lock(), cache(compute)

    def get() -> Any:
        with lock:
            return remembered()

    return get


def _picture(pictures: SearchedPictures, row: int, side: int) -> Response:
    """A picture, which the browser keeps but asks each time whether it has changed."""
    try:
        response = Response(mimetype="image/jpeg")
        response.set_etag(pictures.files.version(row, side))
        response.cache_control.private = True
        response.cache_control.no_cache = True
        response.make_conditional(request)
        if response.status_code != 304:
            response.data = pictures.files.jpeg(row, side)
    except (OSError, ValueError) as error:
        raise NotFound(str(error)) from error
    return response


def _answers_asked() -> int:
    return _integer("k", 12, 1, MOST_ANSWERS)


def _integer(name: str, default: int | None, lowest: int, highest: int) -> int:
    text = request.args.get(name, default)
    try:
        value = int(text)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        value = lowest - 1
    if not lowest <= value <= highest:
        got = "is missing" if text is None else f"is {text!r}"
        raise BadRequest(f"{name} must be an integer from {lowest} to {highest}, but it {got}.")
    return value


def _as_json(error: HTTPException) -> tuple[Response, int]:
    message = error.description
    if isinstance(error, RequestEntityTooLarge):
        message = f"The file is larger than {LARGEST_UPLOAD // 2**20} MB."
    response = jsonify(error=message)
    for name, value in error.get_headers():  # such as the methods that are allowed
        if name != "Content-Type":
            response.headers[name] = value
    return response, error.code or 500
