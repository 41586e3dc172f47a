"""What token-level preference sampling costs and gives, and what training on its pairs does.

    python benchmarks/tokens.py [cost] [--model nano] [--n 300] [--dev-n 50] [--naive 64] [--json FILE]
    python benchmarks/tokens.py compare --out DIR [--seeds 0 1 2] [--size full|small|tiny] [--dev FILE...] [--json FILE]

`cost`: a sweep over epsilon and top_k on one set of requests, from which the setting is chosen; with it, on another set,
pairs per decoded token against sampled trajectories; and the same trees decoded naively (one branch after the other, each
from its first token, with `generate` of transformers), equality included. About 4 minutes of a core.
`compare`: for each seed SFT, then DPO from it on as many pairs and steps from sampled trajectories, from
certified negatives and from token-level sampling, then the measures on tools that no training text has. What is done is
kept in DIR, so the same command goes on; --size tiny runs every step once. Times are CPU seconds of one process.
"""
import argparse
import json
import random
import time
from functools import partial
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
from tool_use_dpo.answers import ends_of, generate_answers, to_text
from tool_use_dpo.sspr import _case, case_messages
from tool_use_dpo.tokenlevel import (Answer, _contrast, _row, _tree_pairs, _whole_pairs, _worth, branch_answers, discrimination,
                                     measure, read_tasks, tps_pairs, trajectory_pairs)
from tool_use_dpo.tools import call_schema
from tool_use_dpo.triplets import _lines, append_jsonl


def greedy(model, tokenizer, ids, limit, top_k):
    "What `generate` adds to a text: tokens, and the most likely ones with their probabilities."
    out = model.generate(torch.tensor([ids]), attention_mask=torch.ones(1, len(ids), dtype=torch.long), do_sample=False,
                         max_new_tokens=limit, pad_token_id=tokenizer.pad_token_id, output_scores=True,
                         return_dict_in_generate=True)
    tops = [s[0].softmax(-1).topk(top_k) for s in out.scores]
    return out.sequences[0, len(ids):].tolist(), [t.indices.tolist() for t in tops], [t.values.tolist() for t in tops]


def naive(model, tokenizer, prompt, other, epsilon, top_k, most, limit):
    "Final answer, forks and decoded tokens of one prompt, each branch read from its first token."
    prompt, ends = tokenizer(prompt, add_special_tokens=False)["input_ids"], ends_of(model, tokenizer)
    main, forks, place = greedy(model, tokenizer, prompt, limit, top_k), [], 0
    count = len(main[0])
    while main[0][-1] in ends and place < len(main[0]) and len(forks) < most:
        p, found = main[2][place], None
        if p[0] - p[1] < epsilon: found = other(Answer(*main), place)
        if found:
            begin = [*main[0][:place], found[0]]
            ended = begin[-1] in ends or len(begin) == limit
            new = ([], [], []) if ended else greedy(model, tokenizer, prompt + begin, limit - len(begin), top_k)
            branch = (begin + new[0], main[1][:place + 1] + new[1], main[2][:place + 1] + new[2])
            count += len(branch[0]) - place
            forks.append((place, *((branch[0], main[0]) if found[1] else (main[0], branch[0]))))
            if found[1]: main = branch
        place += 1
    return main[0], forks, count


MOST, LIMIT, MARGIN = 16, 96, 0.1


def timed(f, *args, **kwargs):
    "A result and the CPU seconds that it took."
    begun = time.process_time()
    return f(*args, **kwargs), time.process_time() - begun


def requests(model, tokenizer, n, seed):
    "Cases, their prompts, and what may be tried in their answers."
    cases = [_case(r) for r in generate(n, load_catalogue("val") + load_catalogue("train"), seed=seed)]
    return cases, [render(tokenizer, case_messages(c)) for c in cases], [partial(_contrast, tokenizer, c) for c in cases]


