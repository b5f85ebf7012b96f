"""The proxy of the deployment guide, as it is but for names, ports and places.

In front of real web processes in production mode, with the example of the settings filled in; and of ones that fail.
"""

import asyncio
import contextlib
import datetime
import json
import os
import re
import secrets
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from websockets.asyncio.client import connect

from tests.debian import find
from tests.processes import Process, free_port, listens
from tests.stack import Stack, Workshop

DEPLOY = Path(__file__).parents[1] / "docs" / "operations" / "deploy"
NAME = "chat.example.org"
MAIN = """
daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log stderr warn; {user}
events {{ }}
http {{
    access_log off;  # where nothing else is said it would be Debian's, whose folder comes with the package's set-up
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi; uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
    include {folder}/conf.d/*.conf;
}}
"""


def certify(folder: Path) -> None:
    """A certificate for the name, signed by itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, NAME)])
    now = datetime.datetime.now(datetime.UTC)
    made = x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + datetime.timedelta(days=1))
    made = made.add_extension(x509.SubjectAlternativeName([x509.DNSName(NAME)]), critical=False)
    made = made.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    plain = (serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    folder.mkdir()
    (folder / "fullchain.pem").write_bytes(made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    (folder / "privkey.pem").write_bytes(key.private_bytes(serialization.Encoding.PEM, *plain))


class Nginx(Process):
    """The files of the guide in front of some ports; `changed` are further words of nginx.conf to put others for."""

    def __init__(self, folder: Path, ports: list[int], **changed: str) -> None:
        folder.mkdir(exist_ok=True)
        self.port, self.plain_port = free_port(), free_port()
        certify(folder / "certificates")
        (folder / "conf.d").mkdir()
        conf = (DEPLOY / "nginx.conf").read_text()
        places = {
            "listen 80;": f"listen 127.0.0.1:{self.plain_port};",
            "listen 443 ssl;": f"listen 127.0.0.1:{self.port} ssl;",
            "/etc/nginx/certificates/": f"{folder}/certificates/",
            "/var/log/nginx/": f"{folder}/",
        }
        for there, here in (places | changed).items():
            assert there in conf
            conf = conf.replace(there, here)
        (folder / "conf.d" / "chat.conf").write_text(conf)
        upstream = (DEPLOY / "upstream.conf").read_text()
        first, second = (line for line in upstream.splitlines(keepends=True) if line.lstrip().startswith("server "))
        lines = [first.replace("127.0.0.1:8001", f"127.0.0.1:{port}") for port in ports]
        (folder / "conf.d" / "upstream.conf").write_text(upstream.replace(first + second, "".join(lines)))
        main = folder / "nginx.conf"
        main.write_text(MAIN.format(folder=folder, user="user root;" if os.geteuid() == 0 else ""))
        command = [*find("nginx", "nginx"), "-p", str(folder), "-c", str(main), "-e", "stderr"]
        super().__init__("nginx", command, folder / "nginx.log", ready=lambda _: listens(self.port))
        self.trust = ssl.create_default_context(cafile=str(folder / "certificates" / "fullchain.pem"))
        self.trust.check_hostname = False  # it is asked by its address

    def client(self, **options: Any) -> httpx2.Client:
        """One that knows the name by this address, and trusts the certificate."""
        base = f"https://127.0.0.1:{self.port}"
        options["headers"] = {"Host": NAME} | options.get("headers", {})
        return httpx2.Client(base_url=base, verify=self.trust, trust_env=False, timeout=40, **options)


def filled_in() -> dict[str, str]:
    """The example of the settings, with what it leaves empty."""
    text = (DEPLOY / "chat.env.example").read_text()
    found = dict(re.findall(r"^([A-Z_]+)=(.*)$", text, re.MULTILINE))
    return {name: value or secrets.token_urlsafe(50) for name, value in found.items()}


@pytest.fixture(scope="module")
def stack(workshop: Workshop) -> Iterator[Stack]:
    """Web on daphne and on uvicorn, and a worker, as an operator sets them up."""
    with Stack(workshop, "sqlite", env=filled_in() | {"CHAT_LLM": "demo?tokens=5&tokens_per_s=0"}) as made:
        made.start()
        made.server = "uvicorn"
        made.add_web()
        yield made


@pytest.fixture(scope="module")
def proxy(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nginx]:
    made = Nginx(tmp_path_factory.mktemp("nginx"), [web.port for web in stack.webs])
    made.start()
    yield made
    made.end()


@pytest.mark.parametrize("web", [0, 1], ids=["daphne", "uvicorn"])
def test_each_process_is_probed_and_scraped_at_its_own_address(stack: Stack, web: int) -> None:
    url, token = stack.webs[web].url, {"Authorization": f"Bearer {stack.env['CHAT_METRICS_TOKEN']}"}
    with httpx2.Client(base_url=url, trust_env=False) as client:
        for host in (f"127.0.0.1:{stack.webs[web].port}", "10.0.0.11:8001", ""):
            assert client.get("/healthz", headers={"Host": host}).json() == {"status": "ok"}
            assert client.get("/readyz/", headers={"Host": host}).json()["status"] == "ok"
            metrics = client.get("/metrics", headers={"Host": host, **token})
            assert metrics.status_code == 200 and "chat_sockets" in metrics.text
            assert client.get("/metrics", headers={"Host": host}).status_code == 404
            assert client.get("/login/", headers={"Host": host}).status_code == 400
        # What daphne reads as the root of the paths makes no probe of another one.
        root = {"Daphne-Root-Path": "/healthz", "Host": "evil.example"}
        assert client.get("/healthz/login/", headers=root).status_code in (400, 404)


@pytest.mark.parametrize("web", [0, 1], ids=["daphne", "uvicorn"])
def test_the_health_check_of_the_image_finds_a_living_process_and_misses_a_dead_one(stack: Stack, web: int) -> None:
    """Else a container is never healthy, and what waits for that never starts."""
    [told] = re.findall(r"^HEALTHCHECK .*\\\n *CMD (\[.+\])$", (DEPLOY / "Dockerfile").read_text(), re.MULTILINE)
    _, *words = json.loads(told)
    assert "127.0.0.1:8000" in words[-1]
    for port, code in ((stack.webs[web].port, 0), (free_port(), 1)):
        words[-1] = re.sub(r"127\.0\.0\.1:\d+", f"127.0.0.1:{port}", words[-1])
        assert subprocess.run([sys.executable, *words], check=False, capture_output=True).returncode == code


async def test_a_person_signs_in_and_is_answered_over_both_wires(stack: Stack, proxy: Nginx) -> None:
    ada = stack.person("ada", "a password of hers")
    with proxy.client() as client:
        signed_in = client.post("/api/auth/token/", json={"username": ada.username, "password": ada.password})
        assert signed_in.status_code == 200, signed_in.text
        client.headers["Authorization"] = f"Bearer {signed_in.json()['access']}"
        session_id = client.post("/api/sessions/", json={}).json()["session_id"]
        answered = client.post(f"/api/sessions/{session_id}/messages/?wait=30", json={"content": "hello"})
        assert answered.status_code == 200 and answered.json()["reply"]["content"], answered.text
        page = client.get("/api/sessions/?limit=1", headers={"X-Forwarded-Host": "evil.example"}).json()
        ticket = client.post("/api/ws-tickets/").json()["ticket"]
    url = f"wss://{NAME}/ws/?ticket={ticket}"
    async with connect(url, host="127.0.0.1", port=proxy.port, ssl=proxy.trust, proxy=None, origin=None) as ws:  # type: ignore[arg-type]
        ready = await asyncio.wait_for(ws.recv(), 10)
        assert "connection.ready" in str(ready)
    assert page["next"] is None or page["next"].startswith(f"https://{NAME}/")
    assert ticket not in (proxy.log.parent / "access.log").read_text()


def test_what_is_for_those_inside_does_not_pass(proxy: Nginx) -> None:
    with proxy.client() as client:
        assert client.get("/healthz").status_code == 200
        for path in ("/readyz", "/readyz/", "/metrics", "/metrics/", "//metrics", "/x/../readyz", "/%6detrics"):
            assert client.get(f"https://127.0.0.1:{proxy.port}{path}").status_code == 404, path
        assert client.get("/login/", headers={"Host": "evil.example"}).status_code == 400
    plain = httpx2.get(f"http://127.0.0.1:{proxy.plain_port}/login/", headers={"Host": NAME}, trust_env=False)
    assert plain.status_code == 301 and plain.headers["Location"] == f"https://{NAME}/login/"


# --- in front of processes that go wrong ------------------------------------------------------------------------------
class Upstream:
    """Takes requests, notes them, and does with each what it is told to: answer, miss, hang up or stay silent."""

    def __init__(self, does: str) -> None:
        self.seen: list[bytes] = []
        self._does, self._held = does, []  # type: ignore[var-annotated]
        self._door = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._door.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                line, _ = self._door.accept()
            except OSError:
                return
            self.seen.append(line.recv(65536))
            if self._does == "answer":
                line.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
            if self._does == "miss":
                line.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            if self._does == "stay silent":
                self._held.append(line)
            else:
                line.close()

    def end(self) -> None:
        self._door.shutdown(socket.SHUT_RDWR)  # the thread waits at it, and would keep it open
        self._door.close()
        for line in self._held:
            line.close()


@pytest.fixture
def in_front(tmp_path: Path) -> Iterator[Callable[..., tuple[httpx2.Client, list[Upstream]]]]:
    made: list[Any] = []

    def start(*does: str, **changed: str) -> tuple[httpx2.Client, list[Upstream]]:
        upstreams = [Upstream(one) for one in does]
        nginx = Nginx(tmp_path / "nginx", [one.port for one in upstreams], **changed)
        made.extend([nginx, *upstreams])
        nginx.start()
        return nginx.client(), upstreams

    yield start
    for one in made:
        with contextlib.suppress(OSError):
            one.end()


@pytest.mark.parametrize("method", ["POST", "PATCH"])
def test_what_was_sent_and_may_have_been_done_is_not_sent_again(in_front: Any, method: str) -> None:
    """Its process dies after its commit and before its answer: a second one would do it a second time."""
    client, upstreams = in_front("hang up", "hang up")
    for number in range(1, 5):
        answer = client.request(method, "/api/sessions/x/messages/", json={"content": "once"})
        assert answer.status_code == 502
        assert sum(len(one.seen) for one in upstreams) == number


def test_what_is_not_answered_in_time_is_not_sent_again(in_front: Any) -> None:
    client, upstreams = in_front("stay silent", "stay silent", **{"proxy_read_timeout 75s;": "proxy_read_timeout 1s;"})
    assert client.post("/api/sessions/x/messages/", json={}).status_code == 504
    assert sum(len(one.seen) for one in upstreams) == 1


def test_a_process_that_is_not_there_costs_nobody_a_message(in_front: Any) -> None:
    client, (gone, alive) = in_front("answer", "answer")
    gone.end()
    for _ in range(6):
        assert client.post("/api/sessions/x/messages/", json={}).status_code == 200
    assert len(alive.seen) == 6


def test_a_file_that_one_process_does_not_have_is_asked_of_another(in_front: Any) -> None:
    """In the middle of an upgrade: the page of a new process names files that an old one does not know."""
    client, upstreams = in_front("answer", "miss", "miss", "miss", "miss")
    assert {client.get("/static/app/assets/main-12345678.js").status_code for _ in range(12)} == {200}
    assert all(one.seen for one in upstreams)
    assert {client.get("/api/sessions/x/").status_code for _ in range(6)} == {200, 404}, "other answers are answers"


def test_what_a_client_says_of_itself_does_not_arrive(in_front: Any) -> None:
    client, upstreams = in_front("answer", "answer")
    forged = {"X-Forwarded-For": "1.2.3.4", "X-Forwarded-Proto": "gopher", "Daphne-Root-Path": "/healthz"}
    assert client.get("/", headers=forged).status_code == 200
    [seen] = [head for one in upstreams for head in one.seen]
    lines = seen.decode().split("\r\n")
    assert f"Host: {NAME}" in lines and "X-Forwarded-For: 127.0.0.1" in lines and "X-Forwarded-Proto: https" in lines
    assert not any(word in seen for word in (b"1.2.3.4", b"gopher", b"Root-Path"))


def test_who_guesses_passwords_is_slowed_down(in_front: Any) -> None:
    client, _ = in_front("answer", "answer")
    for path in ("/login", "/api/auth/token", "/admin/login/"):
        statuses = [client.post(path, json={}).status_code for _ in range(25)]
        assert 429 in statuses, path
