"""The gallery of results: a page made of the files in benchmarks/, nothing typed by hand."""
import ast
import json
from io import StringIO
from pathlib import Path

from matplotlib import rc_context
from matplotlib.figure import Figure

ROOT = Path(__file__).resolve().parent.parent.parent
BENCH = ROOT / "benchmarks"
STAGES = {"baseline": "base", "sft": "cold start", "sft_more": "more SFT", "dpo": "preferences"}
THEMES = {"light": {"ink": "#1f2328", "colors": ["#9aa4af", "#3d7bd9", "#e0862c"]},
          "dark": {"ink": "#d8dee6", "colors": ["#6b7683", "#6ea8ff", "#f0a050"]}}


def table(head, rows):
    "A table in Markdown."
    return "\n".join("| " + " | ".join(map(str, r)) + " |" for r in (head, ["---"] * len(head), *rows))


def share(r, key):
    "A share with its interval, in percent."
    low, high = (100 * x for x in r[f"{key}_ci95"])
    return f"{100 * r[key]:.1f} % [{low:.1f}, {high:.1f}]"


def picture(name, alt, draw, folder):
    "A figure in both themes, as Markdown; draw(axes, colors) makes it."
    text = []
    for theme, look in THEMES.items():
        ink = look["ink"]
        with rc_context({"svg.hashsalt": name, "svg.fonttype": "none", "font.family": "sans-serif", "text.color": ink,
                         "axes.edgecolor": ink, "axes.labelcolor": ink, "xtick.color": ink, "ytick.color": ink}):
            figure = Figure(figsize=(7, 2.8), layout="constrained")
            axes = figure.subplots()
            axes.spines[["top", "right"]].set_visible(False)
            draw(axes, look["colors"])
            if axes.get_legend_handles_labels()[0]:
                axes.legend(frameon=False, ncols=3, loc="lower left", bbox_to_anchor=(0, 1), borderaxespad=0)
            out = StringIO()
            figure.savefig(out, format="svg", transparent=True, metadata={"Date": None})
        (folder / f"{name}-{theme}.svg").write_text(out.getvalue(), encoding="utf-8")
        text.append(f"```{{image}} {name}-{theme}.svg\n:alt: {alt}\n:class: only-{theme}\n```")
    return "\n\n".join(text)


def read(name):
    "What a result file holds: an object, or a list of lines."
    text = (BENCH / name).read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()] if name.endswith("l") else json.loads(text)


def demo(folder):
    "## The demo: what each stage does to the bundled base"
    runs = {p.stem.removeprefix("seed"): json.loads(p.read_text()) for p in sorted((BENCH / "demo").glob("seed*.json"))}
    rows = [(seed, label, share(r[k], "sspr"), share(r[k], "exact")) for seed, r in runs.items() for k, label in STAGES.items()]

    def draw(axes, colors):
        for i, (seed, r) in enumerate(runs.items()):
            y = [100 * r[k]["sspr"] for k in STAGES]
            err = [[abs(100 * r[k]["sspr_ci95"][side] - v) for k, v in zip(STAGES, y)] for side in (0, 1)]
            axes.errorbar([x + (i - 1) * .12 for x in range(len(STAGES))], y, err, fmt="o", capsize=3, color=colors[i % 3], label=f"seed {seed}")
        axes.set_xticks(range(len(STAGES)), STAGES.values())
        axes.set_ylabel("SSPR, %")
        axes.set_ylim(0, 100)

    tests = [(seed, t["n"], t["c"], t["b"], f"{t['p']:.2g}") for seed, r in runs.items() for t in [r["mcnemar"]["dpo_vs_sft_more"]["ok"]]]
    return ["Requests for tools of domains that no stage was trained on. Bars are 95 % intervals.",
            picture("demo", "SSPR of each stage, by seed", draw, folder), table(["seed", "model", "passes the schema (SSPR)", "exactly right"], rows),
            "Preferences against as much more SFT, request by request:", table(["seed", "requests", "won", "lost", "McNemar p"], tests),
            "Made with `tool-use-dpo demo --seed 0`, and 1 and 2."]


