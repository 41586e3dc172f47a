"""How fast are requests answered, against one `generate` a request? The answers must be the same.

    python benchmarks/evaluate.py [--model nano] [--n 400] [--tools 10] [--rounds 3] [--json FILE]

Requests to a few tools, as an evaluation asks them: each request shows three of the tools, so prompts repeat long beginnings.
The ways take turns, chunk by chunk, so that a busy machine slows them alike; times are CPU seconds of one process with one
thread. `generate` is transformers' own, greedy, one prompt at a time. `batched` is what `evaluate` did without shared
beginnings: batches sorted by length, from which finished rows leave.
"""
import argparse, json, random, statistics, sys, time

import torch

from tool_use_dpo import answers
from tool_use_dpo.chat import messages, render
from tool_use_dpo.generate import generate, load_catalogue
from tool_use_dpo.models import load_model, load_tokenizer
from tool_use_dpo.tools import as_tool

LONGEST = 96


def prompts_of(tokenizer, n, tools, shown):
    "Prompts of requests to few tools; each set of tools is used again and again."
    chosen, rng = load_catalogue()[:tools], random.Random(0)
    sets = {t["name"]: [as_tool(chosen[(i + k) % tools]) for k in range(shown)] for i, t in enumerate(chosen)}
    rows = {(json.loads(row["chosen"])["tool"], row["request"]) for row in generate(4 * n, chosen, seed=0)}
    asked = [(sets[tool], request) for tool, request in sorted(rows)]
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
    shared, answers._can_share = answers._can_share, lambda model: False
    try: return ours(model, tokenizer, prompts)
    finally: answers._can_share = shared


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
    result = {"command": " ".join(["python benchmarks/evaluate.py", *sys.argv[1:]]), "model": a.model,
              "requests": len(prompts), "tools": a.tools, "tools_shown": a.shown, "answer_tokens": tokens,
              "prompt_tokens": [min(lengths), statistics.median(lengths), max(lengths)], "rounds": a.rounds}
    print(f"{len(prompts)} requests, prompts of {min(lengths)} to {max(lengths)} tokens, {tokens} tokens answered")
    for w in spent:
        ratio = statistics.median(x / y for x, y in zip(spent["one_by_one"], spent[w]))
        result[w] = {"cpu_seconds": round(statistics.median(spent[w]), 2), "times_faster": round(ratio, 2),
                     "tokens_per_cpu_second": round(tokens / statistics.median(spent[w])), "same_answers": same[w]}
        print(f"{w:12} {result[w]['cpu_seconds']:8.2f} s {ratio:6.2f}x  {same[w]} of {len(prompts)} the same")
    if a.json:
        with open(a.json, "w") as f: f.write(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__": main()
