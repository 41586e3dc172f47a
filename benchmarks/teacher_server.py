"""A teacher's job against a real model server: `transformers serve`, with nano behind it.

    pip install 'transformers[serving]'
    python benchmarks/teacher_server.py [--n 50] [--steps 300] [--json benchmarks/teacher_server.json]

The base answers requests with calls and was never taught to word them, so a job against it must count every answer, stop by
itself and say why, in both modes. Then the base is trained for some minutes by this package's own SFT, on prompts of the
reversed mode and the offline wordings of other tools: a very small teacher. It is served in its place, and the command line
makes triplets with it for the tools of the catalogue's test split, of which it has seen none. The judge is the one that every
teacher has.
"""
import argparse
import contextlib
import json
import os
import random
import re
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from pathlib import Path

from tool_use_dpo.generate import SampleError, _schema, load_catalogue, random_tool, sample_arguments, word_request
from tool_use_dpo.teacher import _VOICES, Teacher, _ask_reversed, _messages, teach
from tool_use_dpo.tools import make_call
from tool_use_dpo.triplets import check_file
from tool_use_dpo.wording import unanswerable

NANO = str(Path(__file__).resolve().parent.parent / "tool_use_dpo" / "nano_base")


def manner(voice):
    "A seed for a voice with which `word_request` keeps the order of the arguments and sets no mark around or before a value."
    args = {"city": "Oslo", "day": "2026-05-03", "name": "Mia"}
    words = {"type": "object", "properties": {k: {"type": "string"} for k in args}}
    tool = {"name": "f", "description": "Find a place.", "parameters": words}
    for k in range(1000):
        said = word_request(tool, args, random.Random(f"{voice} {k}"))
        if re.search("Oslo.*2026-05-03.*Mia", said) and not re.search("[:='\"(]", said): return f"{voice} {k}"


def lessons(n, seed=0):
    "Prompts of the reversed mode, each with a request that asks for exactly its call, on tools that are not of the test split."
    rng, seeds, rows = random.Random(seed), {v: manner(v) for v in _VOICES}, []
    known = [{k: t[k] for k in ("name", "description", "parameters")} for s in ("base", "train") for t in load_catalogue(s)]
    while len(rows) < n:
        tool, voice = rng.choice(known) if rng.random() < 0.6 else random_tool(rng, 1, 5), rng.choice(_VOICES)
        try: args = sample_arguments(tool, rng)
        except SampleError: continue
        call, request = make_call(tool["name"], args), word_request(tool, args, random.Random(seeds[voice]))
        if unanswerable(request, call, _schema(json.dumps([tool]))): continue
        rows.append({"id": f"lesson{len(rows)}", "messages": _messages({"ask": _ask_reversed(tool, call, voice)}),
                     "chosen": json.dumps({"request": request}, ensure_ascii=False)})
    return rows


def taught_to_word(steps, folder, batch=8):
    "The folder of the base after supervised training on lessons, and the processor seconds that it took."
    from tool_use_dpo.models import SFTSettings
    from tool_use_dpo.sft import sft
    begun = time.process_time()
    settings = SFTSettings(model_name="nano", output_dir=str(folder), batch_size=batch, grad_accum_steps=1, learning_rate=1e-3,
                           max_steps=steps, warmup_steps=20, lora_r=0, load_in_4bit=False, max_seq_length=1024,
                           gradient_checkpointing=False, optim="adamw_torch", save_steps=10_000)
    return str(sft(settings, lessons(steps * batch))), round(time.process_time() - begun)


def up(url):
    "Whether somebody answers there."
    try: return urllib.request.urlopen(url, timeout=5).status == 200
    except OSError: return False


@contextlib.contextmanager
def served(model, folder):
    "The base URL of `transformers serve` with a model behind it."
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    env = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HUB_CACHE": str(folder)}
    command = [str(Path(sys.executable).with_name("transformers")), "serve", model, "--port", str(port), "--device", "cpu"]
    with open(folder / "server.log", "w") as log: process = subprocess.Popen(command, env=env, stdout=log, stderr=log)
    try:
        end = time.time() + 600
        while not up(f"http://127.0.0.1:{port}/health"):
            if process.poll() is not None or time.time() > end: sys.exit((folder / "server.log").read_text()[-2000:])
            time.sleep(1)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.kill()
        process.wait()


KEEP = ("made", "answers", "discarded", "tokens_in", "tokens_out", "failed_requests", "stopped")


def read(path): return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


def untaught(url, mode, n, out, patience):
    "What a job with the base makes before it is given up, and the first answer that was of no use."
    tools = [{k: t[k] for k in ("name", "description", "parameters")} for t in load_catalogue("train")]
    teacher = Teacher(NANO, url, mode, concurrency=2, max_tokens=64, temperature=0.7, timeout=600, patience=patience, price=(1, 2),
                      key_env="NO_KEY_NEEDED")
    report = teach(n, out, teacher, tools)
    first = read(Path(f"{out}.discards.jsonl"))[0]
    return {k: report[k] for k in KEEP} | {"first_discard": {k: first[k] for k in ("reason", "text")}}


def taught(model, url, n, out):
    "What `tool-use-dpo data --teacher` makes of the test split's tools with a served model, and what it says about it."
    command = [sys.executable, "-m", "tool_use_dpo", "data", "--teacher", model, "--base-url", url, "--mode", "reversed", "--split", "test",
               "--n", str(n), "--concurrency", "2", "--price", "1/2", "--key-env", "NO_KEY_NEEDED", "--out", str(out), "--resume", "--json"]
    done = subprocess.run(command, capture_output=True, text=True)
    if not done.stdout: sys.exit(done.stderr)
    told, rows, discards, first = json.loads(done.stdout), read(out), read(Path(f"{out}.discards.jsonl")), {}
    for d in discards: first.setdefault(d["reason"], {k: d[k] for k in ("detail", "text")})
    return {k: told[k] for k in KEEP} | {
        "discard_rate": told["discard_rate"], "kinds": told["kinds"], "exit_code": done.returncode, "certified": check_file(out)["ok"],
        "accounted": len(rows) == told["made"] and Counter(d["reason"] for d in discards) == told["discarded"],
        "tools": len({json.loads(r["chosen"])["tool"] for r in rows}),
        "examples": [{k: r[k] for k in ("request", "chosen", "rejected")} for r in rows[:3]], "first_discards": first}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=50, help="triplets to ask for (default: 50)")
    parser.add_argument("--steps", type=int, default=300, help="steps of training, of eight prompts each (default: 300)")
    parser.add_argument("--patience", type=int, default=12, help="discarded answers in a row that end the job of the base (default: 12)")
    parser.add_argument("--json", help="write the figures here")
    args = parser.parse_args()
    folder, figures = Path(tempfile.mkdtemp()), {}
    with served(NANO, folder) as url:
        for mode in ("reversed", "forward"): figures[f"base, {mode}"] = untaught(url, mode, args.n, folder / f"{mode}.jsonl", args.patience)
    model, seconds = taught_to_word(args.steps, folder / "words")
    with served(model, folder) as url:
        figures["taught, reversed"] = {"steps": args.steps, "cpu_seconds": seconds} | taught(model, url, args.n, folder / "taught.jsonl")
    print(json.dumps(figures, indent=1, ensure_ascii=False))
    if args.json: Path(args.json).write_text(json.dumps(figures, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
