"""What a person does in a browser: sign in, read a page, change a password."""

import json
import re
from typing import Any

from django.test import Client


def sign_in(browser: Client, **more: str) -> Any:
    page = browser.get("/login/").content.decode()
    form = {"username": "ada", "password": "correct horse", "csrfmiddlewaretoken": token_of(page), **more}
    return browser.post("/login/", form)


def change(browser: Client, old: str, new: str, again: str = "") -> Any:
    page = browser.get("/password/").content.decode()
    form = {"old_password": old, "new_password1": new, "new_password2": again or new}
    return browser.post("/password/", {**form, "csrfmiddlewaretoken": token_of(page)})


def token_of(page: str) -> str:
    found = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', page)
    assert found
    return found[1]


def boot_of(response: Any) -> dict[str, Any]:
    """What the server gives the page to start with."""
    found = re.search(r'<script id="boot" type="application/json">(.+?)</script>', response.content.decode())
    assert found
    told: dict[str, Any] = json.loads(found[1])
    return told
