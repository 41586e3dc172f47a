"""Do LLaMA-Factory and axolotl read the files that `export` writes for them?

    pip install --no-deps llamafactory axolotl omegaconf addict colorama     # beside this project, in an environment of its own
    python benchmarks/trainers.py [--n 50] [--json FILE]

Each library loads its file with its own loader and the bundled tokenizer, whose template is ChatML. What it would learn from
is compared, text for text, with what this project renders for the same pairs: the prompt, the chosen and the rejected answer.
A library that is not installed is left out. LLaMA-Factory imports torchaudio for data with sound; where that is missing, an
empty module stands in for it. Its pins lag behind the versions used here, so its own check of versions is switched off.
"""
import argparse
import importlib.metadata
import importlib.util
import json
import os
import sys
import tempfile
import types
from pathlib import Path

os.environ.update(DISABLE_VERSION_CHECK="1", HF_HUB_OFFLINE="1")

from transformers import AutoTokenizer, Seq2SeqTrainingArguments

from tool_use_dpo.chat import render, triplet_messages
from tool_use_dpo.exchange import export
from tool_use_dpo.generate import generate

NANO = str(Path(__file__).resolve().parent.parent / "tool_use_dpo" / "nano_base")


def llamafactory(rows, folder, tokenizer):
    "What LLaMA-Factory makes of its file: (prompt, chosen, rejected) texts."
    if not importlib.util.find_spec("torchaudio"): sys.modules["torchaudio"] = types.ModuleType("torchaudio")
    from llamafactory.data import get_dataset, get_template_and_fix_tokenizer
    from llamafactory.hparams import DataArguments, ModelArguments
    export(rows, folder / "pairs.jsonl", "llamafactory")
    data = DataArguments(dataset="pairs", dataset_dir=str(folder), template="qwen", cutoff_len=4096)
    model, training = ModelArguments(model_name_or_path=NANO), Seq2SeqTrainingArguments(str(folder / "out"), use_cpu=True, report_to="none")
    template = get_template_and_fix_tokenizer(tokenizer, data)
    for row in get_dataset(template, model, data, training, "rm", tokenizer)["train_dataset"]:
        labels = {k: [t for t in row[f"{k}_labels"] if t >= 0] for k in ("chosen", "rejected")}
        prompt = row["chosen_input_ids"][:-len(labels["chosen"])]
        yield tuple(tokenizer.decode(ids).strip() for ids in (prompt, labels["chosen"], labels["rejected"]))


def axolotl(rows, folder, tokenizer):
    "What axolotl makes of its file: (prompt, chosen, rejected) texts."
    from axolotl.prompt_strategies.dpo import load
    from axolotl.utils.dict import DictDefault
    [path] = export(rows, folder / "pairs.jsonl", "axolotl")
    config = DictDefault({"datasets": [{"path": str(path), "type": "chat_template.default"}], "chat_template": "tokenizer_default"})
    read, _ = load("chat_template.default", config, dataset_idx=0)
    for line in path.read_text(encoding="utf-8").splitlines():
        row = read(json.loads(line), tokenizer=tokenizer)
        yield tuple(row[k].strip() for k in ("prompt", "chosen", "rejected"))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=50, help="pairs (default: 50)")
    parser.add_argument("--json", help="write the figures here")
    args = parser.parse_args()
    rows, tokenizer, figures = list(generate(args.n, max_tools=3)), AutoTokenizer.from_pretrained(NANO), {}
    ours = [(render(tokenizer, triplet_messages(r)).strip(), *(f"{r[k]}<|im_end|>" for k in ("chosen", "rejected"))) for r in rows]
    for read in (llamafactory, axolotl):
        name = read.__name__
        try: version = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError: continue
        theirs = list(read(rows, Path(tempfile.mkdtemp()), tokenizer))
        figures[name] = {"version": version, "pairs": len(rows), "same": sum(a == b for a, b in zip(ours, theirs, strict=True))}
        if ours != theirs: print(next((a, b) for a, b in zip(ours, theirs) if a != b), file=sys.stderr)
    print(json.dumps(figures, indent=1))
    if args.json: Path(args.json).write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
