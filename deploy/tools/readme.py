"""Makes the table of values in helm/visavis/README.md from the comments of values.yaml. `--check` compares instead."""

import json
import re
import sys

import yaml
from schema import ROOT, VALUES, special

README = ROOT / "helm/visavis/README.md"
BEGIN, END = "<!-- values: made by deploy/tools/readme.py -->\n", "<!-- end of values -->\n"


def comments(text):
    """The comment above each key, by the key's path."""
    found, stack, above = {}, [], []
    for line in text.splitlines():
        if comment := re.match(r"\s*# ?(.*)$", line):
            above.append(comment[1])
        elif key := re.match(r"(\s*)([A-Za-z][\w./-]*):", line):
            indent = len(key[1])
            stack = [s for s in stack if s[0] < indent] + [(indent, key[2])]
            found[".".join(name for _, name in stack)] = " ".join(above)
            above = []
        else:
            above = []
    return found


def leaves(path, value):
    """Paths with their defaults, down to what a user sets as a whole."""
    if isinstance(value, dict) and value and special(path) is None:
        for key, inner in value.items():
            yield from leaves(f"{path}.{key}", inner)
    else:
        yield path, value


def table():
    """The text between the marks."""
    text = VALUES.read_text()
    said, values = comments(text), yaml.safe_load(text)
    # A line about the whole file stands above the first key, apart from its comment.
    lines = []
    single = [(k, v) for k, v in values.items() if not isinstance(v, dict) or special(k) is not None]
    lines += rows(said, single)
    for key, value in values.items():
        if (key, value) not in single:
            lines += ["", f"### `{key}`", "", said[key], ""]
            lines += rows(said, leaves(key, value) if key != "worker" else worker(value))
    return "\n".join(lines) + "\n"


def worker(value):
    """The leaves of `worker`; its classes are one."""
    classes = value.pop("classes")
    yield from leaves("worker", value)
    yield "worker.classes", classes


def rows(said, found):
    """A table."""
    lines = ["| value | default | |", "|---|---|---|"]
    for path, value in found:
        if not (about := said.get(path, "")) and not inherited(path, said):
            sys.exit(f"values.yaml: {path} has no comment above it")
        default = json.dumps(value, ensure_ascii=False).replace("|", "\\|")
        default = "see values.yaml" if len(default) > 60 else f"`{default}`"
        lines.append(f"| `{path}` | {default} | {about} |")
    return lines


def inherited(path, said):
    """Whether what it is stands at another key of the same name, as `tag` of a second image."""
    return any(p != path and p.endswith("." + path.rsplit(".", 1)[-1]) and text for p, text in said.items())


def main():
    """The command."""
    text = README.read_text()
    before, rest = text.split(BEGIN)
    after = rest.split(END)[1]
    whole = before + BEGIN + "\n" + table() + "\n" + END + after
    if "--check" not in sys.argv:
        README.write_text(whole)
    elif whole != text:
        sys.exit("helm/visavis/README.md does not have the values of values.yaml: .ci/ops --write")


if __name__ == "__main__":
    main()
