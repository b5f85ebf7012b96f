"""Django's and WhiteNoise's middlewares, on the event loop.

Under ASGI Django moves each step of each of its middlewares to a thread and back, a dozen times a request, and
WhiteNoise's, being synchronous, holds a thread for as long as the view takes: a request that waits a minute would cost
one. None of these steps waits for anything, but for a changed login session that is saved.
"""

from typing import Any

from asgiref.sync import iscoroutinefunction, markcoroutinefunction, sync_to_async
from django.contrib.auth.middleware import AuthenticationMiddleware
from django.contrib.messages.middleware import MessageMiddleware
from django.contrib.sessions.middleware import SessionMiddleware
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.middleware.clickjacking import XFrameOptionsMiddleware
from django.middleware.common import CommonMiddleware
from django.middleware.csrf import CsrfViewMiddleware
from django.middleware.security import SecurityMiddleware
from django.utils.deprecation import MiddlewareMixin
from whitenoise.middleware import WhiteNoiseMiddleware  # type: ignore[import-untyped]


class OnTheLoop(MiddlewareMixin):
    """A middleware whose steps are too short to be worth a thread."""

    async def __acall__(self, request: HttpRequest) -> HttpResponseBase:
        response: Any = self.process_request(request) if hasattr(self, "process_request") else None
        response = response or await self.get_response(request)  # type: ignore[misc]
        if hasattr(self, "process_response"):
            response = self.process_response(request, response)
        return response


class Security(OnTheLoop, SecurityMiddleware):
    pass


class Common(OnTheLoop, CommonMiddleware):
    pass


class Authentication(OnTheLoop, AuthenticationMiddleware):
    pass


class Messages(OnTheLoop, MessageMiddleware):
    pass


class XFrameOptions(OnTheLoop, XFrameOptionsMiddleware):
    pass


class Sessions(SessionMiddleware):
    async def __acall__(self, request: HttpRequest) -> HttpResponseBase:
        self.process_request(request)
        response = await self.get_response(request)  # type: ignore[misc]
        if request.session.modified:
            return await sync_to_async(self.process_response)(request, response)
        return self.process_response(request, response)


class Csrf(OnTheLoop, CsrfViewMiddleware):
    async def process_view(self, *args: Any) -> HttpResponse | None:  # type: ignore[override]
        return super().process_view(*args)


class StaticFiles(WhiteNoiseMiddleware):
    sync_capable = async_capable = True

    def __init__(self, get_response: Any) -> None:
        super().__init__(get_response)
        if iscoroutinefunction(get_response):
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> Any:
        if iscoroutinefunction(self):
            return self._answer(request)
        return super().__call__(request)

    async def _answer(self, request: HttpRequest) -> HttpResponseBase:
        # By name, in the index made at the start: nothing is looked for on the disk.
        static_file = self.files.get(request.path_info)
        if static_file is None:
            return await self.get_response(request)
        return await sync_to_async(_read)(self.serve(static_file, request))


def _read(response: HttpResponseBase) -> HttpResponse:
    """A file's response with the file in it: an open one would be read in a thread, piece by piece."""
    whole = HttpResponse(b"".join(response), status=response.status_code)
    del whole.headers["Content-Type"]
    for name, value in response.items():
        whole.headers[name] = value
    response.close()
    return whole
