"""How long does the paper's full set of pairs take, and does the state machine read all of it as it was built?

    python benchmarks/dialogue/full_set.py [--n 16794] [--json FILE]

Makes the pairs of arXiv 2504.02882, Table 1, in its numbers, follows both sides of each with the state machine, and
compares the flow with the one that the pair was built to have. Then the average turns, beside the paper's Table 2.
"""
import argparse
import json
import time
from collections import Counter
from pathlib import Path

from tool_use_dpo.dialogue import PAIRS, dialogue_pairs, flow, trace
from tool_use_dpo.generate import load_catalogue

PAPER = {"slot": {"chosen": 4.11, "rejected": 2.80}, "relevance": {"chosen": 1.00, "rejected": 2.33}}


def said(messages):
    "How often the assistant speaks."
    return sum(m["role"] == "assistant" for m in messages)


def built(kind, messages):
    "The flow that a trajectory of a kind has."
    if kind in ("decline", "direct", "call"): return {"decline": "1→1", "direct": "1→3→4→5", "call": "1→3→4"}[kind]
    ends = 1 if kind == "ask N, call" else 2                     # a call, and a report where the tool has answered
    return "→".join(["1", *["2"] * (said(messages) - ends), "3", "4", *["5"] * (ends - 1)])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=sum(row[-1] for row in PAIRS))
    parser.add_argument("--json", default=str(Path(__file__).with_suffix(".json")))
    args = parser.parse_args()
    begun = time.process_time()
    pairs = list(dialogue_pairs(args.n, "train", load_catalogue("base") + load_catalogue("train"), seed=0))
    made = time.process_time() - begun
    sides = [(p, side, kind) for p in pairs for side, kind in zip(("chosen", "rejected"), p["kinds"])]
    wrong = [p["id"] for p, side, kind in sides if flow(trace(p[side], p["tools"])) != built(kind, p[side])]
    rows = Counter((p["query"], *p["kinds"], p["set"]) for p in pairs)
    average = {name: {side: round(sum(said(p[side]) for p in mine) / len(mine), 2) for side in ("chosen", "rejected")}
               for name, query in (("slot", 2), ("relevance", 3)) if (mine := [p for p in pairs if p["query"] == query])}
    out = {"command": "python benchmarks/dialogue/full_set.py", "pairs": len(pairs),
           "requests": len({p["request"] for p in pairs}), "tools": len({t["function"]["name"] for p in pairs for t in p["tools"]}),
           "cpu_seconds": round(made, 1), "trajectories": len(sides), "misread": len(wrong), "misread_ids": wrong[:20],
           "rows": [{"query": q, "chosen": c, "rejected": r, "set": level, "paper": n, "made": rows[q, c, r, level]}
                    for q, c, r, _, level, n in PAIRS], "average_turns": average, "average_turns_of_the_paper": PAPER}
    Path(args.json).write_text(json.dumps(out, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"{len(pairs):,} pairs in {made:.0f} s of one core; {len(wrong)} of {len(sides):,} trajectories misread")


if __name__ == "__main__":
    main()
