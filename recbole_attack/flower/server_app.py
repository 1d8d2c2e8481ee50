"""The ServerApp: a whole run, its clients on the nodes of the federation it was started in.

What comes of it goes to whoever started it by the log, which is all that Flower brings back: one line, see
:func:`tell`.
"""

from __future__ import annotations

import json
import logging
import sys
from functools import partial
from pathlib import Path
from typing import Any

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from recbole_attack.flower.own_plugins import check_same_plugins, load_own_plugins
from recbole_attack.flower.training import prepare_on_nodes
from recbole_attack.quick_start import run_recbole_attack
from recbole_attack.utils.errors import ConfigError, DataError, TrainingError
from recbole_attack.utils.files import plain

MARK = "recbole_attack tells: "
"""What the line begins with."""


def main(grid: Grid, context: Context) -> None:
    """Train and test on the nodes, and tell what came of it."""
    settings = context.run_config
    failure, timeout = str(settings["node-failure"]), float(settings["node-timeout"])
    on_nodes = partial(prepare_on_nodes, grid=grid, node_failure=failure, node_timeout=timeout)
    parameters = json.loads(str(settings["parameters"]))
    given: dict[str, Any] = {"config_dict": parameters}
    if settings["resume"]:
        given = {"resume": settings["resume"]}
    logging.getLogger("httpx").setLevel(logging.WARNING)  # it logs every request, that which sends the log included
    try:
        code = load_own_plugins(parameters.get("plugins"))
        check_same_plugins("the SuperLink's machine", json.loads(str(settings["plugins"])), code)
        result = run_recbole_attack(**given, saved=bool(settings["saved"]), prepared=on_nodes)
    except (ConfigError, DataError, TrainingError) as error:
        tell({"error": type(error).__name__, "message": str(error)})
        raise
    file = result["result_file"]
    record = json.loads(Path(file).read_text(encoding="utf-8")) if file else plain(result.record)
    tell({"record": record, "values": dict(result)})


def tell(what: dict[str, Any]) -> None:
    """Write one line of JSON to the log, in one piece."""
    sys.stdout.write(f"\n{MARK}{json.dumps(what)}\n")
    sys.stdout.flush()


app = ServerApp()
app.main()(main)
