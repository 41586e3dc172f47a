"Sphinx settings. `make docs` copies them beside the prepared notebooks."
import importlib
import importlib.metadata
import inspect

project = html_title = "Tool-Use DPO"
REPOSITORY = "https://github.com/tool-use-dpo/tool-use-dpo/blob/main"
author = copyright = "2026 Tool-Use DPO developers"
version = release = importlib.metadata.version("tool-use-dpo")

extensions = ["myst_nb", "sphinx.ext.linkcode", "sphinx.ext.mathjax", "sphinx_copybutton", "sphinx_design"]
nb_execution_mode = "off"
nb_merge_streams = True
nb_render_markdown_format = "myst"   # CommonMark, the default, has no tables
myst_enable_extensions = ["dollarmath", "amsmath", "colon_fence", "deflist"]
myst_heading_anchors = 3
add_module_names = False
python_use_unqualified_type_names = True
nitpick_ignore_regex = [("py:.*", r"(?!tool_use_dpo\.).*")]     # names of other packages, in signatures
pygments_style = "friendly"

html_theme = "furo"
html_favicon = "favicon.svg"
html_static_path = ["_static"]
html_css_files = ["style.css"]
html_copy_source = html_show_sphinx = False
mathjax_path = "mathjax/tex-chtml.js"
html_extra_path = ["llms.txt"]


def linkcode_resolve(domain, info):
    "Where the source of a symbol can be read."
    found = importlib.import_module(info["module"])
    try:
        for part in info["fullname"].split("."): found = getattr(found, part)
        line = inspect.getsourcelines(inspect.unwrap(found))[1]
    except (AttributeError, TypeError, OSError): return None
    return f"{REPOSITORY}/{info['module'].replace('.', '/')}.py#L{line}"
