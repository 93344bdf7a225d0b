"""The server put together: the maker's routes, the control routes, and the front door before them."""

from __future__ import annotations

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from sandbox import control
from sandbox.answers import FieldsRefusedError, RefusedError
from sandbox.front import Front
from sandbox.honoka import Honoka
from sandbox.incoming import reply
from sandbox.maker import Maker
from sandbox.settings import ProfileName
from sandbox.tsubaki import Tsubaki
from sandbox.world import World, world_of

MAKERS: dict[ProfileName, Maker] = {"honoka": Honoka(), "tsubaki": Tsubaki()}


async def _refused(request: Request, error: Exception) -> Response:
    """Refusals in the maker's words; what was sent is never repeated."""
    maker = world_of(request).maker
    if isinstance(error, FieldsRefusedError):
        return reply({"errors": error.errors}, 422)
    if isinstance(error, RefusedError):
        return reply(maker.error_body(error.code), error.status)
    if isinstance(error, HTTPException):
        return reply(maker.error_body("not_found" if error.status_code == 404 else "bad_request"), error.status_code)
    return reply(maker.error_body("bad_request"), 400)


def application(world: World) -> Front:
    """The ASGI application of one practice partner."""
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False)
    app.state.world = world
    app.include_router(control.health_router)
    app.include_router(control.router)
    app.include_router(world.maker.router)
    for error in (FieldsRefusedError, RefusedError, HTTPException, RequestValidationError):
        app.add_exception_handler(error, _refused)
    return Front(app, world)
