"""What MkDocs does for the documentation site beyond its plugins; mkdocs.yml names it as its hooks.

The pages are written so that they can be read in the repository, too. Here their links to files
outside of docs/ lead to pages of the site, their formulas become MathML, which browsers draw
without JavaScript, the help of every command is printed, and the notebook becomes a page.
"""

from __future__ import annotations

import ast
import importlib
import io
import itertools
import os
import posixpath
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import griffe
from latex2mathml.converter import convert as as_mathml

from keras_flowers.__main__ import COMMANDS

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]

OUTSIDE = {
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "saved_models/flowers102/README.md": "model_card.md",
    "docs/tour.ipynb": "tour.md",
}
"""Files of the repository, by their path in it, and the pages of the site that show them."""

EXECUTE = "KERAS_FLOWERS_TOUR"
"""The variable that asks with 1 for running the notebook; otherwise it has no answers."""

_LINK = re.compile(r"(\[[^\]]*\])\(([^)\s:#]+)(#[^)\s]*)?\)")


class Doctests(griffe.Extension):  # type: ignore[misc]
    """Shows the examples in docstrings as code: without a heading they would be text."""

    def on_object(self, *, obj: griffe.Object, **rest: Any) -> None:
        """Puts a fence around each example."""
        if obj.docstring is not None:
            obj.docstring.value = re.sub(
                r"^>>> .*(?:\n.+)*", r"```pycon\n\g<0>\n```", obj.docstring.value, flags=re.M
            )


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the pages that are not files of docs/."""
    from mkdocs.structure.files import File

    def add(page: str, content: str | bytes) -> None:
        files.append(File.generated(config, page, content=content))

    for path, page in OUTSIDE.items():
        if path.endswith(".md") and path != "README.md":
            add(page, (ROOT / path).read_text(encoding="utf-8"))
    text, pictures = tour(execute=os.environ.get(EXECUTE) == "1")
    add("tour.md", text)
    for name, picture in pictures.items():
        add(name, picture)
    pages = [file for file in files if file.src_uri.endswith(".md")]
    linked = {path for file in pages for path in _linked_sources(file.src_uri, file.content_string)}
    for path in sorted(linked):
        add(f"source/{path}.md", source_page(path))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turns what a page of the repository says into what the site understands."""
    here = page.file.src_uri
    if here.startswith("source/"):
        return markdown
    if here == "commands.md":
        markdown = markdown.replace("<!-- help of every command -->", "\n\n".join(_helps()))
    # Two dollars are what the extension arithmatex takes for a formula of its own.
    markdown = re.sub(r"^```math\n(.*?)^```$", r"$$\n\1$$", markdown, flags=re.M | re.S)
    return _LINK.sub(lambda found: _relinked(found, here), markdown)


def on_page_content(html: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Draws the formulas."""
    html = re.sub(
        r'<span class="arithmatex">\\\((.*?)\\\)</span>',
        lambda found: as_mathml(_unescaped(found[1])),
        html,
        flags=re.S,
    )
    return re.sub(
        r'<div class="arithmatex">\\\[(.*?)\\\]</div>',
        _block,
        html,
        flags=re.S,
    )


def _block(found: re.Match[str]) -> str:
    """A formula that can be moved sideways where it is wider than a phone."""
    formula = as_mathml(_unescaped(found[1]), display="block")
    return f'<div style="overflow-x: auto; overflow-y: hidden">{formula}</div>'


def tour(*, execute: bool) -> tuple[str, dict[str, bytes]]:
    """The notebook as a page, and its pictures by their names.

    Args:
        execute: Whether it is run. A cell that fails ends the build.
    """
    import nbformat
    from nbclient import NotebookClient
    from nbconvert import MarkdownExporter

    notebook = nbformat.read(ROOT / "docs" / "tour.ipynb", as_version=4)
    if execute:
        NotebookClient(
            notebook, timeout=300, resources={"metadata": {"path": ROOT / "docs"}}
        ).execute()
    for cell in notebook.cells:
        # Progress bars, and what TensorFlow says of missing GPUs.
        outputs = cell.get("outputs", [])
        outputs[:] = [one for one in outputs if one.get("name") != "stderr"]
    text, resources = MarkdownExporter().from_notebook_node(notebook)
    pictures = {f"tour_{name}": bytes(data) for name, data in resources["outputs"].items()}
    for name in resources["outputs"]:
        text = text.replace(f"]({name})", f"](tour_{name})")
    return text, pictures


def source_page(path: str) -> str:
    """A page that shows a file of the code, with a heading for each function and class to link to.

    Args:
        path: Of the file, in the repository.
    """
    code = (ROOT / path).read_text(encoding="utf-8")
    lines = code.splitlines(keepends=True)
    page = f"---\nsearch:\n  exclude: true\n---\n# {path}\n\n"
    # Longer than any fence in a docstring.
    fence = "`" * 8
    starts = [(1, ""), *_definitions(code), (len(lines) + 1, "")]
    for (start, name), (end, _) in itertools.pairwise(starts):
        if name:
            page += f"## `{name}` {{ #{name} }}\n\n"
        part = "".join(lines[start - 1 : end - 1]).rstrip()
        page += f'{fence} {{ .python linenums="{start}" }}\n{part}\n{fence}\n\n'
    return page


def _definitions(code: str) -> Iterator[tuple[int, str]]:
    """The first line and the name of each function and class of a file."""
    for node in ast.parse(code).body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            yield min([node.lineno, *(one.lineno for one in node.decorator_list)]), node.name


def _linked_sources(here: str, markdown: str) -> Iterator[str]:
    for found in _LINK.finditer(markdown):
        path = _in_repository(found[2], here)
        if path.endswith(".py"):
            yield path


def _in_repository(target: str, here: str) -> str:
    """The path in the repository of what a page links to."""
    copied = {page: path for path, page in OUTSIDE.items() if path != "README.md"}
    origin = copied.get(here, f"docs/{here}")
    return posixpath.normpath(posixpath.join(posixpath.dirname(origin), target))


def _relinked(found: re.Match[str], here: str) -> str:
    label, target, anchor = found[1], found[2], found[3] or ""
    path = _in_repository(target, here)
    if not (ROOT / path).exists():
        return found[0]  # of the site's own, or code that looks like a link
    if path in OUTSIDE:
        target = OUTSIDE[path]
    elif path.endswith(".py"):
        target = f"source/{path}.md"
        named = re.fullmatch(r"\[`\w+\.(\w+)`\]", label)
        if named:
            anchor = f"#{named[1]}"
    elif path.startswith("docs/"):
        target = path.removeprefix("docs/")
    return f"{label}({target}{anchor})"


def _helps() -> Iterator[str]:
    for command in COMMANDS:
        text = io.StringIO()
        parser = importlib.import_module(f"keras_flowers.commands.{command}").parser()
        parser.print_help(text)
        yield f"## {command}\n\n```text\n{text.getvalue()}```"


def _unescaped(text: str) -> str:
    return text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