def worth(pairs, tokens, answers):
    "What pairs are worth beside the tokens decoded for them; `worse`: answers worse than the best to their request by the margin."
    n, worse = max(1, len(pairs)), sum(max(scores) - s >= MARGIN - 1e-9 for scores in answers if scores for s in scores)
    return {"pairs": len(pairs), "requests_with_pairs": len({p["case"] for p in pairs}), "tokens": tokens,
            "pairs_per_1000_tokens": round(1000 * len(pairs) / tokens, 3), "worse_per_1000_tokens": round(1000 * worse / tokens, 3),
            "score_gap": round(sum(p["scores"][0] - p["scores"][1] for p in pairs) / n, 3),
            "best_is_right": round(sum(p["scores"][0] == 1 for p in pairs) / n, 3)}


def grown(model, tokenizer, asked, epsilon, top_k):
    "The figures of token-level sampling with one setting."
    (cases, prompts, others), ends = asked, ends_of(model, tokenizer)
    trees = branch_answers(model, tokenizer, prompts, others, epsilon, top_k, MOST, LIMIT)
    pairs = sum((_tree_pairs(tokenizer, ends, c, t, Weights(), MARGIN) for c, t in zip(cases, trees)), [])
    answers = [{tuple(x) for x in [t.answer.ids, *(f.right for f in t.forks), *(f.wrong for f in t.forks)]} for t in trees]
    scores = [[_worth(c, to_text(tokenizer, list(x), ends), Weights()) for x in some if x[-1] in ends] for c, some in zip(cases, answers)]
    return {"top_k": top_k, "epsilon": epsilon, **worth(pairs, sum(t.generated for t in trees), scores)}


def sampled(model, tokenizer, asked, most):
    "The figures of whole sampled answers, from two to `most` for each request."
    cases, prompts, _ = asked
    drawn = [generate_answers(model, tokenizer, prompts, LIMIT, 64, None, 1.0, i) for i in range(most)]
    whole = [[len(x) + 1 < LIMIT for x in tokenizer(texts, add_special_tokens=False)["input_ids"]] for texts in drawn]
    for n in range(2, most + 1):
        pairs, tokens = _whole_pairs(tokenizer, cases, drawn[:n], Weights(), MARGIN, LIMIT)
        scores = [[_worth(c, t[i], Weights()) for t, w in zip(drawn[:n], whole) if w[i]] for i, c in enumerate(cases)]
        yield {"samples": n, **worth(pairs, tokens, scores)}


def speed(model, tokenizer, asked, epsilon, top_k):
    "The same trees twice: naively before and after, so that both meet the same machine."
    _, prompts, others = asked
    how, half = (epsilon, top_k, MOST, LIMIT), len(prompts) // 2
    slow = lambda some: [naive(model, tokenizer, prompts[i], others[i], *how) for i in some]
    first, seconds_first = timed(slow, range(half))
    trees, seconds = timed(branch_answers, model, tokenizer, prompts, others, *how)
    last, seconds_last = timed(slow, range(half, len(prompts)))
    same = sum((t.answer.ids, [tuple(f) for f in t.forks], t.generated) == x for t, x in zip(trees, first + last))
    naively = seconds_first + seconds_last
    return {"epsilon": epsilon, "top_k": top_k, "branches": sum(len(t.forks) for t in trees), "tokens": sum(t.generated for t in trees),
            "same_trees": same, "seconds": round(seconds, 1), "naive_seconds": round(naively, 1), "faster": round(naively / seconds, 1)}


def chosen(sweep):
    "The setting with the most pairs per token; within 5 % of it, that with the largest epsilon, then the smallest top_k."
    top = max(r["pairs_per_1000_tokens"] for r in sweep)
    return max((r for r in sweep if r["pairs_per_1000_tokens"] >= 0.95 * top), key=lambda r: (r["epsilon"], -r["top_k"]))


