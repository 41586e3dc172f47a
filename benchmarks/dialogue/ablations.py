"""What does each part of DiaTool-DPO contribute? Every variant, three seeds, on domains that no training text holds.

    python benchmarks/dialogue/ablations.py [--out runs/dialogue] [--seeds 0 1 2] [--variants sft ...] [--collect]

One cold start for all seeds, trained with the first one; a seed decides on pairs and their order. One folder a seed;
what is there is not made again, so it can be stopped at any time, and seeds can run side by side once the cold start is
there. `results.json` beside this script is written at the end; `--collect` writes it from what is there. Settings were
chosen on the validation domains: `--split val` measures there, and writes no results.
"""
import argparse
import json
import shutil
from pathlib import Path

import numpy as np
from tool_use_dpo import dialogue_demo as demo
from tool_use_dpo.analysis import bootstrap, paired
from tool_use_dpo.dialogue_demo import VARIANTS, dialogue_demo
from tool_use_dpo.dialogue_eval import TYPES

HERE = Path(__file__).parent
COMMAND = "python benchmarks/dialogue/ablations.py"


def turns(results, kind):
    "The turns of one type over all seeds; ids are made distinct."
    return [{**row, "id": f"{r['seed']} {row['id']}", "seed": str(r["seed"])}
            for r in results for row in r["rows"] if row["type"] == kind]


def rates(results):
    "The figures of one variant over its seeds."
    rows = {kind: turns(results, kind) for kind in TYPES}
    types = {kind: {"n": len(mine), "rate": sum(row["ok"] for row in mine) / len(mine),
                    "ci95": list(bootstrap([row["ok"] for row in mine], [row["tool"] for row in mine])),
                    "per_seed": [r["types"][kind]["rate"] for r in results]} for kind, mine in rows.items()}
    found = [row["ok"] for mine in rows.values() for row in mine]
    return {"seeds": sorted(r["seed"] for r in results), "types": types, "micro": sum(found) / len(found),
            "macro": sum(t["rate"] for t in types.values()) / len(types),
            "cpu_seconds": [round(r["cpu_seconds"], 1) for r in results]}


def against(results, others):
    "By type: a variant against another one, turn by turn, over the seeds that both have."
    both = {r["seed"] for r in results} & {r["seed"] for r in others}
    mine, theirs = ([r for r in x if r["seed"] in both] for x in (results, others))
    return {kind: paired(turns(theirs, kind), turns(mine, kind))["ok"] for kind in TYPES}


def relative(results, others, kind, draws=2000):
    "The relative gain of a variant over another one in one type, and its interval; sets of tools are drawn."
    groups, both = {}, {r["seed"] for r in results} & {r["seed"] for r in others}
    for at, found in enumerate([r for r in x if r["seed"] in both] for x in (others, results)):
        for row in turns(found, kind): groups.setdefault(row["tool"], [0, 0])[at] += row["ok"]
    sums = np.array(list(groups.values()), dtype=float)
    drawn = sums[np.random.default_rng(0).integers(len(sums), size=(draws, len(sums)))].sum(1)
    ratios = np.divide(drawn[:, 1], drawn[:, 0], out=np.full(draws, np.inf), where=drawn[:, 0] > 0) - 1
    if not sums[:, 0].sum(): return {"gain": None, "ci95": None}
    found = np.isfinite(ratios).all()          # otherwise a draw had nothing to be relative to
    return {"gain": sums[:, 1].sum() / sums[:, 0].sum() - 1, "ci95": np.quantile(ratios, [.025, .975]).tolist() if found else None}


def collect(folders):
    "Write results.json from the results in the folders."
    found = {}
    for name in VARIANTS:
        files = [f / "results" / f"{name}.json" for f in folders]
        results = [json.loads(f.read_text(encoding="utf-8")) for f in files if f.exists()]
        if results: found[name] = results
    out = {name: rates(results) for name, results in found.items()}
    for name in found.keys() - {"sft"}: out[name]["against_sft"] = against(found[name], found["sft"])
    for name in found.keys() - {"sft", "complete"} if "complete" in found else ():
        out[name]["against_complete"] = against(found[name], found["complete"])
    gains = {kind: relative(found["complete"], found["sft"], kind) for kind in TYPES} if "complete" in found else {}
    settings = {"sizes": demo._SIZES["full"], "mix": demo._MIX, "sft": demo._SFT, "dpo": demo._DPO, "calls": demo._CALLS}
    text = json.dumps({"command": COMMAND, "settings": settings, "relative_gains": gains, "variants": out}, indent=1)
    (HERE / "results.json").write_text(text + "\n", encoding="utf-8")


def begin(first, folder, seed):
    "Give a seed the cold start of the first one, and its result."
    if (folder / "results" / "sft.json").exists(): return
    (folder / "results").mkdir(parents=True, exist_ok=True)
    shutil.copytree(first / "sft", folder / "sft", dirs_exist_ok=True)
    result = json.loads((first / "results" / "sft.json").read_text(encoding="utf-8"))
    (folder / "results" / "sft.json").write_text(json.dumps({**result, "seed": seed}), encoding="utf-8")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", default="runs/dialogue", help="a folder of folders (default: runs/dialogue)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--variants", nargs="+", choices=list(VARIANTS), default=list(VARIANTS))
    parser.add_argument("--split", choices=["test", "val"], default="test")
    parser.add_argument("--collect", action="store_true", help="only write results.json from what is there")
    args = parser.parse_args()
    folders = {seed: Path(args.out) / f"{args.split}-seed{seed}" for seed in args.seeds}
    first = Path(args.out) / f"{args.split}-seed0"
    if not args.collect: dialogue_demo(str(first), 0, "full", variants=["sft"], split=args.split)
    for seed, folder in folders.items() if not args.collect else ():
        begin(first, folder, seed)
        dialogue_demo(str(folder), seed, "full", variants=args.variants, split=args.split)
    if args.split == "test": collect(folders.values())


if __name__ == "__main__":
    main()
