"""From the rounds of all peers to medians and ratios; as JSON, as Markdown, as one line, as a chart."""

import json
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmark.workload import Measures

REFERENCE = "s3mount"
# US dollars a request: https://aws.amazon.com/s3/pricing/, S3 Standard, us-east-1. Deletes are free.
PRICE = {"PUT": 5e-6, "COPY": 5e-6, "POST": 5e-6, "LIST": 5e-6, "GET": 4e-7, "HEAD": 4e-7, "DELETE": 0.0}

# Of the chart: a shape and a colour each, told apart without the colour as well.
DOTS = {
    "s3mount": ("o", "#0b6e4f"), "rclone": ("s", "#c0392b"), "s3fs": ("^", "#d68910"), "juicefs": ("D", "#6c3483"),
    "local": ("v", "#566573"),
}  # fmt: skip

Rounds = Mapping[str, Sequence[Measures]]


def summary(rounds: Rounds, *, files: int) -> dict[str, Any]:
    """Medians of each peer: {"seconds": {row: {peer: s}}, "numbers": …, "requests": {row: {peer: {kind: n}}}, …}."""
    found: dict[str, Any] = {"seconds": {}, "numbers": {}, "requests": {}, "failures": {}}
    for peer, measures in rounds.items():
        for kind in ("seconds", "numbers"):
            for row in dict.fromkeys(row for each in measures for row in getattr(each, kind)):
                values = [getattr(each, kind)[row] for each in measures if row in getattr(each, kind)]
                found[kind].setdefault(row, {})[peer] = round(statistics.median(values), 4)
        for row, counts in measures[-1].requests.items():
            found["requests"].setdefault(row, {})[peer] = dict(sorted(counts.items()))
        for row, why in measures[-1].failures.items():
            found["failures"].setdefault(row, {})[peer] = why
    small = found["requests"].get("small", {})
    found["dollars per million files"] = {
        peer: round(sum(PRICE.get(kind, 5e-6) * number for kind, number in counts.items()) * 1e6 / files, 2)
        for peer, counts in small.items()
        if counts
    }
    return found


def markdown(found: Mapping[str, Any], peers: Sequence[str]) -> str:
    lines = ["| step, seconds | " + " | ".join(peers) + " |", "|---" * (len(peers) + 1) + "|"]
    lines += [_row(row, values, peers, "{:.2f}") for row, values in found["seconds"].items()]
    lines += ["", "| number | " + " | ".join(peers) + " |", "|---" * (len(peers) + 1) + "|"]
    lines += [_row(row, values, peers, "{:.0f}") for row, values in found["numbers"].items()]
    dollars = found["dollars per million files"]
    lines.append(_row("requests for a million small files, US$", dollars, peers, "{:.2f}"))
    lines += ["", "| requests | " + " | ".join(peers) + " |", "|---" * (len(peers) + 1) + "|"]
    for row, values in found["requests"].items():
        cells = [" ".join(f"{number} {kind}" for kind, number in values.get(peer, {}).items()) for peer in peers]
        lines.append(f"| {row} | " + " | ".join(cells) + " |")
    for row, values in found["failures"].items():
        lines += ["", *(f"{peer} failed at {row}: {why}" for peer, why in values.items())]
    return "\n".join(lines) + "\n"


def _row(name: str, values: Mapping[str, float], peers: Sequence[str], form: str) -> str:
    """Each value with its ratio to the reference's."""
    base = values.get(REFERENCE)
    cells = []
    for peer in peers:
        value = values.get(peer)
        ratio = f" ({value / base:.1f}×)" if value is not None and base and peer != REFERENCE else ""
        cells.append("" if value is None else form.format(value) + ratio)
    return f"| {name} | " + " | ".join(cells) + " |"


def one_line(found: Mapping[str, Any]) -> str:
    return json.dumps(found, separators=(",", ":"), sort_keys=True)


def plot(found: Mapping[str, Any], peers: Sequence[str], path: Path) -> None:
    """Seconds of each step, a dot a peer, on a logarithmic axis; the reference is filled and says its number. The
    format is the file name's."""
    import matplotlib as mpl

    mpl.use("Agg")
    mpl.rcParams.update({"svg.hashsalt": "s3mount", "svg.fonttype": "none", "font.family": "sans-serif"})
    from matplotlib import pyplot

    rows = list(found["seconds"])
    figure, axes = pyplot.subplots(figsize=(9, 0.34 * len(rows) + 1.5))
    for place, row in enumerate(rows):
        seconds = found["seconds"][row]
        values = [seconds[peer] for peer in peers if seconds.get(peer)]
        if not values:
            continue
        axes.plot([min(values), max(values)], [place, place], color="#d5d8dc", linewidth=2, zorder=1)
        if seconds.get(REFERENCE):
            text, where = f"{seconds[REFERENCE]:.3g} s", (seconds[REFERENCE], place)
            style = {"ha": "center", "fontsize": 7, "color": DOTS[REFERENCE][1]}
            axes.annotate(text, where, (0, 6), textcoords="offset points", **style)
    for peer in reversed(peers):
        marker, color = DOTS.get(peer, ("o", "#7f8c8d"))
        shown = [place for place, row in enumerate(rows) if found["seconds"][row].get(peer)]
        fill = color if peer == REFERENCE else "white"
        axes.scatter(
            [found["seconds"][rows[place]][peer] for place in shown], shown, marker=marker, s=46, facecolor=fill,
            edgecolor=color, linewidth=1.5, label=peer, zorder=3 if peer == REFERENCE else 2,
        )  # fmt: skip
    axes.set_yticks(range(len(rows)), rows)
    axes.set_ylim(len(rows) - 0.4, -0.9)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter("{x:g} s")
    axes.set_xlabel("median seconds, less is better (logarithmic)", color="#566573")
    axes.grid(axis="x", color="#ebedef", zorder=0)
    axes.tick_params(which="both", length=0)
    axes.spines[:].set_visible(False)
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles[::-1], labels[::-1], loc="upper center", ncols=len(peers), frameon=False)
    figure.tight_layout(rect=(0, 0, 1, 1 - 0.35 / figure.get_figheight()))
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None, facecolor="white")
    pyplot.close(figure)
