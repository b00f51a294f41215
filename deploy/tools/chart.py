"""Renders the chart with Helm's own engine. Used by the other tools, by helm/tests and, as a command, by the Rust test
that starts processes from the manifests: `chart.py --values FILE` prints them as one JSON list."""

import argparse
import json
import pathlib
import sys

import helm_python as helm
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
CHART = ROOT / "helm/visavis"
NOTES = "visavis/templates/NOTES.txt"


def values(path):
    """The values of a file."""
    return yaml.safe_load(pathlib.Path(path).read_text()) or {}


def scenarios():
    """Name and values of every scenario of ci/."""
    return {p.name.removesuffix("-values.yaml"): values(p) for p in sorted((CHART / "ci").glob("*-values.yaml"))}


def render(given, name="visavis", namespace="faces", chart=CHART):
    """The text of each template, as an install would make it; the schema is asked first."""
    with helm.Chart.load(chart) as loaded:
        loaded.validate_schema(given)
        return loaded.render(values=given, name=name, namespace=namespace, is_install=True)


def objects(given, name="visavis", namespace="faces", chart=CHART):
    """The objects an install would make, each with the template it is from."""
    found = []
    for template, text in sorted(render(given, name, namespace, chart).items()):
        if template == NOTES:
            continue
        for document in yaml.load_all(text, Loader=yaml.CSafeLoader):
            if document:
                found.append((template.removeprefix("visavis/templates/"), document))
    return found


def main():
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--values", type=pathlib.Path, required=True)
    parser.add_argument("--name", default="visavis")
    parser.add_argument("--namespace", default="faces")
    given = parser.parse_args()
    try:
        made = objects(values(given.values), given.name, given.namespace)
    except helm.HelmError as error:
        sys.exit(str(error))
    json.dump([document for _, document in made], sys.stdout, indent=1)


if __name__ == "__main__":
    main()
