"""The long form of nbs/19_trust.ipynb: fuzzers, two validators against each other, and faults in every stage.

    python tools/trust.py                       all of it, in at most half an hour; writes benchmarks/trust.json and SECURITY.md
    python tools/trust.py --only SIGKILL disk    only what has one of these in its name; the other rows stay as they are
    python tools/trust.py --minutes 1 --kills 5  shorter

A row of the table counts cases tried, cases that ended as they should, and data lost, and has the seconds of processor time
that it took. The exit code is 1 if a case did not end well.
"""
import argparse
import ctypes
import errno
import itertools
import json
import math
import multiprocessing
import os
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TABLE, CORPUS, SECURITY = ROOT / "benchmarks" / "trust.json", ROOT / "benchmarks" / "trust_corpus", ROOT / "SECURITY.md"
CANARY = "sk-canary-1f3a9c77d2"
PIECES = ['{', '}', '[', ']', '"', ':', ',', '\\', '{"tool": "t", "parameters": ', '{"a": "x"}', '"a":', "1e9", "-", "null", "NaN",
          "\\ud800", "\x00", "\u2028", "<tool_call>", "[TOOL_CALLS]", "```json\n", "😀", "\ud800", " "]


def strict(text):
    "Whether `json` takes a text for JSON when NaN, keys given twice, half pairs and 64 levels are all it refuses besides."
    def unique(pairs):
        if len(dict(pairs)) < len(pairs): raise ValueError
        return dict(pairs)
    def never(name): raise ValueError
    def finite(number):
        if abs(float(number)) == float("inf"): raise ValueError
        return float(number)
    def depth(v): return 1 + max(map(depth, v.values() if isinstance(v, dict) else v), default=0) if isinstance(v, (dict, list)) else 0
    try:
        value = json.loads(text, object_pairs_hook=unique, parse_constant=never, parse_float=finite)
        json.dumps(value, ensure_ascii=False).encode()
        return depth(value) <= 64
    except (ValueError, RecursionError): return False


def scoring():
    "A check of the whole scoring path on one text; raises AssertionError where it is wrong."
    from tool_use_dpo.schema import extract_json, validate_tool_call, violations
    from tool_use_dpo.sspr import from_native, judge, summarize
    from tool_use_dpo.tools import as_tool, call_schema
    tool = as_tool({"name": "t", "parameters": {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}})
    gold = [{"name": "t", "arguments": {"a": ["x"]}, "omittable": []}]
    cases = [{"id": "1", "request": "r", "tools": [tool], "gold": gold}, {"id": "2", "request": "r", "tools": [tool], "gold": [], "calls": "any"}]
    schema = call_schema([tool], formats=False)

    def check(text):
        found = extract_json(text)
        assert found is None or isinstance(json.loads(found), dict) and found in text
        assert (violations(text, True) == []) == strict(text)
        for case in cases:
            row = judge(from_native(text, case), case)
            json.dumps(summarize([row], "m", "d"), allow_nan=False)
        assert judge(text, cases[0])["ok"] == validate_tool_call(text, schema)[0]
    return check


def in_turns(minutes, holds, *strategies):
    "Try a property on what hypothesis makes up, 500 examples at a time, until the time is over; it raises where it is wrong."
    from hypothesis import HealthCheck, given, seed, settings, strategies as st
    tried, end = itertools.count(), time.process_time() + 60 * minutes
    how = settings(max_examples=500, database=None, deadline=None, suppress_health_check=list(HealthCheck))
    for turn in itertools.count():
        if time.process_time() > end: return (n := next(tried)), n, 0
        seed(turn)(how(given(st.tuples(*strategies))(lambda made: next(tried) < 0 or holds(*made))))()


def hypothesis_texts(minutes, kills):
    "Scoring path, texts by hypothesis"
    from hypothesis import strategies as st
    check = scoring()
    return in_turns(minutes, check, st.lists(st.sampled_from(PIECES) | st.text(max_size=4), max_size=40).map("".join))


ATHERIS = """#!{python}
import sys, atheris
with atheris.instrument_imports(include=["tool_use_dpo.schema", "tool_use_dpo.sspr", "json"]):
    import tool_use_dpo.schema, tool_use_dpo.sspr
sys.path.insert(0, {tools!r})
from trust import scoring
check = scoring()
def one(data):
    for text in (data.decode("utf-8", "replace"), data.decode("latin-1")): check(text)
atheris.Setup(sys.argv, one)
atheris.Fuzz()
"""


