"""``python -m recbole_attack`` is the command ``recbole_attack``."""

import sys

from recbole_attack.commands.main import main

if __name__ == "__main__":
    sys.exit(main())
