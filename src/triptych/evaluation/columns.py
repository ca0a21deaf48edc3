"""The columns of a report's tables, one row for each: add a row here to show another metric.

The Markdown report, the terminal, the HTML page, Prefect's table and the model card are all built from `COLUMNS`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

Table = Literal["ranking", "terminal", "costs", "calibration", "coverage", "card"]
# Shown where a panel has no value.
NO_VALUE = "-"
# Behind times of a training that was restored from an earlier one.
RESTORED = "*"


@dataclass(frozen=True)
class Column:
    """A column of one or more tables.

    Attributes:
        heading: the column's name, with its unit. A line break in it is kept only in the terminal, 80 characters wide.
        cell: format string of a cell; its fields are metrics by MLflow's name, or other keys of a standing's JSON.
        tables: the tables that show the column.
    """

    heading: str
    cell: str
    tables: tuple[Table, ...]

    def heading_in(self, table: Table) -> str:
        """Return the heading as a table shows it."""
        return self.heading if table == "terminal" else self.heading.replace("\n", " ")

    def format_cell(self, values: Mapping[str, Any]) -> str:
        """Return a panel's cell.

        >>> Column("accuracy", "{test_accuracy:.4f}", ("ranking",)).format_cell({"test_accuracy": 0.5})
        '0.5000'
        >>> Column("answered", "{coverage:.1%}", ("coverage",)).format_cell({"coverage": 0.345})
        '34.5 %'
        """
        try:
            text = self.cell.format_map({"mark": "", "shared_mark": "", **values})
        except KeyError:
            return NO_VALUE
        return f"{text[:-1]} %" if self.cell.endswith("%}") else text


COLUMNS = (
    Column("panel", "{label}", ("ranking", "terminal", "costs", "calibration", "coverage")),
    Column("accuracy", "{test_accuracy:.4f}", ("ranking", "terminal")),
    Column("interval", "{low:.4f}-{high:.4f}", ("ranking", "terminal")),
    Column("repeats", "{repeats}", ("ranking",)),
    Column("std", "{standard_deviation:.4f}", ("ranking", "terminal")),
    Column("std over folds", "{fold_deviation:.4f}", ("ranking",)),
    Column("macro F1", "{test_macro_f1:.4f}", ("ranking", "card")),
    Column("log loss", "{test_log_loss:.4f}", ("ranking", "calibration", "card")),
    Column("log loss, scaled", "{test_log_loss_calibrated:.4f}", ("calibration",)),
    Column("ECE", "{test_ece:.4f}", ("ranking", "calibration", "card")),
    Column("ECE, floor", "{test_ece_floor:.4f}", ("ranking", "calibration", "card")),
    Column("ECE, scaled", "{test_ece_calibrated:.4f}", ("calibration",)),
    Column("ECE, scaled, floor", "{test_ece_floor_calibrated:.4f}", ("calibration",)),
    Column("Brier score", "{test_brier:.4f}", ("calibration", "card")),
    Column("temperature", "{temperature:.4f}", ("calibration",)),
    Column("answered", "{test_coverage_at_2_percent:.1%}", ("coverage",)),
    Column("wrong among the answers", "{test_error_at_2_percent:.1%}", ("coverage",)),
    Column("fit\ntime (s)", "{fit_seconds:.2f}{mark}", ("ranking", "terminal", "costs")),
    Column("embedding\ntime (s)", "{embed_seconds:.2f}{shared_mark}", ("ranking", "terminal", "costs")),
    Column("images/s", "{predict_images_per_second:,.0f}", ("ranking", "costs")),
    Column("parameters", "{parameters:,}", ("ranking", "costs")),
    Column("size on disk (MiB)", "{model_mebibytes:.2f}", ("costs",)),
    Column("memory of the fit (MiB)", "{fit_memory_mebibytes:,.0f}", ("costs",)),
)


def build_rows(panels: Sequence[Mapping[str, Any]], table: Table) -> list[dict[str, str]]:
    """Return a table as text, a dictionary from heading to cell for each panel, without columns that are empty.

    Args:
        panels: for each panel its values by name; a value that a panel lacks is not there.
        table: which columns are shown.

    >>> build_rows([{"label": "numpy-mlp", "test_accuracy": 0.975, "low": 0.958, "high": 0.986}], "terminal")
    [{'panel': 'numpy-mlp', 'accuracy': '0.9750', 'interval': '0.9580-0.9860'}]
    """
    shown = [column for column in COLUMNS if table in column.tables]
    cells = {column.heading_in(table): [column.format_cell(values) for values in panels] for column in shown}
    filled = {heading: texts for heading, texts in cells.items() if any(text != NO_VALUE for text in texts)}
    return [{heading: texts[row] for heading, texts in filled.items()} for row in range(len(panels))]