def dialogue(folder):
    "## Dialogues: when to call, when to ask, when to decline"
    r, full, kinds = read("dialogue/results.json"), read("dialogue/full_set.json"), ("call", "slot", "relevance", "completion")
    names = {name: name.replace("_", " ") for name in r["variants"]}

    def share(t): return f"{100 * t['rate']:.1f} % [{100 * t['ci95'][0]:.1f}, {100 * t['ci95'][1]:.1f}]"

    def draw(axes, colors):
        for i, kind in enumerate(kinds[:3]):
            for y, v in enumerate(r["variants"].values()):
                t, at = v["types"][kind], y + (i - 1) * .2
                axes.plot([100 * x for x in t["ci95"]], [at, at], color=colors[i], lw=1)
                axes.plot(100 * t["rate"], at, "o", color=colors[i], label="" if y else kind)
        axes.set_yticks(range(len(names)), names.values())
        axes.invert_yaxis()
        axes.set_xlim(0, 100)
        axes.set_xlabel("right turns, %")

    rows = [(label, len(v["seeds"]), *(share(v["types"][k]) for k in kinds)) for v, label in zip(r["variants"].values(), names.values())]
    gains = [f"{k} {100 * g['gain']:+.0f} % [{100 * g['ci95'][0]:+.0f}, {100 * g['ci95'][1]:+.0f}]" for k, g in r["relative_gains"].items() if g["gain"]]
    return ["Turns on tools of domains that no stage was trained on, over all seeds of a variant; intervals draw sets of tools. `sft` is the cold start, "
            "the variants are explained in [its notebook](../13d_dialogue_demo.ipynb).",
            picture("dialogue", "Share of right turns of each variant", draw, folder), table(["variant", "seeds", *kinds], rows),
            "The complete loss, relative to the cold start: " + ", ".join(gains) + ".", f"Made with `{r['command']}`.",
            f"The paper's full set of {full['pairs']:,} pairs is made in {full['cpu_seconds']:.0f} processor seconds; of its {full['trajectories']:,} trajectories the "
            f"state machine reads {full['misread']} otherwise than built. Made with `{full['command']}`."]


def dpo_step(folder):
    "## A step of preference training, against TRL"
    found = {}
    for r in read("dpo_step.jsonl"):
        if not r["common"]: found.setdefault((r["vocab"], r["prompt"]), {})[r["variant"]] = r
    rows = [(f"{v:,}", p, *(f"{d[k]['seconds_median']:.2f} s" for k in ("trl", "trl_best", "ours")),
             f"{d['trl']['seconds_median'] / d['ours']['seconds_median']:.1f}×", f"{d['ours']['grad_rel_diff']:.0e}") for (v, p), d in found.items()]

    def draw(axes, colors):
        for i, (k, label) in enumerate({"trl": "TRL", "trl_best": "TRL, best settings", "ours": "shared prefix"}.items()):
            axes.bar([x + (i - 1) * .26 for x in range(len(found))], [d[k]["seconds_median"] for d in found.values()], .24, color=colors[i], label=label)
        axes.set_xticks(range(len(found)), [f"{p}\n{v:,}" for v, p in found])
        axes.set_xlabel("tokens of the prompt, entries of the vocabulary")
        axes.set_ylabel("seconds a step")

    return ["The same loss and the same gradients, with the prompt read once for both answers.",
            picture("dpo-step", "Seconds a step of TRL and of this package", draw, folder),
            table(["vocabulary", "prompt", "TRL", "TRL, best settings", "here", "faster", "gradients differ by"], rows),
            "Median of interleaved steps on a CPU, against TRL 1.16. Made with `python benchmarks/dpo_step.py`."]


def evaluate(folder):
    "## Evaluation, against one by one"
    r = read("evaluate.json")
    rows = [(label, f"{r[k]['cpu_seconds']:.1f} s", f"{r[k]['times_faster']:.1f}×", f"{r[k]['same_answers']} of {r['requests']}")
            for k, label in {"one_by_one": "`generate`, one by one", "batched": "`generate`, in batches", "ours": "here"}.items()]
    return [table(["", "processor time", "faster", "the same answers"], rows), f"Made with `{r['command']}`."]


def constrained(folder):
    "## Trained, constrained, or both"
    r = read("constrained.json")
    rows = [(x["model"], "free" if x["engine"] == "none" else x["engine"], *(f"{x[k]:.1%}" for k in ("sspr", "exact")), x["uncompiled"],
             f"{x['cpu_ms']:.0f} ms") for x in r["rows"]]
    return [f"{r['n']} requests for tools of domains that no model saw; the time is the processor's, compiling included.",
            table(["model", "decoding", "passes the schema", "exactly right", "not compiled", "a request"], rows), f"Made with `{r['command']}`."]


def tokens_cost(folder):
    "## What pairs at hesitant tokens cost"
    sweep = read("tokens_cost.json")["sweep"]

    def draw(axes, colors):
        for color, k in zip(colors[1:], sorted({r["top_k"] for r in sweep})):
            rows = [r for r in sweep if r["top_k"] == k]
            axes.plot([r["epsilon"] for r in rows], [r["pairs_per_1000_tokens"] for r in rows], "o-", color=color, label=f"{k} alternatives")
        axes.set_xlabel("gap below which a token counts as hesitant")
        axes.set_ylabel("pairs per 1,000 tokens")

    return ["The wider the gap that counts, the more pairs:", picture("tokens", "Pairs per 1,000 decoded tokens", draw, folder),
            "Made with `python benchmarks/tokens.py`."]


