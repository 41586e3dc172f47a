"""How fast is the data half? Certified triplets per second and core, and the judge against plain jsonschema.

    python benchmarks/data.py [--n 3000] [--json FILE]

CPU time of one process, so a busy machine does not change it much; the judge and its peer take turns, and the ratio is
the median of nine rounds.
"""
import argparse
import json
import random
import statistics
import time

import jsonschema

from tool_use_dpo.generate import generate, load_catalogue, sample_arguments
from tool_use_dpo.negatives import negative
from tool_use_dpo.schema import violations
from tool_use_dpo.tools import call_schema, make_call


def seconds(f):
    "CPU seconds that a call takes."
    begun = time.process_time()
    f()
    return time.process_time() - begun


def peer(texts, schema):
    "The obvious way: jsonschema.validate on every text."
    for text in texts:
        try: jsonschema.validate(json.loads(text), schema)
        except jsonschema.ValidationError: pass


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=3000, help="triplets to make (default: 3000)")
    parser.add_argument("--json", help="write the figures here too")
    args = parser.parse_args()
    list(generate(200))   # caches and imports
    figures = {"triplets_per_second": round(args.n / seconds(lambda: list(generate(args.n, seed=1))))}
    rng, entry = random.Random(0), max(load_catalogue(), key=lambda e: len(e["parameters"]["properties"]))
    schema = call_schema([entry])
    calls = [make_call(entry["name"], sample_arguments(entry, rng)) for _ in range(20)]
    for name, texts in {"valid": [json.dumps(c) for c in calls], "broken": [negative(c, schema, rng)["rejected"] for c in calls]}.items():
        rounds = []
        for _ in range(9):
            ours = seconds(lambda: [violations(t, schema) for _ in range(5) for t in texts]) / 5
            rounds.append((ours, seconds(lambda: peer(texts, schema))))
        figures[f"judge_{name}_us"] = round(1e6 * statistics.median(a for a, _ in rounds) / len(texts), 1)
        figures[f"judge_{name}_times_faster_than_jsonschema_validate"] = round(statistics.median(b / a for a, b in rounds), 1)
    for name, value in figures.items(): print(f"{name:55} {value:>10}")
    if args.json:
        with open(args.json, "w") as f: json.dump(figures, f, indent=1)


if __name__ == "__main__":
    main()