def atheris_texts(minutes, kills):
    "Scoring path, bytes by atheris, led by coverage"
    import atheris   # noqa: F401  (so that the row is left out where it is not installed)

    def fuzz(*words):
        done = subprocess.run([script, *words, "-max_len=400", f"-artifact_prefix={folder}/"], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-2000:]
        return done.stderr
    with tempfile.TemporaryDirectory() as folder:
        (new := Path(folder, "new")).mkdir()
        (script := Path(folder, "fuzz")).write_text(ATHERIS.format(python=sys.executable, tools=str(ROOT / "tools")))
        script.chmod(0o755)   # (merging starts it again)
        said = fuzz(new, CORPUS, f"-runs={int(20_000 * minutes)}", f"-max_total_time={int(300 * minutes)}", "-print_final_stats=1")
        fuzz("-merge=1", CORPUS, new)   # what reaches code that the corpus does not
    n = int(re.search(r"number_of_executed_units:\s*(\d+)", said)[1])
    return n, n, 0


def corpus(minutes, kills):
    "Scoring path, the committed corpus again"
    check, files = scoring(), [f.read_bytes() for f in sorted(CORPUS.iterdir())]
    for data in files:
        for text in (data.decode("utf-8", "replace"), data.decode("latin-1")): check(text)
    return len(files), len(files), 0


def schemas(st):
    "Schemas of draft 2020-12, and values, as strategies."
    names = st.sampled_from("abc")
    values = st.recursive(st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from([2**53, 2**53 + 1, 10**20, 1.0, 0.5, -0.0, 1e300])
                          | st.sampled_from(["", "a", "ab", "abc", "1", "😀", "é", "e\u0301", "\u202e"]),
                          lambda v: st.lists(v, max_size=3) | st.dictionaries(names, v, max_size=3), max_leaves=8)
    small, some = st.integers(0, 3), st.lists(names, max_size=2, unique=True)
    types = ["null", "boolean", "integer", "number", "string", "array", "object"]
    leaves = {"type": st.sampled_from(types) | st.lists(st.sampled_from(types), min_size=1, max_size=2, unique=True),
              "enum": st.lists(values, min_size=1, max_size=3), "const": values, "minimum": st.integers(-2, 2), "maximum": st.integers(-2, 2),
              "exclusiveMinimum": st.integers(-2, 2), "exclusiveMaximum": st.integers(-2, 2), "multipleOf": st.sampled_from([1, 2, 3]),
              "minLength": small, "maxLength": small, "pattern": st.sampled_from(["^a", "b$", "^[a-c]*$", "(a|b)+", "^.{2}$"]), "minItems": small,
              "maxItems": small, "uniqueItems": st.booleans(), "minProperties": small, "maxProperties": small, "required": some,
              "dependentRequired": st.dictionaries(names, some, max_size=2), "$ref": st.just("#/$defs/d")}

    def deeper(sub):
        many, named = st.lists(sub, min_size=1, max_size=3), st.dictionaries(names, sub, max_size=3)
        nests = {"properties": named, "patternProperties": st.dictionaries(st.sampled_from(["^a", "b"]), sub, max_size=2),
                 "additionalProperties": sub, "propertyNames": sub, "unevaluatedProperties": sub, "dependentSchemas": named, "items": sub,
                 "prefixItems": many, "contains": sub, "minContains": small, "maxContains": small, "unevaluatedItems": sub, "anyOf": many,
                 "oneOf": many, "allOf": many, "not": sub, "if": sub, "then": sub, "else": sub}
        return st.fixed_dictionaries({}, optional=leaves | nests)
    schema = st.recursive(st.booleans() | st.fixed_dictionaries({}, optional=leaves), deeper, max_leaves=6)
    whole = st.tuples(schema, schema).map(lambda s: {**s[0], "$defs": {"d": s[1]}} if isinstance(s[0], dict) else s[0])
    return whole, values


EXPLAINED = {   # where the two judges may differ, and why; whatever is not here is a failure
    "$ref": "a reference that leads back to itself: here an error, there no answer is refused",
    "float": "whole numbers above 2^53: exact here, floats there"}


