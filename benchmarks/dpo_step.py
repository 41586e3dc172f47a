"""How long does a step of preference training take, and how much memory, against TRL's trainer?

    python benchmarks/dpo_step.py [--trl VERSION] [--prompts 100 300 700] [--vocabs 2048 151936] [--runs 3] [--json FILE]

Qwen2 shape (hidden 256, 6 layers), float32, LoRA r 16 on all projections, 4 pairs a step, answers of 40 tokens, IPO
(mean, as TRL has it). One step is forward, backward and, where it is not cached, the reference. The three variants take
turns: `trl` is TRL's default (gradient checkpointing, the reference scored again at every step), `trl_best` is TRL
without checkpointing and with the reference scored once, `ours` is `dpo` as it comes. Losses and gradients are compared
with those of `trl`. With the first vocabulary the longest prompt comes once more with tools in common: all but 100 of its
tokens are then the same in the four pairs.

TRL 1.15 (what this project pins, for Unsloth) cannot score answers on a CPU without Triton, TRL 1.16 can. So the peer is
TRL 1.16.0, fetched with pip for this run only. `--trl installed` takes the installed one: TRL 1.15 then runs on this
project's `_TorchHead`, which scores the answers only, while TRL 1.16 scores every position on a CPU.
"""
import argparse, dataclasses, json, os, statistics, subprocess, sys, tempfile, time
from itertools import accumulate
from pathlib import Path

PEER = "1.16.0"


def with_trl(version):
    "Run this script again with another version of TRL first in the path."
    with tempfile.TemporaryDirectory() as d:
        pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", d, f"trl=={version}"]
        if subprocess.run(pip, stderr=subprocess.DEVNULL).returncode:
            sys.exit(f"TRL {version} cannot be fetched; --trl installed takes the one that is here")
        path = os.pathsep.join([d, *filter(None, [os.environ.get("PYTHONPATH")])])
        return subprocess.run([sys.executable, __file__, *sys.argv[1:], "--trl", "installed"], env={**os.environ, "PYTHONPATH": path}).returncode


def arguments():
    "What is asked for."
    arg = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arg.add_argument("--trl", default=PEER, metavar="VERSION", help=f"version of TRL, or `installed` (default: {PEER})")
    arg.add_argument("--prompts", type=int, nargs="+", default=[100, 300, 700])
    arg.add_argument("--vocabs", type=int, nargs="+", default=[2048, 151936])
    arg.add_argument("--runs", type=int, default=3)
    arg.add_argument("--json", type=Path)
    return arg.parse_args()


if __name__ == "__main__" and (asked := arguments()).trl != "installed": sys.exit(with_trl(asked.trl))

os.environ.setdefault("KINETO_LOG_LEVEL", "99")                # the profiler is used for its counts only

import torch
import trl
from transformers import Qwen2Config, Qwen2ForCausalLM, set_seed
from trl import DPOConfig, DPOTrainer

from tool_use_dpo.dpo import dpo_trainer
from tool_use_dpo.generate import generate
from tool_use_dpo.models import DPOSettings, load_policy, load_tokenizer, quiet
from tool_use_dpo.sft import Local, trainer_args

PAIRS, ANSWER, VARIANTS = 4, 40, ("trl", "trl_best", "ours")


class Stock(Local, DPOTrainer):
    "TRL's own loss and reference."


def base(folder, vocab):
    "A random model of the size that is measured."
    tokenizer = load_tokenizer("nano")
    shape = Qwen2Config(vocab_size=vocab, hidden_size=256, intermediate_size=512, num_hidden_layers=6,
                        num_attention_heads=8, num_key_value_heads=4, tie_word_embeddings=True, pad_token_id=0,
                        eos_token_id=2)
    set_seed(0)
    with quiet(): Qwen2ForCausalLM(shape).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def trainer_for(variant, folder, rows, **more):
    "A trainer whose adapter was moved away from the start, the same way for every variant."
    config = DPOSettings(**{**dict(
        model_name=str(folder), output_dir=str(folder / variant), load_in_4bit=False, lora_r=16, lora_alpha=32,
        batch_size=PAIRS, grad_accum_steps=1, optim="adamw_torch", ipo_reduction="mean", gradient_checkpointing=False,
        max_prompt_length=None, max_seq_length=4096), **more})
    with quiet():
        ours = dpo_trainer(config, rows)
        trainer = ours
        if variant != "ours":
            config = dataclasses.replace(config, precompute_ref_log_probs=variant == "trl_best")
            args = trainer_args(config, DPOConfig, beta=config.beta, loss_type=["ipo"],
                                precompute_ref_log_probs=config.precompute_ref_log_probs)
            data = ours.train_dataset.select_columns(["prompt", "chosen", "rejected", "place"])
            trainer = Stock(load_policy(config), None, args, train_dataset=data,
                            processing_class=load_tokenizer(str(folder)))
    if variant == "trl":
        trainer.model.gradient_checkpointing_enable({"use_reentrant": False})
        trainer.model.enable_input_require_grads()
    set_seed(1)
    with torch.no_grad():
        for p in trainer.model.parameters():
            if p.requires_grad: p.add_(0.02 * torch.randn_like(p))
    trainer.model.train()
    return trainer


