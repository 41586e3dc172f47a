"""Preference training with the shape of Qwen2.5-Coder-7B: how long does a step take, and what fits into a GPU?

    python gpu/dpo_7b.py speed [--prompts 300 700] [--runs 5] [--json FILE]
    python gpu/dpo_7b.py memory [--budgets 16 24 40] [--json FILE]
    python gpu/dpo_7b.py speed --shape tiny         two thin layers, to see on a CPU that it runs

Random weights, held in NF4 with double quantisation; RSLoRA of rank 32 on all projections; bfloat16. The weights are made
once, which takes minutes, and kept in --base (15 GB). Pairs as in benchmarks/dpo_step.py: answers of 40 tokens that begin alike.

`speed` takes turns: `trl` with its defaults (gradient checkpointing, the reference scored at every step), `trl_best`
(neither), `ours`, and `ours_flex`, the same with FlexAttention's block mask in place of a dense one. Times are forward and
backward, medians; losses and gradients are compared with those of `trl` (in bfloat16 they agree to about 1e-2).

`memory` takes whole steps, the optimizer's included, with more and more pairs until one does not fit, with and without
gradient checkpointing, and says how many pairs a step may have in each budget. `estimated` is what the doctor would say.
"""
import argparse, json, statistics, sys, tempfile, time
from importlib.util import find_spec
from pathlib import Path

import torch
from transformers import Qwen2Config, Qwen2ForCausalLM, set_seed

sys.path.append(str(Path(__file__).resolve().parents[1] / "benchmarks"))
from dpo_step import ANSWER, batch, hwm, trainer_for
from tool_use_dpo.doctor import _needs
from tool_use_dpo.generate import generate
from tool_use_dpo.models import load_tokenizer, quiet

SHAPES = {
    "7b": dict(vocab_size=152064, hidden_size=3584, intermediate_size=18944, num_hidden_layers=28, num_attention_heads=28,
               num_key_value_heads=4, rope_theta=1e6, max_position_embeddings=32768),
    "tiny": dict(vocab_size=2048, hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4,
                 num_key_value_heads=2)}
GPU, FOUR = torch.cuda.is_available(), bool(find_spec("bitsandbytes"))
VARIANTS = ("trl", "trl_best", "ours", "ours_flex")


def base(folder, shape):
    "Random weights with the shape, made once."
    if (folder / "config.json").exists(): return
    set_seed(0)
    config = Qwen2Config(**SHAPES[shape], tie_word_embeddings=False, pad_token_id=0, eos_token_id=2)
    with quiet(): Qwen2ForCausalLM._from_config(config, dtype=torch.bfloat16 if GPU else torch.float32).save_pretrained(folder)
    load_tokenizer("nano").save_pretrained(folder)


def trainer(variant, folder, rows, **more):
    "A trainer of the variant, as dpo_step.py makes it, on a model of the kind that fits into a GPU."
    out = trainer_for("ours" if variant == "ours_flex" else variant, folder, rows, load_in_4bit=FOUR, lora_r=32, lora_alpha=64,
                      use_rslora=True, optim="adamw_8bit" if GPU and FOUR else "adamw_torch", **more)
    if variant == "ours_flex": out.model.set_attn_implementation("flex_attention")
    return out


def step(trainer, inputs, whole=False):
    "Seconds, peak MB in all, loss and gradient of one step, the optimizer's if it is a whole one."
    trainer.model.zero_grad(set_to_none=True)
    if GPU: torch.cuda.reset_peak_memory_stats(); torch.cuda.synchronize()
    else: Path("/proc/self/clear_refs").write_text("5")
    start = time.perf_counter()
    with trainer.accelerator.autocast(): loss = trainer.compute_loss(trainer.model, dict(inputs))
    loss.backward()
    grad = None if whole else torch.cat([p.grad.flatten().float() for p in trainer.model.parameters() if p.requires_grad])
    if whole: trainer.optimizer.step()
    if GPU: torch.cuda.synchronize()
    peak = torch.cuda.max_memory_reserved() / 2 ** 20 if GPU else hwm()
    return time.perf_counter() - start, peak, loss.item(), grad


def inputs_for(trainer, prompt, vocab, pairs):
    "A batch on the model's device, and the same with the scores of the reference."
    raw = {k: v.to(trainer.model.device) for k, v in batch(prompt, vocab, pairs).items()}
    chosen, rejected = trainer.compute_ref_log_probs(trainer.model, raw)
    return raw, {**raw, "ref_chosen_logps": chosen, "ref_rejected_logps": rejected}


