"""A picture from elsewhere stands in a page that may load from its host, and do nothing else."""

import re

import pytest
from django.test import Client

from tests.api.browsing import sign_in


def test_the_page_of_a_picture_may_load_from_its_host_alone(browser: Client) -> None:
    sign_in(browser)
    page = browser.get("/picture/", {"address": 'https://pictures.example:8443/a.png?x="><script>alert(1)</script>'})
    policy = dict(one.strip().partition(" ")[::2] for one in page.headers["Content-Security-Policy"].split(";"))
    nonce = re.search(r'nonce="([^"]+)"', page.content.decode())
    assert nonce
    assert policy == {
        "default-src": "'none'", "img-src": "https://pictures.example:8443", "style-src": f"'nonce-{nonce[1]}'",
        "base-uri": "'none'", "form-action": "'none'", "frame-ancestors": "'self'", "sandbox": "",
    }  # fmt: skip
    assert (page.headers["X-Frame-Options"], page.headers["Referrer-Policy"]) == ("SAMEORIGIN", "no-referrer")
    assert page.content.count(b"<img") == 1 and b"<script" not in page.content


@pytest.mark.parametrize(
    "address",
    [
        "", "picture.png", "/api/me/", "//pictures.example/a.png", "javascript:alert(1)", "data:image/png;base64,AAAA",
        "ftp://pictures.example/a.png", "https://", "https://ada@pictures.example/", "https://a.example; script-src *",
        "https://a.example script-src/", "https://*/", "https://a,b/", "https://[::1/", "https://a.example:x/", "https://ä/",
    ],
)  # fmt: skip
def test_there_is_no_page_of_what_is_no_address_of_a_picture(browser: Client, address: str) -> None:
    sign_in(browser)
    assert browser.get("/picture/", {"address": address}).status_code == 404


def test_whoever_is_not_signed_in_is_asked_to(browser: Client) -> None:
    page = browser.get("/picture/", {"address": "https://pictures.example/a.png"})
    assert (page.status_code, page.headers["Location"].partition("?")[0]) == (302, "/login/")
