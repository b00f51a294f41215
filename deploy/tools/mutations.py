"""Breaks one thing after the other in a copy of the tree and shows which check sees it: `.ci/ops --mutations`. Ends with
an error when a check does not see what it is there for, or does not pass on the copy before it was broken."""

import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

from schema import ROOT

COPIED = ["helm", "deploy", "docker", "services/lib/runtime/src/config/default.toml"]
TOOL = "python deploy/tools/{}.py --check"
TESTS = "python -m pytest -q -x -p no:cacheprovider helm/tests/{}"

CHECKS = {
    "schema": TOOL.format("schema"),
    "readme": TOOL.format("readme"),
    "dashboards": TOOL.format("dashboards"),
    "overlays": TOOL.format("overlays"),
    "scenarios": TESTS.format("test_scenarios.py"),
    "templates": TESTS.format("test_templates.py"),
    "values": TESTS.format("test_values.py"),
    "config": TESTS.format("test_config.py"),
    "compose": TESTS.format("test_compose.py"),
    "first": TESTS.format("test_first_minutes.py"),
    "rules": "promtool check rules helm/visavis/files/rules.yaml",
    "alerts": "promtool test rules deploy/monitoring/rules_test.yaml",
    "hadolint": "hadolint --failure-threshold style docker/cpu.Dockerfile docker/cuda.Dockerfile",
    "nginx": "python deploy/tools/proxy.py",
}

CHART, T = "helm/visavis", "helm/visavis/templates"
POD, RULES = f"{T}/_pod.tpl", f"{CHART}/files/rules.yaml"

# What is broken, in which file, what becomes what, and the check that must see it.
MUTATIONS = [
    ("a setting of the program is new", "services/lib/runtime/src/config/default.toml", "[audit]", "[audit]\nmore = 1", "schema"),
    ("a value has no description", f"{CHART}/values.yaml", "    # Fewest.\n    minReplicas: 2\n", "    minReplicas: 2\n", "readme"),
    ("a default changed and the README did not", f"{CHART}/values.yaml", "maxReplicas: 10", "maxReplicas: 11", "readme"),
    ("a dashboard was edited by hand", f"{CHART}/files/dashboards/queue.json", '"max', '"min', "dashboards"),
    ("an overlay was edited by hand", "deploy/kustomize/base/visavis.yaml", "replicas: 2", "replicas: 3", "overlays"),
    ("a template changed and the overlays did not", POD, "failureThreshold: 3", "failureThreshold: 4", "overlays"),
    ("a field is misspelt", POD, "automountServiceAccountToken: false", "automountServiceAccountTokn: false", "scenarios"),
    ("a field of KEDA is misspelt", f"{T}/worker-scaledobject.yaml", "lagCount:", "lagcount:", "scenarios"),
    ("YAML that is none", f"{T}/gateway-service.yaml", "spec:", "spec", "scenarios"),
    ("the root is writable", POD, "readOnlyRootFilesystem: true", "readOnlyRootFilesystem: false", "scenarios"),
    ("a probe asks for dependencies", POD, "path: /livez", "path: /readyz", "scenarios"),
    ("the grace period is the drain's", f"{T}/_checks.tpl", "{{- add .least .margin -}}", "{{- .least -}}", "scenarios"),
    ("HPA and KEDA at once", f"{T}/worker-hpa.yaml", 'if eq $v.autoscaling.type "hpa"', 'if ne $v.autoscaling.type "none"', "scenarios"),
    ("an object is always made", f"{T}/gateway-hpa.yaml", "if .enabled", "if true", "templates"),
    ("an object is never made", f"{T}/ingress.yaml", "if .enabled", "if false", "templates"),
    ("a budget for a single pod", f"{T}/gateway-pdb.yaml", "gt (int $least) 1", "gt (int $least) 0", "templates"),
    ("a template without a test", f"{T}/more.yaml", "", "{{/* nothing */}}", "templates"),
    ("the stream has another name", f"{T}/worker-scaledobject.yaml", "%s:{%s}:jobs", "%s:%s:jobs", "templates"),
    ("deny lets egress through", f"{T}/networkpolicy-default-deny.yaml", "[Ingress, Egress]", "[Ingress]", "templates"),
    ("a GPU without a limit", POD, "if and .provider", "if and false .provider", "templates"),
    ("the schema is open", f"{CHART}/values.schema.json", '"additionalProperties": false', '"additionalProperties": true', "values"),
    ("a contradiction passes", f"{T}/_checks.tpl", 'if and (eq $v.models.source "volume")', "if and false", "values"),
    ("whole numbers become floats", f"{T}/_toml.tpl", 'printf "%.0f" .', 'printf "%v" .', "config"),
    ("a secret is not mounted", POD, "- {name: sealing, mountPath: /run/secrets/visavis/sealing", "- {name: sealing, mountPath: /run/sealing", "config"),
    ("the address forgets TLS", f"{T}/_redis.tpl", 'ternary "rediss" "redis" $r.tls', 'ternary "redis" "redis" $r.tls', "config"),
    ("the README names another secret", f"{CHART}/README.md", "generic visavis-redis", "generic visavis-rediss", "first"),
    ("the notes wait for nothing", f"{T}/NOTES.txt", "rollout status deployment/{{ $full }}-worker", "get deployment/{{ $full }}-worker", "first"),
    ("a secret of Compose is not made", "docker/secrets", "once sealing.key", "once sealling.key", "compose"),
    ("a trainer of Compose has nowhere to keep crops", "docker/visavis.toml", "[objects]", "[object]", "compose"),
    ("a trainer's files lie on a disk", POD, "emptyDir: {medium: Memory, sizeLimit: {{ .spec.scratchSizeLimit }}}", "emptyDir: {sizeLimit: {{ .spec.scratchSizeLimit }}}", "templates"),
    ("a gateway of Compose lacks its key", "docker/compose.yaml", "secrets: [sealing.key, admin.key, gateway.crt, gateway.key]", "secrets: [sealing.key, gateway.crt, gateway.key]", "compose"),
    ("PromQL that is none", RULES, "up{job=\"visavis\"} == 0", "up{job=\"visavis\"} = 0", "rules"),
    ("an alert never fires", RULES, "== 0\n        for: 1m", "< 0\n        for: 1m", "alerts"),
    ("cancelled runs count as failures", RULES, 'outcome!~"done|cancelled"', 'outcome!="done"', "alerts"),
    ("an alert always fires", RULES, "> 0.05", ">= 0", "alerts"),
    ("another threshold of the queue", RULES, 'lane="interactive"}) > 5', 'lane="interactive"}) > 50', "alerts"),
    ("refusals by a key count as overload", RULES, 'key_.*|', "", "alerts"),
    ("an image without a tag", "docker/cpu.Dockerfile", "FROM ${RUNTIME_IMAGE} AS runtime", "FROM debian AS runtime", "hadolint"),
    ("root in the image", "docker/cpu.Dockerfile", "USER 10001:10001\nVOLUME [\"/var/lib", "USER root\nVOLUME [\"/var/lib", "hadolint"),
    ("nginx cannot read its file", "deploy/nginx/templates/visavis.conf.template", "proxy_request_buffering on;", "proxy_request_bufering on;", "nginx"),
    ("a variable of nginx is missing", "docker/compose.yaml", "      VISAVIS_RESOLVER: 127.0.0.11\n", "", "nginx"),
]  # fmt: skip


