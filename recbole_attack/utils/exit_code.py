"""How the commands of this package end."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

from recbole_attack.utils.errors import ConfigError, DataError, GateError, TrainingError

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_GATE = 3
EXIT_INTERRUPTED = 130
EXIT_TERMINATED = 143


class Terminated(KeyboardInterrupt):
    """SIGTERM, which ends a command as Ctrl-C does: cleaned up, and with a word on how to go on."""


def exit_code(command: Callable[[], None], interrupted: str) -> int:
    """Run a command and say in one line on stderr what went wrong, if anything did.

    Args:
        command: Does the work.
        interrupted: What to tell who interrupts it, where the interruption does not say more itself.

    Returns:
        0 done, 1 training diverged, 2 a mistake in the arguments or data or a file that cannot be read or written,
        3 done, and what was found is what the command was told to fail at, 130 interrupted, 143 terminated.
    """
    try:
        with _sigterm_raises():
            command()
            sys.stdout.flush()
    except BrokenPipeError:  # the reader of the output has seen enough, such as head
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_FAILED
    except (ConfigError, DataError, OSError) as error:
        print(f"{type(error).__name__}: {' '.join(str(error).split())}", file=sys.stderr)
        return EXIT_USAGE
    except TrainingError as error:
        print(f"TrainingError: {error}", file=sys.stderr)
        return EXIT_FAILED
    except GateError as error:
        print(error, file=sys.stderr)
        return EXIT_GATE
    except KeyboardInterrupt as interrupt:
        print(str(interrupt) or interrupted, file=sys.stderr)
        return EXIT_TERMINATED if isinstance(interrupt, Terminated) else EXIT_INTERRUPTED
    return 0


@contextmanager
def _sigterm_raises() -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():  # only that one may be told of signals
        yield
        return
    before = signal.signal(signal.SIGTERM, _terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before or signal.SIG_DFL)


def _terminate(*_: Any) -> NoReturn:
    raise Terminated
