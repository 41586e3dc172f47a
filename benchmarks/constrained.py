"""Trained, constrained, or both? The same requests, answered freely and under the schema of the call.

    python benchmarks/constrained.py [--demo DIR] [--n 480] [--json FILE]

Reads what `tool-use-dpo demo` left in DIR (default: demo): its test requests, its SFT model and its aligned model, beside
the bundled base. For each model, and for no engine, xgrammar and llguidance: the strict schema pass rate, exact calls,
answers that met the limit of tokens, schemas that the engine could not compile, and CPU milliseconds per request (one
thread, batches of 32; compiling included, and also apart).
"""
import argparse, json, sys, time
from pathlib import Path

import torch

from tool_use_dpo.constrained import ENGINES, evaluate_constrained
from tool_use_dpo.models import load_model, load_tokenizer
from tool_use_dpo.sspr import evaluate, read_cases

LONGEST, DATA = 160, "held-out domains"


def main():
    arg = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arg.add_argument("--demo", type=Path, default=Path("demo"), help="folder of a demo that has run (default: demo)")
    arg.add_argument("--n", type=int, default=480)
    arg.add_argument("--json", type=Path)
    a, rows = arg.parse_args(), []
    if not (a.demo / "summary.json").exists(): sys.exit(f"{a.demo}: no demo has run here; tool-use-dpo demo --out {a.demo}")
    torch.set_num_threads(1)
    cases = read_cases(a.demo / "test.jsonl", a.n)
    print(f"{'model':11} {'engine':11} {'SSPR':>6} {'exact':>6} {'cut':>4} {'not compiled':>12} {'ms':>6} {'compiling':>9}")
    for name, where in {"base": "nano", "SFT": str(a.demo / "sft"), "SFT and IPO": str(a.demo / "dpo")}.items():
        model, tokenizer = load_model(where).eval(), load_tokenizer(where)
        for engine in ("none", *ENGINES):
            begun = time.process_time()
            if engine == "none": r = evaluate(model, tokenizer, cases, name, DATA, max_new_tokens=LONGEST)
            else: r = evaluate_constrained(model, tokenizer, cases, name, DATA, engine, max_new_tokens=LONGEST)
            spent, told = time.process_time() - begun, r.get("constrained", {})
            row = {"model": name, "engine": engine, "n": r["n"], "data": DATA, "longest": LONGEST,
                   **{k: r[k] for k in ("sspr", "sspr_ci95", "exact", "exact_ci95")},
                   "cut": sum(x["tokens"] == LONGEST for x in r["rows"]), "uncompiled": told.get("uncompiled", 0),
                   "reasons": told.get("reasons", {}), "cpu_ms": round(1000 * spent / r["n"], 1),
                   "compile_ms": round(1000 * told.get("compile_seconds", 0) / r["n"], 1),
                   "ok": [int(x["ok"]) for x in r["rows"]], "right": [int(x["exact"]) for x in r["rows"]]}
            rows.append(row)
            print(f"{name:11} {engine:11} {r['sspr']:6.1%} {r['exact']:6.1%} {row['cut']:4} {row['uncompiled']:12} "
                  f"{row['cpu_ms']:6.1f} {row['compile_ms']:9.1f}", flush=True)
            if a.json:
                a.json.write_text(json.dumps({"command": "python benchmarks/constrained.py", "n": len(cases), "rows": rows}) + "\n")


if __name__ == "__main__": main()