def speed(a, rows, vocab):
    "One row for each prompt and variant."
    variants = VARIANTS if GPU else VARIANTS[:3]       # FlexAttention has no backward pass on a CPU
    trainers, out = {v: trainer(v, a.base, rows) for v in variants}, []
    for prompt in a.prompts:
        raw, cached = inputs_for(trainers["ours"], prompt, vocab, a.pairs)
        seen = {v: [] for v in variants}
        for _ in range(a.runs + 1):                    # the first round warms up
            for v in variants: seen[v].append(step(trainers[v], raw if v == "trl" else cached))
        loss, grad = seen["trl"][-1][2:]
        median = {v: statistics.median(s[0] for s in seen[v][1:]) for v in variants}
        for v, seconds in median.items():
            out.append({"prompt": prompt, "completion": ANSWER, "pairs": a.pairs, "vocab": vocab, "variant": v,
                        "seconds_median": round(seconds, 4), "loss_rel_diff": abs(seen[v][-1][2] / loss - 1),
                        "grad_rel_diff": ((seen[v][-1][3] - grad).norm() / grad.norm()).item()})
            print(f"prompt {prompt:5}  {v:9} {seconds:8.3f} s  {median['trl'] / seconds:5.1f}x  loss, gradients off by "
                  f"{out[-1]['loss_rel_diff']:.0e}, {out[-1]['grad_rel_diff']:.0e}", flush=True)
    return out


def memory(a, rows, vocab):
    "One row for each variant, prompt and number of pairs that was tried, and the table of what fits."
    out, most = [], max(a.budgets)
    for variant in ("trl_best", "ours"):
        for checkpointing in (True, False):
            t = trainer(variant, a.base, rows, gradient_checkpointing=checkpointing)
            t.create_optimizer()
            for prompt in a.prompts:
                for pairs in (1, 2, 4, 8, 16):
                    row = {"variant": variant, "checkpointing": checkpointing, "prompt": prompt, "pairs": pairs}
                    try: out.append({**row, **fits(t, prompt, vocab, pairs)})
                    except torch.OutOfMemoryError: out.append({**row, "peak_mb": None})
                    if GPU: torch.cuda.empty_cache()
                    if (out[-1]["peak_mb"] or 1e9) > 1024 * most: break
            del t
    print("pairs a step may have\nvariant   checkpointing  prompt " + "".join(f"{b:>7} GB" for b in a.budgets))
    for variant, checkpointing, prompt in dict.fromkeys((r["variant"], r["checkpointing"], r["prompt"]) for r in out):
        rows = [r for r in out if (r["variant"], r["checkpointing"], r["prompt"]) == (variant, checkpointing, prompt)]
        best = [max([r["pairs"] for r in rows if r["peak_mb"] and r["peak_mb"] <= 1024 * b - a.context], default=0) for b in a.budgets]
        print(f"{variant:9} {checkpointing!s:13} {prompt:7} " + "".join(f"{n:10}" for n in best))
    return out


def fits(t, prompt, vocab, pairs):
    "What two whole steps of so many pairs took at most."
    _, cached = inputs_for(t, prompt, vocab, pairs)
    done = [step(t, cached, whole=True) for _ in range(2)]
    needs = sum(_needs(t, cached).values()) / 2 ** 20 + t.model.get_memory_footprint() / 2 ** 20
    return {"peak_mb": round(max(s[1] for s in done)), "estimated_mb": round(needs), "seconds": round(done[1][0], 3)}


def main():
    arg = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arg.add_argument("what", choices=["speed", "memory"])
    arg.add_argument("--shape", choices=SHAPES, default="7b")
    arg.add_argument("--base", type=Path, help="folder of the random weights (default: a temporary one)")
    arg.add_argument("--prompts", type=int, nargs="+", default=[300, 700])
    arg.add_argument("--pairs", type=int, default=4, help="pairs a step, of `speed`")
    arg.add_argument("--runs", type=int, default=5)
    arg.add_argument("--budgets", type=int, nargs="+", default=[16, 24, 40], help="GB")
    arg.add_argument("--context", type=int, default=800, help="MB of a GPU that are not for tensors")
    arg.add_argument("--json", type=Path)
    a, rows = arg.parse_args(), list(generate(8, seed=0))
    if a.shape == "7b" and not (GPU and FOUR): arg.error("the shape 7b needs a GPU and bitsandbytes; try --shape tiny")
    with tempfile.TemporaryDirectory() as d:
        a.base = a.base or Path(d)
        base(a.base, a.shape)
        found = {"speed": speed, "memory": memory}[a.what](a, rows, SHAPES[a.shape]["vocab_size"])
    if a.json: a.json.write_text("\n".join(map(json.dumps, found)) + "\n")


if __name__ == "__main__": main()
