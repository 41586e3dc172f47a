"""How far is a merged model from the adapter that it was made of, if the adapter was trained over 4-bit weights?

    python benchmarks/merge.py [--steps 12] [--json FILE]

A LoRA adapter is trained by a little SFT over nano in NF4, and merged into nano's own weights. The reference is the model
that was trained: the adapter over the 4-bit base. Against it: the adapter over the unrounded base, the merged model, and
the merged model rounded to bfloat16, and to NF4 again. Needs bitsandbytes, which does NF4 on a CPU as well.
"""
import argparse, json, tempfile
from pathlib import Path

import torch

from tool_use_dpo.chat import render, triplet_messages
from tool_use_dpo.generate import generate
from tool_use_dpo.models import SFTSettings, drift, load_model, load_tokenizer, merge
from tool_use_dpo.sft import sft


def main():
    arg = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arg.add_argument("--steps", type=int, default=12)
    arg.add_argument("--json", type=Path)
    a = arg.parse_args()
    with tempfile.TemporaryDirectory() as d:
        config = SFTSettings(model_name="nano", output_dir=f"{d}/sft", load_in_4bit=True, optim="adamw_torch", batch_size=8,
                             grad_accum_steps=1, learning_rate=1e-3, warmup_steps=2, max_steps=a.steps,
                             gradient_checkpointing=False, save_steps=1000)
        adapter = sft(config, list(generate(8 * a.steps, seed=0, split="train")))
        whole = merge(adapter, f"{d}/merged")
        tokenizer = load_tokenizer(str(adapter))
        prompts = [render(tokenizer, triplet_messages(r)) for r in generate(8, seed=0, split="test")]
        trained, out = load_model(adapter, load_in_4bit=True), {}
        others = {"adapter, unrounded base": lambda: load_model(adapter), "merged": lambda: load_model(whole),
                  "merged, bfloat16": lambda: load_model(whole, dtype=torch.bfloat16),
                  "merged, NF4 again": lambda: load_model(whole, load_in_4bit=True), "no adapter": lambda: load_model("nano")}
        for name, load in others.items():
            out[name] = r = drift(trained, load(), tokenizer, prompts)
            print(f"{name:24} {r['same']} of {r['answers']} answers the same, {r['mean_nats']:.3f} nats a token, "
                  f"{r['most_nats']:.2f} at most", flush=True)
    if a.json: a.json.write_text(json.dumps(out, indent=1) + "\n")


if __name__ == "__main__": main()
