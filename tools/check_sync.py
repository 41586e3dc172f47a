"""Fail, naming files, when notebooks, modules and README are not what is committed. `make sync` runs it last.

    python tools/check_sync.py
"""
import json
import re
import subprocess
import sys
from pathlib import Path

from notebooks import ROOT, find

WATCHED = ["nbs", "tool_use_dpo", "README.md"]
BY_HAND = {"__init__.py", "__main__.py", "_modidx.py"}     # modules that no notebook exports


def sources() -> dict:
    "Which notebook exports which module, as `{'schema.py': Path('nbs/01_schema.ipynb')}`."
    found = {}
    for path in find():
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        code = "\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "code")
        m = re.search(r"^#\|\s*default_exp\s+(\S+)", code, re.M)
        if m: found[m[1].replace(".", "/") + ".py"] = path
    return found


def orphans(
    lib: Path = ROOT / "tool_use_dpo",    # the package
) -> list:                                # file names, relative to it
    "Modules that no notebook exports (any more)."
    made = {p.relative_to(lib).as_posix() for p in lib.rglob("*.py") if p.name not in BY_HAND}
    return sorted(made - sources().keys())


def uncommitted() -> list:
    "What git reports on the watched paths, untracked files included."
    done = subprocess.run(["git", "status", "--porcelain", "--untracked-files=all", "--", *WATCHED],
                          cwd=ROOT, text=True, capture_output=True)
    if done.returncode: sys.exit(f"make sync needs a git checkout: {done.stderr.strip()}")
    return done.stdout.splitlines()


if __name__ == "__main__":
    lone, changed = orphans(), uncommitted()
    for name in lone: print(f"tool_use_dpo/{name}: no notebook exports this module; delete it or write its notebook")
    if changed:
        print("Not as committed, after export, clean and render (read `git diff`, commit these):", *changed, sep="\n")
    if lone or changed: sys.exit("make sync: out of step")
    print("In step: notebooks, modules and README are what is committed.")
