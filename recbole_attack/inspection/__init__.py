"""Models that somebody else made: read without running anything, and judged against clean ones."""

from recbole_attack.inspection.inspect import Inspection, inspect_model
from recbole_attack.inspection.model_file import ModelFile, read_model_file

__all__ = ["Inspection", "ModelFile", "inspect_model", "read_model_file"]
