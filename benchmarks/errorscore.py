"""How many calls a second does the error score judge, on one core?

    python benchmarks/errorscore.py [--json FILE]

CPU time of one process: the labelled calls of data/esm_labels.jsonl, and calls to the tools of the catalogue with one thing
broken, each scored as text. The median of nine rounds.
"""
import argparse
import json
import statistics
import time
from pathlib import Path

from tool_use_dpo.errorscore import score_calls
from tool_use_dpo.generate import generate


def rate(rows, rounds=9):
    "Calls a second of CPU time: the median of some rounds."
    seconds = []
    for _ in range(rounds):
        begun = time.process_time()
        for row in rows: score_calls(*row)
        seconds.append(time.process_time() - begun)
    return len(rows) / statistics.median(seconds)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", help="write the figures here too")
    args = parser.parse_args()
    lines = [json.loads(l) for l in Path(__file__).parents[1].joinpath("data/esm_labels.jsonl").read_text().splitlines()]
    labelled = [(l["answer"], l["right"], lines[0]["tools"]) for l in lines[1:]]
    triplets = list(generate(1000, seed=0))
    broken = [(t["rejected"], json.loads(t["chosen"]), t["tools"]) for t in triplets]
    right = [(t["chosen"], json.loads(t["chosen"]), t["tools"]) for t in triplets]
    found = {name: round(rate(rows)) for name, rows in
             (("labelled calls", labelled), ("broken calls of the catalogue", broken), ("right calls", right))}
    for name, n in found.items(): print(f"{n:9,} calls per second   {name}")
    if args.json: Path(args.json).write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__": main()