def run(check, folder):
    """Whether a check passes in a folder, and its last line."""
    command = CHECKS[check]
    if command.startswith("promtool") and not shutil.which("promtool"):
        return None, "there is no promtool"
    environment = os.environ | {"PYTHONPATH": f"{folder}/deploy/tools"}
    ran = subprocess.run(command.split(), cwd=folder, env=environment, capture_output=True, text=True, check=False)
    said = [line for line in (ran.stdout + ran.stderr).splitlines() if line.strip()]
    return ran.returncode == 0, said[-1] if said else ""


def copy(folder):
    """The part of the tree that the checks read."""
    for path in COPIED:
        source, target = ROOT / path, folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("secrets.d", "__pycache__"))
        else:
            shutil.copy(source, target)


def broken(folder, path, old, new):
    """Breaks a file; gives what restores it."""
    file = folder / path
    if not old:
        file.write_text(new)
        return file.unlink
    text = file.read_text()
    if old not in text:
        sys.exit(f"{path} does not hold {old!r}: the mutation is out of date")
    file.write_text(text.replace(old, new))
    return lambda: file.write_text(text)


def main():
    """The command."""
    wanted = sys.argv[1:]
    unseen, skipped = [], 0
    with tempfile.TemporaryDirectory(prefix="visavis-mutations-") as scratch:
        folder = pathlib.Path(scratch)
        copy(folder)
        for check in CHECKS:
            passed, said = run(check, folder)
            if passed is False:
                sys.exit(f"{check} does not pass as it is: {said}")
        for name, path, old, new, check in MUTATIONS:
            if wanted and check not in wanted:
                continue
            restore = broken(folder, path, old, new)
            passed, said = run(check, folder)
            restore()
            skipped += passed is None
            seen = {True: "NOT SEEN", False: "seen by", None: "SKIPPED"}[passed]
            print(f"{name:45} {seen} {check:10} {said[:110]}", flush=True)
            unseen += [name] if passed else []
    if unseen:
        sys.exit(f"no check saw: {unseen}")
    print(f"\n{len(wanted and [m for m in MUTATIONS if m[4] in wanted] or MUTATIONS) - skipped} passed, 0 failed, {skipped} skipped")


if __name__ == "__main__":
    main()
