"""Every file of ci/: lint, strict validation against two versions of Kubernetes, and what holds for all objects."""

import chart
import crds
import helm_python as helm
import jsonschema
import kubernetes_validate
import pytest

VERSIONS = ["1.34", "1.37"]
PROGRAM = ("gateway", "worker", "trainer")


def test_lint_has_nothing_to_say(scenario):
    report = helm.lint(chart.CHART, scenario.values, strict=True, namespace="faces", kube_version="v1.34.0")
    # "icon is recommended" is for shops of charts.
    said = [m for m in report["messages"] if "icon is recommended" not in m["error"]]
    assert said == [] and report["errors"] == [], report


@pytest.mark.parametrize("version", VERSIONS)
def test_every_object_is_valid(scenario, version):
    for _, found in scenario.objects:
        if found["kind"] in crds.SCHEMAS:
            jsonschema.Draft202012Validator(crds.SCHEMAS[found["kind"]]).validate(found)
        else:
            kubernetes_validate.validate(found, version, strict=True)


def test_a_wrong_object_is_not_valid(least):
    broken = least.one("gateway-service.yaml")
    broken["spec"]["prots"] = []
    with pytest.raises(kubernetes_validate.ValidationError, match="prots"):
        kubernetes_validate.validate(broken, VERSIONS[0], strict=True)


def test_names_fit_and_are_unique(scenario):
    names = [(o["kind"], o["metadata"]["name"]) for _, o in scenario.objects]
    assert len(set(names)) == len(names)
    assert all(len(name) <= 63 for _, name in names)


def test_long_release_names_stay_within_bounds():
    long = "a" * 53
    for _, found in chart.objects(chart.scenarios()["production"], name=long):
        assert len(found["metadata"]["name"]) <= 63
        for label in found["metadata"]["labels"].values():
            assert len(label) <= 63


def test_labels_and_selectors(scenario):
    for _, found in scenario.objects:
        labels = found["metadata"]["labels"]
        assert labels["app.kubernetes.io/part-of"] == "visavis"
        assert labels["app.kubernetes.io/instance"] == "visavis"
        if found["kind"] in ("Deployment", "StatefulSet"):
            selector = found["spec"]["selector"]["matchLabels"]
            assert selector.items() <= found["spec"]["template"]["metadata"]["labels"].items()
            # A version in a selector could never be changed.
            assert not any("version" in key or "chart" in key for key in selector)


def test_every_selector_selects_pods_of_one_component(scenario):
    pods = {name: template["metadata"]["labels"] for name, template in scenario.pods()}
    for _, found in scenario.objects:
        spec = found["spec"] if "spec" in found else {}
        if found["kind"] == "Service":
            selector = spec["selector"]
        elif found["kind"] in ("PodDisruptionBudget",):
            selector = spec["selector"]["matchLabels"]
        else:
            continue
        assert [n for n, labels in pods.items() if selector.items() <= labels.items()], found["metadata"]["name"]


def test_pods_are_restricted(scenario):
    for name, template in scenario.pods():
        pod = template["spec"]
        assert pod["automountServiceAccountToken"] is False, name
        context = pod["securityContext"]
        assert context["runAsNonRoot"] is True and context["runAsUser"] == 10001
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in pod["containers"] + pod.get("initContainers", []):
            context = container["securityContext"]
            assert context["readOnlyRootFilesystem"] is True
            assert context["allowPrivilegeEscalation"] is False
            assert context["capabilities"] == {"drop": ["ALL"]}
            assert "memory" in container["resources"]["limits"]
            assert not container["image"].endswith((":latest", ":"))


def test_what_is_written_to_is_mounted_and_what_is_mounted_exists(scenario):
    for name, template in scenario.pods():
        pod = template["spec"]
        volumes = {v["name"] for v in pod.get("volumes", [])}
        claims = {"data"} if name.endswith("-redis") else set()
        for container in pod["containers"] + pod.get("initContainers", []):
            mounts = container["volumeMounts"]
            assert {m["name"] for m in mounts} <= volumes | claims
            assert len({m["mountPath"] for m in mounts}) == len(mounts)


def test_probes_ask_what_they_should(scenario):
    for name, template in scenario.pods():
        container = template["spec"]["containers"][0]
        if container["name"] not in PROGRAM:
            continue
        ports = {p["name"]: p["containerPort"] for p in container["ports"]}
        for probe, path in [("startupProbe", "/readyz"), ("readinessProbe", "/readyz"), ("livenessProbe", "/livez")]:
            assert container[probe]["httpGet"] == {"path": path, "port": "admin"}, name
        assert ports["admin"] == 9090
        startup = container["startupProbe"]
        assert startup["periodSeconds"] * startup["failureThreshold"] >= 300


def test_the_grace_period_is_longer_than_the_drain(scenario):
    for name, template in scenario.pods():
        container = template["spec"]["containers"][0]
        if container["name"] not in PROGRAM:
            continue
        drain = scenario.config(name).get("shutdown", {}).get("grace_ms", 20000) / 1000
        before = container.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
        assert template["spec"]["terminationGracePeriodSeconds"] > drain + before, name


def test_no_secret_is_in_a_manifest(scenario):
    for _, found in scenario.objects:
        assert found["kind"] != "Secret"
    for name, template in scenario.pods():
        for entry in template["spec"]["containers"][0].get("env", []):
            if "PASSWORD" in entry["name"] or "KEY" in entry["name"]:
                assert "secretKeyRef" in entry["valueFrom"], (name, entry)


def test_a_worker_is_scaled_by_one_thing_alone(scenario):
    targets = [
        o["spec"]["scaleTargetRef"]["name"]
        for _, o in scenario.objects
        if o["kind"] in ("HorizontalPodAutoscaler", "ScaledObject")
    ]
    assert len(set(targets)) == len(targets)
    for target in targets:
        assert "replicas" not in scenario.named("Deployment", target)["spec"], target


def test_a_changed_setting_rolls_the_pods(render):
    def sums(given):
        return [t["metadata"]["annotations"]["checksum/config"] for _, t in render(*given).pods()]

    before, after = sums(["gateway.replicas", 2]), sums(["config.limits", {"images": 32}])
    assert all(b != a for b, a in zip(before, after, strict=True))
