"""How long does a step of preference training take, and how much memory, against TRL's trainer?

    python benchmarks/dpo_step.py [--prompts 100 300 700] [--vocabs 2048 151936] [--runs 5] [--json FILE]

Qwen2 shape (hidden 256, 6 layers), float32, LoRA r 16 on all projections, 4 pairs a step, answers of 40 tokens, IPO
(mean, as TRL has it). One step is forward, backward and, where it is not cached, the reference. The three variants take
turns: `trl` is TRL's default (gradient checkpointing, the reference scored again at every step), `trl_best` is TRL
without checkpointing and with the reference scored once, `ours` is `dpo` as it comes. Losses and gradients are compared
with those of `trl`.

TRL 1.15 has no head for a CPU without Triton, so there the two variants of TRL run on this project's `_TorchHead`, which
scores the answers only. That is kinder to TRL than TRL 1.16, which scores every position on a CPU. To run the script with
TRL 1.16: `pip install --no-deps --target DIR trl==1.16.0`, and DIR first in PYTHONPATH.
"""
import argparse, dataclasses, json, statistics, tempfile, time
from pathlib import Path

import torch
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


def batch(prompt, vocab, pairs=PAIRS):
    "Pairs as TRL's collator makes them: prompts about as long as wanted, answers that begin alike."
    g = torch.Generator().manual_seed(prompt)
    rows, masks = [], []
    widths = [prompt - 7 * (i % PAIRS) for i in range(pairs)]
    prompts = [torch.randint(3, vocab, (w,), generator=g) for w in widths]
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


def step(trainer, inputs):
    "Seconds, peak MB above what was there before, loss and gradient of one step."
    trainer.model.zero_grad(set_to_none=True)
    Path("/proc/self/clear_refs").write_text("5")
    before, start = hwm(), time.perf_counter()
    loss = trainer.compute_loss(trainer.model, dict(inputs))
    loss.backward()
    seconds = time.perf_counter() - start
    grad = torch.cat([p.grad.flatten() for p in trainer.model.parameters() if p.requires_grad])
    return seconds, hwm() - before, loss.item(), grad


def compare(prompt, vocab, runs, trainers):
    "One row a variant."
    inputs = batch(prompt, vocab)
    with torch.no_grad(): chosen, rejected = trainers["ours"].compute_ref_log_probs(trainers["ours"].model, inputs)
    cached = {**inputs, "ref_chosen_logps": chosen, "ref_rejected_logps": rejected}
    seen = {v: [] for v in VARIANTS}
    for _ in range(runs + 1):                                  # the first round warms up
        for v in VARIANTS: seen[v].append(step(trainers[v], inputs if v == "trl" else cached))
    _, _, loss, grad = seen["trl"][-1]
    return [{"prompt": prompt, "completion": ANSWER, "vocab": vocab, "variant": v,
             "seconds_median": round(statistics.median(s[0] for s in seen[v][1:]), 4),
             "peak_mb": round(statistics.median(s[1] for s in seen[v][1:]), 1),
             "loss_rel_diff": abs(seen[v][-1][2] - loss) / abs(loss),
             "grad_rel_diff": ((seen[v][-1][3] - grad).norm() / grad.norm()).item()} for v in VARIANTS]


def main():
    arg = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arg.add_argument("--prompts", type=int, nargs="+", default=[100, 300, 700])
    arg.add_argument("--vocabs", type=int, nargs="+", default=[2048, 151936])
    arg.add_argument("--runs", type=int, default=5)
    arg.add_argument("--json", type=Path)
    a, rows = arg.parse_args(), []
    few = list(generate(8, seed=0))
    print(f"{'prompt':>6} {'vocab':>7} {'variant':9} {'seconds':>8} {'to trl':>7} {'to best':>7} {'peak MB':>8}  "
          "loss, gradients off by")
    for vocab in a.vocabs:
        with tempfile.TemporaryDirectory() as d:
            base(d, vocab)
            trainers = {v: trainer_for(v, Path(d), few) for v in VARIANTS}
            for prompt in a.prompts:
                new = compare(prompt, vocab, a.runs, trainers)
                rows += new
                stock, best = new[0]["seconds_median"], new[1]["seconds_median"]
                for r in new:
                    s = r["seconds_median"]
                    print(f"{prompt:6} {vocab:7} {r['variant']:9} {s:8.3f} {stock / s:6.1f}x {best / s:6.1f}x "
                          f"{r['peak_mb']:8.0f}  {r['loss_rel_diff']:.0e}, {r['grad_rel_diff']:.0e}", flush=True)
    if a.json: a.json.write_text("\n".join(map(json.dumps, rows)) + "\n")


if __name__ == "__main__": main()
