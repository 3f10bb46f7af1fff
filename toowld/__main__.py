"""``python -m toowld``: the daemon, and the processes that it starts of itself.

Each role imports only what it needs: a custodian never loads asyncio, a command never loads the daemon.
"""

from __future__ import annotations

import sys


def main() -> int:
    """Dispatch on the first argument."""
    role, rest = (sys.argv[1:2] or [""])[0], sys.argv[2:]
    if role == "--zygote":
        from toowld.custodian import zygote

        return zygote.main(rest)
    if role == "--custodian":
        from toowld.custodian import __main__ as custodian

        return custodian.main(rest)
    from toowld.daemon import cli

    return cli.main(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
