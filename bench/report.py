"""Writes docs/performance.md from results: bench/template.md, filled in, with plots beside it."""
import json
import re
import statistics
import textwrap
from pathlib import Path

BENCH = Path(__file__).resolve().parent
NOTES = BENCH / "notes.md"  # written by hand
SUFFIX = {"ns": "ns", "us": "µs", "ms": "ms", "B": "B"}


def number(value):
    """Three digits, or all of an integer."""
    if value >= 100 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def with_spread(values, form=number, unit=""):
    if unit == "ns" and values[0] >= 10_000:
        values, unit = [v / 1000 for v in values], "µs"
    middle, low, high = (form(v) for v in values)
    return f"{middle}{unit and ' '}{unit} ({low}–{high})"


def ratio(value):
    return f"{value:.3f}" if value < 1 else f"{value:.2f}"


def code(text):
    return f"`{text}`".replace("|", "\\|")


def table(head, lines):
    """Columns whose head ends with a colon are aligned to the right. Nothing without lines."""
    marks = ["--:" if cell.endswith(":") else "---" for cell in head]
    if not lines:
        return ""
    return "\n".join(f"| {' | '.join(cells)} |"
                     for cells in ([cell.rstrip(":") for cell in head], marks, *lines))


def held(row):
    return row["ratio"][0] <= row["bar"]


def bars(results):
    barred = [row for row in results.get("rows", []) if row["bar"]]
    if not barred:
        return ""
    over = [code(row["name"]) for row in barred if not held(row)]
    if not over:
        return f"All {len(barred)} hold."
    return f"{len(barred) - len(over)} of {len(barred)} hold; over theirs are {', '.join(over)}."


def surroundings(results):
    lines = [["date", results["date"]], ["machine", results["machine"]],
             ["system", results["system"]], ["compiler", results["compiler"]],
             ["moonlet", results["ours"]], ["peers", "; ".join(results["peers"])],
             ["load before", " ".join(f"{load:.2f}" for load in results["load"])]]
    text = table(["", ""], lines)
    if results["missing"]:
        text += f"\n\nNot measured, since they could not be had: {', '.join(results['missing'])}."
    return text


def rows(results):
    topics = {}
    for row in results.get("rows", []):
        topics.setdefault(row["topic"], []).append(row)
    parts = []
    for topic, members in topics.items():
        lines = []
        for row in members:
            unit = SUFFIX[row["unit"]]
            bar = f"{row['bar']:g} {'held' if held(row) else '**over**'}" if row["bar"] else ""
            lines.append([f"{row['what']}<br>{code(row['name'])}",
                          with_spread(row["ours"], unit=unit), row["beside"],
                          with_spread(row["peer"], unit=unit),
                          with_spread(row["ratio"], ratio), bar])
        head = ["", "moonlet:", "beside", "peer:", "ratio:", "bar"]
        parts.append(f"## {topic}\n\n{table(head, lines)}")
    return "\n\n".join(parts)


def slope(xs, ys):
    """The median of the slopes between all pairs of points, which outliers do not change."""
    return statistics.median((ys[j] - ys[i]) / (xs[j] - xs[i])
                             for i in range(len(xs)) for j in range(i))


def wrapped(text):
    return textwrap.fill(text, 100, break_on_hyphens=False, break_long_words=False)


def sentence(curve):
    """What is true of the curve, whatever it looks like."""
    per, of = " " + curve["y_label"], " " + curve["x_label"]
    parts = []
    for series in curve["series"]:
        xs, ys = series["x"], [y[0] for y in series["y"]]
        if curve["time"]:
            middle = statistics.median(ys)
            drift = slope(xs, ys) * (xs[-1] - xs[0])
            parts.append(f"{series['label']} {number(middle)}{per}, "
                         f"drift {drift / middle:+.1%}")
        else:
            parts.append(f"{series['label']} {number(ys[0])}{per} "
                         f"with {number(xs[0])}{of}, {number(ys[-1])} with {number(xs[-1])}")
        per, of = "", ""  # told once
    text = "; ".join(parts) + "."
    if curve["time"]:
        count = len(curve["series"][0]["x"])
        text = f"Medians of {count} windows, and the change from the first to the last by the " \
            f"median slope: {text}"
    return wrapped(text)


def curves(results):
    return "\n\n".join(f"![{curve['title']}](performance/{curve['name']}.svg)\n\n"
                       f"{sentence(curve)}" for curve in results.get("curves", [])
                       if curve["series"])


def million(results):
    lines = []
    for contender in results.get("million", []):
        label, answer = contender["label"], contender["answer"]
        if answer:
            lines.append([label, *(f"{seconds:.2f} s" for seconds in answer[:3]),
                          f"{answer[3] / 1e6:,.0f} MB", f"{answer[3] / contender['n']:,.0f} B"])
        else:
            lines.append([label, *["failed"] * 5])
    return table(["", "create:", "switch:", "finish:", "peak:", "peak per greenlet:"], lines)


def instructions(results):
    lines = [[f"{row['what']}<br>{code(row['name'])}", f"{row['ours']:,.0f}", row["beside"],
              f"{row['peer']:,.0f}", ratio(row["ours"] / row["peer"])]
             for row in results.get("instructions", [])]
    return table(["", "moonlet:", "beside", "peer:", "ratio:"], lines)


def markdown(results, template, notes):
    """The template, filled in, without the sections for which there is nothing."""
    filled = {
        "command": results["command"],
        "surroundings": surroundings(results),
        "bars": wrapped("A bar is what a ratio should not exceed. " + bars(results)),
        "rows": rows(results),
        "curves": curves(results),
        "million": million(results),
        "instructions": instructions(results),
    }
    kept = []
    for section in re.split(r"^(?=## )", template, flags=re.MULTILINE):
        keys = re.findall(r"{{(\w+)}}", section)
        if keys and not any(filled[key] for key in keys):
            continue
        kept.append(re.sub(r"{{(\w+)}}", lambda found: filled[found[1]], section).strip())
    return "\n\n".join([*kept, notes.strip()]).strip() + "\n"


def rounded(value):
    """The same, numbers with as many digits as they are worth."""
    if isinstance(value, dict):
        return {key: rounded(v) for key, v in value.items()}
    if isinstance(value, list):
        return [rounded(v) for v in value]
    return float(f"{value:.5g}") if isinstance(value, float) else value


def write(results, directory):
    """performance.md and performance/ in that directory; returns the paths."""
    import plots
    beside = directory / "performance"
    beside.mkdir(parents=True, exist_ok=True)
    paths = [directory / "performance.md", beside / "results.json"]
    notes = NOTES.read_text() if NOTES.exists() else ""
    results = rounded(results)
    paths[0].write_text(markdown(results, (BENCH / "template.md").read_text(), notes))
    paths[1].write_text(json.dumps(results, separators=(",", ":"),
                                   ensure_ascii=False) + "\n")
    for curve in results.get("curves", []):
        if curve["series"]:
            paths.append(beside / f"{curve['name']}.svg")
            plots.draw(curve, paths[-1])
    return paths
