"""Errors as HTTP answers: a status, and a sentence that says what to do next."""

from collections.abc import Mapping

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

from edge_app.errors import (
    BundleError,
    BundleNotFoundError,
    CameraError,
    InferenceError,
    InputError,
    LeukoscopeError,
    RecordNotFoundError,
    RuntimeMissingError,
    StationError,
    StoreError,
    StoreFullError,
)
from edge_app.web.streams import TooManyViewersError

# the first that an error is an instance of
STATUSES: dict[type[LeukoscopeError], int] = {
    RecordNotFoundError: 404,
    StoreFullError: 507,
    StoreError: 503,
    TooManyViewersError: 503,
    StationError: 409,
    CameraError: 409,
    BundleNotFoundError: 404,
    BundleError: 422,
    RuntimeMissingError: 422,
    InferenceError: 422,
    InputError: 422,
}


class Problem(BaseModel):
    """What went wrong."""

    detail: str = Field(description="A sentence that says what to do next.")


RESPONSES: dict[int | str, dict[str, object]] = {
    status: {"model": Problem, "description": text}
    for status, text in {
        400: "The request is malformed.",
        401: "The token is missing or wrong.",
        403: "The request comes from another site.",
        404: "There is no such thing.",
        409: "It can't be done as things are now.",
        413: "The body is too large.",
        422: "A value can't be used.",
        429: "Too many requests.",
        503: "Part of the device does not work now.",
        507: "The disk is full.",
    }.items()
}


def refuse(status: int, sentence: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """Return the answer with a sentence; it is an ASGI application, too."""
    return JSONResponse({"detail": sentence}, status, headers)


def add_handlers(app: FastAPI) -> None:
    """Have an application answer every error with a sentence."""
    app.add_exception_handler(LeukoscopeError, _answer_ours)
    app.add_exception_handler(RequestValidationError, _answer_invalid)
    app.add_exception_handler(HTTPException, _answer_http)


async def _answer_ours(request: Request, error: Exception) -> JSONResponse:  # noqa: ARG001
    status = next((status for kind, status in STATUSES.items() if isinstance(error, kind)), 503)
    return refuse(status, str(error))


async def _answer_invalid(request: Request, error: Exception) -> JSONResponse:  # noqa: ARG001
    assert isinstance(error, RequestValidationError)  # noqa: S101
    first = error.errors()[0]
    place = [str(each) for each in first["loc"]]
    message = str(first["msg"]).removeprefix("Value error, ")
    if first["type"] == "json_invalid":
        return refuse(400, "the body is not JSON; send a JSON object")
    # the message alone: the value itself may be a secret
    return refuse(422, f"{' '.join(place)} can't be used: {message}")


async def _answer_http(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)  # noqa: S101
    if error.status_code == 404 and error.detail == "Not Found":
        return refuse(404, f"there is nothing at {request.url.path[:200]}; /api/openapi.json lists what there is")
    if error.status_code == 405:
        return refuse(405, "this can't be done here; /api/openapi.json lists what can", error.headers)
    return refuse(error.status_code, str(error.detail), error.headers)
