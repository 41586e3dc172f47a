"""Run notebooks and save their outputs in them.

    python tools/save_outputs.py                        every notebook under nbs/
    python tools/save_outputs.py nbs/01_schema.ipynb    only this one

A cell with a flag of `tst_flags` (settings.ini) or with `eval: false` is not run and keeps the output that it has.
A notebook that fails, or whose outputs show a machine path, a warning or a progress bar, is left as it was.
"""
import argparse
import os
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from notebooks import QUIET, find, leaks


def run(
    path: Path,    # the notebook
) -> str:          # "" when it was saved, else what went wrong
    "Run one notebook, look at its outputs, and save it, cleaned."
    from execnb.nbio import nb2dict, write_nb
    from execnb.shell import CaptureShell
    from nbdev.clean import clean_nb
    from nbdev.config import get_config
    from nbdev.process import NBProcessor

    path, flags = path.resolve(), set(get_config().tst_flags.split())
    nb = NBProcessor(path, rm_directives=False).nb

    def skip(cell):
        "Cells that are not run."
        directives = getattr(cell, "directives_", None) or {}
        return cell.cell_type != "code" or flags & directives.keys() or directives.get("eval:") == ["false"]

    for cell in nb.cells:
        if not skip(cell): cell.outputs = []
    os.chdir(path.parent)
    shell = CaptureShell(path)
    try: shell.run_all(nb, exc_stop=True, preproc=skip)
    except Exception: return shell.prettytb(fname=path.name)
    found = leaks(nb2dict(nb))
    if found: return "not fit to be read:\n  " + "\n  ".join(found)
    clean_nb(nb)
    write_nb(nb, path)
    return ""


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("paths", nargs="*", type=Path, help="notebooks (default: all)")
    failed = 0
    os.environ.update(QUIET)
    for path in find(parser.parse_args().paths):
        with ProcessPoolExecutor(1) as pool: wrong = pool.submit(run, path).result()
        print(f"{'FAILED' if wrong else 'saved':6} {path}{': ' if wrong else ''}{wrong}", flush=True)
        failed += bool(wrong)
    sys.exit(bool(failed))


if __name__ == "__main__": main()
