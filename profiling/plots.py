"""Draw what a report's table says, as a small PNG beside it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import bench
import matplotlib
from matplotlib import pyplot

matplotlib.use("Agg")
COLORS = {"ours": "#1c7ed6", "torch.onnx": "#e8590c", "TorchScript": "#868e96"}
PHASES = {
    "registration": "#a0d8d8",
    "capture": "#74a9e6",
    "decomposition": "#b78be0",
    "translation": "#6cc78f",
    "optimization": "#e6c15c",
    "serialization": "#e28f6b",
    "writing": "#dd7596",
    "other": "#c3c7cf",
}


def lines(
    name: str,
    panels: Mapping[str, Mapping[str, Mapping[float, float]]],
    x_label: str | Mapping[str, str],
    folder: Path = bench.REPORTS,
) -> Path:
    """Draw seconds over a size, both axes logarithmic: panel -> line -> size -> seconds; returns the path."""
    figure, axes = pyplot.subplots(1, len(panels), figsize=(4.6 * len(panels), 3.4), squeeze=False)
    for axis, (title, series) in zip(axes[0], panels.items(), strict=True):
        for label, points in series.items():
            axis.plot(list(points), list(points.values()), "o-", label=label, color=COLORS.get(label), markersize=4)
        sizes = sorted({size for points in series.values() for size in points})
        axis.set(xscale="log", yscale="log", title=title, ylabel="export, seconds")
        axis.set_xlabel(x_label if isinstance(x_label, str) else x_label[title])
        axis.set_xticks(sizes, [f"{size:g}" for size in sizes], fontsize=8)
        axis.minorticks_off()
        axis.grid(alpha=0.3)
        axis.legend(fontsize=8)
    return _written(figure, name, folder)


def bars(name: str, rows: Mapping[str, Mapping[str, float]], x_label: str, folder: Path = bench.REPORTS) -> Path:
    """Draw one bar a row, its parts side by side: row -> part -> share; returns the path."""
    figure, axis = pyplot.subplots(figsize=(8, 0.8 + 0.3 * len(rows)))
    parts = list(dict.fromkeys(part for row in rows.values() for part in row))
    left = [0.0] * len(rows)
    for part in sorted(parts, key=list(PHASES).index):
        widths = [row.get(part, 0.0) for row in rows.values()]
        axis.barh(list(rows), widths, left=left, label=part, color=PHASES[part])
        left = [a + b for a, b in zip(left, widths, strict=True)]
    axis.invert_yaxis()
    axis.set_xlabel(x_label)
    axis.margins(x=0)
    axis.legend(fontsize=7, ncols=len(parts), loc="lower center", bbox_to_anchor=(0.4, 1), frameon=False)
    axis.tick_params(labelsize=8)
    return _written(figure, name, folder)


def _written(figure: pyplot.Figure, name: str, folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.png"
    figure.savefig(path, dpi=100, bbox_inches="tight")
    pyplot.close(figure)
    return path
