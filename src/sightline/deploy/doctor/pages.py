"""The documentation of the rules, made from the rules: a page each, and an index."""

from __future__ import annotations

from pathlib import Path

from sightline.deploy.doctor.catalogue import FAMILIES, RULES, family_of
from sightline.deploy.doctor.rules import Rule
from sightline.files import replacing

INDEX = "doctor.md"
FOLDER = "doctor"

_INTRODUCTION = """\
# The doctor

Some mistakes cost days, because nothing fails: a DeepStream pipeline with the wrong class id embeds faces, one with
the wrong scale gives vectors that look sound, one whose engine has another name builds it anew at every start.
`sightline doctor` reads the files of a deployment and says what is wrong before anything runs. It needs neither a GPU
nor DeepStream.

    sightline doctor reid_sgie_config.txt        # one file
    sightline doctor deployment/                 # a folder: each part, and the parts against each other
    sightline doctor config.txt labels.txt       # several files are one deployment, too
    sightline doctor model.onnx --images crops/  # the model at work, on crops of different people
    sightline doctor deployment/ --fix           # repair what nobody has to be asked about
    sightline doctor --explain DS001             # one of the pages below, in the terminal

It looks at models (.onnx), nvinfer configurations (.txt and .yml), tracker configurations, label files, galleries
(SQLite and Chroma), deepstream-app files, service-maker YAML, Python and notebooks, shell scripts, Dockerfiles and
requirements. An error ends with exit code 1, so that a build can stop at it; `--strict` does so for a warning too.
`--json` is for programs.

Paths in a deployment are those of the machine it is for. A file that is not at its path here is looked for in the
folder by the end of its path; `--root /app/reid` says where the folder will lie.

`--fix` changes single lines: a value whose right one is known, a comment that stands behind a value, a list with
commas. It never guesses, keeps comments, order and line ends, and shows what it did.

What it cannot see: whether a pipeline put together at run time is in order, what a custom parser does, and whether
weights are good. It was written from NVIDIA's public sources and documentation and has not been run beside DeepStream
itself. How GLib reads an INI file, on which most of the CFG rules rest, is tested against GLib.
"""


def page(rule: Rule) -> str:
    """One rule in Markdown."""
    parts = [f"# {rule.id} · {rule.title}", f"*{rule.severity.capitalize()}.* {rule.why}"]
    if rule.bad:
        parts.append(f"Caught:\n\n{_block(rule.bad)}")
    if rule.good:
        parts.append(f"Fine:\n\n{_block(rule.good)}")
    parts += [f"**What to do.** {rule.fix}", f"[All rules](../{INDEX})"]
    return "\n\n".join(parts) + "\n"


def _block(text: str) -> str:
    return "\n".join(f"    {line}".rstrip() for line in text.splitlines())


def index() -> str:
    """The page that leads to the others."""
    parts = [_INTRODUCTION]
    for family, title in FAMILIES.items():
        rules = [rule for rule in RULES.values() if family_of(rule) == family]
        rows = [f"| [{rule.id}]({FOLDER}/{rule.id}.md) | {rule.severity} | {rule.title} |" for rule in rules]
        parts.append("\n".join([f"## {title}", "", "| rule | | what is wrong |", "|---|---|---|", *rows]) + "\n")
    return "\n".join(parts)


def write_pages(docs: Path) -> None:
    """All pages below the documentation folder. A page of a rule that is gone is removed."""
    (docs / FOLDER).mkdir(exist_ok=True)
    pages = {docs / FOLDER / f"{rule.id}.md": page(rule) for rule in RULES.values()} | {docs / INDEX: index()}
    for path, text in pages.items():
        with replacing(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
    for path in (docs / FOLDER).glob("*.md"):
        if path not in pages:
            path.unlink()
