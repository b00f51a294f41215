"""Makes deploy/kustomize from the chart: a base, and overlays that hold what differs from it as patches. `--check`
compares, and has kustomize itself build every overlay, which must give the very objects that the chart gives."""

import os
import pathlib
import shutil
import subprocess
import sys

import chart
import yaml

FOLDER = chart.ROOT / "deploy/kustomize"
MADE = "# Made from {values} by deploy/tools/overlays.py: change that, then run .ci/ops --write.\n"
# Labels that say who looks after an object. Here Helm does not.
HELMS = ("helm.sh/chart", "app.kubernetes.io/managed-by")


def rendered(name):
    """The objects of a file of values, by kind and name."""
    found = {}
    for _, made in chart.objects(chart.values(FOLDER / f"values/{name}.yaml")):
        made["metadata"]["labels"] = {k: v for k, v in made["metadata"]["labels"].items() if k not in HELMS}
        found[made["kind"], made["metadata"]["name"]] = made
    return found


def difference(path, old, new):
    """The steps of a JSON patch from one value to another. Lists of another length are replaced whole. The path comes
    last: kustomize takes the last line break off a patch, which must not be that of a text within."""
    if old == new:
        return
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for i, pair in enumerate(zip(old, new, strict=True)):
            yield from difference(f"{path}/{i}", *pair)
        return
    if not (isinstance(old, dict) and isinstance(new, dict)):
        yield {"op": "replace", "value": new, "path": path}
        return
    for key in sorted(old.keys() | new.keys()):
        at = f"{path}/{key.replace('~', '~0').replace('/', '~1')}"
        if key not in new:
            yield {"op": "remove", "path": at}
        elif key not in old:
            yield {"op": "add", "value": new[key], "path": at}
        else:
            yield from difference(at, old[key], new[key])


def text(documents):
    """YAML that reads well: long texts as blocks."""
    return yaml.dump_all(documents, Dumper=Blocks, sort_keys=False, width=1000, allow_unicode=True)


class Blocks(yaml.SafeDumper):
    """Texts of several lines as blocks, and no anchors."""

    def ignore_aliases(self, data):
        return True


def block(dumper, value):
    """A text."""
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="|" if "\n" in value else None)


Blocks.add_representer(str, block)


def overlays():
    """Their names."""
    return sorted(p.stem for p in (FOLDER / "values").glob("*.yaml") if p.stem != "base")


def made():
    """Every file, by its path within the folder."""
    base, files = rendered("base"), {}
    head = MADE.format(values="values/base.yaml and the chart")
    files["base/visavis.yaml"] = head + text(base.values())
    files["base/kustomization.yaml"] = head + text([kustomization(["visavis.yaml"])])
    for name in overlays():
        files.update(overlay(name, base, rendered(name)))
    return files


def overlay(name, base, wanted):
    """The files of an overlay."""
    head = MADE.format(values=f"values/{name}.yaml and the chart")
    resources, patches, files = ["../../base"], [], {}
    more = [made for key, made in wanted.items() if key not in base]
    if more:
        files[f"overlays/{name}/more.yaml"] = head + text(more)
        resources.append("more.yaml")
    for (kind, at), old in base.items():
        target = {"kind": kind, "name": at}
        if (kind, at) not in wanted:
            gone = {"$patch": "delete", "apiVersion": old["apiVersion"], "kind": kind, "metadata": {"name": at}}
            patches.append({"target": target, "patch": text([gone])})
        elif steps := list(difference("", old, wanted[kind, at])):
            patches.append({"target": target, "patch": text([steps])})
    files[f"overlays/{name}/kustomization.yaml"] = head + text([kustomization(resources, patches)])
    return files


def kustomization(resources, patches=()):
    """A kustomization."""
    found = {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization", "resources": resources}
    return found | ({"patches": list(patches)} if patches else {})


def built(folder):
    """What kustomize makes of a folder, by kind and name."""
    kubectl = shutil.which("kubectl", path=f"{pathlib.Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    ran = subprocess.run([kubectl, "kustomize", folder], capture_output=True, text=True, check=False)
    if ran.returncode != 0:
        sys.exit(f"kubectl kustomize {folder}: {ran.stderr}")
    return {(o["kind"], o["metadata"]["name"]): o for o in yaml.safe_load_all(ran.stdout)}


def check(files):
    """Ends with what is not as it should be."""
    there = {
        str(p.relative_to(FOLDER)): p.read_text() for d in ("base", "overlays") for p in (FOLDER / d).rglob("*.yaml")
    }
    drifted = sorted(k for k in there.keys() | files.keys() if there.get(k) != files.get(k))
    if drifted:
        sys.exit(f"deploy/kustomize is not what the chart says ({', '.join(drifted)}): .ci/ops --write")
    for name in ["base", *overlays()]:
        folder = FOLDER / ("base" if name == "base" else f"overlays/{name}")
        found, wanted = built(folder), rendered(name)
        if found != wanted:
            differ = sorted(f"{k}/{n}" for k, n in found.keys() | wanted.keys() if found.get((k, n)) != wanted.get((k, n)))
            sys.exit(f"kustomize makes other objects of {folder.relative_to(chart.ROOT)} than the chart: {differ}")


def main():
    """The command."""
    files = made()
    if "--check" in sys.argv:
        check(files)
        return
    for folder in ("base", "overlays"):
        shutil.rmtree(FOLDER / folder, ignore_errors=True)
    for path, content in files.items():
        (FOLDER / path).parent.mkdir(parents=True, exist_ok=True)
        (FOLDER / path).write_text(content)
    check(files)


if __name__ == "__main__":
    main()