def package(folder):
    "## What the package weighs"
    r = read("package.json")
    rows = [(f"`import tool_use_dpo.{m}`", f"{s:.2f} s") for m, s in r["import_seconds"].items()] + [("`--help`", f"{r['help_seconds']:.2f} s"),
            ("own files", f"{r['own_mb']} MB"), (f"the {r['packages']} packages that it needs", f"{r['packages_mb']:,} MB")]
    return [table(["", ""], rows), "Made with `python benchmarks/package.py`."]


def scale(folder):
    "## How time and memory grow"
    r = read("scale.json")
    sizes = sorted({run["n"] for step in r["steps"].values() for run in step["runs"]})
    rows = []
    for name, step in r["steps"].items():
        at, last = {run["n"]: run for run in step["runs"]}, step["runs"][-1]
        rows.append((f"{name}: {step['what']}", *(f"{at[n]['seconds']:,.1f} s, {at[n]['megabytes']:,} MB" if n in at else "" for n in sizes),
                     f"{1e6 * last['seconds'] / last['n']:,.0f} µs", step["exponent"]))

    def draw(axes, colors):
        for i, (name, step) in enumerate(r["steps"].items()):
            axes.plot([run["n"] for run in step["runs"]], [run["seconds"] for run in step["runs"]], "o-", lw=1, ms=3, color=colors[i % 3])
            axes.annotate(name, (step["runs"][-1]["n"], step["runs"][-1]["seconds"]), (4, 0), textcoords="offset points", va="center", fontsize=7)
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xlabel("triplets")
        axes.set_ylabel("processor seconds")

    return ["From making triplets to reading them for training, each step in a process of its own. With N triplets there are N/10 tools, and "
            "N/10 requests to evaluate on. Seconds of processor time grow as N to the power of the last column (1 is linear); memory is the peak of the "
            "process, libraries included.", picture("scale", "Seconds of each step over the number of triplets", draw, folder),
            table(["step", *(f"{n:,} triplets" for n in sizes), "per triplet", "exponent"], rows), f"Made with `{r['command']}`."]


def trust(folder):
    "## Faults, and inputs of strangers"
    r = read("trust.json")
    rows = [(row["what"], f"{row['tried']:,}", f"{row['survived']:,}", row["lost"], f"{row['seconds']:,}") for row in r["rows"]]
    return ["Cases of a fuzzer are texts, bytes or schemas; of a stage, kills or faults, each followed by the same command again, whose end "
            "result must be that of an undisturbed run.", table(["what", "cases tried", "survived", "lost", "processor seconds"], rows),
            "What was found so, and what was done about it:", table(["found", "mended"], [[text.replace("|", "\\|") for text in (f["what"], f["mended"])] for f in r["found"]]),
            f"Made with `{r['command']}`."]


SECTIONS = {"demo": demo, "dialogue": dialogue, "dpo_step": dpo_step, "evaluate": evaluate, "constrained": constrained, "tokens_cost": tokens_cost, "scale": scale, "trust": trust,
            "package": package}


def others(done):
    "Result files without a section of their own: name, and the first line of the script of that name."
    rows = []
    for p in sorted(p for p in BENCH.rglob("*.json*") if p.stem not in done and p.parent.name not in done):
        script = next((s for s in sorted(BENCH.rglob("*.py"), key=lambda s: -len(s.stem)) if p.stem.startswith(s.stem)), None)
        said = (ast.get_docstring(ast.parse(script.read_text(encoding="utf-8"))) or "").splitlines()[0] if script else ""
        rows.append((f"[{p.relative_to(BENCH)}](../../benchmarks/{p.relative_to(BENCH).as_posix()})", said))
    return ["## More", "Figures that their notebooks discuss, as files:", table(["file", "what it answers"], rows)] if rows else []


def page(
    folder: Path,    # where the page will lie; figures are written beside it
) -> str:            # Markdown
    "The gallery."
    out = ["# Results", "> What was measured, and by which command?",
           "Made from the files in `benchmarks/` whenever the site is built. The notebooks say what to think of them."]
    done = [name for name in SECTIONS if any(BENCH.glob(f"{name}*"))]
    for name in done: out += [SECTIONS[name].__doc__, *SECTIONS[name](folder)]
    return "\n\n".join(out + others(done)) + "\n"
