"""The plots in docs/performance.md, from the results: SVG, the same to the byte for the same results."""

import io
import re
from collections.abc import Callable, Sequence
from typing import Any, Final

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.cost import rows

_STYLE: Final[dict[Any, Any]] = {  # matplotlib types its 300 keys one by one
    "axes.axisbelow": True,
    "axes.edgecolor": "#8a94a3",
    "axes.labelcolor": "#3a4250",
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 11,
    "font.family": ["DejaVu Sans"],
    "font.size": 9,
    "grid.color": "#e3e7ed",
    "legend.frameon": False,
    "savefig.facecolor": "white",  # legible on dark pages too
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "dpdk-webhook",
    "text.color": "#3a4250",
    "xtick.color": "#3a4250",
    "ytick.color": "#3a4250",
}
_GRAY, _LIGHT, _DARK, _OTHER, _MARK = "#b4bcc8", "#7fb0ee", "#1f5fb4", "#e0a458", "#c0392b"


def svg(draw: Callable[[Figure, dict[str, Any]], None], results: dict[str, Any], size: tuple[float, float]) -> str:
    """One plot; `size` in inches."""
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=size, layout="constrained")
        draw(figure, results)
        written = io.StringIO()
        figure.savefig(written, format="svg", metadata={"Date": None, "Creator": None})
    lines = "\n".join(line.rstrip() for line in written.getvalue().splitlines())
    # the last digits are the processor's, and names are hashes of them
    rounded = re.sub(r"\d+\.\d{3,}", lambda match: f"{float(match[0]):.2f}", lines)
    names: dict[str, str] = {}
    return (
        re.sub(r"\b[mp][0-9a-f]{10}\b", lambda match: names.setdefault(match[0], f"{match[0][0]}{len(names)}"), rounded) + "\n"
    )


def cost(figure: Figure, results: dict[str, Any]) -> None:
    """CPU of a request, by the number of connections."""
    axes = figure.subplots()
    connections = results["connections"]
    wanted = ("floor", "/mutate, known pods", "/mutate, new pods")
    seen = {at: {name: cpu for name, cpu, _ in rows(row) if cpu is not None} for at, row in connections.items()}
    names = [
        *wanted,
        *(name for name in dict.fromkeys(n for row in seen.values() for n in row) if name.endswith((" known", " new"))),
    ]
    colours = [_GRAY, _LIGHT, _DARK, *[_OTHER] * len(names)]
    width = 0.8 / len(names)
    for index, name in enumerate(names):
        places = [place + (index - (len(names) - 1) / 2) * width for place in range(len(seen))]
        heights = [row.get(name, 0) for row in seen.values()]
        bars = axes.bar(places, heights, width * 0.92, color=colours[index], label=name)
        axes.bar_label(bars, fmt="{:.0f}", fontsize=8, padding=1)
    axes.set_xticks(range(len(seen)), [f"{at} connection{'s' if at != '1' else ''}" for at in seen])
    axes.set_title("CPU of the server's process, µs a request")
    axes.grid(axis="y")
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.08), ncols=len(names))


def latency(figure: Figure, results: dict[str, Any]) -> None:
    """A create through the API server, by what is asked about it."""
    axes = figure.subplots()
    ways = results["latency"]["ways"]
    colours = {"none": _GRAY, "floor": _GRAY, "policy": _OTHER}
    places = range(len(ways))
    p50 = [row["p50_ms"] for row in ways.values()]
    bars = axes.barh(places, p50, 0.62, color=[colours.get(name, _DARK) for name in ways])
    axes.bar_label(bars, fmt="{:.2f}", fontsize=8, padding=3)
    axes.plot([row["p99_ms"] for row in ways.values()], places, "|", color=_MARK, markersize=12, label="p99")
    _named(axes, [row["text"] for row in ways.values()], "A create through the API server, ms at p50")


def hostile(figure: Figure, results: dict[str, Any]) -> None:
    """The p99 of a healthy client, before each attack and while it lasts."""
    axes = figure.subplots()
    attacks = results["hostile"]
    places = range(len(attacks))
    for shift, key, colour, text in ((-0.19, "alone_p99_ms", _GRAY, "alone"), (0.19, "p99_ms", _DARK, "under attack")):
        axes.barh([place + shift for place in places], [row[key] for row in attacks.values()], 0.36, color=colour, label=text)
    _named(axes, list(attacks), "A healthy client's p99, ms")


def _named(axes: Axes, names: Sequence[str], title: str) -> None:
    """What the bars from top to bottom are."""
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.set_title(title)
    axes.grid(axis="x")
    axes.legend(loc="upper right")


def linear(figure: Figure, results: dict[str, Any]) -> None:
    """Time by size, each family a line."""
    axes = figure.subplots()
    families = results["linear"]
    slowest = sorted(families, key=lambda name: -families[name]["us"][-1])[:3]
    for name, row in families.items():
        is_named = name in slowest
        colour = (_DARK, _OTHER, _MARK)[slowest.index(name)] if is_named else _GRAY
        axes.plot(
            row["kb"],
            [microseconds / 1000 for microseconds in row["us"]],
            color=colour,
            linewidth=1.8 if is_named else 0.8,
            zorder=3 if is_named else 2,
            label=name if is_named else None,
        )
    _slope(axes, 1, "in proportion")
    _slope(axes, 2, "with the square")
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("kB a review")
    axes.set_ylabel("ms")
    axes.set_title("Time by size, each line one thing that a pod can have much of")
    axes.grid()
    axes.legend(loc="upper left")


def _slope(axes: Axes, power: int, text: str) -> None:
    start, end, first = 20.0, 600.0, 0.02
    axes.plot([start, end], [first, first * (end / start) ** power], ":", color=_MARK if power > 1 else "#3a4250", linewidth=1)
    axes.annotate(text, (end, first * (end / start) ** power), fontsize=8, xytext=(3, 0), textcoords="offset points")


# by the name of its file in docs/plots/: the key of the results that it shows, how, and inches
_PLOTS: Final = {
    "cost.svg": ("connections", cost, (7.6, 3.6)),
    "latency.svg": ("latency", latency, (7.6, 2.9)),
    "hostile.svg": ("hostile", hostile, (7.6, 4.6)),
    "linear.svg": ("linear", linear, (7.6, 4.2)),
}


def plots(results: dict[str, Any]) -> dict[str, str]:
    """By the name of its file: the plot of whatever was measured."""
    return {name: svg(draw, results, size) for name, (key, draw, size) in _PLOTS.items() if key in results}
