"""The application that Airflow mounts under /quality. Every route, also an unknown one, asks who is there first."""

from __future__ import annotations

from http import HTTPStatus
from urllib.parse import urlencode

from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, Response
from starlette.exceptions import HTTPException as StarletteHTTPException

from partner_sync.errors import ConfigError, DatabaseAwayError, PartnerSyncError
from partner_sync_airflow.pages import audit, figures, quarantine, runs
from partner_sync_airflow.pages.addresses import base_path
from partner_sync_airflow.pages.asking import Person
from partner_sync_airflow.pages.headers import SafeHeaders
from partner_sync_airflow.pages.rendering import HERE, link, page
from partner_sync_airflow.pages.rights import Reader, from_this_site

_METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
_TYPES = {"css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
_STATIC = {path.name: path for path in (HERE / "static").iterdir() if path.suffix[1:] in _TYPES}


def make_app() -> FastAPI:
    """No route of its own making (docs, schema), no redirect: nothing answers a stranger but a refusal."""
    app = FastAPI(
        title="Data quality",
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
        dependencies=[Depends(from_this_site), Depends(no_nul)],
    )
    app.add_middleware(SafeHeaders)
    app.add_exception_handler(StarletteHTTPException, _refused)
    app.add_exception_handler(RequestValidationError, _not_understood)
    app.add_exception_handler(PartnerSyncError, _failed)
    app.add_api_route("/static/{name}", static, methods=["GET"])
    for routes in (figures.routes, runs.routes, quarantine.routes, audit.routes):
        app.include_router(routes)
    app.add_api_route("/{path:path}", unknown, methods=_METHODS)
    return app


def no_nul(request: Request, _person: Reader) -> None:
    """PostgreSQL takes none in a text; no address of ours has one. Raises HTTPException 404."""
    if "\0" in request.scope["path"]:
        raise HTTPException(HTTPStatus.NOT_FOUND)


def static(name: str, _person: Reader) -> Response:
    """A script or style; they lie behind the login like everything else."""
    if name not in _STATIC:
        raise HTTPException(HTTPStatus.NOT_FOUND)
    path = _STATIC[name]
    headers = {"cache-control": "private, max-age=600"}
    return FileResponse(path, media_type=_TYPES[path.suffix[1:]], headers=headers)


def unknown(path: str, _person: Person) -> Response:
    """Whatever no route knows."""
    raise HTTPException(HTTPStatus.NOT_FOUND)


async def _refused(request: Request, error: Exception) -> Response:
    """A refusal in words, with the way to the login for who has none; never what was asked for."""
    status = error.status_code if isinstance(error, StarletteHTTPException) else HTTPStatus.INTERNAL_SERVER_ERROR
    return _plain(request, status)


async def _not_understood(request: Request, _error: Exception) -> Response:
    """FastAPI's own answer would repeat what was typed."""
    return _plain(request, HTTPStatus.UNPROCESSABLE_ENTITY)


async def _failed(request: Request, error: Exception) -> Response:
    away = isinstance(error, DatabaseAwayError | ConfigError)
    return _plain(request, HTTPStatus.SERVICE_UNAVAILABLE if away else HTTPStatus.INTERNAL_SERVER_ERROR)


def _plain(request: Request, status: int) -> Response:
    known = status if status in {401, 403, 404, 422, 503} else 500
    return page(request, "refused.html", status_code=status, code=known, login=_login_of(request))


def _login_of(request: Request) -> str:
    """Airflow's login, which leads back here; for what can be asked for by an address only."""
    address = str(request.url) if request.method == "GET" else link(request, "")
    return f"{base_path()}/api/v2/auth/login?{urlencode({'next': address})}"
