"""How Sphinx makes the documentation: ``make docs``.

The source is the whole repository, not this folder alone, so that a link from one page to another is the same on GitHub
and here, wherever the two lie.
"""

import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from recbole_attack import __version__  # noqa: E402

project = "recbole_attack"
author = copyright = "the recbole_attack authors"
version = release = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
root_doc = "docs/index"
include_patterns = ["*.md", "docs/**.md", "results/**.md", "dataset/README.md"]
exclude_patterns = ["docs/build"]
html_theme = "furo"
html_title = f"recbole_attack {version}"

myst_heading_anchors = 4  # as GitHub names them

autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_use_rtype = False

nitpicky = True
nitpick_ignore_regex = [
    ("py:.*", r"(collections|numpy|pandas|pathlib|recbole|torch|typing)\..*"),  # the build asks no other site
    ("py:class", "DataStruct"),  # RecBole's
    ("py:class", r"recbole_attack\.experiment\..*"),  # how an arm is trained is not for others to call
]


def by_name(app: Any, env: Any, node: Any, content: Any) -> Any:
    """Resolve what a docstring calls by its own name or by the package that offers it, not by the module it is in."""
    domain, name = env.get_domain("py"), node.get("reftarget", "").rpartition(".")[2]
    homes = [home for home, entry in domain.objects.items() if home.rpartition(".")[2] == name and not entry.aliased]
    if node.get("refdomain") != "py" or len(homes) != 1:
        return None
    return domain.resolve_xref(env, node["refdoc"], app.builder, node["reftype"], homes[0], node, content)


def setup(app: Any) -> None:
    """Connect what Sphinx calls."""
    app.connect("missing-reference", by_name)
