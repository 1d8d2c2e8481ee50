"""Many runs: a grid's plan, workers, store and statistics, and frames of their results."""

from recbole_attack.benchmark.comparable import check_comparable, check_victims
from recbole_attack.benchmark.folder import title_of
from recbole_attack.benchmark.grid import Row, default_store, read_grid
from recbole_attack.benchmark.kept import kept_runs, runs_of
from recbole_attack.benchmark.plan import Plan, idle_in_all, make_plan
from recbole_attack.benchmark.run import run_grid
from recbole_attack.benchmark.sections import sections
from recbole_attack.benchmark.store import Store
from recbole_attack.benchmark.words import describe_plan, idle_lines
from recbole_attack.benchmark.workers import default_jobs

__all__ = [
    "Plan",
    "Row",
    "Store",
    "check_comparable",
    "check_victims",
    "default_jobs",
    "default_store",
    "describe_plan",
    "idle_in_all",
    "idle_lines",
    "kept_runs",
    "make_plan",
    "read_grid",
    "run_grid",
    "runs_of",
    "sections",
    "title_of",
]