def differential(minutes, kills):
    "Verdict against jsonschema-rs, generated schemas"
    import jsonschema_rs
    from hypothesis import strategies as st
    from tool_use_dpo.schema import SchemaError, violations
    explained = {k: 0 for k in EXPLAINED}

    def agree(schema, value):
        text = json.dumps(schema)
        try: ours = violations(json.dumps(value), schema) == []
        except SchemaError as e:
            assert "refers to itself" in str(e) and '"$ref"' in text, (schema, value, e)
            explained["$ref"] += 1
            return
        try: theirs = jsonschema_rs.Draft202012Validator(schema).is_valid(value)
        except ValueError as e: raise AssertionError((schema, value, e)) from None
        if ours != theirs and re.search(r"\d{16,}|1e\+?300", text + json.dumps(value)): explained["float"] += 1
        else: assert ours == theirs, (schema, value, ours)
    told = in_turns(minutes, agree, *schemas(st))
    print(f"    explained: {explained}")
    return told


class Teach(BaseHTTPRequestHandler):
    "A teacher that words a request from the call that it is shown."
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        call = json.loads(re.search(r"right call:\n(.*)\n", body["messages"][-1]["content"])[1])
        said = "Please do it with " + " and ".join(str(v) if isinstance(v, str) else json.dumps(v) for v in leaves(call)) + "."
        answer = json.dumps({"choices": [{"message": {"role": "assistant", "content": json.dumps({"request": said})}}],
                             "usage": {"prompt_tokens": 9, "completion_tokens": 9}}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *args): pass


def leaves(v):
    "The plain values in a value."
    return [x for c in (v.values() if isinstance(v, dict) else v) for x in leaves(c)] if isinstance(v, (dict, list)) else [v]


class Stages:
    "The six stages as commands on a folder, and what each leaves."
    def __init__(self):
        import openai   # noqa: F401  (this and what follows, so that forks have it)
        import torch
        from tool_use_dpo import analysis, cli, doctor, dpo, evaluation, models, report, sft, sspr, teacher   # noqa: F401
        from tool_use_dpo.generate import generate
        from tool_use_dpo.triplets import append_jsonl
        from transformers import Qwen2Config, Qwen2ForCausalLM, set_seed
        torch.set_num_threads(1)
        self.cli, self.work = cli, Path(tempfile.mkdtemp())
        w = self.work
        tokenizer = models.load_tokenizer("nano")
        set_seed(0)
        shape = Qwen2Config(vocab_size=len(tokenizer), hidden_size=32, intermediate_size=48, num_hidden_layers=2,
                            num_attention_heads=4, num_key_value_heads=2, tie_word_embeddings=True)
        with models.quiet(): Qwen2ForCausalLM(shape).save_pretrained(w / "base")
        tokenizer.save_pretrained(w / "base")
        append_jsonl(w / "pairs.jsonl", generate(16, seed=0, split="train"))
        append_jsonl(w / "test.jsonl", generate(12, seed=1, split="test"))
        common = {"model_name": f"{w/'base'}", "data": f"{w/'pairs.jsonl'}", "lora_r": 4, "lora_alpha": 8, "batch_size": 4,
                  "load_in_4bit": False, "max_steps": 8, "grad_accum_steps": 1, "optim": "adamw_torch", "learning_rate": 5e-3,
                  "warmup_steps": 0, "gradient_checkpointing": False, "logging_steps": 1, "save_steps": 2}
        (w / "c.yaml").write_text("".join(f"{k}: {json.dumps(v)}\n" for k, v in common.items()))
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Teach)
        self.server.handle_error = lambda *_: None   # (who asks may be killed while it does)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1"
        for name in "ab": self.call(["eval", "--model", w / "base", "--data", w / "test.jsonl", "--out", w / f"{name}.json", "--max-new-tokens", 8])

    def words(self, stage, out):
        "The command of a stage; the same one again goes on."
        w = self.work
        return {"data": ["data", "--n", 1600, "--out", out / "t.jsonl", "--resume"],
                "teacher": ["data", "--n", 25, "--out", out / "t.jsonl", "--teacher", "m", "--base-url", self.url, "--concurrency", 1, "--resume"],
                "sft": ["sft", "--config", w / "c.yaml", "--set", f"output_dir={out}"],
                "dpo": ["dpo", "--config", w / "c.yaml", "--set", f"output_dir={out}"],
                "eval": ["eval", "--model", w / "base", "--data", w / "test.jsonl", "--out", out / "r.json", "--max-new-tokens", 24],
                "compare": ["compare", w / "a.json", w / "b.json", "--out", out / "report"]}[stage]

    def left(self, stage, out):
        "What a stage has made, as far as it is to be the same every time."
        if stage in ("data", "teacher"): return (out / "t.jsonl").read_bytes()
        if stage in ("sft", "dpo"): return (out / "adapter_model.safetensors").read_bytes()
        if stage == "eval": return json.loads((out / "r.json").read_text())["rows"]
        return [(out / "report" / f).read_bytes() for f in ("report.html", "report.md", "comparison.svg")]

    def start(self, words, spoil=None):
        "A process that runs a command."
        def run():
            sys.stdout = sys.stderr = open(self.work / "said", "w", buffering=1)
            os.environ |= {"OPENAI_API_KEY": CANARY, "CUDA_VISIBLE_DEVICES": ""}
            tempfile.tempdir = str(self.work)   # (what a killed process leaves there goes with the rest)
            sys.addaudithook(self.offline)
            if spoil: spoil()
            sys.argv = ["tool-use-dpo", *map(str, words)]
            self.cli.main()
        process = multiprocessing.get_context("fork").Process(target=run)
        process.start()
        return process

    def offline(self, event, args):
        "There is no network: only the teacher's server, and a port where nobody listens."
        if event == "socket.connect" and args[1] not in (("127.0.0.1", self.server.server_port), ("127.0.0.1", 9)):
            raise OSError(errno.ENETUNREACH, f"no network: {args[1]}")

    def call(self, words, spoil=None):
        "Run a command to its end; its exit code and what it said."
        process = self.start(words, spoil)
        process.join(300)
        process.kill()   # (nothing, if it has ended)
        process.join()
        return process.exitcode, (self.work / "said").read_text()


