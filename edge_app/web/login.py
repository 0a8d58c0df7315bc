"""Logging in and out: the token, once shown, is exchanged for a cookie that no script can read."""

from fastapi import APIRouter, Request, Response
from pydantic import Field, SecretStr
from starlette.exceptions import HTTPException

from edge_app.frozen import Frozen
from edge_app.web.access import COOKIE, COOKIE_S, client_of
from edge_app.web.parts import Shared

routes = APIRouter(prefix="/api", tags=["access"])


class Login(Frozen):
    """The token that was printed where Leukoscope was started, or stands in its settings."""

    token: SecretStr = Field(max_length=512)


@routes.post("/login", status_code=204)
async def log_in(parts: Shared, request: Request, shown: Login) -> Response:
    """Exchange the token for a cookie."""
    access, client = parts.access, client_of(request.scope)
    if pause_s := access.tries.pause_s(client):
        raise HTTPException(429, f"too many wrong tokens; try again in {pause_s} s", {"Retry-After": str(pause_s)})
    if not access.is_token(shown.token.get_secret_value()):
        access.tries.wrong(client)
        raise HTTPException(401, "this is not the token; it is printed where leukoscope was started")
    access.tries.right(client)
    answer = Response(status_code=204)
    answer.set_cookie(
        COOKIE,
        access.new_cookie(),
        max_age=COOKIE_S,
        secure=request.url.scheme == "https",
        httponly=True,
        samesite="strict",
    )
    return answer


@routes.post("/logout", status_code=204)
async def log_out() -> Response:
    """Forget the cookie."""
    answer = Response(status_code=204)
    answer.delete_cookie(COOKIE, httponly=True, samesite="strict")
    return answer
