"""What token-level preference sampling costs and gives, and what training on its pairs does.

    python benchmarks/tokens.py cost [--model nano] [--n 300] [--naive 60] [--json FILE]
    python benchmarks/tokens.py compare --out DIR [--seeds 0 1 2] [--size full|small] [--dev FILE...] [--json FILE]

`cost`: the same branches decoded by the package and naively (one after the other, each from its first token, with
`generate` of transformers), equality included; discriminative pairs per decoded token against sampled trajectories; and a
sweep over epsilon, for which the trees of the largest are pruned. `compare`: for each seed SFT, then DPO from it on as many pairs and steps from sampled trajectories, from
certified negatives and from token-level sampling, then the measures on tools that no training text has. What is done is
kept in DIR, so the same command goes on. Times are CPU seconds of one process.
"""
import argparse
import json
import random
import time
from pathlib import Path

import torch

from tool_use_dpo.chat import render
from tool_use_dpo.demo import _DPO, _SFT
from tool_use_dpo.dpo import dpo
from tool_use_dpo.episodes import episodes, target, tasks
from tool_use_dpo.errorscore import Weights
from tool_use_dpo.generate import generate, load_catalogue
from tool_use_dpo.models import DPOSettings, SFTSettings, load_model, load_tokenizer
from tool_use_dpo.negatives import negative
from tool_use_dpo.sft import sft
from tool_use_dpo.answers import ends_of
from tool_use_dpo.sspr import _case, case_messages
from tool_use_dpo.tokenlevel import (_row, _tree_pairs, branch_answers, discrimination, measure, read_tasks, tps_pairs,
                                     trajectory_pairs)
from tool_use_dpo.tools import call_schema
from tool_use_dpo.triplets import _lines, append_jsonl


def greedy(model, tokenizer, ids, limit):
    "What `generate` adds to a text, and the probabilities on the way."
    out = model.generate(torch.tensor([ids]), attention_mask=torch.ones(1, len(ids), dtype=torch.long), do_sample=False,
                         max_new_tokens=limit, pad_token_id=tokenizer.pad_token_id, output_scores=True,
                         return_dict_in_generate=True)
    return out.sequences[0, len(ids):].tolist(), out.scores


def naive(model, tokenizer, prompt, epsilon, top_k, most, limit):
    "Trunk and branches of one prompt, each read from its first token."
    ids = tokenizer(prompt, add_special_tokens=False)["input_ids"]
    trunk, scores = greedy(model, tokenizer, ids, limit)
    branches = []
    for t, s in enumerate(scores):
        p, tops = s[0].softmax(-1).topk(top_k)
        if p[0] - p[1] >= epsilon or len(branches) >= most: continue
        for r, token in enumerate(tops[1:].tolist(), 1):
            done = token in ends_of(model, tokenizer) or t + 1 == limit
            rest = [] if done else greedy(model, tokenizer, [*ids, *trunk[:t], token], limit - t - 1)[0]
            branches.append((t, r, [*trunk[:t], token, *rest]))
    return trunk, branches


SPEED = (0.3, 2, 16, 96)   # epsilon, top_k, most, limit


def timed(f, *args, **kwargs):
    "A result and the CPU seconds that it took."
    begun = time.process_time()
    return f(*args, **kwargs), time.process_time() - begun


def pruned(tree, epsilon, top_k):
    "The tree that a smaller epsilon and top_k would have grown."
    keep = [b for b in tree.branches if tree.probs[b.at][0] - tree.probs[b.at][1] < epsilon and b.rank < top_k]
    return tree._replace(branches=keep)


def worth(pairs, tokens):
    "What pairs are worth beside the tokens decoded for them."
    n = max(1, len(pairs))
    return {"pairs": len(pairs), "requests_with_pairs": len({p["case"] for p in pairs}), "tokens": tokens,
            "pairs_per_1000_tokens": round(1000 * len(pairs) / tokens, 3),
            "score_gap": round(sum(p["scores"][0] - p["scores"][1] for p in pairs) / n, 3),
            "best_is_right": round(sum(p["scores"][0] == 1 for p in pairs) / n, 3)}