STAGES, NAMES = [], ("data", "teacher", "sft", "dpo", "eval", "compare")


def stages():
    "The one `Stages`, made when it is first needed."
    if not STAGES: STAGES.append(Stages())
    return STAGES[0]


def undisturbed(s, stage):
    "What a stage leaves when nothing happens to it, and how long it takes."
    out, began = s.work / f"{stage}-whole", time.perf_counter()
    code, said = s.call(s.words(stage, out))
    assert code == 0, said
    return s.left(stage, out), time.perf_counter() - began


def killed(stage):
    "What kills one stage at random moments, as a part of the table."
    def part(minutes, kills):
        s, rng = stages(), random.Random(stage)
        whole, seconds = undisturbed(s, stage)
        killed = ends = lost = 0
        while killed < kills or ends == 0:
            out = s.work / f"{stage}-{ends}"
            process = s.start(s.words(stage, out)) if killed < kills else None
            if process:
                process.join(rng.uniform(0, seconds))
                process.kill()   # (nothing, if it has ended)
                process.join()
                killed += process.exitcode == -signal.SIGKILL
                if process.exitcode == -signal.SIGKILL and killed < kills: continue
            code, said = s.call(s.words(stage, out))
            same = code == 0 and s.left(stage, out) == whole
            lost += not same
            if not same: print(f"    {stage}: exit code {code}: {said[-300:]}")
            ends += 1
        return killed, killed - lost, lost
    part.__doc__ = f"{stage}: SIGKILL at random moments"
    return part


def full(size):
    "No file may grow beyond so many bytes, as on a full disk."
    def spoil():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
    return spoil


def jumping():
    "The clock jumps by days, to and fro."
    real, rng = time.time, random.Random(0)
    time.time = lambda: real() + rng.uniform(-1e6, 1e6)


def locked(folder):
    "A folder that may not be written, not even by the superuser, who loses all powers beyond those of the owner."
    folder.mkdir()
    folder.chmod(0o555)
    return lambda: ctypes.CDLL(None).capset((ctypes.c_uint32 * 2)(0x20080522), (ctypes.c_uint32 * 6)())


