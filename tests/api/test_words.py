"""The pages in Chinese: nothing is missing in the catalogue, and no English sentence is left on a page."""

import io
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from django.http import HttpResponse
from django.test import Client

from chat.api import home
from chat.models import User
from tests.api.browsing import boot_of, change, sign_in
from tests.api.conftest import BUILT, Caller

CHAT = Path(__file__).parents[2] / "chat"
CATALOGUE = CHAT / "locale" / "zh_Hans" / "LC_MESSAGES" / "django.po"
CHINESE = {"Accept-Language": "zh-CN,zh;q=0.9,en;q=0.5"}
# Names, commands and addresses are the same in every language.
SAME = re.compile(
    r"https?://\S+|wss?://\S+|\.venv/\S+( chatproject/\S+ build)?|manage\.py chat.*|POST|\{.*\}|JavaScript|WebSocket"
    r"|HTTP|English|make run|ada"
)


def said_in_the_code() -> set[str]:
    """Every text that a template or a module hands to the catalogue."""
    found: set[str] = set()
    for path in CHAT.rglob("templates/**/*.html"):
        text = path.read_text()
        found |= set(re.findall(r'{% translate "([^"]+)" %}', text))
        for block in re.findall(r"{% blocktranslate [^%]*%}(.+?){% endblocktranslate %}", text, re.S):
            found.add(re.sub(r"{{ (\w+) }}", r"%(\1)s", block))
        assert text.count("{% translate") == len(re.findall(r'{% translate "[^"]+" %}', text)), path
    for path in CHAT.rglob("*.py"):
        found |= set(re.findall(r'gettext(?:_lazy)?\("([^"]+)"\)', path.read_text()))
    return found


def test_every_text_has_its_translation_and_none_is_left_over() -> None:
    with CATALOGUE.open("rb") as file:
        catalogue = read_po(file)
    ours = [message for message in catalogue if message.id and not message.user_comments]
    translated = {message.id: message.string for message in ours}
    assert set(translated) == said_in_the_code()
    for text, chinese in translated.items():
        assert re.search(r"[\u4e00-\u9fff]", str(chinese)), text
        assert set(re.findall(r"%\(\w+\)s", str(text))) == set(re.findall(r"%\(\w+\)s", str(chinese))), text
    assert not any(message.fuzzy for message in catalogue)


def test_the_compiled_catalogue_is_that_of_the_text() -> None:
    with CATALOGUE.open("rb") as file:
        compiled = io.BytesIO()
        write_mo(compiled, read_po(file))
    assert CATALOGUE.with_suffix(".mo").read_bytes() == compiled.getvalue(), "make format compiles it"


class Words(HTMLParser):
    """What a person reads or hears of a page."""

    def __init__(self, page: HttpResponse) -> None:
        super().__init__()
        self.found: list[str] = []
        self.language = ""
        self._quiet = False
        self.feed(page.content.decode())

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = dict(attributes)
        if tag == "html":
            self.language = given.get("lang") or ""
        self._quiet = tag in {"script", "style"}
        self.found += [given[name] or "" for name in ("aria-label", "placeholder", "title", "alt") if name in given]

    def handle_data(self, data: str) -> None:
        if not self._quiet:
            self.found.append(data)

    @property
    def latin(self) -> list[str]:
        return [text.strip() for text in self.found if re.search(r"[A-Za-z]{2}", SAME.sub("", text))]


@pytest.fixture
def chinese_pages(browser: Client, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    browser.defaults["HTTP_ACCEPT_LANGUAGE"] = CHINESE["Accept-Language"]
    pages: dict[str, Any] = {"sign in": browser.get("/login/"), "refused": sign_in(browser, password="wrong")}
    pages["forged"] = browser.post("/login/", {})
    pages["nowhere"] = browser.get("/nothing/")
    User.objects.update(is_staff=True)
    sign_in(browser)
    monkeypatch.setattr(home, "built", lambda: None)
    pages["not built"] = browser.get("/")
    monkeypatch.setattr(home, "built", lambda: BUILT)
    pages |= {"chat": browser.get("/"), "about": browser.get("/about/"), "password": browser.get("/password/")}
    pages["a short one"] = change(browser, "correct horse", "abc")
    pages["a wrong one"] = change(browser, "wrong", "battery staple 17", "other")
    pages["changed"] = browser.get("/password/?changed")
    return pages


def test_no_page_has_an_english_sentence_left(chinese_pages: dict[str, Any]) -> None:
    for name, page in chinese_pages.items():
        words = Words(page)
        assert words.language == "zh-hans", name
        assert not words.latin, name
        assert page.headers["Content-Language"] == "zh-hans" and "Accept-Language" in page.headers["Vary"]


def test_the_test_above_would_find_one() -> None:
    page = HttpResponse('<html lang="en"><p title="Send">manage.py chat</p><script>let it</script><b>你好 all</b>')
    assert Words(page).latin == ["Send", "你好 all"]


def test_one_chooses_a_language_and_it_is_remembered(browser: Client) -> None:
    page = browser.get("/login/?next=/about/")
    token = re.search(r'csrfmiddlewaretoken" value="(\w+)"', page.content.decode())
    assert token
    form = {"language": "zh-hans", "next": "/login/?next=/about/", "csrfmiddlewaretoken": token[1]}
    chosen = browser.post("/language/", form)
    assert (chosen.status_code, chosen.headers["Location"]) == (302, "/login/?next=/about/")
    assert "登录" in browser.get("/login/", headers={"Accept-Language": "en"}).content.decode()
    form |= {"language": "xx", "next": "https://evil.example/"}
    assert browser.post("/language/", form).headers["Location"] == "/"
    assert browser.cookies["chat_language"].value == "zh-hans"


@pytest.mark.parametrize(
    ("cookie", "accepted", "language"),
    [("zh", "en", "zh"), ("en", "zh", "en"), ("", "zh-TW", "zh"), ("", "de,fr", "en"), ("<b>", "zh", "zh")],
)
def test_the_pages_own_switch_is_followed(cookie: str, accepted: str, language: str, browser: Client) -> None:
    sign_in(browser)
    if cookie:
        browser.cookies["chat_language"] = cookie
    assert boot_of(browser.get("/", headers={"Accept-Language": accepted}))["language"] == language


async def test_the_api_and_the_admin_are_the_same_for_everybody(ada: Caller) -> None:
    plain, chinese = [await ada.ask("GET", "/api/nothing/", **headers) for headers in ({}, CHINESE)]
    assert plain.content == chinese.content and "Vary" not in chinese.headers
    page = await ada.ask("GET", "/admin/login/", **CHINESE)
    assert b"Log in" in page.content


@pytest.mark.parametrize(("theme", "written"), [("dark", ' data-theme="dark"'), ("light", ' data-theme="light"')])
def test_the_chosen_colours_are_there_before_any_script(theme: str, written: str, browser: Client) -> None:
    assert "data-theme" not in browser.get("/login/").content.decode()
    browser.cookies["chat_theme"] = theme
    assert f'<html lang="en"{written}>' in browser.get("/login/").content.decode()
    browser.cookies["chat_theme"] = '"><script>'
    assert "data-theme" not in browser.get("/login/").content.decode()
