"""What token-level preference sampling costs and gives, and what training on its pairs does.

    python benchmarks/tokens.py [cost] [--model nano] [--n 300] [--dev-n 50] [--naive 64] [--json FILE]
    python benchmarks/tokens.py compare [--out DIR] [--seeds 0 1 2] [--size full|short|tiny] [--start MODEL...] [--dev FILE...] [--json FILE]
    python benchmarks/tokens.py rounds [--out DIR] [--seeds 0 1 2] [--size full|short|tiny] [--json FILE]

`cost`: a sweep over epsilon and top_k on one set of requests, from which the setting is chosen, and on the same requests
branches at every hesitation, not only where the score can change; with the chosen setting, on another set of requests,
pairs per decoded token against sampled trajectories; and the same trees decoded naively (one branch after the other, each
from its first token, with `generate` of transformers), equality included. About 4 minutes of a core.
`compare`: for each seed SFT on calls, several calls, chains and answers, then DPO from it on as many pairs, and so steps,
from sampled trajectories, from certified negatives and from token-level sampling, with the setting that `cost` chose. Then
the measures on tools that no training text has, and on case files of --dev; intervals and paired tests over all seeds.
`rounds`: from the same SFT models, with as many pairs in all, sample and train three times. Needs what `compare` left.
What is done is kept in DIR, so the same command goes on; the figures are written after each seed. A seed of --size full takes
about 8 minutes of a core, half of it for SFT from the base; --size short is for models that call tools already, about 3
minutes: it was run with --start DIR0/sft DIR1/sft DIR2/sft, what `tool-use-dpo demo --out DIR0 --seed 0` and so on leave.
--size tiny runs every step once. Times are CPU seconds of one process.
"""
import argparse
import json
import random
import time
from functools import partial
from pathlib import Path

import torch

from tool_use_dpo.analysis import paired, wilson
from tool_use_dpo.chat import render
from tool_use_dpo.demo import _DPO, _SFT, _both, _train_tools
from tool_use_dpo.dpo import dpo
from tool_use_dpo.episodes import episodes, target, tasks
from tool_use_dpo.errorscore import Weights, score_calls
from tool_use_dpo.generate import generate, load_catalogue
from tool_use_dpo.models import DPOSettings, SFTSettings, load_model, load_tokenizer
from tool_use_dpo.negatives import negative
from tool_use_dpo.sft import sft
from tool_use_dpo.answers import ends_of, generate_answers, to_text
from tool_use_dpo.sspr import _case, case_messages
from tool_use_dpo.tokenlevel import (Answer, TokenSettings, _contrast, _ranks, _row, _tree_pairs, _whole_pairs, _worth,
                                     branch_answers, measure, read_tasks, tps_pairs, train, trajectory_pairs)
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


def grown(model, tokenizer, asked, epsilon, top_k, everywhere=False):
    "The figures of token-level sampling with one setting; `everywhere`: the second token is tried at every hesitation."
    (cases, prompts, others), ends = asked, ends_of(model, tokenizer)
    trees = branch_answers(model, tokenizer, prompts, None if everywhere else others, epsilon, top_k, MOST, LIMIT)
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
    found["everywhere"] = [grown(model, tokenizer, dev, epsilon, 2, True) for epsilon in (0.1, 0.3, 0.6)]
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


LONGEST = 224   # tokens of an answer; nine in ten parallel calls of the test have fewer than 192
SIZES = {"full": {"sft": 1200, "episodes": 200, "asked": 300, "test": 300, "test_episodes": 90, "dev": 100, "ranked": 150},
         "short": {"sft": 100, "episodes": 180, "asked": 150, "test": 150, "test_episodes": 40, "dev": 30, "ranked": 60},
         "tiny": {"sft": 24, "episodes": 6, "asked": 16, "test": 6, "test_episodes": 3, "dev": 3, "ranked": 3}}
