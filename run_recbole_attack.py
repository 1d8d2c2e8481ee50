"""Train a victim, clean and attacked, and show what the attack did; see ``--help``."""

import sys

from recbole_attack.commands.main import main

if __name__ == "__main__":
    sys.exit(main())
