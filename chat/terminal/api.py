"""The HTTP half of the wire: sign-in, the token and its renewal, and the sessions."""

import asyncio
import ipaddress
import time
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import quote, urlsplit

import httpx2

from chat.terminal.calls import Row
from chat.terminal.errors import Offline, Refused, SignInRefused

RENEW_BEFORE_S = 30.0

AskPassword = Callable[[], Awaitable[str]]


class Api:
    """One server and one person. The password is asked for when there is no token that could be renewed."""

    def __init__(self, url: str, username: str, ask_password: AskPassword) -> None:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError(f"{url!r} is not the address of a server: it looks like http://127.0.0.1:8000")
        self.url = f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"
        self.username = username
        # A proxy of the environment is for the world outside, never for this machine's own server.
        self.may_use_proxy = not _is_loopback(parts.hostname)
        self._ask_password = ask_password
        self._http = httpx2.AsyncClient(timeout=15.0, trust_env=self.may_use_proxy)
        self._renewing = asyncio.Lock()
        self._access = self._refresh = ""
        self._renew_at = 0.0

    @property
    def socket_url(self) -> str:
        return "ws" + self.url.removeprefix("http") + "/ws/"

    @property
    def token_left_s(self) -> float:
        """For how long a socket opened with this token should live."""
        return max(0.0, self._renew_at - time.monotonic())

    async def close(self) -> None:
        await self._http.aclose()

    async def token(self) -> str:
        """The access token, renewed before it runs out. Raises SignInRefused, Offline."""
        async with self._renewing:
            if not self._access or time.monotonic() >= self._renew_at:
                await self._renew()
            return self._access

    def distrust_token(self) -> None:
        """The server did not take it: the next one will be new."""
        self._access = ""

    async def _renew(self) -> None:
        answer = None
        if self._refresh:
            refresh, self._refresh = self._refresh, ""  # it serves once; a lost answer loses it
            try:
                answer = await self._send("POST", "/api/auth/token/refresh/", {"refresh": refresh})
            except Offline:
                self._refresh = refresh
                raise
            except Refused as error:
                if error.temporary:
                    self._refresh = refresh
                    raise
        if answer is None:
            asked = {"username": self.username, "password": await self._ask_password()}
            try:
                answer = await self._send("POST", "/api/auth/token/", asked)
            except Refused as error:
                if error.temporary:
                    raise
                raise SignInRefused(str(error)) from None
        self._access, self._refresh = answer["access"], answer["refresh"]
        lifetime_s = float(answer["expires_in_s"])
        self._renew_at = time.monotonic() + lifetime_s - min(RENEW_BEFORE_S, lifetime_s / 4)

    async def call(self, method: str, path: str, body: Row | None = None, **params: str | int) -> Any:
        """Ask, signed in. Raises Refused, Offline, SignInRefused."""
        try:
            return await self._send(method, path, body, params, await self.token())
        except Refused as error:
            if error.code != "not_authenticated":
                raise
        self.distrust_token()
        return await self._send(method, path, body, params, await self.token())

    async def _send(
        self,
        method: str,
        path: str,
        body: Row | None = None,
        params: dict[str, str | int] | None = None,
        token: str = "",
    ) -> Any:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        try:
            answer = await self._http.request(
                method, self.url + path, json=body, params=params or None, headers=headers
            )
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            raise Offline(f"no answer from {self.url}: {error or type(error).__name__}") from None
        if answer.status_code == 204:
            return None
        try:
            data = answer.json()
        except ValueError:
            data = None
        if answer.is_success and data is not None:
            return data
        if isinstance(data, dict) and isinstance(data.get("error"), dict):
            raise Refused.from_data(data["error"])
        # Not the chat server's own words: a proxy in front of it, or something else altogether.
        code = "not_authenticated" if answer.status_code == 401 else "unavailable"
        temporary = answer.status_code in {429, 502, 503, 504}
        raise Refused(code, f"{self.url} answered {answer.status_code}, not as a chat server does", temporary=temporary)

    # --- what the terminal asks ------------------------------------------------------------------------------------

    async def sessions(self, limit: int = 15) -> list[Row]:
        page: Row = await self.call("GET", "/api/sessions/", limit=limit)
        return list(page["results"])

    async def session(self, session_id: str) -> Row:
        """The session in one snapshot: its newest messages, its open runs and its last_seq."""
        snapshot: Row = await self.call("GET", f"/api/sessions/{quote(session_id, safe='')}/")
        return snapshot

    async def create_session(self, agent: str | None = None) -> Row:
        session: Row = await self.call("POST", "/api/sessions/", {"agent": agent} if agent else {})
        return session

    async def run(self, run_id: str) -> Row:
        run: Row = await self.call("GET", f"/api/runs/{run_id}/")
        return run


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
