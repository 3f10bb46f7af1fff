"""A process's title in ps: setproctitle's C module, without the package around it.

The package imports logging, and that threading. Both have something to do after each fork, which makes half a MB of
memory a custodian's own that it would else share with all others, for a debug message that nobody reads.
"""

from __future__ import annotations

from importlib.machinery import PathFinder

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


def _load() -> Callable[[str], None]:
    package = PathFinder.find_spec("setproctitle")
    spec = PathFinder.find_spec("_setproctitle", package.submodule_search_locations if package else None)
    if spec is None or spec.loader is None:  # not as in the releases that we know
        import setproctitle

        return setproctitle.setproctitle
    module = spec.loader.create_module(spec)
    assert module is not None
    spec.loader.exec_module(module)
    return module.setproctitle  # type: ignore[no-any-return]


#: Set the title. It takes the place of the arguments and of the environment in the process's memory.
setproctitle = _load()