def cost(args):
    "Speed against naive decoding, pairs per token against trajectories, and the sweep."
    model, tokenizer = load_model(args.model), load_tokenizer(args.model)
    cases = [_case(r) for r in generate(args.n, load_catalogue("val") + load_catalogue("train"), seed=11)]
    prompts = [render(tokenizer, case_messages(c)) for c in cases]
    found = {"model": Path(args.model).name, "prompts": len(cases), "naive_prompts": args.naive}
    mine, slow, same, grown, ends = 0, 0, 0, 0, ends_of(model, tokenizer)
    for at in range(0, args.naive, 20):          # in turns, so that both meet the same machine
        trees, seconds = timed(branch_answers, model, tokenizer, prompts[at:at + 20], *SPEED)
        one, seconds_naive = timed(lambda: [naive(model, tokenizer, p, *SPEED) for p in prompts[at:at + 20]])
        mine, slow, grown = mine + seconds, slow + seconds_naive, grown + sum(len(t.branches) for t in trees)
        same += sum((t.ids, [tuple(b) for b in t.branches]) == x for t, x in zip(trees, one))
    found["speed"] = {"epsilon": SPEED[0], "top_k": SPEED[1], "branches": grown, "same_trees": same, "seconds": round(mine, 1),
                      "naive_seconds": round(slow, 1), "faster": round(slow / mine, 1)}
    print(found["speed"], flush=True)
    trees = branch_answers(model, tokenizer, prompts, 0.3, 3, 999, 96)
    found["sweep"] = []
    for top_k in (2, 3):
        for epsilon in (0.05, 0.1, 0.15, 0.2, 0.25, 0.3):
            some = [pruned(t, epsilon, top_k) for t in trees]
            pairs = sum((_tree_pairs(tokenizer, ends, c, t, Weights(), 0.2) for c, t in zip(cases, some)), [])
            row = worth(pairs, sum(t.generated() for t in some))
            found["sweep"].append({"top_k": top_k, "epsilon": epsilon, **row})
            print(found["sweep"][-1], flush=True)
    found["trajectories"] = []
    for n in (2, 4):
        found["trajectories"].append({"samples": n, **worth(*trajectory_pairs(model, tokenizer, cases, samples=n))})
        print(found["trajectories"][-1], flush=True)
    return found


SIZES = {"full": {"sft": 2400, "episodes": 600, "asked": 400, "test": 400, "test_episodes": 60},
         "small": {"sft": 800, "episodes": 120, "asked": 150, "test": 100, "test_episodes": 20}}


def kept(file, make):
    "The rows of a file, which is made first if it is not there."
    if not file.exists():
        part = file.with_suffix(".part")
        part.unlink(missing_ok=True)
        append_jsonl(part, make())
        part.rename(file)
    return [row for _, row in _lines(file)]


def cases_of(tools, triplets, eps, seed, split):
    "Cases with one call, and the decisions of episodes."
    one = [{**_case(r), "kind": "one"} for r in generate(triplets, tools, seed=seed, split=split)]
    return one + [c for ep in episodes(eps, tools, seed=seed) for c in tasks(ep)]


def sft_row(case):
    "A case as a row for SFT."
    return {"id": case["id"], "messages": case_messages(case), "tools": case["tools"], "chosen": target(case), "split": "train"}


def certified(cases, seed):
    "Pairs of the right call and a certified negative."
    rng, out = random.Random(seed), []
    for c in cases:
        if len(c["gold"]) != 1: continue
        call = json.loads(target(c))
        bad = negative(call, call_schema(c["tools"]), rng)
        if bad: out.append(_row(c, (1.0, target(c)), (0.0, bad["rejected"])))
    return out


def arms_of(model, tokenizer, asked, seed):
    "Pairs of each way, cut to the same number; in random order."
    arms = {"trajectory": trajectory_pairs(model, tokenizer, asked, samples=4, seed=seed)[0], "certified": certified(asked, seed),
            "tps": tps_pairs(model, tokenizer, asked, epsilon=0.3, top_k=2)[0]}
    for pairs in arms.values(): random.Random(seed).shuffle(pairs)
    n = min(map(len, arms.values()))
    return {"pairs": [{"arm": arm, **p} for arm, pairs in arms.items() for p in pairs[:n]], "made": {a: len(p) for a, p in arms.items()}}


