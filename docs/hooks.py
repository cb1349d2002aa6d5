"""What `mkdocs` does beside its own work: pages that lie above `docs/` become pages of the site.

`mkdocs.yml` names this file. In the repository links lead to the files, and on the site to these pages.
"""

import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

_ROOT = Path(__file__).parents[1]
_PAGES = {"CHANGELOG.md": "changelog.md", "CONTRIBUTING.md": "contributing.md", "SECURITY.md": "vulnerabilities.md"}
_HOME = {"README.md": "index.md"}
_NOTEBOOKS = {"notebooks/work/training.html": "English", "notebooks/work/training.pt-BR.html": "Português"}
_NOTEBOOKS_ARE_NAMED_IN = "tutorials/cifar10.md"
_ICON = "src/lince/serving/page/icon.svg"


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the pages above `docs/`, and the icon of the service's page."""
    for source, name in _PAGES.items():
        text = (_ROOT / source).read_text(encoding="utf-8")
        files.append(File.generated(config, name, content=re.sub(r"\]\(docs/", "](", _to_pages(text, above=""))))
    for source in _executed():
        files.append(File.generated(config, source, abs_src_path=str(_ROOT / source)))
    files.append(File.generated(config, "icon.svg", abs_src_path=str(_ROOT / _ICON)))
    return files


def _executed() -> dict[str, str]:
    """The notebooks that were executed (`make notebook-pages`), and their languages."""
    return {source: language for source, language in _NOTEBOOKS.items() if (_ROOT / source).exists()}


def on_page_markdown(markdown: str, page: Page, **_: object) -> str:
    """Links that lead out of `docs/` lead to pages of the site, or become the name of a file."""
    if page.file.src_uri == _NOTEBOOKS_ARE_NAMED_IN and (found := _executed()):
        links = " · ".join(f"[{language}](../{source})" for source, language in found.items())
        markdown += f"\n\n## The notebook, executed\n\nIn quick mode, with drawn pictures: {links}.\n"
    above = "../" * (page.file.src_uri.count("/") + 1)
    return re.sub(rf"\[([^\]]+)\]\({re.escape(above)}(?!\.)[^)]*\)", r"\1", _to_pages(markdown, above=above))


def _to_pages(markdown: str, *, above: str) -> str:
    for source, name in {**_PAGES, **_HOME}.items():
        markdown = re.sub(rf"\]\({re.escape(above)}{re.escape(source)}", f"]({above[:-3]}{name}", markdown)
    return markdown
