"""Build the site, `_docs/`, from the notebooks; no network is used.

nbdev prepares the notebooks, this file turns its Quarto dialect into MyST, Sphinx makes the pages. No cell is run:
outputs are the recorded ones, and reference entries come from the installed package.

    python tools/docs/build.py
"""
import importlib
import importlib.util
import inspect
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import yaml
from fastcore.docments import docments

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
SOURCE, MADE, SITE = ROOT / "build" / "docs", ROOT / "build" / "site" / "html", ROOT / "_docs"
LIB = "tool_use_dpo"
CALLOUT = re.compile(r":::\s*\{\.callout-(\w+)[^}]*\}")
DOCLINK = re.compile(r"\[`([\w.]+)`\]\(https?://[^)]*/(\w+)\.html#([\w.]+)\)")
# a link out of nbs/, to a file of the repository; notebooks and their pictures are in it
OUTSIDE = re.compile(r"\]\((?!\S*\.(?:ipynb|svg)[)#])(?:\.\./)+([^)\s]+)\)")
PARTS = {"tutorials": "Tutorials", "nano": "The bundled base", "contributing": "Contributing"}   # folders of nbs/, captions
LAYERS = {"Data": "00", "Training": "06", "Evidence": "10a", "Dialogues and tokens": "13", "All together": "15"}   # captions, and where they begin
GUIDES = ["guide/methods", "guide/troubleshooting", "guide/results", "guide/glossary"]


def prepare(
    path: Path,    # a notebook
) -> dict:         # what nbdev's documentation makes of it, nothing executed
    "Title as front matter, hidden cells gone, `show_doc` cells behind exported ones, symbols linked."
    from execnb.nbio import mk_cell, nb2dict, read_nb
    from nbdev.process import NBProcessor
    from nbdev.processors import FilterDefaults, exec_show_docs
    nb = read_nb(path)
    nb.cells.append(mk_cell("<!-- end -->", "markdown"))     # nbdev looks behind every exported cell, the last one too
    NBProcessor(nb=nb, procs=[p for p in FilterDefaults().procs() if p is not exec_show_docs], process=True)
    return nb2dict(nb)


def params(
    f: object,    # a function or class
) -> str:         # Markdown; "" where nothing is said about any parameter
    "A table of the parameters of `f`, described by the comments beside them."
    def code(s): return "`" + str(s).replace("|", r"\|") + "`" if s != "" else ""
    def name(t): return "" if t is inspect.Parameter.empty else t.__name__ if isinstance(t, type) else str(t)
    said = docments(f, full=True)
    rows = [(code(n), code(name(p.annotation)),
             "" if p.default is inspect.Parameter.empty else code(repr(p.default)), said[n].docment or "")
            for n, p in inspect.signature(f).parameters.items() if n != "self" and n in said]
    out = said.get("return")
    if out and out.docment: rows.append(("*returns*", code(name(out.anno)), "", out.docment))
    if not any(r[3] for r in rows): return ""
    keep = [i for i in range(4) if i != 2 or any(r[2] for r in rows)]
    rows = [("", "type", "default", ""), ["---"] * 4, *rows]
    return "\n".join("| " + " | ".join(" ".join(r[i].split()) for i in keep) + " |" for r in rows)


def entry(
    name: str,      # a symbol, such as `violations` or `Violation.show`
    mod: object,    # the module it lives in
) -> str:           # Markdown
    "The reference entry of one symbol: signature, docstring, parameters."
    f = mod
    for part in name.split("."): f = getattr(f, part)
    kind = "class" if inspect.isclass(f) else "method" if "." in name else "function"
    try: signature, table = str(inspect.signature(f)), params(f)
    except (TypeError, ValueError): signature, table = "", ""
    return f"````{{py:{kind}}} {name}{signature}\n:module: {mod.__name__}\n\n{inspect.getdoc(f) or ''}\n\n{table}\n````"


def repository() -> str:
    "Where the files of the repository can be read."
    from nbdev.config import get_config
    return f"{get_config().git_url}/blob/{get_config().branch}"


def outside(
    text: str,     # Markdown of a file under nbs/
) -> str:          # the same, with links out of nbs/ to where they can be read
    "Links to files of the repository, as addresses."
    return OUTSIDE.sub(lambda m: f"]({repository()}/{m[1]})", text)


