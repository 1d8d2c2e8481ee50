"""What a run returns: RecBole's dict, and what of it one wants to look at."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

import pandas as pd

from recbole_attack.report.run_table import metric_rows
from recbole_attack.report.words import ARMS, caption, details


class Result(dict[str, Any]):
    """RecBole's result dict, with both arms, their difference and the run's file; a table in a notebook.

    Args:
        values: The dict.
        record: The content of ``result.json``.

    Attributes:
        record: The same.
    """

    def __init__(self, values: Mapping[str, Any], record: Mapping[str, Any]) -> None:
        super().__init__(values)
        self.record = record

    def table(self) -> pd.DataFrame:
        """Test metrics under the configured ranking.

        Returns:
            A row for each metric; a column for each arm that was tested, and ``delta``, attacked minus clean, if both
            were. Shares lie in ``[0, 1]``; what is undefined is NaN.
        """
        arms = {name: self[name]["test_result"] for name in ARMS if self.get(name) and self[name]["test_result"]}
        columns = {**arms, "delta": self["delta"]} if self["delta"] else arms
        return pd.DataFrame(columns, dtype=float).rename_axis(index="metric")

    def history(self) -> pd.DataFrame:
        """Losses and metrics over epochs.

        Returns:
            A row for each epoch of each arm, with columns ``arm``, ``epoch`` (from 0), ``train_loss``,
            ``learning_rate``, ``seconds``, ``stage`` where arms have several, and every metric; NaN where an epoch was
            not evaluated.
        """
        epochs = [{"arm": arm, **epoch} for arm, epochs in self.record["history"].items() for epoch in epochs]
        return pd.DataFrame(epochs)

    def _repr_html_(self) -> str:
        head, *rows = metric_rows(self.record)
        about = "".join(f"<p>{escape(text)}</p>" for text in (caption(self.record), details(self.record)) if text)
        return about + pd.DataFrame(rows, columns=head).to_html(index=False, border=0)