def batch(prompt, vocab, pairs=PAIRS, common=0):
    "Pairs as TRL's collator makes them: prompts about as long as wanted that begin with `common` tokens, answers that begin alike."
    g = torch.Generator().manual_seed(prompt)
    rows, masks = [], []
    widths = [prompt - 7 * (i % PAIRS) for i in range(pairs)]
    tools = torch.randint(3, vocab, (common,), generator=g)
    prompts = [torch.cat([tools, torch.randint(3, vocab, (w - common,), generator=g)]) for w in widths]
    heads = [torch.randint(3, vocab, (ANSWER // 2,), generator=g) for _ in widths]
    for side in range(2):
        for p, head in zip(prompts, heads):
            row = torch.cat([p, head, torch.randint(3, vocab, (ANSWER - len(head) - side,), generator=g)])
            rows.append(row); masks.append(torch.cat([torch.zeros(len(p)), torch.ones(len(row) - len(p))]).long())
    pad = lambda xs: torch.nn.utils.rnn.pad_sequence(xs, batch_first=True)
    return {"input_ids": pad(rows), "completion_mask": pad(masks),
            "attention_mask": pad([torch.ones_like(r) for r in rows])}


def hwm():
    "Peak resident memory in MB since the last reset."
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM")) / 1024


def peak(trainer, inputs):
    "Peak MB of the tensors that a step makes."
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile: step(trainer, inputs)
    events = [e for e in profile.profiler.kineto_results.events() if e.name() == "[memory]"]
    return max(accumulate(e.nbytes() for e in sorted(events, key=lambda e: e.start_ns()))) / 2**20


def step(trainer, inputs):
    "Seconds, loss and gradient of one step."
    trainer.model.zero_grad(set_to_none=True)
    start = time.perf_counter()
    loss = trainer.compute_loss(trainer.model, dict(inputs))
    loss.backward()
    seconds = time.perf_counter() - start
    return seconds, loss.item(), torch.cat([p.grad.flatten() for p in trainer.model.parameters() if p.requires_grad])


def compare(prompt, vocab, runs, trainers, common=0):
    "One row a variant."
    inputs = batch(prompt, vocab, common=common)
    with torch.no_grad(): chosen, rejected = trainers["ours"].compute_ref_log_probs(trainers["ours"].model, inputs)
    cached = {**inputs, "ref_chosen_logps": chosen, "ref_rejected_logps": rejected}
    given = {v: inputs if v == "trl" else cached for v in VARIANTS}
    memory, seen = {v: peak(trainers[v], given[v]) for v in VARIANTS}, {v: [] for v in VARIANTS}   # warms up, too
    for _ in range(runs):
        for v in VARIANTS: seen[v].append(step(trainers[v], given[v]))
    _, loss, grad = seen["trl"][-1]
    return [{"prompt": prompt, "completion": ANSWER, "vocab": vocab, "common": common, "variant": v, "trl_version": trl.__version__,
             "seconds_median": round(statistics.median(s[0] for s in seen[v]), 4),
             "peak_mb": round(memory[v], 1),
             "loss_rel_diff": abs(seen[v][-1][1] - loss) / abs(loss),
             "grad_rel_diff": ((seen[v][-1][2] - grad).norm() / grad.norm()).item()} for v in VARIANTS]


def main():
    rows, few = [], list(generate(8, seed=0))
    print(f"TRL {trl.__version__}, {torch.get_num_threads()} threads")
    print(f"{'prompt':>6} {'common':>6} {'vocab':>7} {'variant':9} {'seconds':>8} {'to trl':>7} {'to best':>7} {'peak MB':>8}  "
          "loss, gradients off by")
    for vocab in asked.vocabs:
        with tempfile.TemporaryDirectory() as d:
            base(d, vocab)
            trainers = {v: trainer_for(v, Path(d), few) for v in VARIANTS}
            sizes = [(p, 0) for p in asked.prompts]
            if vocab == asked.vocabs[0]: sizes.append((max(asked.prompts), max(0, max(asked.prompts) - 100)))
            for prompt, common in sizes:
                new = compare(prompt, vocab, asked.runs, trainers, common)
                rows += new
                stock, best = new[0]["seconds_median"], new[1]["seconds_median"]
                for r in new:
                    s = r["seconds_median"]
                    print(f"{prompt:6} {common:6} {vocab:7} {r['variant']:9} {s:8.3f} {stock / s:6.1f}x {best / s:6.1f}x "
                          f"{r['peak_mb']:8.0f}  {r['loss_rel_diff']:.0e}, {r['grad_rel_diff']:.0e}", flush=True)
    if asked.json: asked.json.write_text("\n".join(map(json.dumps, rows)) + "\n")


if __name__ == "__main__": main()
