"""The tables, in Markdown."""

import statistics

BEGIN, END = "<!-- written by scripts/drift-table -->", "<!-- end -->"


def _spread(values):
    values = [100 * value for value in values]
    if len(values) < 2:
        return f"{values[0]:.1f}" if values else ""
    return f"{statistics.mean(values):.1f} ± {statistics.stdev(values):.1f}"


def _gap(ours, theirs):
    """Returns mean and standard error of the difference, seed by seed."""
    gaps = [100 * (ours[seed] - theirs[seed]) for seed in ours if seed in theirs]
    if not gaps:
        return ""
    error = f" ± {statistics.stdev(gaps) / len(gaps) ** 0.5:.1f}" if len(gaps) > 1 else ""
    return f"{statistics.mean(gaps):+.1f}{error}"


def _mean(row):
    return statistics.mean(row.values())


def markdown(streams, product, peers):
    """Returns the tables. `product` and `peers`: stream, then row, then seed, to accuracy."""
    names = [stream.name for stream in streams]
    head = ["| | " + " | ".join(names) + " |", "|---|" + "---:|" * len(names)]
    rows = []
    for part in (product, peers):
        for row in dict.fromkeys(row for name in names for row in part.get(name, {})):
            rows.append((row, [part.get(name, {}).get(row, {}) for name in names]))
    best = [max((_mean(cells[at]) for _, cells in rows if cells[at]), default=0) for at in range(len(names))]
    lines = list(head)
    for row, cells in rows:
        texts = [_spread(cell.values()) if cell else "" for cell in cells]
        marked = [f"**{text}**" if cell and _mean(cell) == best[at] else text
                  for at, (text, cell) in enumerate(zip(texts, cells))]
        lines.append(f"| {row} | " + " | ".join(marked) + " |")
    ours = "fixmatch, as shipped"
    if all(ours in product.get(name, {}) for name in names):
        lines += ["", f"`{ours}` less each of the others, seed by seed: mean ± standard error, in points.", "", *head]
        for row, cells in rows:
            if row != ours:
                gaps = [_gap(product[name][ours], cell) for name, cell in zip(names, cells)]
                lines.append(f"| {row} | " + " | ".join(gaps) + " |")
    return "\n".join(lines)


def put(page, text):
    """Puts the tables between the two marks of a page."""
    before, found, rest = page.read_text().partition(BEGIN)
    _, ended, after = rest.partition(END)
    if not (found and ended):
        raise SystemExit(f"{page} has no place for the tables: it needs the lines `{BEGIN}` and `{END}`")
    page.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}")
