"""Write README.md from nbs/index.ipynb: its prose, its code and the text of its recorded outputs.

    python tools/readme.py
"""
import posixpath
import re
import sys

from notebooks import ROOT, output_text

LINK = re.compile(r"(\]\()(?!\w+:|#|/)([^)\s]+)")
HEAD = "<!-- Made from nbs/index.ipynb by `make readme`: edit that, not this. -->"


def from_root(
    text: str,    # Markdown, with links relative to nbs/
) -> str:         # the same, with links relative to the repository
    "Relative links and images as they are seen from the README."
    return LINK.sub(lambda m: m[1] + posixpath.normpath(f"nbs/{m[2]}"), text)


def block(
    output: dict,    # one recorded output
) -> str:            # Markdown
    "An output as Markdown: Markdown as it is, other text in a fence."
    markdown = output.get("data", {}).get("text/markdown")
    if markdown: return from_root("".join(markdown).strip())
    if any(k.startswith("image/") for k in output.get("data", {})):
        raise SystemExit("nbs/index.ipynb: an output is a picture; save it in nbs/images and link it in the text")
    return f"```text\n{output_text(output).rstrip()}\n```"


def render() -> str:
    "README.md, from the index notebook as nbdev sees it: hidden cells and lines left out, no ANSI codes."
    from nbdev.process import NBProcessor
    from nbdev.processors import hide_, hide_line, rm_export, strip_ansi
    nb = NBProcessor(ROOT / "nbs/index.ipynb", procs=[strip_ansi, hide_line, rm_export, hide_], process=True).nb
    parts = [HEAD]
    for cell in nb.cells:
        source = re.sub(r"^#\|.*\n?", "", cell.source, flags=re.M).strip()
        if cell.cell_type == "markdown": parts.append(from_root(source))
        if cell.cell_type == "code" and cell.directives_.get("echo:") != ["false"]:
            parts.append(f"```python\n{source}\n```")
        parts += [block(o) for o in cell.get("outputs", [])]
    return "\n\n".join(filter(None, parts)) + "\n"


if __name__ == "__main__":
    (ROOT / "README.md").write_text(render(), encoding="utf-8")
    print("README.md written", file=sys.stderr)
