"""How do time and memory grow with the number of triplets, tools and requests?

    python benchmarks/scale.py                                                    20,000 and 100,000 triplets
    python benchmarks/scale.py --sizes 1000000 --json benchmarks/scale.json       a million; other sizes in the file stay
    python benchmarks/scale.py --steps checked loaded --folder F                  only these steps, files kept in F

With N triplets there are N/10 tools and N/10 lines to evaluate on. Each step runs in a process of its own, so that its peak of
memory, libraries included, is its own. Seconds are processor time, without the loading of libraries. The exponent is the slope of
log(seconds) over log(N): 1 is linear growth.
"""
import argparse
import itertools
import json
import math
import multiprocessing
import random
import resource
import statistics
import tempfile
import time
from contextlib import nullcontext
from pathlib import Path


def some_tools(n):
    "A different made-up tool for every ten triplets."
    from tool_use_dpo.generate import random_tool
    rng = random.Random(0)
    return ({**(t := random_tool(rng)), "name": f"{t['name']}_{i}"} for i in range(max(10, n // 10)))


def tools(folder, n):
    "tools read from a file, and split"
    from tool_use_dpo.sources import find_tools
    from tool_use_dpo.triplets import split_by_tool
    file = folder / "tools.json"
    with file.open("w", encoding="utf-8") as f:
        f.write("[" + ",\n".join(map(json.dumps, some_tools(n))) + "]")
    yield
    assert len(split_by_tool(find_tools(file))) == max(10, n // 10)


def made(folder, n):
    "triplets generated, certified and written"
    from tool_use_dpo.generate import generate
    from tool_use_dpo.triplets import append_jsonl
    (folder / "t.jsonl").unlink(missing_ok=True)
    yield
    rows = generate(n, list(some_tools(n)), seed=0)
    while batch := list(itertools.islice(rows, 500)): append_jsonl(folder / "t.jsonl", batch)


def described(folder, n):
    "their card: variety of tools, kinds and wording"
    from tool_use_dpo.quality import write_card
    from tool_use_dpo.triplets import Rows
    yield
    write_card(folder / "t.jsonl", Rows(folder / "t.jsonl"), {})


def checked(folder, n):
    "the gate on every line, and the leak audit"
    from tool_use_dpo.triplets import check_file
    yield
    report = check_file(folder / "t.jsonl")
    assert report["ok"] and report["lines"] == n, (report["faults"] + report["leaks"])[:3]


def deduplicated(folder, n):
    "every row read, repeated ones dropped"
    from tool_use_dpo.triplets import Rows, unique
    yield
    assert sum(1 for _ in unique(Rows(folder / "t.jsonl"))) == n


def loaded(folder, n):
    "the split for training, rendered and measured in tokens"
    from tool_use_dpo.models import SFTSettings, load_tokenizer
    from tool_use_dpo.sft import open_run, sft_rows
    settings = SFTSettings(model_name="nano", data=str(folder / "t.jsonl"), output_dir=str(folder / "run"))
    tokenizer = load_tokenizer("nano")
    yield
    rows = open_run(settings)
    data, dropped = sft_rows(rows, tokenizer, settings.max_seq_length)
    assert len(data) + dropped == len(rows) > n / 2


def evaluated(folder, n):
    "a file of requests read, answers judged, the result saved and read"
    from tool_use_dpo.measures import measures
    from tool_use_dpo.sspr import read_cases, save_result, score
    from tool_use_dpo.tools import make_call
    with open(folder / "t.jsonl", "rb") as lines, open(folder / "e.jsonl", "wb") as out: out.writelines(itertools.islice(lines, n // 10))
    yield
    cases = read_cases(folder / "e.jsonl", split=None)
    for name, wrong in ("a", 3), ("b", 4):   # one answer in so many is wrong
        golds = [case["gold"][0] for case in cases]
        calls = (make_call(g["name"], {k: v[0] for k, v in g["arguments"].items()}) for g in golds)
        answers = [{"output": json.dumps(call if i % wrong else {}), "tokens": 9} for i, call in enumerate(calls)]
        result = score(answers, cases, name, "e")
        save_result({**result, "measures": measures(result["rows"])}, folder / f"{name}.json")
    assert len(json.loads((folder / "b.json").read_text())["rows"]) == len(cases)


def compared(folder, n):
    "two such results compared, and their report written"
    from tool_use_dpo.report import report
    yield
    report({name: json.loads((folder / f"{name}.json").read_text()) for name in "ab"}, folder / "report")


STEPS = {f.__name__: f for f in (tools, made, described, checked, deduplicated, loaded, evaluated, compared)}


def measured(step, folder, n):
    "Processor seconds of a step, after what it needs is loaded, and its megabytes."
    receive, send = multiprocessing.Pipe(False)

    def run():
        work = step(folder, n)
        next(work)
        began = time.process_time()
        next(work, None)
        send.send((time.process_time() - began, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024))
    process = multiprocessing.get_context("fork").Process(target=run)
    process.start()
    send.close()
    try: return receive.recv()
    finally: process.join()


def exponent(runs):
    "The slope of log(seconds) over log(N); None for one size."
    xs, ys = ([math.log(max(r[k], 1e-3)) for r in runs] for k in ("n", "seconds"))
    return round(statistics.linear_regression(xs, ys).slope, 2) if len(runs) > 1 else None


def told(figures):
    "The file: what was measured, step by step, with the fit."
    steps = {}
    for name, step in STEPS.items():
        if runs := sorted(figures.get(name, {}).values(), key=lambda r: r["n"]):
            steps[name] = {"what": step.__doc__, "runs": runs, "exponent": exponent(runs)}
    return {"command": "python benchmarks/scale.py --sizes " + " ".join(str(n) for n in sorted({n for f in figures.values() for n in f}))
            + " --json benchmarks/scale.json", "steps": steps}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[20_000, 100_000], help="numbers of triplets")
    parser.add_argument("--steps", nargs="+", default=list(STEPS), choices=STEPS, help="only these; the others have left their files")
    parser.add_argument("--folder", type=Path, help="where the files go, and stay; none: a temporary one")
    parser.add_argument("--json", type=Path, help="write the figures here, beside those of other sizes and steps")
    args = parser.parse_args()
    old = json.loads(args.json.read_text())["steps"] if args.json and args.json.exists() else {}
    figures = {name: {r["n"]: r for r in s["runs"]} for name, s in old.items()}
    print(f"{'triplets':>10} {'step':14} {'seconds':>9} {'peak MB':>8}")
    for n in args.sizes:
        with nullcontext(args.folder) if args.folder else tempfile.TemporaryDirectory() as folder:
            (folder := Path(folder)).mkdir(parents=True, exist_ok=True)
            for name in args.steps:
                seconds, megabytes = measured(STEPS[name], folder, n)
                figures.setdefault(name, {})[n] = {"n": n, "seconds": round(seconds, 2), "megabytes": round(megabytes)}
                print(f"{n:10,} {name:14} {seconds:9.1f} {megabytes:8,.0f}", flush=True)
                if args.json: args.json.write_text(json.dumps(told(figures), indent=1) + "\n")
    for name, step in told(figures)["steps"].items():
        if step["exponent"]: print(f"{name:14} seconds grow as N^{step['exponent']:.2f}")


if __name__ == "__main__": main()
