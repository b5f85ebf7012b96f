"""What is in the repository works elsewhere: it names no registry and no folder of somebody's machine."""

import re
import subprocess
from pathlib import Path

from chatproject.launch.plan import ROOT

# In brackets, so that this file does not find itself.
FOREIGN = re.compile(
    rb"pypi[.]org|pythonhosted[.]org|registry[.]npmjs|deb[.]debian[.]org"
    rb"|--(?:extra-)?index-url[= ]\S|--find[-]links"
    rb"|(?<![\w.])/(?:root|work|Users|home)/[\w.-]+/"
)


def tracked() -> list[Path]:
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, cwd=ROOT, check=True, capture_output=True).stdout.decode().split("\0")
    return [path for name in names if name and (path := ROOT / name).is_file()]


def test_no_file_names_a_registry_or_somebodys_machine() -> None:
    found = [f"{path}: {hit[0].decode()}" for path in tracked() for hit in FOREIGN.finditer(path.read_bytes())]
    assert not found
