"""cbor2 without what it brings along.

The package is one extension, and an ``__init__.py`` that imports `typing` for its annotations, and thereby `re`:
8 ms for each command, two thirds of a bare start, and memory in each custodian. So the extension is loaded out of the
package's folder, and its ``__init__.py`` is not run. Whoever imports cbor2 later gets the same extension.

A package that is laid out differently is imported as usual: no more is lost then than the time.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType

    from cbor2 import CBOREncodeError, CBORError, dumps, load, loads

__all__ = ["CBOREncodeError", "CBORError", "dumps", "load", "loads"]

_EXTENSION = "cbor2._cbor2"


def _extension() -> ModuleType:
    """The extension alone.

    Raises:
        ImportError: it is not where we expect it.
    """
    if (loaded := sys.modules.get(_EXTENSION)) is not None:
        return loaded
    # importlib.util does this, and brings along as much.
    from _frozen_importlib import module_from_spec
    from _frozen_importlib_external import PathFinder

    package = PathFinder.find_spec("cbor2")
    spec = package and PathFinder.find_spec(_EXTENSION, package.submodule_search_locations)
    if spec is None or spec.loader is None:
        raise ImportError(f"no {_EXTENSION}")
    module: ModuleType = module_from_spec(spec)
    spec.loader.exec_module(module)
    sys.modules[_EXTENSION] = module  # from here on it is what `import cbor2` takes
    return module


def _imported() -> ModuleType:
    try:
        found = _extension()
        if all(hasattr(found, name) for name in __all__):
            return found
    except ImportError:
        pass
    import cbor2

    return cbor2


if not TYPE_CHECKING:
    _cbor2 = _imported()
    CBOREncodeError, CBORError = _cbor2.CBOREncodeError, _cbor2.CBORError
    dumps, load, loads = _cbor2.dumps, _cbor2.load, _cbor2.loads
