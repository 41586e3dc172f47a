"""How far do the bundled models come with real tools and real requests, and how fast are they?

    python benchmarks/nano.py --data DIR [--models nano nano-aligned] [--sets ...] [--json benchmarks/nano.json]

DIR holds public sets as case lines (docs of `tool-use-dpo eval`): bfcl_single, apibank, sealtools, bfcl_irrelevance and
sgd_open_dialogues. No model was trained on any of them. Greedy answers, strict, one thread. Single calls are asked with the usual
contract, and counted by the length of the prompt as well; where no tool fits, any number of calls is asked for, and so it is once
more of bfcl_single, to count what is refused though it could be answered. Of each dialogue of SGD the first turn counts in which the
assistant asks for a slot, and a model asks if it makes no call, does not decline, and its words name a slot; how often it is the same
slot is counted beside.
`--speed` measures instead: seconds to load, seconds for one call, tokens a second in batches of 64.
"""
import argparse, json, subprocess, sys, time
from pathlib import Path

import torch

from tool_use_dpo.answers import generate_answers
from tool_use_dpo.chat import render
from tool_use_dpo.dialogue import declines, slots_named
from tool_use_dpo.diatool import dialogue_messages
from tool_use_dpo.models import load_model, load_tokenizer
from tool_use_dpo.sspr import _interval, _refusal, _calls, evaluate, prompt_of, read_cases
from tool_use_dpo.tools import as_tool

SINGLE = {"BFCL simple and multiple": "bfcl_single", "API-Bank": "apibank", "Seal-Tools": "sealtools"}
LENGTHS = 0, 256, 512, 768


def by_length(tokenizer, cases, rows):
    "Cases and those that pass, by the tokens of the prompt."
    sizes, out = [len(tokenizer(prompt_of(tokenizer, case))["input_ids"]) for case in cases], {}
    for low, high in zip(LENGTHS, (*LENGTHS[1:], float("inf"))):
        here = [row["ok"] for size, row in zip(sizes, rows) if low <= size < high]
        out[f"{low} to {high - 1}" if high < float("inf") else f"{low} and more"] = {"n": len(here), "passed": sum(here)}
    return out


def single(model, file):
    "Requests that one call answers."
    cases = read_cases(file, calls="one")
    r = evaluate(*model, cases, "", "", max_new_tokens=160)
    found = by_length(model[1], cases, r["rows"])
    print("   ".join(f"{bin}: {x['passed']} of {x['n']}" for bin, x in found.items()))
    return {**{k: r[k] for k in ("n", "sspr", "sspr_ci95", "exact", "exact_ci95", "failures")}, "prompt_tokens": found}


def refused(model, file):
    "How many requests get no call, where any number of calls may be right."
    cases = read_cases(file, calls="any")
    rows = evaluate(*model, cases, "", "", max_new_tokens=160)["rows"]
    k = sum(_refusal(row["output"], _calls(row["output"]), case) == "refused" for row, case in zip(rows, cases))
    return {"n": len(rows), "share": k / len(rows), "ci95": _interval(k, len(rows))}


def asked(model, file):
    "How many first questions of dialogues are asked: for a slot, and for the one that was asked for there."
    turns = []
    for row in map(json.loads, Path(file).open(encoding="utf-8")):
        at = next((i for i, m in enumerate(row["messages"]) if m.get("acts") == ["REQUEST"]), None)
        if at: turns.append((row, at))
    prompts = [render(model[1], dialogue_messages(row["tools"], row["messages"][:at])) for row, at in turns]
    asks = same = words = 0
    for (row, at), said in zip(turns, generate_answers(*model, prompts, 96, 32)):
        if "{" in said: continue
        words += 1
        slots = {s for t in map(as_tool, row["tools"]) for s in slots_named(said, t)} if not declines(said) else set()
        asks += bool(slots)
        same += bool(slots & {*row["messages"][at]["requested_slots"]})
    n = len(turns)
    return {"n": n, "no_call": words / n, "share": asks / n, "ci95": _interval(asks, n), "same": same / n, "same_ci95": _interval(same, n)}


def real(name, folder, sets):
    "All figures of a model."
    model, out = (load_model(name), load_tokenizer(name)), {}
    plan = {**{k: (single, v) for k, v in SINGLE.items()}, "refused where no tool fits": (refused, "bfcl_irrelevance"),
            "refused where one does": (refused, "bfcl_single"), "SGD: asks for a slot": (asked, "sgd_open_dialogues")}
    for what, (measure, file) in plan.items():
        if sets and file not in sets: continue
        begun = time.perf_counter()
        r = out[what] = measure(model, folder / f"{file}.jsonl")
        share, ends = (r["share"], r["ci95"]) if "share" in r else (r["sspr"], r["sspr_ci95"])
        more = f"   exact {r['exact']:.1%} [{r['exact_ci95'][0]:.1%}, {r['exact_ci95'][1]:.1%}]" if "exact" in r else ""
        print(f"{name:14} {what:28} n {r['n']:5}   {share:6.1%} [{ends[0]:.1%}, {ends[1]:.1%}]{more}   {time.perf_counter() - begun:.0f} s", flush=True)
    return out


_LOAD = "import time; from tool_use_dpo.models import load_model, load_tokenizer; t = time.perf_counter(); " \
        "load_model({0!r}); load_tokenizer({0!r}); print(time.perf_counter() - t)"

def speed(name):
    "Seconds to load in a new process, seconds a call, tokens a second; the best of three."
    from tool_use_dpo.chat import triplet_messages
    from tool_use_dpo.generate import generate
    load = min(float(subprocess.run([sys.executable, "-c", _LOAD.format(name)], capture_output=True, text=True, check=True).stdout) for _ in range(3))
    model, tokenizer = load_model(name), load_tokenizer(name)
    prompts = [render(tokenizer, triplet_messages(row)) for row in generate(512, seed=0, split="test")]
    ones, rates = [], []
    for i in range(3):
        begun = time.perf_counter()
        generate_answers(model, tokenizer, prompts[i:i + 1], 160)
        ones.append(time.perf_counter() - begun)
        begun = time.perf_counter()
        answers = generate_answers(model, tokenizer, prompts, 160, 64)
        rates.append(sum(len(x) + 1 for x in tokenizer(answers)["input_ids"]) / (time.perf_counter() - begun))
    print(f"{name:14} loaded in {load:.2f} s, a call in {min(ones):.3f} s, {max(rates):,.0f} tokens a second", flush=True)
    return {"load": round(load, 2), "call": round(min(ones), 3), "tokens_per_second": round(max(rates))}


def main():
    arg = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arg.add_argument("--data", type=Path, help="folder of the sets")
    arg.add_argument("--models", nargs="+", default=["nano", "nano-aligned"])
    arg.add_argument("--sets", nargs="+", help="only these files")
    arg.add_argument("--speed", action="store_true")
    arg.add_argument("--json", type=Path, help="write the figures here; others in the file stay")
    a = arg.parse_args()
    if not a.speed and not a.data: arg.error("give --data, a folder of sets, or --speed")
    told = json.loads(a.json.read_text()) if a.json and a.json.exists() else {"command": "python benchmarks/nano.py", "real": {}, "speed": {}}
    if not a.speed: torch.set_num_threads(1)
    for name in a.models:
        if a.speed: told["speed"][name] = speed(name)
        else: told["real"][name] = {**told["real"].get(name, {}), **real(name, a.data, a.sets)}
        if a.json: a.json.write_text(json.dumps(told, indent=1) + "\n")


if __name__ == "__main__": main()
