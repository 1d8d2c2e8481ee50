"""Raw files, as their publishers name them, to RecBole's atomic files: one value per dataset, one reader for all."""

from recbole_attack.data.convert.conversions import CONVERSIONS, convert
from recbole_attack.data.convert.own_file import convert_csv
from recbole_attack.data.convert.rows import Layout, RawRows
from recbole_attack.data.convert.table import Counts, Keep, Table, write_table

__all__ = ["CONVERSIONS", "Counts", "Keep", "Layout", "RawRows", "Table", "convert", "convert_csv", "write_table"]
