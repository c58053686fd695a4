"""Drawing: each function puts data that are ready on the axes it is given and computes nothing."""

from gpt2eval.report.plots.curves import draw_positions, draw_rates, draw_reliability
from gpt2eval.report.plots.differences import draw_differences, draw_scatter
from gpt2eval.report.plots.marks import Axis, Difference, Dot
from gpt2eval.report.plots.names import legend_below, name_lines
from gpt2eval.report.plots.saving import save
from gpt2eval.report.plots.scores import draw_learning, draw_scores, draw_sizes
from gpt2eval.report.plots.styles import DOUBLE, SINGLE, style

__all__ = [
    "DOUBLE",
    "SINGLE",
    "Axis",
    "Difference",
    "Dot",
    "draw_differences",
    "draw_learning",
    "draw_positions",
    "draw_rates",
    "draw_reliability",
    "draw_scatter",
    "draw_scores",
    "draw_sizes",
    "legend_below",
    "name_lines",
    "save",
    "style",
]
