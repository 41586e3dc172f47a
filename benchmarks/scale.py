"""How time and memory grow with the number of triplets: every step of the data at several sizes.

    python benchmarks/scale.py                              20,000 and 100,000 triplets
    python benchmarks/scale.py --sizes 1000000 --json benchmarks/scale.json

Each step runs in a process of its own, so its peak of memory is its own. Steps: made (from made-up tools, a new one for every
ten triplets, certified by `negative`, written in batches), checked (`check_file`: the gate on every line, leaks), split by tool,
deduplicated, and read for training (`read_jsonl`). The fit is seconds = c · N^p through the sizes; p = 1 is linear growth.
"""
import argparse
import itertools
import json
import math
import multiprocessing
import random
import resource
import tempfile
import time
from pathlib import Path


def tools(n):
    "`n` different made-up tools."
    from tool_use_dpo.generate import random_tool
    rng = random.Random(0)
    return [{**(t := random_tool(rng)), "name": f"{t['name']}_{i}"} for i in range(n)]


def made(path, n):
    "Make and certify, and write in batches."
    from tool_use_dpo.generate import generate
    from tool_use_dpo.triplets import append_jsonl
    rows = generate(n, tools(max(10, n // 10)), seed=0)
    while batch := list(itertools.islice(rows, 500)): append_jsonl(path, batch)


def checked(path, n):
    "The gate on every line, and the leak audit."
    from tool_use_dpo.triplets import check_file
    report = check_file(path)
    assert report["lines"] == n and not report["faults"], report["faults"][:3]


def split(path, n):
    "As many tools as there are triplets to ten."
    from tool_use_dpo.triplets import split_by_tool
    split_by_tool(tools(max(10, n // 10)))


def deduplicated(path, n):
    "All rows, the first of each kept."
    from tool_use_dpo.triplets import dedupe, read_jsonl
    assert len(dedupe(read_jsonl(path))) == n


def loaded(path, n):
    "All rows, as a training reads them."
    from tool_use_dpo.triplets import read_jsonl
    assert len(read_jsonl(path)) == n


def measured(step, path, n):
    "Seconds and megabytes of a step, in a process of its own."
    receive, send = multiprocessing.Pipe(False)

    def run():
        began = time.perf_counter()
        step(path, n)
        send.send((time.perf_counter() - began, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024))
    process = multiprocessing.get_context("fork").Process(target=run)
    process.start()
    send.close()
    try: return receive.recv()
    finally: process.join()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[20_000, 100_000], help="numbers of triplets")
    parser.add_argument("--json", type=Path, help="write the figures here")
    args = parser.parse_args()
    figures = {}
    print(f"{'triplets':>10} {'step':14} {'seconds':>9} {'per second':>11} {'peak MB':>8}")
    for n in args.sizes:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "t.jsonl")
            for step in (made, checked, split, deduplicated, loaded):
                seconds, megabytes = measured(step, path, n)
                figures.setdefault(step.__name__, []).append({"n": n, "seconds": round(seconds, 2), "megabytes": round(megabytes)})
                print(f"{n:10,} {step.__name__:14} {seconds:9.1f} {n / seconds:11,.0f} {megabytes:8,.0f}", flush=True)
    for name, runs in figures.items() if len(args.sizes) > 1 else ():
        a, b = runs[0], runs[-1]
        power = math.log(b["seconds"] / max(a["seconds"], .01)) / math.log(b["n"] / a["n"])
        kilobytes = 1024 * (b["megabytes"] - a["megabytes"]) / (b["n"] - a["n"])
        print(f"{name:14} seconds grow as N^{power:.2f}, memory by {kilobytes:.2f} kB a triplet")
    if args.json: args.json.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__": main()
