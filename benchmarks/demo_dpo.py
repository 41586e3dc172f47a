"""How long does the demo's preference stage take with this trainer, and how long with TRL's?

    python benchmarks/demo_dpo.py [--pairs 400] [--rounds 3] [--json FILE]

The stage as `tool-use-dpo demo` runs it, from loading the model to saving it: the bundled base, full weights, the demo's
settings, certified pairs from `generate`. The three variants take turns, each in a new folder. `ours` is `dpo` as it comes.
`trl` is TRL's `DPOTrainer` with its defaults: gradient checkpointing, and the reference scored again at every step.
`trl_best` is TRL without checkpointing and with the reference scored once. All three train on IPO per token, the one form
that TRL has (the demo's sums cost the same), with the pairs in the same order, so the losses must agree and are compared.

TRL 1.15 has no head for a CPU without Triton; there its variants run on this project's, which scores the answers only.
"""
import argparse, json, statistics, tempfile, time
from pathlib import Path

from trl import DPOConfig, DPOTrainer

from tool_use_dpo.chat import dpo_rows
from tool_use_dpo.demo import _DPO
from tool_use_dpo.dpo import dpo
from tool_use_dpo.generate import generate
from tool_use_dpo.models import DPOSettings, load_model, load_policy, load_tokenizer, quiet
from tool_use_dpo.sft import Local, open_run, run, trainer_args

VARIANTS = ("trl", "trl_best", "ours")


class Stock(Local, DPOTrainer):
    "TRL's own loss and reference, with the same order of the pairs and the same checkpoints."


def stock(config, rows):
    "The stage with TRL's trainer."
    open_run(config, rows)
    once, tokenizer = config.precompute_ref_log_probs, load_tokenizer(config.model_name)
    data, _ = dpo_rows(rows, tokenizer, config.max_seq_length, config.max_prompt_length)
    data = data.select(sorted(range(len(data)), key=data["prompt"][:].__getitem__)).add_column("place", range(len(data)))
    with quiet():
        args = trainer_args(config, DPOConfig, beta=config.beta, loss_type=["ipo"], precompute_ref_log_probs=once)
        run(Stock(load_policy(config), None if once else load_model(config.model_name), args, train_dataset=data,
                  processing_class=tokenizer), config)


def stage(variant, rows):
    "Seconds, seconds of the processor, and losses step by step of one stage."
    with tempfile.TemporaryDirectory() as d:
        config = DPOSettings(**{**_DPO, "ipo_reduction": "mean", "output_dir": d, "logging_steps": 1,
                                "gradient_checkpointing": variant == "trl", "precompute_ref_log_probs": variant != "trl"})
        start, busy = time.perf_counter(), time.process_time()
        (dpo if variant == "ours" else stock)(config, rows)
        seconds, busy = time.perf_counter() - start, time.process_time() - busy
        log = map(json.loads, Path(d, "metrics.jsonl").read_text().splitlines())
        return seconds, busy, [entry["loss"] for entry in log if "loss" in entry]


def result(rows, seen):
    "What was measured: medians over the rounds, and losses against those of `trl`."
    losses = {v: runs[-1][2] for v, runs in seen.items()}
    return {"pairs": len(rows), "steps": len(losses["trl"]), "rounds": len(seen["trl"]), "variants": {v: {
        "seconds_median": round(statistics.median(s for s, _, _ in runs), 2),
        "cpu_seconds_median": round(statistics.median(c for _, c, _ in runs), 2),
        "loss_first": losses[v][0], "loss_last": losses[v][-1],
        "loss_rel_diff": max(abs(x / y - 1) for x, y in zip(losses[v], losses["trl"]))} for v, runs in seen.items()}}


def main():
    arg = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arg.add_argument("--pairs", type=int, default=400, help="about as many as the demo's SFT model gives")
    arg.add_argument("--rounds", type=int, default=3)
    arg.add_argument("--json", type=Path)
    a = arg.parse_args()
    rows = list(generate(a.pairs, seed=0, split="train"))
    stage("ours", rows[:8])                                    # the first training of a process is slower
    seen = {v: [] for v in VARIANTS}
    for i in range(a.rounds):
        for v in VARIANTS:
            seen[v].append(stage(v, rows))
            print(f"round {i + 1}  {v:9} {seen[v][-1][0]:7.1f} s, {seen[v][-1][1]:7.1f} s of the processor", flush=True)
        out = result(rows, seen)
        if a.json: a.json.write_text(json.dumps(out, indent=1) + "\n")
    ours = out["variants"]["ours"]
    for v, r in out["variants"].items():
        times = [f"{r[k]:7.1f} s ({r[k] / ours[k]:.1f}x ours)" for k in ("seconds_median", "cpu_seconds_median")]
        print(f"{v:9} {times[0]}, processor {times[1]}, losses off by {r['loss_rel_diff']:.0e}")


if __name__ == "__main__": main()
