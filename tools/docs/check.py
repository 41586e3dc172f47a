"""Is the site whole? Links, anchors and addresses by reading it; search, pages and themes in headless Chromium.

    python tools/docs/check.py             both; `make test-docs` runs this
    python tools/docs/check.py --shots F   screenshots of some pages into the folder F, and nothing else
"""
import argparse
import functools
import http.server
import re
import sys
import tempfile
import threading
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag, urlsplit

HERE = Path(__file__).resolve().parent
sys.path.append(str(HERE.parent))
from browser import CONTRAST, browse, open_page     # noqa: E402

SITE = HERE.parent.parent / "_docs"
SYMBOLS = ("validate_tool_call", "ipo_loss", "mutate", "extract_json", "serving_template")
SHOWN = ("index.html", "08_losses.html", "guide/results.html", "guide/troubleshooting.html", "api.html", "11_sspr.html", "contributing/loss.html")
LOADS = {"script": "src", "img": "src", "link": "href", "iframe": "src", "source": "src"}


class Page(HTMLParser):
    "What a page links to, loads, and can be linked to; and the tables that it shows as text."
    def __init__(self, path):
        super().__init__()
        self.ids, self.links, self.loads, self.tag, self.raw = set(), [], [], "", []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_data(self, text):
        if self.tag == "p" and text.startswith("|"): self.raw.append(text[:40].splitlines()[0])

    def handle_starttag(self, tag, attributes):
        said, self.tag = dict(attributes), tag
        self.ids |= {said[k] for k in ("id", "name") if said.get(k)}
        if tag == "a" and said.get("href"): self.links.append(said["href"])
        if tag in LOADS and said.get(LOADS[tag]) and said.get("rel") not in ("canonical", "next", "prev"): self.loads.append(said[LOADS[tag]])


def faults(site):
    "Links that lead nowhere, anchors that are not there, things that come from elsewhere, tables shown as text; one line each."
    pages = {p.resolve(): Page(p) for p in sorted(site.rglob("*.html")) if "_static" not in p.parts}
    found = []
    for path, page in pages.items():
        name = path.relative_to(site.resolve()).as_posix()
        found += [f"{name}: loads {u} from elsewhere" for u in page.loads if urlsplit(u).netloc]
        found += [f"{name}: a table as text, {t}" for t in page.raw]
        for link in [*page.links, *page.loads]:
            if urlsplit(link).scheme or link.startswith("//"): continue
            to, anchor = urldefrag(link)
            target = (path.parent / unquote(to.split("?")[0])).resolve() if to else path
            if not target.is_file(): found.append(f"{name}: {link} is not there")
            elif anchor and target in pages and unquote(anchor) not in pages[target].ids: found.append(f"{name}: no anchor {link}")
    return sorted(set(found))


def listed(site):
    "Pages that llms.txt names and the site lacks."
    urls = re.findall(r"\]\(https?://[^/]+/[^/]+/([^)]+)\)", (site / "llms.txt").read_text(encoding="utf-8"))
    return [f"llms.txt: {u} is not there" for u in urls if not (site / u).is_file()] + ([] if len(urls) > 20 else ["llms.txt: too short"])


def doubted():
    "The checks against a site that is broken in each way."
    with tempfile.TemporaryDirectory() as folder:
        bad = Path(folder)
        (bad / "a.html").write_text('<h1 id="x"></h1><a href="b.html"></a><a href="#x"></a><a href="a.html#y"></a><script src="https://cdn.example/x.js"></script><p>| a | b |\n| — | — |</p>')
        (bad / "llms.txt").write_text("[a](https://h/p/a.html) [b](https://h/p/b.html)")
        assert faults(bad) == ["a.html: a table as text, | a | b |", "a.html: b.html is not there", "a.html: loads https://cdn.example/x.js from elsewhere", "a.html: no anchor a.html#y"], faults(bad)
        assert listed(bad) == ["llms.txt: b.html is not there", "llms.txt: too short"]


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_): pass


def served(site):
    "The address of a server of the site, which ends with the process."
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(site)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_port}/"


def searched(where):
    "Visit: the search finds each symbol, and its first results lead to it."
    def visit(browser):
        page, seen = open_page(browser, where)
        for symbol in SYMBOLS:
            page.goto(f"{where}search.html?q={symbol}")
            page.wait_for_selector("ul.search li a")
            page.wait_for_function("document.querySelector('.search-summary') && !/Searching/.test(document.querySelector('#search-results h2').textContent)")
            hits = page.eval_on_selector_all("ul.search li a", "links => links.slice(0, 5).map(a => a.getAttribute('href'))")
            if not any(h.split("#")[-1].endswith(f".{symbol}") for h in hits): seen.append(f"search: {symbol} is not among the first: {hits}")
        return seen
    return visit


def toured(where, width, theme):
    "Visit: every page of the navigation opens, is no wider than the window, has its heading, and says nothing on the console."
    def visit(browser):
        page, seen = open_page(browser, where, width, 844, theme)
        names = page.eval_on_selector_all(".sidebar-tree a.reference.internal", "links => [...new Set(links.map(a => a.href.split('#')[0]))]")
        if len(names) < 40: seen.append(f"navigation: only {len(names)} pages")
        for name in names:
            answer = page.goto(name)
            wide = page.evaluate("document.documentElement.scrollWidth")
            if answer and not answer.ok: seen.append(f"{name}: {answer.status}")
            if wide > width: seen.append(f"{name}: {wide} pixels wide on a screen of {width}")
            if not page.locator("h1").first.is_visible(): seen.append(f"{name}: no heading")
        ink = page.locator("article p").first.evaluate(CONTRAST)
        if ink < 7: seen.append(f"{theme}: contrast of text is {ink:.1f}")
        return seen
    return visit


def shot(where, folder, width, theme, name):
    "Visit: a screenshot."
    def visit(browser):
        page, _ = open_page(browser, where + name, width, 900, theme)
        page.screenshot(path=folder / f"{name.replace('/', '-')}-{theme}-{width}.png")
    return visit


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shots", type=Path, help="folder for screenshots")
    args = parser.parse_args()
    if not (SITE / "index.html").is_file(): sys.exit("_docs/ holds no site: run `make docs` first")
    where = served(SITE)
    if args.shots:
        args.shots.mkdir(parents=True, exist_ok=True)
        looks = [(1280, "light"), (1280, "dark"), (390, "light")]
        browse(*(shot(where, args.shots, *look, name) for look in looks for name in SHOWN))
        return
    doubted()
    found = faults(SITE) + listed(SITE)
    for seen in browse(searched(where), toured(where, 390, "dark"), toured(where, 1280, "light")): found += seen
    print(*found, sep="\n")
    print(f"{SITE.name}: {len(found)} faults" if found else "The site is whole: links, anchors, search, every page in both themes and widths.")
    sys.exit(bool(found))


if __name__ == "__main__": main()
