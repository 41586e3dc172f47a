"""What does each choice in preference training do? Every choice alone, three seeds, on the bundled nano base.

    python benchmarks/ablations.py                  all of it: within an hour on two cores; benchmarks/ablations.json
    python benchmarks/ablations.py --quick          that it runs; benchmarks/ablations-quick.json, proves nothing
    python benchmarks/ablations.py --only beta size some groups of runs; the file keeps what it has of the others

Each seed has data, a test and an SFT model of its own. Every run starts from that SFT model and answers the same test.
What is done is kept in `runs/ablations`, so the same command again goes on where it stopped. nbs/ablations.ipynb shows
the file.
"""
import argparse
import json
import multiprocessing
import os
import random
import shutil
import string
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import fields
from pathlib import Path

HERE = Path(__file__).parent

# Where rejected answers come from. `own`, `certified` and `easy` share requests and chosen answers.
OWN, MIXED, CERTIFIED, EASY = "own", "mixed", "certified", "easy"
IPO = {"loss_type": "ipo", "ipo_reduction": "sum", "beta": 0.1}

# run -> (data, settings); settings None: supervised
RUNS = {
    "sft": (None, None),
    "sft more": ("more", None),
    "sft on chosen": ("chosen", None),
    "ipo": (OWN, IPO),
    "dpo": (OWN, {"loss_type": "sigmoid", "beta": 0.1}),
    "ipo mean": (OWN, {**IPO, "ipo_reduction": "mean"}),
    "ipo mean, beta 0.5": (OWN, {**IPO, "ipo_reduction": "mean", "beta": 0.5}),
    "beta 0.01": (OWN, {**IPO, "beta": 0.01}),
    "beta 0.3": (OWN, {**IPO, "beta": 0.3}),
    "beta 1": (OWN, {**IPO, "beta": 1.0}),
    "own and certified": (MIXED, IPO),
    "certified": (CERTIFIED, IPO),
    "easy": (EASY, IPO),
    "weights 4": (OWN, {**IPO, "span_weight": 4.0}),   # skipped where the settings have no token weights
}
SIZES = {"full": (100, 300, 1000, 5000), "quick": (8, 16)}

# group -> (question, its runs)
GROUPS = {
    "stages": ("Does preference training beat more of the same?", ["sft", "sft more", "sft on chosen", "dpo", "ipo"]),
    "loss": ("Which loss?", ["sft", "dpo", "ipo", "ipo mean", "ipo mean, beta 0.5"]),
    "beta": ("How strongly should the reference hold?", ["sft", "beta 0.01", "ipo", "beta 0.3", "beta 1"]),
    "negatives": ("Which rejected answers?", ["sft", "easy", "certified", "own and certified", "ipo"]),
    "weights": ("Should the tokens that differ count more?", ["sft", "ipo", "weights 4"]),
    "size": ("How many pairs?", ["sft"]),
}

AMOUNT = {   # rows: of the cold start, asked for own mistakes, certified pairs, of the test
    "full": {"sft": 3000, "asked": 800, "certified": 240, "test": 360},
    "quick": {"sft": 64, "asked": 48, "certified": 16, "test": 32}}


def runs(form):
    "All runs of a form, with those of each size."
    return {**RUNS, **{f"{n:,} pairs": (n, IPO) for n in SIZES[form]}}


def groups(form):
    return {**GROUPS, "size": (GROUPS["size"][0], ["sft", *(f"{n:,} pairs" for n in SIZES[form])])}


def easy(row, rng):
    "A pair whose rejected side is as long as the chosen one, and noise."
    noise = "".join(rng.choices(string.ascii_letters + string.digits + " {}:,\"", k=len(row["chosen"])))
    return {**row, "rejected": noise, "violation": {"kind": "json_error", "path": "", "mutator": "noise"}}


