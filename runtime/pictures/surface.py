"""A loss as a surface over target and prediction: filled contours, which can be read off."""

from __future__ import annotations

from typing import Any

from lossc.compiler.analysis.verdicts.subject import at_values
from lossc.compiler.errors import UsageError
from lossc.compiler.float32 import evaluate_in
from lossc.compiler.formats import FLOAT64
from lossc.compiler.ir import F, Y
from lossc.compiler.loss import CLASSWISE, Loss
from lossc.compiler.sampling import Points
from lossc.runtime.pictures.sample import RANGES
from lossc.runtime.pictures.style import LIGHT, Palette, picture

SIDE = 161
LEVELS = 14


def surface_figure(loss: Loss, *, span: tuple[float, float] | None = None, palette: Palette = LIGHT,
                   suffix: str = "png") -> bytes:  # fmt: skip
    """Contours of L(y, f), where both y and f are numbers. Raises UsageError (L260) where they are not."""
    if loss.y not in ("real", "positive", "count", "prob", "binary") or (
        loss.layout == CLASSWISE and loss.uses_class_axis
    ):
        raise UsageError("L260", f"{loss.name} is no surface over y and f: y is `{loss.y}`", hint="leave --surface out")
    low, high = span or RANGES[loss.f]
    y_low, y_high = (0.0, 1.0) if loss.y in ("prob", "binary") else (max(low, 0.0) if loss.y != "real" else low, high)
    import numpy as np

    fs, ys = np.linspace(low, high, SIDE), np.linspace(y_low, y_high, SIDE)
    grid_f, grid_y = np.meshgrid(fs, ys)
    points = Points({Y: tuple(grid_y.ravel().tolist()), F: tuple(grid_f.ravel().tolist())}, ("",) * grid_f.size)
    (values,) = evaluate_in(FLOAT64, [at_values(loss, 10).body], points)
    heights = np.where(np.isfinite(values), values, np.nan).reshape(grid_f.shape)
    if not np.isfinite(heights).any():
        raise UsageError("L260", "there is nothing to draw: the loss has no finite value there", hint="another --range")
    top = float(np.nanquantile(heights, 0.97))
    bottom = float(np.nanquantile(heights, 0.03)) if np.nanmin(heights) < -10 * abs(top) else float(np.nanmin(heights))

    def draw(fig: Any) -> None:
        from matplotlib.ticker import MaxNLocator

        axes = fig.subplots()
        levels = MaxNLocator(LEVELS).tick_values(bottom, top if top > bottom else bottom + 1)
        filled = axes.contourf(fs, ys, heights, levels=levels, cmap="cividis", extend="both")
        axes.contour(fs, ys, heights, levels=levels, colors=palette.paper, linewidths=0.4, alpha=0.6)
        if loss.f in ("real", "positive", "prob") and loss.y in ("real", "positive", "count", "prob"):
            axes.plot([low, high], [low, high], color=palette.paper, linewidth=1.2, linestyle=(0, (4, 3)))
            axes.annotate(
                "f = y", (high, min(high, y_high)), xytext=(-34, -14), textcoords="offset points", color=palette.paper
            )
        axes.set(xlabel="prediction f", ylabel="target y", xlim=(low, high), ylim=(y_low, y_high))
        axes.grid(False)
        bar = fig.colorbar(filled, ax=axes)
        bar.set_label("loss L")
        bar.outline.set_visible(False)

    return picture(draw, (5.2, 4.1), palette, suffix)
