"""See scripts/drift-table."""

import argparse
import os
from pathlib import Path

import labels
import peers
import synthetic
import table
from product import Product
from streams import found

ROOT = Path(__file__).resolve().parent.parent.parent

ABOUT = """Runs every stream under one protocol: the first 300 rows are labelled, then 5 % of the rows get their
label 500 rows late (keystroke: 100 rows, 10 %, 100 late; INSECTS: signed logarithm of the features), and
each row is judged before it is learned from. Every learner gets the labels of the same rows. What was done
is kept in FOLDER: peers for good, the product's runs for each build of it."""


def main():
    parser = argparse.ArgumentParser(prog="scripts/drift-table", description=ABOUT)
    parser.add_argument("paths", nargs="*", metavar="PATH", help="a CSV file, or a folder of such files")
    parser.add_argument("--seeds", type=int, default=5, metavar="N", help="seeds 0 to N - 1 (5)")
    parser.add_argument("--out", type=Path, default=ROOT / "target/drift-table", metavar="FOLDER",
                        help="where results are kept (target/drift-table)")
    parser.add_argument("--only", choices=["product", "peers"], help="run no others; print the table only")
    parser.add_argument("--synthetic", type=Path, metavar="FOLDER",
                        help="write synthetic streams there first, and run these too")
    parser.add_argument("--write", action="store_true", help="put the tables into docs/drift.md")
    asked = parser.parse_args()
    if asked.synthetic:
        synthetic.write(asked.synthetic)
        asked.paths.append(asked.synthetic)
    if not asked.paths:
        parser.error("name a PATH, or --synthetic FOLDER")
    streams, seeds, out = found(asked.paths), range(asked.seeds), asked.out.resolve()
    os.chdir(ROOT)

    def tell(line):
        print(line, flush=True)

    program = Path(os.environ.get("SLUICEBOX", "target/release/sluicebox")).resolve()
    product, of_product, of_peers = Product(program, out, tell), {}, {}
    for stream in streams:
        if asked.only != "product":
            of_peers[stream.name] = peers.results(stream, seeds, out / "peers", tell)
        if asked.only != "peers":
            product.check_labels(stream, seed=0)
            of_product[stream.name] = product.results(stream, seeds)
    text = table.markdown(streams, of_product, of_peers)
    (out / "table.md").write_text(text + "\n")
    tell(text)
    if asked.write:
        table.put(ROOT / "docs/drift.md", text)


if __name__ == "__main__":
    main()
