"""``python -m toowl``."""

import sys

from toowl.cli import main

if __name__ == "__main__":
    sys.exit(main())
