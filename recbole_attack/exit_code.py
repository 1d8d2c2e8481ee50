"""How the commands of this package end."""

from __future__ import annotations

import sys
from collections.abc import Callable

from recbole_attack.errors import ConfigError, DataError, TrainingError

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130


def exit_code(command: Callable[[], None], interrupted: str) -> int:
    """Run a command and say in one line on stderr what went wrong, if anything did.

    Args:
        command: Does the work.
        interrupted: What to tell who interrupts it.

    Returns:
        0 done, 1 training diverged, 2 a mistake in the arguments or data, 130 interrupted.
    """
    try:
        command()
    except (ConfigError, DataError, OSError) as error:
        print(f"{type(error).__name__}: {' '.join(str(error).split())}", file=sys.stderr)
        return EXIT_USAGE
    except TrainingError as error:
        print(f"TrainingError: {error}", file=sys.stderr)
        return EXIT_FAILED
    except KeyboardInterrupt:
        print(interrupted, file=sys.stderr)
        return EXIT_INTERRUPTED
    return 0
