"""The JavaScript modules that a page needs, read off their imports.

A browser finds a module's imports only once it has the module: a page of fifty of them would be
fetched in as many rounds as they are deep.
"""

from __future__ import annotations

import posixpath
import re
from functools import cache
from pathlib import Path

from django.contrib.staticfiles import finders

_IMPORT = re.compile(r'^(?:import|export)\b[^"\';]*["\'](\.{1,2}/[^"\']+)["\'];', re.MULTILINE)


@cache
def imported_by(entry: str) -> tuple[str, ...]:
    """The static names of all modules that `entry` imports, directly or through others, the nearest
    first. Raises FileNotFoundError for a name that is not among the static files."""
    found, waiting = [entry], [entry]
    while waiting:
        name = waiting.pop(0)
        for address in _IMPORT.findall(_source(name)):
            module = posixpath.normpath(posixpath.join(posixpath.dirname(name), address))
            if module not in found:
                found.append(module)
                waiting.append(module)
    return tuple(found[1:])


def _source(name: str) -> str:
    path = finders.find(name)
    if path is None:
        raise FileNotFoundError(f"There is no static file {name}.")
    return Path(path).read_text()
