"""The states that the page can be in, one after another, for whoever looks at all of them: a rule, or a camera."""

from collections.abc import Iterator

from playwright.sync_api import expect

from tests.browser.visitor import Visitor
from tests.browser.words import named

# What a reader sees of Markdown.
RICH = """# The state of things
Some **bold** text, `code`, and a [link](https://example.com/page).

| part | state |
|---|---|
| web | fine |
| worker | busy |

```python
def greet(name: str) -> str:
    return f"Hello, {name}"
```

- one
- two
"""


def states(visitor: Visitor, language: str = "en") -> Iterator[str]:
    """Go from one state to the next, and give each its name."""
    page = visitor.page

    def press(key: str) -> None:
        page.get_by_role("button", name=named(language, key)).click()

    yield "empty"
    if not page.get_by_role("button", name=named(language, "me")).is_visible():
        press("sessions")  # on a phone the list is behind a button
        yield "list"
    press("me")
    expect(page.get_by_role("menu")).to_be_visible()
    yield "menu"
    page.get_by_role("menuitem", name=named(language, "keys")).or_(
        page.get_by_role("menuitem").filter(has_text="?")
    ).click()
    expect(page.get_by_role("dialog")).to_be_visible()
    yield "keys"
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    page.keyboard.press("Escape")
    visitor.say(RICH)
    expect(visitor.answers).to_have_count(1)
    expect(page.locator("article.answer[aria-busy=true]")).to_have_count(0)
    expect(page.get_by_role("button", name=named(language, "answer.copy"))).to_be_visible()
    yield "thread"
    press("about")
    expect(page.get_by_role("complementary")).to_be_visible()
    yield "about"
    press("close")
    press("inbox")
    expect(page.get_by_role("complementary")).to_be_visible()
    yield "inbox"
    press("close")
    visitor.message.fill("Half a thought")
    visitor.ask("DELETE", f"/api/sessions/{visitor.session_id}/", status=204)
    expect(page.get_by_text(named(language, "session.gone.text"))).to_be_visible()
    yield "gone"
