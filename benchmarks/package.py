"""What the package weighs, and how long its imports take.

    python benchmarks/package.py [--repeat 5] [--json benchmarks/package.json]

Seconds are processor time of a fresh interpreter that imports one module, the least of several runs, less what an empty
interpreter takes. Megabytes are the installed files of the requirements and of what these require, without extras.
"""
import argparse
import json
import resource
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement

MODULES = ("schema", "tools", "negatives", "generate", "cli", "sspr", "dpo")


def seconds(code, repeat):
    "Least processor time of a fresh interpreter that runs code."
    def once():
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return min(once() for _ in range(repeat))


def closure(name, found):
    "Installed distributions that a distribution leads to, without its extras, added to found."
    try: dist = distribution(name)
    except PackageNotFoundError: return found
    key = dist.metadata["Name"].lower().replace("_", "-")
    if key in found: return found
    found[key] = sum(p.stat().st_size for f in dist.files or () if (p := Path(f.locate())).is_file())
    for text in dist.requires or ():
        r = Requirement(text)
        if not r.marker or r.marker.evaluate({"extra": ""}): closure(r.name, found)
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeat", type=int, default=5, help="runs of each import (default: 5)")
    parser.add_argument("--json", help="write the figures here")
    args = parser.parse_args()
    empty = seconds("", args.repeat)
    imports = {m: round(seconds(f"import tool_use_dpo.{m}", args.repeat) - empty, 2) for m in MODULES}
    sizes = closure("tool-use-dpo", {})
    sizes.pop("tool-use-dpo")
    own = Path(__file__).resolve().parent.parent / "tool_use_dpo"
    figures = {"python": sys.version.split()[0], "import_seconds": imports,
               "help_seconds": round(seconds("from tool_use_dpo.cli import app; app(['eval', '--help'])", args.repeat), 2),
               "own_mb": round(sum(p.stat().st_size for p in own.rglob("*") if p.is_file() and p.suffix != ".pyc") / 1e6, 1),
               "packages": len(sizes), "packages_mb": round(sum(sizes.values()) / 1e6),
               "heaviest_mb": {k: round(v / 1e6) for k, v in sorted(sizes.items(), key=lambda i: -i[1])[:6]}}
    print(json.dumps(figures, indent=1))
    if args.json: Path(args.json).write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