def measured(folder, where, tests):
    "The measures of a model on each test."
    file = folder / "results.json"
    if not file.exists():
        model, tokenizer = load_model(str(where)), load_tokenizer(str(where))
        out = {name: measure(model, tokenizer, cases) for name, cases in tests.items()}
        for r in out.values(): r.pop("rows")
        out["held out"]["discrimination"] = discrimination(model, tokenizer, tests["held out"][:150])
        file.write_text(json.dumps(out))
    return json.loads(file.read_text())


def one_seed(out, seed, size, dev):
    "All models of a seed, and what they are worth."
    n, common = SIZES[size], {"output_dir": "", "seed": seed}
    out.mkdir(parents=True, exist_ok=True)
    train = kept(out / "train.jsonl", lambda: cases_of(load_catalogue("train"), n["sft"], n["episodes"], seed, "train"))
    asked = kept(out / "asked.jsonl", lambda: cases_of(load_catalogue("train"), n["asked"], n["asked"] // 5, seed + 100, "train"))
    test = kept(out / "test.jsonl", lambda: cases_of(load_catalogue("test"), n["test"], n["test_episodes"], seed + 200, "test"))
    tests = {"held out": test, **{Path(f).stem: read_tasks(f, 200) for f in dev}}
    sft_dir = out / "sft"
    sft(SFTSettings(**{**_SFT, **common, "output_dir": str(sft_dir)}), [sft_row(c) for c in train])
    results, file = {"sft": measured(sft_dir, sft_dir, tests)}, out / "pairs.json"
    if not file.exists():
        calls = [c for c in asked if "facts" not in c]
        file.write_text(json.dumps(arms_of(load_model(str(sft_dir)), load_tokenizer(str(sft_dir)), calls, seed)))
    found = json.loads(file.read_text())
    for arm in ("trajectory", "certified", "tps"):
        rows, folder = [p for p in found["pairs"] if p["arm"] == arm], out / arm
        settings = {**_DPO, **common, "model_name": str(sft_dir), "output_dir": str(folder), "loss_type": "sigmoid", "beta": 0.1}
        dpo(DPOSettings(**settings), rows)
        results[arm] = measured(folder, folder, tests)
        print(seed, arm, len(rows), "pairs", {k: results[arm]["held out"][k]["share"] for k in ("selection", "parameters", "parsing")}, flush=True)
    return {"pairs_each": len(found["pairs"]) // 3, "pairs_made": found["made"], "arms": results}


def compare(args):
    "The comparison over all seeds."
    seeds = {str(s): one_seed(Path(args.out, f"seed{s}"), s, args.size, args.dev) for s in args.seeds}
    settings = {"size": args.size, **SIZES[args.size], "loss": "DPO, beta 0.1", "learning_rate": _DPO["learning_rate"], "epsilon": 0.3, "top_k": 2}
    return {"settings": settings, "seeds": {s: r["arms"] for s, r in seeds.items()},
            "pairs": {s: {k: r[k] for k in ("pairs_each", "pairs_made")} for s, r in seeds.items()}}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("cost", "compare"))
    parser.add_argument("--model", default="nano", help="cost: the model (default: nano)")
    parser.add_argument("--n", type=int, default=300, help="cost: prompts (default: 300)")
    parser.add_argument("--naive", type=int, default=60, help="cost: so many of them naively as well (default: 60)")
    parser.add_argument("--out", default="runs/tokens_compare", help="compare: a folder for data, models and results")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="compare: seeds (default: 0 1 2)")
    parser.add_argument("--size", choices=SIZES, default="full", help="compare: how much data")
    parser.add_argument("--dev", nargs="*", default=[], help="compare: case files to measure on as well")
    parser.add_argument("--json", help="write the figures here too")
    args = parser.parse_args()
    torch.set_num_threads(1)
    found = {"cost": cost, "compare": compare}[args.what](args)
    if args.json: Path(args.json).write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__": main()
