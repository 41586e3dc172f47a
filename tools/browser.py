"""Drive pages in headless Chromium, for the notebooks that test them.

    python tools/browser.py report.html shots      screenshots of a page: light and dark, wide and phone
"""
import argparse
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]


def browse(
    *visits,          # functions of a browser, called one after the other
) -> list:            # what they return; [] where no Chromium is found, with a printed line that says so
    "Start Chromium with a fresh profile and make visits; works inside Jupyter, too."
    if not CHROMIUM: return print("skipped: no Chromium on this machine (Debian: apt install chromium)") or []
    from playwright.sync_api import sync_playwright

    def run():
        with sync_playwright() as p:
            browser = p.chromium.launch(executable_path=CHROMIUM, args=FLAGS, timeout=300_000)
            try: return [visit(browser) for visit in visits]
            finally: browser.close()

    with ThreadPoolExecutor(1) as pool: return pool.submit(run).result()


def open_page(
    browser,                # from `browse`
    where: str,             # address
    width: int = 1280,      # pixels
    height: int = 900,      # pixels
    theme: str = "light",   # or "dark"
) -> tuple:                 # the page, and a list that grows: complaints, dialogs, requests to other hosts
    "Open a page and watch it."
    page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=theme)
    page.set_default_timeout(300_000)
    seen, home = [], where.split("?")[0].rstrip("/")

    def dialog(d):
        seen.append(f"dialog: {d.message}")
        d.dismiss()

    page.on("dialog", dialog)
    page.on("pageerror", lambda e: seen.append(f"error: {e}"))
    page.on("console", lambda m: m.type in ("error", "warning") and seen.append(f"console: {m.text}"))
    page.on("request", lambda r: r.url.startswith((home, "data:", "blob:")) or seen.append(f"request: {r.url}"))
    page.goto(where)
    return page, seen


# How readable text is: WCAG contrast of what an element's text has against what stands behind it.
CONTRAST = """element => {
  const light = c => { const [r, g, b] = c.match(/[\\d.]+/g).map(v => v / 255)
    .map(v => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4); return .2126*r + .7152*g + .0722*b; };
  let behind = element;
  while (getComputedStyle(behind).backgroundColor === "rgba(0, 0, 0, 0)" && behind.parentElement) behind = behind.parentElement;
  const [a, b] = [light(getComputedStyle(element).color), light(getComputedStyle(behind).backgroundColor)];
  return (Math.max(a, b) + .05) / (Math.min(a, b) + .05); }"""


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("page", type=Path, help="an HTML file")
    parser.add_argument("out", type=Path, help="folder for the screenshots")
    args = parser.parse_args()

    def shoot(width, height, theme):
        def visit(browser):
            page, _ = open_page(browser, args.page.resolve().as_uri(), width, height, theme)
            page.screenshot(path=args.out/f"{theme}-{width}.png", full_page=True)
        return visit

    browse(*(shoot(*size, theme) for size in ((1280, 900), (390, 844)) for theme in ("light", "dark")))


if __name__ == "__main__": main()
