"What the tools share: which notebooks there are, how they run, and what must never stand in one."
import os
import re
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

# Notebooks run offline and quietly: one thread each (several run side by side), no progress bars.
QUIET = {**os.environ, "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false", "TQDM_DISABLE": "1",
         "HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_DATASETS_DISABLE_PROGRESS_BARS": "1"}

# A path of somebody's machine, a warning, a progress bar. JSON pointers and URLs are none of these.
HOMES = (r"(?<![\w.:/-])/(?:home|root|tmp|Users|opt|mnt|usr|var/folders|work(?:space)?)/[\w.~-]+"
         r"|[A-Z]:\\\\?Users|site-packages")
WARNING = r"\b\w*Warning:|\bWARNING\b *[:|\]]"
PROGRESS = r"\d(?:it/s|s/it)\b|\d%\|"


def find(
    paths: list = (),    # notebooks, by path; none: all under nbs/
) -> list:               # paths, sorted, relative to the current folder where they lie in it
    "The notebooks to work on; names that begin with `_` or `.` are left out."
    found = [Path(p) for p in paths] or [p for p in sorted((ROOT / "nbs").rglob("*.ipynb"))
                                         if not any(part[0] in "_." for part in p.relative_to(ROOT).parts)]
    missing = [str(p) for p in found if not p.is_file()]
    if missing: sys.exit(f"no such notebook: {', '.join(missing)}")
    if not found: sys.exit("no notebooks under nbs/")
    return [p.relative_to(Path.cwd()) if p.is_absolute() and p.is_relative_to(Path.cwd()) else p for p in found]


def output_text(
    output: dict,    # one output of a cell
) -> str:            # everything in it that a reader sees as text
    "The text of an output: what it streamed, and its text forms."
    join = lambda s: s if isinstance(s, str) else "".join(s)
    if output["output_type"] == "error": return join(output["traceback"])
    if output["output_type"] == "stream": return join(output["text"])
    return "\n".join(join(v) for k, v in output["data"].items() if k.startswith("text/"))


def leaks(
    nb: dict,    # a notebook, as JSON
) -> list:       # one line per finding: cell number, what it is, the text
    "Machine paths anywhere, and errors, warnings and progress bars in outputs."
    here = {str(p) for p in (ROOT, Path.home(), Path(sys.prefix), Path(tempfile.gettempdir())) if len(p.parts) > 1}
    paths = re.compile("|".join([HOMES, *(rf"(?<![\w.-]){re.escape(h)}(?![\w-])" for h in sorted(here))]))
    found = []
    for i, cell in enumerate(nb["cells"]):
        source, outputs = "".join(cell["source"]), cell.get("outputs", [])
        text = "\n".join(map(output_text, outputs))
        if any(o["output_type"] == "error" for o in outputs): found.append(f"cell {i}: an error: {text[-80:]!r}")
        for what, pattern, where in (("a machine path", paths, source + "\n" + text),
                                     ("a warning", WARNING, text), ("a progress bar", PROGRESS, text)):
            m = re.search(pattern, where)
            if m: found.append(f"cell {i}: {what}: {where[max(0, m.start() - 30):m.end() + 30]!r}")
    return found