def faulty(stage):
    "A full disk, a folder that cannot be written, a clock that jumps."
    def part(minutes, kills):
        s, bad = stages(), 0
        whole, _ = undisturbed(s, stage)
        out = s.work / f"{stage}-faulty"
        sizes = (3_000, 100_000) if stage in ("sft", "dpo") else (3_000,)   # (the second is full at the first checkpoint)
        for size in sizes:
            code, said = s.call(s.words(stage, out), full(size))
            if not code or "Traceback" in said: bad += print(f"    {stage}, full disk: {code}: {said[-400:]}") or 1
        code, said = s.call(s.words(stage, out), jumping)
        if code or s.left(stage, out) != whole: bad += print(f"    {stage}, again, clock jumping: {code}: {said[-400:]}") or 1
        folder = s.work / f"{stage}-locked"
        code, said = s.call(s.words(stage, folder), locked(folder))
        if not code or "Traceback" in said: bad += print(f"    {stage}, read-only: {code}: {said[-400:]}") or 1
        tried = len(sizes) + 2
        return tried, tried - bad, bad
    part.__doc__ = f"{stage}: disk full, read-only, clock jumping"
    return part


def no_network(minutes, kills):
    "teacher: nobody answers"
    s = stages()
    words = ["data", "--n", 3, "--out", s.work / "alone" / "t.jsonl", "--teacher", "m", "--base-url", "http://127.0.0.1:9/v1"]
    code, said = s.call(words)
    good = code == 1 and "Traceback" not in said and "no request succeeds" in said
    if not good: print(said[-400:])
    return 1, int(good), 0


def canary(minutes, kills):
    "Files of all stages, searched for the key"
    files = [f for f in stages().work.rglob("*") if f.is_file()]
    bad = [f.name for f in files if CANARY.encode() in f.read_bytes()]
    if bad: print(f"    the key is in {bad}")
    return len(files), len(files) - len(bad), 0


FOUND = json.loads(TABLE.read_text())["found"] if TABLE.exists() else []


def spent():
    "Seconds of processor time, of this process and of those that it started and that have ended."
    return sum(r.ru_utime + r.ru_stime for r in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)))


def keep(rows, command):
    "Write the table, for programs and into SECURITY.md."
    TABLE.write_text(json.dumps({"command": command, "rows": rows, "found": FOUND}, indent=1, ensure_ascii=False) + "\n",
                     encoding="utf-8")
    lines = ["| what | cases tried | survived | lost | processor seconds |", "|---|---:|---:|---:|---:|"]
    lines += [f"| {r['what']} | {r['tried']:,} | {r['survived']:,} | {r['lost']} | {r['seconds']:,} |" for r in rows]
    head, begin, old = SECURITY.read_text(encoding="utf-8").partition("<!-- table -->\n")
    SECURITY.write_text(head + begin + "\n".join(lines) + "\n" + "".join(old.partition("<!-- end -->")[1:]), encoding="utf-8")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", default=[""], help="parts with one of these in their name")
    parser.add_argument("--minutes", type=float, default=3, help="of processor time of each fuzzer (default: 3)")
    parser.add_argument("--kills", type=int, default=20, help="of each stage (default: 20)")
    args = parser.parse_args()
    parts = [corpus, hypothesis_texts, atheris_texts, differential, *map(killed, NAMES), *map(faulty, NAMES), no_network, canary]
    table = json.loads(TABLE.read_text()) if TABLE.exists() else {"rows": []}
    old = {r["what"]: r for r in table["rows"]}
    command = table["command"] if old and args.only != [""] else f"python tools/trust.py --minutes {args.minutes:g} --kills {args.kills}"
    rows = {}
    CORPUS.mkdir(exist_ok=True)
    for part in parts:
        what, began = part.__doc__, spent()
        if not any(only in what or only == part.__name__ for only in args.only):
            if what in old: rows[what] = old[what]
            continue
        try: tried, survived, lost = part(args.minutes, args.kills)
        except ImportError as e:
            print(f"{what}: left out, {e}")
            continue
        rows[what] = {"what": what, "tried": tried, "survived": survived, "lost": lost, "seconds": math.ceil(spent() - began)}
        print(f"{what:50} {tried:8,} tried {survived:8,} survived {lost:3} lost {rows[what]['seconds']:5} s", flush=True)
        keep([*rows.values(), *(r for w, r in old.items() if w not in rows)], command)
    for s in STAGES: shutil.rmtree(s.work)
    sys.exit(any(r["survived"] < r["tried"] or r["lost"] for r in rows.values()))


if __name__ == "__main__": main()