ARMS = ("trajectory", "certified", "tps")
VERSUS = (("sft", "tps"), ("trajectory", "tps"), ("certified", "tps"), ("sft", "trajectory"), ("sft", "certified"))
HOW = {"epsilon": 0.6, "top_k": 2}   # chosen by `cost`


STARTED = time.perf_counter()


def say(*what):
    "A line of progress."
    print(f"[{(time.perf_counter() - STARTED) / 60:5.1f} min, {time.process_time() / 60:5.1f} of a core]", *what, flush=True)


def kept(file, make):
    "The rows of a file, which is made first if it is not there."
    if not file.exists():
        part = file.with_suffix(".part")
        part.unlink(missing_ok=True)
        append_jsonl(part, make())
        part.rename(file)
    return [row for _, row in _lines(file)]


def cases_of(tools, split, triplets, eps, seed):
    "Cases with one call, and the decisions of episodes."
    one = [{**_case(r), "kind": "one"} for r in generate(triplets, tools, seed=seed, split=split)]
    return one + [c for ep in episodes(eps, load_catalogue(split), seed=seed) for c in tasks(ep)]


def sft_row(case):
    "A case as a row for SFT."
    return {"id": case["id"], "messages": case_messages(case), "tools": case["tools"], "chosen": target(case), "split": "train"}


def settings(kind, base, start, out, seed, **more):
    "Settings of a stage; the prompts of a chain are longer than those of the demo."
    return kind(**{**base, "model_name": str(start), "output_dir": str(out), "seed": seed, "max_seq_length": 1536, "save_steps": 500,
                   **({"max_prompt_length": 1280, "loss_type": "sigmoid"} if base is _DPO else {}), **more})


def certified(cases, seed):
    "Pairs of the right call and a certified negative."
    rng, out = random.Random(seed), []
    for c in cases:
        if len(c["gold"]) != 1: continue
        call = json.loads(target(c))
        bad = negative(call, call_schema(c["tools"]), rng)
        if bad: out.append(_row(c, (1.0, target(c)), (score_calls(bad["rejected"], c["gold"], c["tools"]).score, bad["rejected"])))
    return out


def arms_of(model, tokenizer, asked, seed):
    "Pairs of each way in random order, cut to the same number, and what there was before the cut."
    whole, drawn = trajectory_pairs(model, tokenizer, asked, samples=3, seed=seed, max_new_tokens=LONGEST)
    say(f"seed {seed}: {len(whole)} pairs of trajectories")
    forked, grown = tps_pairs(model, tokenizer, asked, max_new_tokens=LONGEST, **HOW)
    arms = {"trajectory": whole, "certified": certified(asked, seed), "tps": forked}
    for pairs in arms.values(): random.Random(seed).shuffle(pairs)
    n = min(map(len, arms.values()))
    if not n: raise SystemExit(f"no pairs of one kind ({', '.join(f'{a}: {len(p)}' for a, p in arms.items())}): take a larger --size")
    made = {arm: {"pairs": len(p), "tokens": t, "score_gap": sum(x["scores"][0] - x["scores"][1] for x in p) / len(p),
                  "best_is_right": sum(x["scores"][0] == 1 for x in p) / len(p)}
            for (arm, p), t in zip(arms.items(), (drawn, 0, grown))}
    return {"requests": len(asked), "each": n, "made": made, "pairs": [{"arm": arm, **p} for arm, pairs in arms.items() for p in pairs[:n]]}


def verdicts(row):
    "What an answer says to each measure; a measure that it says nothing to is left out."
    if "parsed" in row: return {"parsing": row["parsed"]}
    return {"selection": row["selected"], **({"parameters": row["exact"]} if row["selected"] else {}), "exact": row["exact"],
            row["kind"]: row["exact"]}


