"""Do our verdicts agree with BFCL's own checker?

    python -m venv other && other/bin/pip install --no-deps bfcl-eval
    python benchmarks/bfcl_checker.py --python other/bin/python [--n 102] [--seed 0] [--json FILE]

Questions and keys are those that the package `bfcl-eval` brings, from six of its categories. Half of the answers are right
ones put together from the key, written differently where its rules allow it; the others are spoilt in one place. `judge`
and BFCL's `ast_checker` then say what each is worth. Every difference is printed.
"""
import argparse, json, random, subprocess, sys
from collections import Counter
from pathlib import Path

from tool_use_dpo.sspr import judge, read_cases
from tool_use_dpo.tools import make_call

CATEGORIES = ("simple_python", "multiple", "parallel", "live_simple", "live_multiple", "live_parallel")

# Runs in the other environment. The checker looks up one flag of a model (do dots become underscores?) in a table that
# would import the client of every provider, so it gets a table of one.
CHECKER = """
import json, sys, types
table = types.ModuleType("bfcl_eval.constants.model_config")
table.MODEL_CONFIG_MAPPING = {"plain": types.SimpleNamespace(underscore_to_dot=False)}
sys.modules[table.__name__] = table
from bfcl_eval.constants.enums import Language
from bfcl_eval.eval_checker.ast_eval.ast_checker import ast_checker
for line in sys.stdin:
    row = json.loads(line)
    try: found = ast_checker(row["function"], row["calls"], row["key"], Language.PYTHON, row["category"], "plain")
    except Exception as e: found = {"valid": None, "error_type": f"the checker fails: {type(e).__name__}: {e}"}
    print(json.dumps([found["valid"], found.get("error_type")]))
"""


def right(gold, rng):
    "A right call, with values and omissions that the key allows."
    arguments = {k: rng.choice(v) for k, v in gold["arguments"].items() if k not in gold["omittable"] or rng.random() < .5}
    loud = lambda v: v.upper() if isinstance(v, str) and rng.random() < .3 else v
    return [gold["name"], {k: loud(v) for k, v in arguments.items()}]


def spoil(calls, rng):
    "Spoil one place of some calls; the name of what was done."
    call, kind = rng.choice(calls), rng.choice(["type", "drop", "extra", "value", "name", "count", "float", "inside"])
    keys = list(call[1])
    key = rng.choice(keys) if keys else None
    if kind == "name": call[0] += "_x"
    elif kind == "count": calls.append(json.loads(json.dumps(call))) if rng.random() < .5 else calls.remove(call)
    elif kind == "extra" or key is None: kind, call[1]["made_up"] = "extra", 1
    elif kind == "drop": del call[1][key]
    elif kind == "type": call[1][key] = str(call[1][key]) if not isinstance(call[1][key], str) else 5
    elif kind == "float" and any(type(v) is int for v in call[1].values()):
        call[1].update({k: float(v) for k, v in call[1].items() if type(v) is int})
    elif kind == "inside" and any(isinstance(v, list) and v for v in call[1].values()):
        next(v for v in call[1].values() if isinstance(v, list) and v).pop()
    else: kind, call[1][key] = "value", "other" if isinstance(call[1][key], str) else 987654
    return kind


def sample(data, n, seed):
    "Rows: category, function, key, calls, how they were made, and our verdict."
    rng, rows = random.Random(seed), []
    for category in CATEGORIES:
        file = data / f"BFCL_v4_{category}.json"
        raw = {r["id"]: r for r in map(json.loads, file.read_text().splitlines()) if r}
        keys = {r["id"]: r["ground_truth"] for r in map(json.loads, (data/"possible_answer"/file.name).read_text().splitlines())}
        cases = read_cases(file, calls="any")
        for i, case in enumerate(rng.sample(cases, min(n // len(CATEGORIES), len(cases)))):
            calls = [right(g, rng) for g in case["gold"]]
            rng.shuffle(calls)
            how = spoil(calls, rng) if i % 2 else "right"
            row = judge(json.dumps([make_call(*c) for c in calls]), case)
            why = [f"{v['kind']} {v['path']} ({v['keyword']})" for v in row["violations"]]
            rows.append({"id": case["id"], "category": category, "function": raw[case["id"]]["function"], "key": keys[case["id"]],
                         "calls": [dict([c]) for c in calls], "how": how, "ours": row["exact"], "why": why})
    return rows


def main():
    arg = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arg.add_argument("--python", required=True, help="of the environment with bfcl-eval")
    arg.add_argument("--n", type=int, default=102)
    arg.add_argument("--seed", type=int, default=0)
    arg.add_argument("--json")
    a = arg.parse_args()
    where = "import bfcl_eval, importlib.metadata as m; print(bfcl_eval.__path__[0]); print(m.version('bfcl_eval'))"
    found = subprocess.run([a.python, "-c", where], capture_output=True, text=True)
    if found.returncode: sys.exit(f"{a.python}: bfcl-eval is not there ({found.stderr.strip().splitlines()[-1]})")
    folder, version = found.stdout.split()
    rows = sample(Path(folder)/"data", a.n, a.seed)
    theirs = subprocess.run([a.python, "-c", CHECKER], input="\n".join(map(json.dumps, rows)), capture_output=True, text=True,
                            check=True).stdout.splitlines()
    for row, line in zip(rows, theirs, strict=True): row["theirs"], row["error"] = json.loads(line)
    differ = [row for row in rows if row["ours"] != row["theirs"]]
    made = Counter(row["how"] for row in rows)
    print(f"bfcl-eval {version}: {len(rows)} answers, {sum(row['theirs'] is True for row in rows)} right for BFCL, "
          f"{sum(row['ours'] for row in rows)} for us, {len(differ)} verdicts differ")
    told = [{k: row[k] for k in ("id", "how", "ours", "theirs", "error", "why")} for row in differ]
    for row in told: print(json.dumps(row))
    if a.json: Path(a.json).write_text(json.dumps({"version": version, "seed": a.seed, "n": len(rows), "made": dict(made),
        "right_theirs": sum(row["theirs"] is True for row in rows), "right_ours": sum(row["ours"] for row in rows),
        "differ": told}, indent=1) + "\n")


if __name__ == "__main__": main()