def heading(
    front: str,    # the front matter that nbdev made of the title cell
) -> str:          # Markdown
    "Title and subtitle of a page."
    d = next(yaml.safe_load_all(front))
    return f"# {d.get('title', '')}\n\n" + (f"> {d['description']}" if d.get("description") else "")


def shown(
    nb: dict,    # a prepared notebook
) -> list:       # names of the symbols it has reference entries for
    "Symbols that nbdev added a `show_doc` cell for."
    cells = ("".join(c["source"]) for c in nb["cells"])
    return [m[1] for m in (re.search(r"^show_doc\(([\w.]+)", s, re.M) for s in cells) if m]


def convert(
    nb: dict,       # a prepared notebook
    mod: object,    # the module it exports, or None
    known: set,     # full names of all symbols with an entry
) -> dict:          # a MyST notebook
    "One page: front matter, callouts, cross-references, reference entries and code cells in Sphinx's dialect."
    def link(m):
        full = f"{LIB}.{m[2]}.{m[3]}"
        return f"{{py:obj}}`{m[1]} <{full}>`" if full in known else f"`{m[1]}`"

    def prose(text):
        return DOCLINK.sub(link, CALLOUT.sub(r":::{\1}", outside(text)))

    cells = []
    for cell in nb["cells"]:
        source, kind, tags = "".join(cell["source"]), cell["cell_type"], []
        m = re.search(r"^show_doc\(([\w.]+)", source, re.M)
        if source.startswith(("<!-- WARNING", "<!-- end -->")): continue
        if kind == "raw": kind, source = "markdown", heading(source)
        elif m: kind, source = "markdown", entry(m[1], mod)
        elif kind == "markdown": source = prose(source)
        else:
            if "Exported source" in source: tags.append("exported")
            if re.search(r"^#\|\s*echo:\s*false", source, re.M): tags.append("remove-input")
            source = re.sub(r"^#\|.*\n?", "", source, flags=re.M)
        new = {"id": f"c{len(cells)}", "cell_type": kind, "metadata": {"tags": tags}, "source": source}
        if kind == "code": new.update(outputs=cell.get("outputs", []), execution_count=None)
        cells.append(new)
    metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3"}, "language_info": {"name": "python"}}
    return {"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}


def reference(
    symbols: dict,    # module -> names of its symbols with an entry
) -> str:             # Markdown
    "The API page: one table of symbols per module."
    out = ["# API", "> Every public name, by module."]
    for mod, names in symbols.items():
        rows = []
        for n in names:
            if "." in n: continue
            doc = (inspect.getdoc(getattr(mod, n)) or "").splitlines() or [""]
            rows.append(f"| {{py:obj}}`{n} <{mod.__name__}.{n}>` | {doc[0].replace('|', chr(92) + '|')} |")
        if rows: out += [f"## {mod.__name__}", mod.__doc__ or "", "\n".join(["| | |", "|---|---|", *rows])]
    return "\n\n".join(out) + "\n"


def contents(
    pages: list,    # page names, such as `01_schema` or `nano/00_train`
) -> str:           # Markdown, for the end of the index page
    "The hidden tables of contents that make the sidebar."
    parts = {caption: [p for p in pages if p.startswith(f"{folder}/")] for folder, caption in PARTS.items()}
    parts["Contributing"] = ["contributing", *parts["Contributing"]]
    layers, begins = {caption: [] for caption in LAYERS}, list(LAYERS.values())
    for p in pages:
        if "/" not in p and p != "index": layers[list(LAYERS)[sum(p >= b for b in begins) - 1]].append(p)
    groups = {"Guides": GUIDES, "Tutorials": parts.pop("Tutorials"), **layers, **parts, "Reference": ["api", "changelog"]}
    return "\n\n".join("```{toctree}\n:hidden:\n:caption: " + caption + "\n\n" + "\n".join(names) + "\n```"
                       for caption, names in groups.items() if names)


def told(
    text: str,    # Markdown of a page
) -> tuple:       # title and question
    "What a page is called, and what it answers."
    title, question = (re.search(pattern, text, re.M) for pattern in (r"^# (.+)", r"^> (.+)"))
    return title[1], question[1] if question else ""


def llms(
    pages: dict,    # page -> its Markdown, the first cell of it at least
) -> str:           # llms.txt
    "What language models read first: the project in a sentence, and every page with what it answers (llmstxt.org)."
    from nbdev.config import get_config
    cfg = get_config()
    title, question = told(pages["index"])
    out = [f"# {title}", f"> {question}", "A Python package and command line (`tool-use-dpo --help`), written as notebooks. It makes "
           "certified preference pairs from tool schemas, trains by SFT and IPO, and measures with intervals."]
    groups = {"Guides": [p for p in pages if p.startswith(("guide/", "tutorials/"))], "Modules": [p for p in pages if "/" not in p and p != "index"],
              "Optional": [p for p in pages if p.startswith(("nano/", "contributing/"))]}
    for caption, names in groups.items():
        said = ((name, *told(pages[name])) for name in names)
        out.append(f"## {caption}\n\n" + "\n".join(f"- [{t}]({cfg.doc_host}{cfg.doc_baseurl}/{n}.html): {q}" for n, t, q in said))
    return "\n\n".join(out) + "\n"


def module(
    nb: dict,    # a prepared notebook
) -> object:     # the module, or None
    "The module that a notebook exports."
    front = next(("".join(c["source"]) for c in nb["cells"] if c["cell_type"] == "raw"), "")
    stem = re.search(r"^output-file: (\w+)\.html", front, re.M)
    found = stem and importlib.util.find_spec(f"{LIB}.{stem[1]}")
    return importlib.import_module(found.name) if found else None


def mathjax(
    static: Path,    # the site's static folder
) -> None:
    "Copy MathJax, as the `sphinx-mathjax-offline` package ships it, without what no page needs."
    package = Path(importlib.util.find_spec("sphinx-mathjax-offline").origin).parent / "static" / "mathjax"
    for part in ("tex-chtml.js", "output/chtml/fonts", "input/tex/extensions"):
        copy = shutil.copytree if (package / part).is_dir() else shutil.copy
        (static / "mathjax" / part).parent.mkdir(parents=True, exist_ok=True)
        copy(package / part, static / "mathjax" / part)


def main():
    os.chdir(ROOT)
    sys.path.append(str(ROOT / "tools"))
    from notebooks import find
    from results import page
    for folder in (SOURCE, MADE, SITE): shutil.rmtree(folder, ignore_errors=True)
    nbs = {p.relative_to("nbs").with_suffix("").as_posix(): prepare(p) for p in find()}
    mods = {name: module(nb) for name, nb in nbs.items()}
    symbols = {mods[name]: shown(nb) for name, nb in nbs.items() if mods[name]}
    known = {f"{mod.__name__}.{n}" for mod, names in symbols.items() for n in names}

    shutil.copytree("nbs", SOURCE, ignore=shutil.ignore_patterns("*.ipynb", ".*", "_*"))
    texts = {"CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}
    for name, to in texts.items(): (SOURCE / to).write_text(Path(name).read_text(encoding="utf-8").replace("](nbs/", "]("), encoding="utf-8")
    (SOURCE / "guide" / "results.md").write_text(page(SOURCE / "guide"), encoding="utf-8")
    for path in SOURCE.rglob("*.md"): path.write_text(outside(path.read_text(encoding="utf-8")), encoding="utf-8")
    written = {p.relative_to(SOURCE).with_suffix("").as_posix(): p.read_text(encoding="utf-8") for p in sorted(SOURCE.rglob("*/*.md"))}
    pages = [*written, *nbs]
    for name, nb in nbs.items():
        made = convert(nb, mods[name], known)
        written[name] = "\n\n".join(c["source"] for c in made["cells"][:3])
        if name == "index":
            made["cells"].append({"id": "contents", "cell_type": "markdown", "metadata": {}, "source": contents(pages)})
        path = (SOURCE / name).with_suffix(".ipynb")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(made, indent=1), encoding="utf-8")
    (SOURCE / "llms.txt").write_text(llms(written), encoding="utf-8")
    (SOURCE / "api.md").write_text(reference(symbols), encoding="utf-8")
    for name in ("conf.py", "favicon.svg"): shutil.copy(HERE / name, SOURCE)
    (SOURCE / "_static").mkdir(exist_ok=True)
    shutil.copy(HERE / "style.css", SOURCE / "_static")
    mathjax(SOURCE / "_static")
    code = subprocess.call([sys.executable, "-m", "sphinx", "-q", "-n", "-W", "--keep-going", SOURCE, MADE])
    if not code: shutil.move(MADE, SITE)      # myst-nb leaves a folder beside what it makes
    sys.exit(code)


if __name__ == "__main__": main()
