"""Runs -> medians and ratios, whether the numbers agree, a table, a plot."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

OURS = "gpt2eval"
# How far a sum of log-probabilities may lie from ours in float32, relatively. Peers that take the
# log-softmax in bfloat16 are off in the third digit.
TOLERANCE = {"float32": 1e-5, "bfloat16": 2e-2}

Run = Mapping[str, Any]


def summarize(runs: Sequence[Run], tokens: Mapping[str, int]) -> list[dict[str, Any]]:
    """A row for each workload, dtype and tool, in the order in which they ran."""
    grouped: dict[tuple[str, str, str], list[Run]] = {}
    for run in runs:
        grouped.setdefault((run["workload"], run["dtype"], run["tool"]), []).append(run)
    rows = []
    for (workload, dtype, tool), repeats in grouped.items():
        row: dict[str, Any] = {"workload": workload, "dtype": dtype, "tool": tool}
        row["batch"] = repeats[0].get("batch")
        row["note"] = next((why for run in repeats if (why := note(run))), "")
        rows.append(row)
        if row["note"]:
            continue
        for key in ("wall", "cpu", "seconds", "peak_bytes"):
            row[key] = median(run[key] for run in repeats)
        row["wall_range"] = [pick(run["wall"] for run in repeats) for pick in (min, max)]
        row["tokens_per_second"] = tokens[workload] / row["wall"]
        ours = grouped.get((workload, dtype, OURS))
        if ours and not any(map(note, ours)):
            for key, name in (("wall", "times_slower"), ("peak_bytes", "times_memory")):
                row[name] = row[key] / median(run[key] for run in ours)
        reference = grouped.get((workload, "float32", OURS)) or ours
        if reference and not any(map(note, reference)):
            row |= agreement(repeats, reference[0]["numbers"], dtype)
    return rows


def note(run: Run) -> str:
    """Why a run gave no number; empty if it did."""
    return str(run.get("skipped") or run.get("failed") or "")


def agreement(repeats: Sequence[Run], expected: Mapping[str, Any], dtype: str) -> dict[str, Any]:
    """How the numbers of a tool compare with ours, and whether that will do.

    In float32 everything must be the same but for the last digits of the sums. In half precision a
    near tie may go either way, and greedy texts part there, so only the sums are held.
    """
    found: dict[str, Any] = {"agrees": True}
    for run in repeats:
        numbers = run["numbers"]
        if "total" in expected:
            off = abs(numbers["total"] - expected["total"]) / abs(expected["total"])
            found["off"] = max(off, found.get("off", 0.0))
            found["agrees"] &= off <= TOLERANCE[dtype]
        if "right" in expected and "right" in numbers:
            found["right"] = numbers["right"]
            found["agrees"] &= dtype != "float32" or numbers["right"] == expected["right"]
        if "texts" in expected:
            same = sum(map(str.__eq__, numbers["texts"], expected["texts"]))
            found["same_texts"] = [same, len(expected["texts"])]
            found["agrees"] &= len(numbers["texts"]) == len(expected["texts"])
            found["agrees"] &= dtype != "float32" or same == len(expected["texts"])
    return found


# ---- for reading --------------------------------------------------------------------------------


def table(content: Mapping[str, Any]) -> str:
    """The rows and the machine as Markdown."""
    header = "work|dtype|tool|batch|seconds|tokens/s|of which after loading|against gpt2eval"
    header += "|peak memory|against gpt2eval|numbers"
    lines = [f"| {' | '.join(header.split('|'))} |"]
    lines.append("| --- | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | --- |")
    lines += [f"| {' | '.join(cells)} |" for cells in map(_cells, content["rows"])]
    about, plan = content["machine"], content["plan"]
    counted = "; ".join(
        f"{name}: {work['tokens']:,} {work['counted']}"
        for name, work in content["workloads"].items()
    )
    absent = "".join(f"\n\n{tool}: {why}." for tool, why in content["absent"].items())
    versions = ", ".join(f"{name} {number}" for name, number in about["versions"].items())
    return "\n".join(
        [
            *lines,
            "",
            f"Whole processes, start to exit: median of {plan['repeats']} in turn, with the range."
            f" Tokens a second are of the whole process. {counted}.{absent}",
            "",
            f"{about['processor']}, {plan['threads']} of {about['cores']} cores,"
            f" {about['memory_bytes'] / 2**30:.0f} GiB; {about['system']}; {versions}. Load average"
            f" at the start {about['load_average'][0]:.1f}.",
            "",
        ]
    )


def _cells(row: Mapping[str, Any]) -> list[str]:
    start = [row["workload"], row["dtype"], row["tool"], str(row["batch"])]
    if row["note"]:
        return [*start, *[""] * 6, row["note"].strip().splitlines()[-1].replace("|", "/")]
    low, high = row["wall_range"]
    return [
        *start,
        f"{row['wall']:.1f} [{low:.1f}, {high:.1f}]",
        f"{row['tokens_per_second']:,.0f}",
        f"{row['seconds']:.1f}",
        f"{row['times_slower']:.2f}x" if "times_slower" in row else "",
        f"{row['peak_bytes'] / 2**20:,.0f} MiB",
        f"{row['times_memory']:.2f}x" if "times_memory" in row else "",
        _numbers(row),
    ]


def _numbers(row: Mapping[str, Any]) -> str:
    if "agrees" not in row:
        return "not compared"
    parts = []
    if "off" in row:
        parts.append(f"sum off by {row['off']:.0e}")
    if "right" in row:
        parts.append(f"{row['right']} right")
    if "same_texts" in row:
        parts.append("{} of {} texts the same".format(*row["same_texts"]))
    return ", ".join(parts) + ("" if row["agrees"] else " **differ**")


def draw(content: Mapping[str, Any], path: Path) -> None:
    """Seconds of each tool as bars, a panel for each workload and dtype."""
    from matplotlib.figure import Figure

    panels: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for row in content["rows"]:
        if not row["note"]:
            panels.setdefault((row["workload"], row["dtype"]), []).append(row)
    if not panels:
        return
    tools = list(dict.fromkeys(row["tool"] for row in content["rows"]))
    dtypes = list(dict.fromkeys(dtype for _, dtype in panels))
    works = list(dict.fromkeys(work for work, _ in panels))
    size = (2.6 * len(works), 0.6 + 1.5 * len(dtypes))
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots(len(dtypes), len(works), squeeze=False)
    for (y, dtype), (x, work) in _pairs(dtypes, works):
        ax, rows = axes[y][x], panels.get((work, dtype), [])
        ax.set_title(f"{work}, {dtype}", fontsize=8)
        ax.set_yticks(range(len(tools)), tools if x == 0 else [""] * len(tools), fontsize=7)
        ax.tick_params(axis="x", labelsize=7)
        ax.invert_yaxis()
        ax.set_xlabel("seconds", fontsize=7)
        for row in rows:
            low, high = row["wall_range"]
            spread = [[row["wall"] - low], [high - row["wall"]]]
            colour = "#0072b2" if row["tool"] == OURS else "#999999"
            ax.barh(tools.index(row["tool"]), row["wall"], xerr=spread, color=colour, height=0.7)
    figure.savefig(path, dpi=150)


def _pairs(
    dtypes: Sequence[str], works: Sequence[str]
) -> Iterator[tuple[tuple[int, str], tuple[int, str]]]:
    for one in enumerate(dtypes):
        for other in enumerate(works):
            yield one, other
