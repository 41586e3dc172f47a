"""How far is a merged model from the adapter that was trained, with weights in float32, bfloat16 and 4-bit NF4?

    pip install bitsandbytes         # beside this project
    python benchmarks/merge.py [--rows 400] [--n 50] [--json FILE]

nano gets an adapter (RSLoRA r 32) by SFT over its 4-bit weights, `merge` adds it to the weights as they were before they
were rounded, and the answers of three models are compared with those of the model as it was trained (4-bit weights and the
adapter): the merged model in float32, the same in bfloat16, and the merged model rounded to 4 bits again. As a yardstick the
same is done with an adapter trained over float32 weights. Greedy answers to requests for tools that were not trained on.
"""
import argparse
import json
import tempfile
from pathlib import Path

import torch

from tool_use_dpo.chat import render
from tool_use_dpo.demo import _SFT
from tool_use_dpo.generate import generate, load_catalogue
from tool_use_dpo.models import SFTSettings, drift, load_model, load_tokenizer, merge
from tool_use_dpo.sft import sft
from tool_use_dpo.sspr import _case, case_messages, evaluate


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=400)
    parser.add_argument("--n", type=int, default=50)
    parser.add_argument("--json", type=Path)
    args, tokenizer, found = parser.parse_args(), load_tokenizer("nano"), []
    rows = list(generate(args.rows, load_catalogue("train"), seed=0, split="train"))
    cases = [_case(r) for r in generate(args.n, load_catalogue("val"), seed=1, split="val")]
    prompts = [render(tokenizer, case_messages(c)) for c in cases]
    for four in (False, True):
        with tempfile.TemporaryDirectory() as d:
            lora = {"lora_r": 32, "lora_alpha": 64, "use_rslora": True, "load_in_4bit": four, "learning_rate": 1e-3}
            sft(SFTSettings(**{**_SFT, **lora, "model_name": "nano", "output_dir": f"{d}/adapter"}), rows)
            merge(f"{d}/adapter", f"{d}/merged")
            trained = load_model(f"{d}/adapter", four).eval()
            others = {"merged, float32": load_model(f"{d}/merged"), "merged, bfloat16": load_model(f"{d}/merged", dtype=torch.bfloat16),
                      "merged, 4-bit again": load_model(f"{d}/merged", True)}
            for name, model in {"as trained": trained, **others}.items():
                r = evaluate(model.eval(), tokenizer, cases, name, "validation domains", max_new_tokens=96)
                found.append({"trained_over": "4-bit NF4" if four else "float32", "model": name, **drift(trained, model, tokenizer, prompts),
                              **{k: r[k] for k in ("sspr", "exact")}})
                print(found[-1], flush=True)
    if args.json:
        args.json.write_text(json.dumps({"command": "python benchmarks/merge.py", "rows": args.rows, "models": found}, indent=1) + "\n")


if __name__ == "__main__": main()
