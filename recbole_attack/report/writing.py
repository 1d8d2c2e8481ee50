"""The files of a report."""

from __future__ import annotations

from pathlib import Path

from recbole_attack.report import latex, markdown, pages, texts
from recbole_attack.report.cells import Cells
from recbole_attack.report.curves import epoch_panels, line_names, share_panels, trades
from recbole_attack.report.pictures import Drawing, curves_drawing, save, trades_drawing
from recbole_attack.utils.files import write_text

PICTURES = ("shares", "trade", "epochs")
"""What a report may have pictures of, in its order."""


def write_report(found: Cells, out: Path, title: str, finding: str) -> list[Path]:
    """Write a report's files, each whole or not at all.

    Args:
        found: The rows.
        out: Its folder, made if it is missing; pictures of an earlier report that this one lacks are removed.
        title: Heading.
        finding: What was found.

    Returns:
        The files.
    """
    drawings = draw(found)
    pictures = {f"{name}.png": text for name, (text, _) in drawings.items()}
    written = {
        "report.html": pages.render(found, title, finding, drawings),
        "report.md": markdown.render(found, title, finding, pictures),
        "report.tex": latex.render(found),
        "report.csv": texts.frame(found).to_csv(index=False, lineterminator="\n"),
    }
    drawn = []
    for name in PICTURES:
        files = [out / f"{name}.{kind}" for kind in ("png", "pdf")]
        if name in drawings:
            figure = drawings[name][1].together()
            for file in files:
                save(figure, file)
            drawn += files
        else:
            for file in files:
                file.unlink(missing_ok=True)
    for name, text in written.items():  # last, since they show the pictures
        write_text(out / name, text)
    return [*(out / name for name in written), *drawn]


def draw(found: Cells) -> dict[str, tuple[str, Drawing]]:
    """The pictures there are to a report: name -> what it shows, and the drawing."""
    shares, epochs, points = share_panels(found), epoch_panels(found), trades(found)
    order = line_names(found)
    interval = "bands and bars are 95 % intervals over seeds"
    drawings = {}
    if shares:
        text = f"{found.exposure} against the share of malicious clients; {interval}"
        drawings["shares"] = text, curves_drawing(shares, "malicious_ratio", order)
    if points:
        text = f"{found.exposure} against the {found.accuracy} it costs; circled: no other row gains more for less"
        drawings["trade"] = text, trades_drawing(points, order)
    if epochs:
        text = f"{found.exposure} of the attacked models while they train; {interval}"
        drawings["epochs"] = text, curves_drawing(epochs, "epoch", order)
    return drawings
