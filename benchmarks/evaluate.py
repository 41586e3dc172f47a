"""How fast are requests answered, against one `generate` a request? The answers must be the same.

    python benchmarks/evaluate.py [--model nano] [--n 400] [--tools 10] [--rounds 3] [--json FILE]

Requests to a few tools, as an evaluation asks them: each request shows three of the tools, so prompts repeat long beginnings.
The ways take turns, chunk by chunk, so that a busy machine slows them alike; times are CPU seconds of one process with one
thread. `generate` is transformers' own, greedy, one prompt at a time. `batched` is what `evaluate` did without shared
beginnings: batches sorted by length, from which finished rows leave.
"""
import argparse, json, random, statistics, time

import torch

from tool_use_dpo import answers
from tool_use_dpo.chat import messages, render
from tool_use_dpo.generate import generate
from tool_use_dpo.models import load_model, load_tokenizer
from tool_use_dpo.tools import as_tool

LONGEST = 96


def prompts_of(tokenizer, n, tools, shown):
    "Prompts of requests to few tools; each set of tools is used again and again."
    rows, sets, rng = {}, [], random.Random(0)
    for row in generate(20 * n, seed=0):
        tool = json.dumps(row["tools"][0], sort_keys=True)
        if len(rows) < tools or tool in rows: rows.setdefault(tool, set()).add(row["request"])
        if len(rows) == tools and sum(map(len, rows.values())) >= n: break
    names = sorted(rows)
    for i, name in enumerate(names): sets.append([as_tool(json.loads(names[(i + k) % tools])) for k in range(shown)])
    asked = [(s, r) for s, name in zip(sets, names) for r in sorted(rows[name])]
    rng.shuffle(asked)
    return [render(tokenizer, messages(s, r)) for s, r in asked[:n]]


def one_by_one(model, tokenizer, prompts):
    "transformers' `generate`, a prompt at a time."
    found = []
    for prompt in prompts:
        x = tokenizer(prompt, add_special_tokens=False, return_tensors="pt").to(model.device)
        out = model.generate(**x, max_new_tokens=LONGEST, do_sample=False)
        found.append(out[0, x["input_ids"].shape[1]:].tolist())
    return found


def batched(model, tokenizer, prompts):
    "Ours, with nothing shared."
    shared, answers._groups = answers._groups, lambda ids: [(0, range(len(ids)))]
    try: return ours(model, tokenizer, prompts)
    finally: answers._groups = shared


def ours(model, tokenizer, prompts):
    "What `evaluate` does."
    return answers.answer_ids(model, tokenizer, prompts, LONGEST, batch_size=32)


def main():
    arg = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arg.add_argument("--model", default="nano")
    arg.add_argument("--n", type=int, default=400)
    arg.add_argument("--tools", type=int, default=10)
    arg.add_argument("--shown", type=int, default=3)
    arg.add_argument("--rounds", type=int, default=3)
    arg.add_argument("--json")
    a = arg.parse_args()
    torch.set_num_threads(1)
    model, tokenizer = load_model(a.model).eval(), load_tokenizer(a.model)
    prompts = prompts_of(tokenizer, a.n, a.tools, a.shown)
    lengths = [len(x) for x in tokenizer(prompts, add_special_tokens=False)["input_ids"]]
    ways, spent, found = (one_by_one, batched, ours), {}, {}
    one_by_one(model, tokenizer, prompts[:2]), ours(model, tokenizer, prompts[:4])      # warm up
    for _ in range(a.rounds):
        for way in ways:
            begun = time.process_time()
            with torch.no_grad(): got = way(model, tokenizer, prompts)
            spent.setdefault(way.__name__, []).append(time.process_time() - begun)
            assert found.setdefault(way.__name__, got) == got
    tokens = sum(map(len, found["ours"]))
    same = {w: sum(x == y for x, y in zip(found["one_by_one"], found[w])) for w in found}
    result = {"model": a.model, "requests": len(prompts), "prompt_tokens": [min(lengths), statistics.median(lengths), max(lengths)],
              "answer_tokens": tokens, "rounds": a.rounds}
    print(f"{len(prompts)} requests, prompts of {min(lengths)} to {max(lengths)} tokens, {tokens} tokens answered")
    for w in spent:
        ratio = statistics.median(x / y for x, y in zip(spent["one_by_one"], spent[w]))
        result[w] = {"cpu_seconds": round(statistics.median(spent[w]), 2), "times_faster": round(ratio, 2),
                     "tokens_per_cpu_second": round(tokens / statistics.median(spent[w])), "same_answers": same[w]}
        print(f"{w:12} {result[w]['cpu_seconds']:8.2f} s {ratio:6.2f}x  {same[w]} of {len(prompts)} the same")
    if a.json:
        with open(a.json, "w") as f: f.write(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__": main()
