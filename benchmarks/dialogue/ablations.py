"""What does each part of DiaTool-DPO contribute? Every variant, three seeds, on domains that no training text holds.

    python benchmarks/dialogue/ablations.py [--out runs/dialogue] [--seeds 0 1 2] [--variants sft ...] [--collect]

One folder a seed; what is there is not made again, so it can be stopped at any time. `results.json` beside this script
is written anew after every variant. `--collect` writes it from what is there. Settings were to be chosen on the
validation domains: `--split val` measures there, and writes no results.
"""
import argparse
import json
from pathlib import Path

from tool_use_dpo.analysis import bootstrap, paired
from tool_use_dpo.dialogue_demo import VARIANTS, dialogue_demo
from tool_use_dpo.dialogue_eval import TYPES

HERE = Path(__file__).parent


def rates(results):
    "The figures of one variant over its seeds."
    rows = [row for r in results for row in r["rows"]]
    types = {}
    for kind in TYPES:
        mine = [row for row in rows if row["type"] == kind]
        types[kind] = {"n": len(mine), "rate": sum(row["ok"] for row in mine) / len(mine),
                       "ci95": list(bootstrap([row["ok"] for row in mine], [row["tool"] for row in mine])),
                       "per_seed": [r["types"][kind]["rate"] for r in results]}
    return {"seeds": sorted(r["seed"] for r in results), "types": types,
            "micro": sum(row["ok"] for row in rows) / len(rows),
            "macro": sum(t["rate"] for t in types.values()) / len(types),
            "cpu_seconds": [r["cpu_seconds"] for r in results]}


def against(results, others):
    "By type: a variant against another one, turn by turn, over the seeds that both have."
    both = {r["seed"] for r in results} & {r["seed"] for r in others}

    def rows(found, kind):
        return [{**row, "id": f"{r['seed']} {row['id']}"} for r in found if r["seed"] in both for row in r["rows"]
                if row["type"] == kind]

    return {kind: paired(rows(others, kind), rows(results, kind))["ok"] for kind in TYPES}


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
    (HERE / "results.json").write_text(json.dumps({"variants": out}, indent=1) + "\n", encoding="utf-8")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", default="runs/dialogue", help="a folder of folders (default: runs/dialogue)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--variants", nargs="+", choices=list(VARIANTS), default=list(VARIANTS))
    parser.add_argument("--split", choices=["test", "val"], default="test")
    parser.add_argument("--collect", action="store_true", help="only write results.json from what is there")
    args = parser.parse_args()
    folders = {seed: Path(args.out) / f"{args.split}-seed{seed}" for seed in args.seeds}
    for seed, folder in folders.items() if not args.collect else ():
        for name in args.variants:
            dialogue_demo(str(folder), seed, variants=[name], split=args.split)
            if args.split == "test": collect(folders.values())
    if args.collect: collect(folders.values())


if __name__ == "__main__":
    main()