def cost(args):
    "The sweep, then with the chosen setting pairs per token against trajectories, and speed against naive decoding."
    model, tokenizer = load_model(args.model), load_tokenizer(args.model)
    model.eval()
    dev, test = (requests(model, tokenizer, n, seed) for n, seed in ((args.dev_n, 12), (args.n, 11)))
    found = {"model": Path(args.model).name, "prompts": args.n, "dev_prompts": args.dev_n, "naive_prompts": args.naive, "margin": MARGIN, "sweep": []}
    for top_k in (2, 3):
        for epsilon in (0.05, 0.1, 0.2, 0.3, 0.45, 0.6):
            found["sweep"].append(grown(model, tokenizer, dev, epsilon, top_k))
            print(found["sweep"][-1], flush=True)
    how = {k: chosen(found["sweep"])[k] for k in ("epsilon", "top_k")}
    found["tps"] = grown(model, tokenizer, test, **how)
    print(found["tps"], flush=True)
    found["speed"] = speed(model, tokenizer, [x[:args.naive] for x in test], **how)
    print(found["speed"], flush=True)
    found["trajectories"] = []
    for row in sampled(model, tokenizer, test, 4):
        found["trajectories"].append(row)
        print(row, flush=True)
    best = max(r["pairs_per_1000_tokens"] for r in found["trajectories"])
    found["times_the_pairs_per_token"] = round(found["tps"]["pairs_per_1000_tokens"] / best, 2)
    print("pairs per token, times the best of the trajectories:", found["times_the_pairs_per_token"])
    return found


SIZES = {"full": {"sft": 2400, "episodes": 600, "asked": 400, "test": 400, "test_episodes": 60},
         "small": {"sft": 800, "episodes": 120, "asked": 150, "test": 100, "test_episodes": 20},
         "tiny": {"sft": 24, "episodes": 6, "asked": 16, "test": 6, "test_episodes": 3}}   # every step once, in a minute


STARTED = time.perf_counter()


def say(*what):
    "A line of progress."
    print(f"[{(time.perf_counter() - STARTED) / 60:5.1f} min]", *what, flush=True)


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
    if not n: raise SystemExit(f"no pairs of one kind ({', '.join(f'{a}: {len(p)}' for a, p in arms.items())}): take a larger --size")
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
    say(f"seed {seed}: SFT on {len(train)} rows")
    sft(SFTSettings(**{**_SFT, **common, "output_dir": str(sft_dir)}), [sft_row(c) for c in train])
    say(f"seed {seed}: measures after SFT, on", ", ".join(f"{len(c)} of {name}" for name, c in tests.items()))
    results, file = {"sft": measured(sft_dir, sft_dir, tests)}, out / "pairs.json"
    if not file.exists():
        calls = [c for c in asked if "facts" not in c]
        say(f"seed {seed}: pairs from {len(calls)} requests")
        file.write_text(json.dumps(arms_of(load_model(str(sft_dir)), load_tokenizer(str(sft_dir)), calls, seed)))
    found = json.loads(file.read_text())
    for arm in ("trajectory", "certified", "tps"):
        rows, folder = [p for p in found["pairs"] if p["arm"] == arm], out / arm
        settings = {**_DPO, **common, "model_name": str(sft_dir), "output_dir": str(folder), "loss_type": "sigmoid", "beta": 0.1}
        say(f"seed {seed}: DPO on {len(rows)} pairs of {arm}, then measures")
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
    parser.add_argument("what", nargs="?", choices=("cost", "compare"), default="cost")
    parser.add_argument("--model", default="nano", help="cost: the model (default: nano)")
    parser.add_argument("--n", type=int, default=300, help="cost: prompts (default: 300)")
    parser.add_argument("--naive", type=int, default=64, help="cost: so many of them naively as well (default: 64)")
    parser.add_argument("--dev-n", type=int, default=50, help="cost: prompts of the sweep (default: 50)")
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
