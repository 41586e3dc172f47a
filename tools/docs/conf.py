"Sphinx settings. `make docs` copies them beside the prepared notebooks."
import importlib.metadata

project = html_title = "Tool-Use DPO"
author = copyright = "2026 Tool-Use DPO developers"
version = release = importlib.metadata.version("tool-use-dpo")

extensions = ["myst_nb", "sphinx.ext.mathjax", "sphinx_copybutton", "sphinx_design"]
nb_execution_mode = "off"
nb_merge_streams = True
myst_enable_extensions = ["dollarmath", "amsmath", "colon_fence", "deflist"]
myst_heading_anchors = 3
add_module_names = False
python_use_unqualified_type_names = True
nitpick_ignore_regex = [("py:.*", r"(?!tool_use_dpo\.).*")]     # names of other packages, in signatures
pygments_style = "friendly"

html_theme = "furo"
html_static_path = ["_static"]
html_css_files = ["style.css"]
html_copy_source = html_show_sphinx = False
mathjax_path = "mathjax/tex-chtml.js"
