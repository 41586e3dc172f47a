"""Run notebooks as tests, each in a process of its own with nbdev's runner.

    python tools/run_tests.py                          every notebook under nbs/, of the tutorials the first
    python tools/run_tests.py nbs/01_schema.ipynb      only this one
    python tools/run_tests.py --flags "gpu slow"       with the cells that are skipped otherwise
    python tools/run_tests.py --full nbs/tutorials/*   tutorials at full length, not in their short form
"""
import argparse
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from notebooks import QUIET, ROOT, find

ONE = """
import sys
from pathlib import Path
from nbdev.config import get_config
from nbdev.test import test_nb
passed, _ = test_nb(Path(sys.argv[1]), get_config().tst_flags.split(), sys.argv[2].split(), basepath=sys.argv[3])
sys.exit(not passed)
"""


def run(
    path: Path,        # the notebook
    flags: str,        # flags whose cells run too, separated by spaces
    timeout: float,    # seconds after which it has failed
    full: bool,        # tutorials at full length
) -> tuple:            # passed?, seconds, what it wrote
    "Run one notebook in a fresh process."
    start = time.time()
    command = [sys.executable, "-c", ONE, str(path.resolve()), flags, str(ROOT)]
    env = QUIET if full else {**QUIET, "TUTORIAL_SHORT": "1"}
    try:
        done = subprocess.run(command, cwd=ROOT, env=env, timeout=timeout, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        passed, text = done.returncode == 0, done.stdout
    except subprocess.TimeoutExpired as e:
        said = e.stdout.decode(errors="replace") if isinstance(e.stdout, bytes) else e.stdout or ""
        passed, text = False, f"{said}\nstill running after {timeout:g} seconds"
    return passed, time.time() - start, text


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("paths", nargs="*", type=Path, help="notebooks (default: all)")
    parser.add_argument("--jobs", type=int, default=2, help="notebooks at a time (default: 2)")
    parser.add_argument("--flags", default="", help="run the cells with these flags too")
    parser.add_argument("--full", action="store_true", help="tutorials at full length: minutes each")
    parser.add_argument("--timeout", type=float, default=1800, help="seconds a notebook may take (default: 1800)")
    args = parser.parse_args()
    paths = find(args.paths)
    if not args.paths: paths = [p for p in paths if p.parent.name != "tutorials" or p.name.startswith("01")]
    failed, start = [], time.time()
    with ThreadPoolExecutor(args.jobs) as pool:
        jobs = {pool.submit(run, p, args.flags, args.timeout, args.full): p for p in paths}
        for job in as_completed(jobs):
            passed, seconds, text = job.result()
            print(f"{'ok' if passed else 'FAILED':6} {seconds:7.1f} s  {jobs[job]}", flush=True)
            if not passed:
                print(text, flush=True)
                failed.append(str(jobs[job]))
    print(f"{len(paths)} notebooks in {time.time() - start:.0f} s")
    if failed: print("failed: " + ", ".join(sorted(failed)))
    print(f"{len(paths) - len(failed)} passed, {len(failed)} failed")
    sys.exit(bool(failed))


if __name__ == "__main__": main()
