"""A teacher's job against a real model server: `transformers serve` with the bundled base behind it.

    pip install 'transformers[serving]'
    python benchmarks/teacher_server.py [--n 5] [--json FILE]

The base answers requests with calls and was never taught to word requests, so it is no teacher: what is shown is that the
protocol works from end to end with a server that nobody wrote for this test, that every answer is counted and judged, and
that the job stops by itself and says why.
"""
import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from tool_use_dpo.generate import load_catalogue
from tool_use_dpo.teacher import Teacher, teach

NANO = str(Path(__file__).resolve().parent.parent / "tool_use_dpo" / "nano_base")


def free_port():
    "A port that nobody listens on."
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_for(url, process, seconds):
    "Wait until the server answers."
    end = time.time() + seconds
    while time.time() < end:
        if process.poll() is not None: sys.exit(f"transformers serve ended with code {process.returncode}")
        try: return urllib.request.urlopen(url, timeout=5)
        except OSError: time.sleep(1)
    sys.exit("transformers serve does not answer")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=5, help="triplets to ask for in each mode (default: 5)")
    parser.add_argument("--patience", type=int, default=12, help="discarded answers in a row that end the job (default: 12)")
    parser.add_argument("--json", help="write the figures here")
    args = parser.parse_args()
    port, folder = free_port(), Path(tempfile.mkdtemp())
    env = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HUB_CACHE": str(folder)}
    command = [str(Path(sys.executable).with_name("transformers")), "serve", NANO, "--port", str(port), "--device", "cpu"]
    with open(folder / "server.log", "w") as log: process = subprocess.Popen(command, env=env, stdout=log, stderr=log)
    tools = [{k: t[k] for k in ("name", "description", "parameters")} for t in load_catalogue("train")]
    figures = {}
    try:
        wait_for(f"http://127.0.0.1:{port}/health", process, 600)
        for mode in ("reversed", "forward"):
            teacher = Teacher(NANO, f"http://127.0.0.1:{port}/v1", mode, concurrency=2, max_tokens=64, temperature=0.7, timeout=600,
                              patience=args.patience, price=(1, 2), key_env="NO_KEY_NEEDED")
            report = teach(args.n, folder / f"{mode}.jsonl", teacher, tools)
            first = json.loads((folder / f"{mode}.jsonl.discards.jsonl").read_text().splitlines()[0])
            keep = ("made", "answers", "discarded", "tokens_in", "tokens_out", "failed_requests", "stopped")
            figures[mode] = {k: report[k] for k in keep} | {"first_discard": {k: first[k] for k in ("reason", "text")}}
    finally: process.kill()
    print(json.dumps(figures, indent=1))
    if args.json: Path(args.json).write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