def measured(folder, tests, ranked):
    "A model's rows on each test: verdicts, and for the first `ranked` cases of the first test what it tells from what is right."
    file = folder / "rows.json"
    if not file.exists():
        model, tokenizer = load_model(str(folder)), load_tokenizer(str(folder))
        out = {name: [{"id": c["id"], "tool": c["gold"][0]["name"] if c["gold"] else c["tools"][0]["name"], **verdicts(r)}
                      for c, r in zip(cases, measure(model, tokenizer, cases, LONGEST)["rows"])] for name, cases in tests.items()}
        name, rng = next(iter(tests)), random.Random(0)
        for c, row in zip(tests[name][:ranked], out[name]):
            if len(c["gold"]) == 1: row |= {f"tells {k}": won for k, won in _ranks(model, tokenizer, c, rng).items()}
        file.write_text(json.dumps(out))
    return json.loads(file.read_text())


def data_of(out, seed, n, dev=()):
    "Training cases, requests for pairs, and tests of a seed."
    tools = _train_tools(seed)
    train = kept(out / "train.jsonl", lambda: cases_of(tools, "train", n["sft"], n["episodes"], seed))
    asked = kept(out / "asked.jsonl", lambda: cases_of(tools, "train", n["asked"], n["asked"] // 5, seed + 100))
    test = kept(out / "test.jsonl", lambda: cases_of(_both(load_catalogue("test")), "test", n["test"], n["test_episodes"], seed + 200))
    return train, asked, {"held out": test, **{Path(f).stem: read_tasks(f, n["dev"]) for f in dev}}


def one_seed(out, seed, begin, n, dev):
    "All models of a seed: their rows, and what the pairs were."
    out.mkdir(parents=True, exist_ok=True)
    train, asked, tests = data_of(out, seed, n, dev)
    start, file = out / "sft", out / "pairs.json"
    say(f"seed {seed}: SFT on {len(train)} rows; tests:", ", ".join(f"{len(c)} of {name}" for name, c in tests.items()))
    sft(settings(SFTSettings, _SFT, begin, start, seed), [sft_row(c) for c in train])
    rows = {"sft": measured(start, tests, n["ranked"])}
    calls = [c for c in asked if "facts" not in c]
    say(f"seed {seed}: pairs from {len(calls)} requests")
    if not file.exists(): file.write_text(json.dumps(arms_of(load_model(str(start)), load_tokenizer(str(start)), calls, seed)))
    found = json.loads(file.read_text())
    for arm in ARMS:
        say(f"seed {seed}: DPO on {found['each']} pairs of {arm}, then measures")
        dpo(settings(DPOSettings, _DPO, start, out / arm, seed), [p for p in found["pairs"] if p["arm"] == arm])
        rows[arm] = measured(out / arm, tests, n["ranked"])
    return rows, {k: v for k, v in found.items() if k != "pairs"}


def of(runs, arm, test, key):
    "One measure of one arm on one test over all seeds, as `paired` reads rows."
    return [{"id": f"{seed}/{r['id']}", "seed": seed, "tool": r["tool"], "ok": r.get(key)}
            for seed, arms in runs.items() for r in arms[arm][test]]


def share(rows):
    "A share over all seeds with its interval, and that of each seed."
    known, by_seed = [r["ok"] for r in rows if r["ok"] is not None], {}
    for r in rows:
        if r["ok"] is not None: by_seed.setdefault(r["seed"], []).append(r["ok"])
    return {"n": len(known), "share": sum(known) / len(known), "ci95": wilson(sum(known), len(known)),
            "seeds": {s: sum(v) / len(v) for s, v in by_seed.items()}}


def rounded(x):
    "Figures short enough to read."
    if isinstance(x, dict): return {k: rounded(v) for k, v in x.items()}
    if isinstance(x, (list, tuple)): return [rounded(v) for v in x]
    return float(f"{x:.4g}") if isinstance(x, float) else x


def summary(runs, versus):
    "Shares and paired tests of every measure on every test; `runs`: seed -> arm -> test -> rows."
    first, shares, tests = next(iter(runs.values())), {}, {}
    for test in next(iter(first.values())):
        here = {arm: {k for arms in runs.values() for r in arms[arm][test] for k in r} - {"id", "tool"} for arm in first}
        shares[test] = {arm: {k: share(of(runs, arm, test, k)) for k in sorted(keys)} for arm, keys in here.items()}
        tests[test] = {f"{b} against {a}": {k: paired(of(runs, a, test, k), of(runs, b, test, k))["ok"] for k in sorted(here[a] & here[b])}
                       for a, b in versus}
    return rounded({"shares": shares, "paired": tests})


def over_all(args, each, versus, **told):
    "One seed after the other; the figures so far are written after each."
    runs, more = {}, {}
    for s in args.seeds:
        runs[str(s)], more[str(s)] = each(Path(args.out, f"seed{s}"), s)
        found = {"size": {args.size: SIZES[args.size]}, **told, "pairs": rounded(more), **summary(runs, versus)}
        if args.json: Path(args.json).write_text(json.dumps(found, indent=1) + "\n")
        for arm, r in found["shares"]["held out"].items():
            print(f"seeds {', '.join(runs)}  {arm:11}", "  ".join(f"{k} {r[k]['share']:.1%}" for k in MEASURES if k in r), flush=True)
    return found


MEASURES = ("selection", "parameters", "parsing", "exact", "one", "parallel", "chained")


def compare(args):
    "The comparison over all seeds."
    if len(args.start) not in (1, len(args.seeds)): raise SystemExit(f"--start: one model, or one for each of {len(args.seeds)} seeds")
    start = dict(zip(args.seeds, args.start * len(args.seeds)))
    told = {"start": "nano" if args.start == ["nano"] else "SFT of the demo", "loss": "DPO, beta 0.1", "learning_rate": _DPO["learning_rate"], "batch_size": _DPO["batch_size"], **HOW}
    return over_all(args, lambda out, s: one_seed(out, s, start[s], SIZES[args.size], args.dev), VERSUS, **told)


def rounds(args):
    "Sample and train three times from each SFT model of `compare`, with as many pairs in all as there."
    n = SIZES[args.size]
    def each(out, seed):
        _, asked, tests = data_of(out, seed, n)
        pairs = json.loads((out / "pairs.json").read_text())["each"] // 3
        train(settings(TokenSettings, _DPO, out / "sft", out / "rounds", seed, rounds=3, pairs=pairs, max_new_tokens=LONGEST, **HOW), asked)
        say(f"seed {seed}: three rounds of {pairs} pairs are done")
        models = {"sft": out / "sft", "tps": out / "tps", **{f"round {r}": out / "rounds" / f"round{r}" for r in (1, 2, 3)}}
        return {arm: {"held out": measured(where, tests, n["ranked"])["held out"]} for arm, where in models.items()}, {"each_round": pairs}
    return over_all(args, each, (("sft", "round 1"), ("round 1", "round 2"), ("round 2", "round 3"), ("sft", "round 3"), ("tps", "round 3")), **HOW)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="?", choices=("cost", "compare", "rounds"), default="cost")
    parser.add_argument("--model", default="nano", help="cost: the model (default: nano)")
    parser.add_argument("--n", type=int, default=300, help="cost: prompts (default: 300)")
    parser.add_argument("--naive", type=int, default=64, help="cost: so many of them naively as well (default: 64)")
    parser.add_argument("--dev-n", type=int, default=50, help="cost: prompts of the sweep (default: 50)")
    parser.add_argument("--out", default="runs/tokens_compare", help="compare, rounds: a folder for data, models and rows")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="compare, rounds: seeds (default: 0 1 2)")
    parser.add_argument("--size", choices=SIZES, default="full", help="compare, rounds: how much data")
    parser.add_argument("--start", nargs="+", default=["nano"], help="compare: where SFT begins, one model or one for each seed (default: nano)")
    parser.add_argument("--dev", nargs="*", default=[], help="compare: case files to measure on as well")
    parser.add_argument("--json", help="write the figures here too")
    args = parser.parse_args()
    torch.set_num_threads(1)
    found = {"cost": cost, "compare": compare, "rounds": rounds}[args.what](args)
    if args.json: Path(args.json).write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__": main()
