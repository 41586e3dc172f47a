"""Which choices let the base learn faster? Short runs, one choice changed at a time.

    python benchmarks/recipe.py [--data DIR] [--minutes 8] [--variants "nano: shipped" ...] [--out runs/recipe]

One thread. `new: ...` begins with random weights, `nano: ...` with the bundled base, which has read calls only. All runs but two have
the same seed, and all the same tokenizer and time for their steps; the learning rate's schedule stretches to it. The other seeds say
how much is chance. Every 40 steps, and at the end, the loss on what the assistant says in 200 documents that no run reads is taken;
that time does not count. Then every model answers 200 requests of the val domains and, with `--data`, the first 200 of bfcl_single
there: greedy, strict.
`recipe.json` beside this script is written after every run; a run that is in it is not made again.
"""
import argparse, json, random, shutil
from importlib.resources import files
from pathlib import Path
from unittest.mock import patch

import torch

from tool_use_dpo import nano
from tool_use_dpo.conversations import base_document
from tool_use_dpo.generate import generate, load_catalogue
from tool_use_dpo.models import load_model, load_tokenizer
from tool_use_dpo.sspr import evaluate, read_cases
from tool_use_dpo.triplets import append_jsonl

FILE = Path(__file__).with_suffix(".json")


def adamw(model, lr): return [torch.optim.AdamW(model.parameters(), lr=lr, betas=(0.9, 0.98), weight_decay=0.0)]


def alike(tok, docs, _, made=nano._encode):
    "Token ids of documents, each with the same weight."
    return [(ids, [1.0] * len(ids)) for ids, _ in made(tok, docs)]


def unsorted(rows, rng, tokens):
    "Batches of rows as they come."
    rows, out = [r for r in rows if len(r[0]) <= 1536], []
    rng.shuffle(rows)
    while rows:
        width = 32 * -(-max(len(x) for x, _ in rows[:24]) // 32)   # rounded up
        n = min(24, max(1, tokens // width))
        batch, rows = rows[:n], rows[n:]
        ids, weights = [x + [0] * (width - len(x)) for x, _ in batch], [w + [0.0] * (width - len(w)) for _, w in batch]
        out.append((torch.tensor(ids), torch.tensor(weights)))
    return out


def shaped(**config):
    "A model of another shape."
    def model():
        small = nano.nano_model().config
        for key, value in config.items(): setattr(small, key, value)
        return nano.Qwen2ForCausalLM(small)
    return model


SCRATCH = {   # from random weights
    "shipped": ({}, {}),
    "another seed": ({}, {"seed": 1}),
    "AdamW alone": ({"_optimizers": adamw}, {"lr": 2e-3}),
    "no curriculum": ({"_stage": lambda x: 2}, {}),
    "FFN of four widths": ({"model": shaped(intermediate_size=768)}, {}),
    "half as wide again, four layers": ({"model": shaped(hidden_size=288, intermediate_size=288, num_hidden_layers=4)}, {})}
WARM = {      # from the bundled base, which has read calls only
    "shipped": ({}, {}),
    "another seed": ({}, {"seed": 1}),
    "all tokens alike": ({"_encode": alike}, {}),
    "answers alone": ({}, {"answers_only": True}),
    "batches unsorted": ({"_batches": unsorted}, {}),
    "calls alone": ({}, {"make": nano.document})}
VARIANTS = {f"{where}: {name}": x for where, group in (("new", SCRATCH), ("nano", WARM)) for name, x in group.items()}


def dev_batches(tok):
    "200 documents that no run reads."
    rng, entries = random.Random("dev"), load_catalogue("base")
    return list(nano._batches(nano._encode(tok, [base_document(rng, 2, entries) for _ in range(200)]), rng, 6144))


def dev_loss(model, batches):
    "The mean loss of the tokens that the assistant says."
    total = n = 0
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        for ids, weights in batches:
            said = weights[:, 1:] >= 1
            logits = model.lm_head(model.model(input_ids=ids[:, :-1], use_cache=False).last_hidden_state[said]).float()
            total += torch.nn.functional.cross_entropy(logits, ids[:, 1:][said], reduction="sum").item()
            n += int(said.sum())
    return total / n


def watched(step, batches, curve):
    "A training step that looks at the dev documents now and then."
    def inner(model, opts, ids, weights, lr, state):
        losses = step(model, opts, ids, weights, lr, state)
        if state["step"] % 40 == 0:
            curve.append({"minutes": round(state["spent"] / 60, 2), "tokens": state["seen"], "loss": round(dev_loss(model, batches), 4)})
        return losses
    return inner


def run(name, out, minutes, data):
    "Curve and final figures of one choice."
    changes, options = VARIANTS[name]
    changes, tok, curve = dict(changes), load_tokenizer("nano"), []
    shape = changes.pop("model", nano.nano_model)
    shutil.rmtree(out, ignore_errors=True)   # what is left of a run that was stopped: its curve is lost
    batches = dev_batches(tok)
    if name.startswith("nano"): options = {"lr": 2e-3, "start": str(files("tool_use_dpo")/"nano_base"), **options}
    else:
        torch.manual_seed(options.get("seed", 0))
        model = shape()
        optimizers = changes.get("_optimizers", nano._optimizers)(model, 4e-3)
        nano._save(out/"model", model, tok, {"spent": 0.0, "step": 0, "seen": 0, "round": 0, "opts": [o.state_dict() for o in optimizers]})
    with patch.multiple(nano, _train_step=watched(nano._train_step, batches, curve), **changes):
        made = nano.pretrain(str(out), minutes, **{"make": base_document, **options})
    done = load_model(str(made)), load_tokenizer(str(made))
    seen = torch.load(made/"state.pt", weights_only=True)["seen"]
    curve.append({"minutes": minutes, "tokens": seen, "loss": round(dev_loss(done[0], batches), 4)})
    val = out/"val.jsonl"
    append_jsonl(val, list(generate(200, seed=5, split="val")))
    sets = {"val": read_cases(val), **({"bfcl_single": read_cases(data/"bfcl_single.jsonl", calls="one")[:200]} if data else {})}
    found = {k: evaluate(*done, cases, "", "", max_new_tokens=160) for k, cases in sets.items()}
    return {"parameters": sum(p.numel() for p in done[0].parameters()), "minutes": minutes, "curve": curve,
            **{k: {key: r[key] for key in ("n", "sspr", "sspr_ci95", "exact", "exact_ci95")} for k, r in found.items()}}


def main():
    arg = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arg.add_argument("--data", type=Path, help="folder with bfcl_single.jsonl")
    arg.add_argument("--minutes", type=float, default=8)
    arg.add_argument("--variants", nargs="+", default=list(VARIANTS), choices=list(VARIANTS))
    arg.add_argument("--out", type=Path, default=Path("runs/recipe"))
    arg.add_argument("--json", type=Path, default=FILE)
    a = arg.parse_args()
    torch.set_num_threads(1)
    told = json.loads(a.json.read_text()) if a.json.exists() else {"command": "python benchmarks/recipe.py --data DIR", "runs": {}}
    for name in a.variants:
        if name in told["runs"]: continue
        r = told["runs"][name] = run(name, a.out/name.replace(" ", "_").replace(":", ""), a.minutes, a.data)
        a.json.write_text(json.dumps(told, indent=1) + "\n")
        last = r["curve"][-1]
        figures = f"{last['tokens']:9,} tokens   loss {last['loss']}   val {r['val']['sspr']:.1%} / {r['val']['exact']:.1%}"
        print(f"{name:34} {figures}", flush=True)


if __name__ == "__main__": main()
