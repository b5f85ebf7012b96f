"""Imports that leave out what a library takes along only because it finds it installed.

Every process holds what it has imported for as long as it lives. What is left out can be imported later as ever.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def without(*names: str) -> Iterator[None]:
    """Import as if these modules were not installed, unless they are loaded already.

    Only for what the library itself can do without: whatever it offers with them is not there, all the process long.
    """
    hidden = [name for name in names if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]  # None: to Python, there is no such module
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]
