"""Draws a curve as SVG: small, and the same bytes for the same results."""
import matplotlib

matplotlib.use("svg")
matplotlib.rcParams.update({
    "svg.hashsalt": "moonlet", "svg.fonttype": "none", "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"], "font.size": 9, "axes.spines.top": False,
    "axes.spines.right": False, "xtick.minor.size": 0, "ytick.minor.size": 0,
    "path.simplify": True,
})
from matplotlib import pyplot, ticker  # noqa: E402 (after the backend is chosen)

OURS = ["#0b5fa5", "#2f93d6", "#86c5f0"]
PEERS = ["#c2410c", "#8a8a8a"]


def plain(value, _):
    return f"{value:,.0f}" if value >= 10 else f"{value:,g}"


def draw(curve, path):
    figure, axes = pyplot.subplots(figsize=(6.4, 3.4))
    colours = {True: iter(OURS), False: iter(PEERS)}
    for series in curve["series"]:
        colour = next(colours[series["ours"]])
        middle, low, high = zip(*series["y"])
        few = len(middle) < 30
        axes.plot(series["x"], middle, color=colour, linewidth=1.4, label=series["label"],
                  linestyle="-" if series["ours"] else "--", marker="o" if few else "",
                  markersize=3)
        if few:
            axes.fill_between(series["x"], low, high, color=colour, alpha=0.2, linewidth=0)
    if "x" in curve["log"]:
        axes.set_xscale("log")
    if "y" in curve["log"]:
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
    else:
        axes.set_ylim(bottom=0)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(ticker.FuncFormatter(plain))
    axes.minorticks_off()
    axes.set_xlabel(curve["x_label"])
    axes.set_ylabel(curve["y_label"])
    axes.set_title(curve["title"], fontsize=10)
    axes.grid(color="#e4e4e4", linewidth=0.6)
    axes.legend(frameon=False, fontsize=8)
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None, "Creator": None}, facecolor="white")
    pyplot.close(figure)