def prepare(folder, form, seed):
    "Data, the SFT model and the pairs of one seed, in its folder."
    from tool_use_dpo.demo import _LEFT_OUT, _SFT, _train_tools, control_rows, demo_data, own_mistakes
    from tool_use_dpo.generate import generate
    from tool_use_dpo.models import SFTSettings, load_model, load_tokenizer
    from tool_use_dpo.sft import sft
    from tool_use_dpo.triplets import dedupe
    done = folder/"data.json"
    if done.exists(): return json.loads(done.read_text(encoding="utf-8"))
    folder.mkdir(parents=True, exist_ok=True)
    data, rng = demo_data(folder, AMOUNT[form], seed), random.Random(seed)
    start = str(folder/"sft")
    sft(SFTSettings(**{**_SFT, "model_name": "nano", "output_dir": start, "seed": seed}), data["sft"])
    model, tokenizer = load_model(start), load_tokenizer(start)
    own = own_mistakes(model, tokenizer, data["asked"]) + own_mistakes(model, tokenizer, data["asked"], 1.0, seed)
    own = [p for p in dedupe(own) if p["violation"]["kind"] not in _LEFT_OUT]
    asked = {(r["request"], json.dumps(r["tools"])): r for r in data["asked"]}
    same = [asked[r["request"], json.dumps(r["tools"])] for r in own]          # the same requests, in the same order
    tools = _train_tools(seed)
    many = list(generate(max(SIZES[form]), tools, seed=seed + 2, split="train"))
    mixed = own + data["certified"]
    rng.shuffle(mixed)
    n = control_rows(len(own), 2*len(data["asked"]))
    rows = {OWN: own, MIXED: mixed, CERTIFIED: same, EASY: [easy(r, rng) for r in same],
            "more": list(generate(n, tools, seed=seed + 1, split="train")), "chosen": (own * (n//len(own) + 1))[:n],
            **{str(m): many[:m] for m in SIZES[form]}}
    part = folder/"data.json.part"
    part.write_text(json.dumps(rows), encoding="utf-8")
    part.rename(done)
    return rows


def one(job):
    "One run of one seed: train, answer the test, keep the verdicts."
    folder, form, seed, name = job
    file = folder/"results"/f"{name}.json"
    if file.exists(): return name, seed, 0.0
    import torch
    from tool_use_dpo.demo import _DPO, _SFT
    from tool_use_dpo.dpo import dpo
    from tool_use_dpo.models import DPOSettings, SFTSettings, load_model, load_tokenizer
    from tool_use_dpo.sft import sft
    from tool_use_dpo.sspr import evaluate, read_cases
    torch.set_num_threads(1)
    begun, (use, settings), start = time.perf_counter(), runs(form)[name], str(folder/"sft")
    rows = json.loads((folder/"data.json").read_text(encoding="utf-8")).get(str(use), [])
    where = str(folder/name.replace(" ", "-")) if use else start
    place = {"model_name": start, "output_dir": where, "seed": seed}
    if settings: dpo(DPOSettings(**{**_DPO, **settings, **place}), rows)
    elif use: sft(SFTSettings(**{**_SFT, **place}), rows)
    trained = time.perf_counter() - begun
    cases = read_cases(folder/"test.jsonl")
    result = evaluate(load_model(where), load_tokenizer(where), cases, name, "held-out domains", max_new_tokens=160)
    kept = {"rows": len(rows), "train_seconds": round(trained, 1), "failures": result["failures"],
            **{key: "".join(str(int(r[key])) for r in result["rows"]) for key in ("ok", "exact")},
            "tools": [r["tool"] for r in result["rows"]]}
    file.parent.mkdir(exist_ok=True)
    file.with_suffix(".part").write_text(json.dumps(kept), encoding="utf-8")
    file.with_suffix(".part").rename(file)
    if use: shutil.rmtree(where)
    return name, seed, time.perf_counter() - begun


def gather(work, form, seeds, out, seconds):
    "Write the result file: settings and verdicts of every run that is done."
    found, tools = {}, {}
    for name, (use, settings) in runs(form).items():
        files = {s: work/f"seed{s}"/"results"/f"{name}.json" for s in seeds}
        if all(f.exists() for f in files.values()):
            read = {s: json.loads(f.read_text(encoding="utf-8")) for s, f in files.items()}
            found[name] = {"data": use, "settings": settings,
                           "seeds": {s: {k: v for k, v in r.items() if k != "tools"} for s, r in read.items()}}
            tools = {s: r["tools"] for s, r in read.items()}
    whole = {"form": form, "seeds": seeds, "amount": AMOUNT[form], "seconds": round(seconds),
             "groups": {g: {"question": q, "runs": [n for n in names if n in found]} for g, (q, names) in groups(form).items()},
             "tools": tools, "runs": found}
    out.with_suffix(".part").write_text(json.dumps(whole, indent=1) + "\n", encoding="utf-8")
    out.with_suffix(".part").rename(out)


def possible(name, settings):
    "Whether this version can do a run."
    from tool_use_dpo.models import DPOSettings
    lacks = set(settings or ()) - {f.name for f in fields(DPOSettings)}
    if lacks: print(f"{name}: skipped, there is no setting {lacks.pop()!r} in this version")
    return not lacks


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="two seeds, a few rows")
    parser.add_argument("--only", nargs="+", choices=GROUPS, default=list(GROUPS), metavar="GROUP", help=", ".join(GROUPS))
    parser.add_argument("--seeds", type=int, help="how many (default: 3; --quick: 2)")
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time, one core each (default: 2)")
    parser.add_argument("--work", type=Path, help="folder for models and data (default: runs/ablations)")
    parser.add_argument("--out", type=Path, help="result file (default: beside this script)")
    args = parser.parse_args()
    form = "quick" if args.quick else "full"
    seeds = list(range(args.seeds or (2 if args.quick else 3)))
    work = args.work or HERE.parent/"runs"/("ablations-quick" if args.quick else "ablations")
    out = args.out or HERE/("ablations-quick.json" if args.quick else "ablations.json")
    names = [n for n in dict.fromkeys(n for g in args.only for n in groups(form)[g][1]) if possible(n, runs(form)[n][1])]
    clock = work/"seconds.json"
    spent, begun = json.loads(clock.read_text()) if clock.exists() else 0.0, time.perf_counter()
    os.environ["OMP_NUM_THREADS"] = "1"
    with ProcessPoolExecutor(args.jobs, multiprocessing.get_context("spawn")) as pool:
        list(pool.map(prepare, *zip(*((work/f"seed{s}", form, s) for s in seeds))))
        jobs = [(work/f"seed{s}", form, s, name) for name in names for s in seeds]
        for name, seed, took in pool.map(one, jobs):
            total = spent + time.perf_counter() - begun
            if took: print(f"[{total:5.0f} s] seed {seed}  {name}", flush=True)
            clock.write_text(json.dumps(total))
    gather(work, form, seeds, out, json.loads(clock.read_text()))
    print(f"{out}: {len(names)} runs of {len(seeds)} seeds")
    return 0


if __name__ == "__main__": sys.exit(main())
