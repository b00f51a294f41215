"""One test for each template: what it makes, with what in it, and when it makes nothing."""

import chart
import pytest
from conftest import LEAST, over

# Filled by the tests below; the last one sees to it that none is missing.
TESTED = set()


def template(name):
    """Marks the test of a template."""
    TESTED.add(name)
    return lambda test: test


@template("serviceaccount.yaml")
def test_serviceaccount(render, least):
    assert least.one("serviceaccount.yaml")["metadata"]["name"] == "visavis"
    own = render("serviceAccount", {"create": False, "name": "faces"})
    assert own.of("serviceaccount.yaml") == []
    assert all(t["spec"]["serviceAccountName"] == "faces" for _, t in own.pods())


@template("gateway-deployment.yaml")
def test_gateway_deployment(render, least):
    found = least.one("gateway-deployment.yaml")
    assert found["spec"]["replicas"] == 2
    assert found["spec"]["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}
    pod = found["spec"]["template"]["spec"]
    assert "initContainers" not in pod, "a gateway loads no models"
    container = pod["containers"][0]
    assert container["command"] + container["args"] == ["visavis", "gateway", "--config", "/etc/visavis/visavis.toml"]
    assert container["lifecycle"] == {"preStop": {"sleep": {"seconds": 5}}}
    assert {v["name"] for v in pod["volumes"]} == {"config", "data", "tmp", "admin-key", "sealing"}
    at_once = render("gateway.preStopSeconds", 0).one("gateway-deployment.yaml")
    assert "lifecycle" not in at_once["spec"]["template"]["spec"]["containers"][0]
    scaled = render("gateway.autoscaling.enabled", True).one("gateway-deployment.yaml")
    assert "replicas" not in scaled["spec"]
    tls = render("gateway.tls.existingSecret", "tls").one("gateway-deployment.yaml")["spec"]["template"]["spec"]
    assert any(v["name"] == "tls" and v["secret"]["secretName"] == "tls" for v in tls["volumes"])


@template("gateway-configmap.yaml")
def test_gateway_configmap(render, least):
    assert set(least.one("gateway-configmap.yaml")["data"]) == {"visavis.toml"}
    plain = least.config("visavis-gateway")
    assert plain["gateway"] == {"listen": "0.0.0.0:8443", "admin_key_file": "/run/secrets/visavis/admin/admin.key"}
    tls = render("gateway.tls.existingSecret", "tls").config("visavis-gateway")["gateway"]
    assert tls["tls_cert_file"] == "/run/secrets/visavis/tls/tls.crt"


@template("gateway-service.yaml")
def test_gateway_service(render, least):
    found = least.one("gateway-service.yaml")
    assert found["spec"]["type"] == "ClusterIP" and "annotations" not in found["metadata"]
    assert found["spec"]["ports"] == [{"name": "https", "port": 443, "targetPort": "https", "appProtocol": "https"}]
    outside = render("gateway.service", {"type": "LoadBalancer", "port": 8443, "annotations": {"a": "b"}})
    found = outside.one("gateway-service.yaml")
    assert (found["spec"]["type"], found["spec"]["ports"][0]["port"]) == ("LoadBalancer", 8443)
    assert found["metadata"]["annotations"] == {"a": "b"}


@template("gateway-hpa.yaml")
def test_gateway_hpa(render, least):
    assert least.of("gateway-hpa.yaml") == []
    found = render("gateway.autoscaling", {"enabled": True, "minReplicas": 3}).one("gateway-hpa.yaml")
    assert (found["spec"]["minReplicas"], found["spec"]["maxReplicas"]) == (3, 10)
    assert found["spec"]["scaleTargetRef"]["name"] == "visavis-gateway"


@template("gateway-pdb.yaml")
def test_gateway_pdb(render, least):
    assert least.one("gateway-pdb.yaml")["spec"]["maxUnavailable"] == 1
    assert render("gateway.replicas", 1).of("gateway-pdb.yaml") == [], "it would block every drain"
    scaled = render("gateway", {"replicas": 1, "autoscaling": {"enabled": True, "minReplicas": 2}})
    assert len(scaled.of("gateway-pdb.yaml")) == 1


@template("worker-deployment.yaml")
def test_worker_deployment(render, least):
    (found,) = least.of("worker-deployment.yaml")
    assert found["metadata"]["name"] == "visavis-worker-cpu" and found["spec"]["replicas"] == 2
    pod = found["spec"]["template"]["spec"]
    assert pod["containers"][0]["args"] == ["worker", "--config", "/etc/visavis/visavis.toml"]
    (init,) = pod["initContainers"]
    assert init["args"] == ["models", "fetch", "--config", "/etc/visavis/models.toml"]
    assert {e["name"] for e in init["env"]} == {"PIP_NO_CACHE_DIR", "HOME"}, "the init container knows no secret"
    assert "admin-key" not in {v["name"] for v in pod["volumes"]}
    volume = render("models", {"source": "volume", "existingClaim": "m"}).one("worker-deployment.yaml")
    pod = volume["spec"]["template"]["spec"]
    assert "initContainers" not in pod
    assert {"claimName": "m", "readOnly": True} in [v.get("persistentVolumeClaim") for v in pod["volumes"]]


def test_worker_on_gpu(render):
    both = render("worker.classes.gpu.enabled", True)
    found = both.named("Deployment", "visavis-worker-gpu")
    pod = found["spec"]["template"]["spec"]
    assert pod["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == 1
    assert pod["tolerations"] == [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}]
    assert pod["nodeSelector"] == {"nvidia.com/gpu.present": "true"}
    assert pod["containers"][0]["image"] == "visavis/visavis-cuda:0.1.0"
    assert found["spec"]["strategy"]["rollingUpdate"] == {"maxUnavailable": 1, "maxSurge": 0}
    gpu, cpu = both.config("visavis-worker-gpu"), both.config("visavis-worker-cpu")
    assert (gpu["worker"]["provider"], cpu["worker"]["provider"]) == ("cuda", "cpu")
    assert gpu["models"]["runtime_library"] == "/opt/onnxruntime/libonnxruntime.so"
    assert "runtime_library" not in cpu["models"]
    plain = both.named("Deployment", "visavis-worker-cpu")["spec"]["template"]["spec"]
    assert "nvidia.com/gpu" not in plain["containers"][0]["resources"]["limits"]
    assert "nodeSelector" not in plain and "tolerations" not in plain


@template("worker-configmap.yaml")
def test_worker_configmap(render, least):
    found = least.one("worker-configmap.yaml")
    assert set(found["data"]) == {"visavis.toml", "models.toml"}
    assert "[gateway]" not in found["data"]["visavis.toml"]
    assert found["data"]["models.toml"].split() == "[models] cache_dir = \"/models\" offline = false".split()
    two = render("worker.classes", {"night": {"enabled": True, "config": {"worker": {"bulk_jobs": 8}}}})
    assert two.config("visavis-worker-night")["worker"] == {"bulk_jobs": 8, "provider": "cpu"}
    assert two.config("visavis-worker-cpu")["worker"] == {"provider": "cpu"}
    none = render("worker.classes.cpu.enabled", False)
    assert none.of("worker-configmap.yaml") == none.of("worker-deployment.yaml") == []


@template("worker-hpa.yaml")
def test_worker_hpa(render, least):
    assert least.of("worker-hpa.yaml") == []
    found = render("worker.autoscaling.type", "hpa")
    assert found.one("worker-hpa.yaml")["spec"]["scaleTargetRef"]["name"] == "visavis-worker-cpu"
    assert found.of("worker-scaledobject.yaml") == []


@template("worker-scaledobject.yaml")
def test_worker_scaledobject(render, least):
    assert least.of("worker-scaledobject.yaml") == []
    found = render(over(LEAST, {"worker": {"autoscaling": {"type": "keda"}}, "config": {"redis": {"prefix": "faces"}}}))
    assert found.of("worker-hpa.yaml") == []
    triggers = {t["name"]: t["metadata"] for t in found.one("worker-scaledobject.yaml")["spec"]["triggers"]}
    assert triggers["interactive"] == {
        "address": "redis.example.org:6379", "stream": "faces:{interactive}:jobs", "consumerGroup": "workers",
        "lagCount": "8", "enableTLS": "false",
    }  # fmt: skip
    assert (triggers["bulk"]["stream"], triggers["bulk"]["lagCount"]) == ("faces:{bulk}:jobs", "2")


@pytest.mark.parametrize(("mode", "scaler"), [("sentinel", "redis-sentinel-streams"), ("cluster", "redis-cluster-streams")])
def test_keda_knows_the_kind_of_server(render, mode, scaler):
    redis = {"mode": mode, "addresses": ["a:1", "b:2"], "sentinelMaster": "main" if mode == "sentinel" else ""}
    found = render(over(LEAST, {"externalRedis": redis, "worker": {"autoscaling": {"type": "keda"}}}))
    for trigger in found.one("worker-scaledobject.yaml")["spec"]["triggers"]:
        assert trigger["type"] == scaler and trigger["metadata"]["addresses"] == "a:1,b:2"
        assert ("sentinelMaster" in trigger["metadata"]) == (mode == "sentinel")


@template("worker-triggerauthentication.yaml")
def test_worker_triggerauthentication(render):
    keda = over(LEAST, {"worker": {"autoscaling": {"type": "keda"}}})
    assert render(keda).of("worker-triggerauthentication.yaml") == [], "there is nothing to tell"
    secret = over(keda, {"externalRedis": {"existingSecret": "redis", "caSecret": "redis-ca"}})
    found = render(secret)
    assert found.one("worker-triggerauthentication.yaml")["spec"]["secretTargetRef"] == [
        {"parameter": "password", "name": "redis", "key": "password"},
        {"parameter": "ca", "name": "redis-ca", "key": "ca.crt"},
    ]
    name = found.one("worker-triggerauthentication.yaml")["metadata"]["name"]
    for trigger in found.one("worker-scaledobject.yaml")["spec"]["triggers"]:
        assert trigger["authenticationRef"] == {"name": name}
    assert render(over(secret, {"worker": {"autoscaling": {"type": "hpa"}}})).of("worker-triggerauthentication.yaml") == []


@template("worker-pdb.yaml")
def test_worker_pdb(render, least):
    assert least.one("worker-pdb.yaml")["spec"]["maxUnavailable"] == 1
    assert render("worker.replicas", 1).of("worker-pdb.yaml") == []
    assert len(render("worker", {"replicas": 1, "autoscaling": {"type": "hpa"}}).of("worker-pdb.yaml")) == 1
    one = render("worker.autoscaling", {"type": "hpa", "minReplicas": 1})
    assert one.of("worker-pdb.yaml") == []


TRAINER = over(LEAST, {"objects": {"url": "s3://b/c", "existingSecret": "s3"}, "trainer": {"enabled": True}})


@template("trainer-deployment.yaml")
def test_trainer_deployment(render, least):
    assert least.of("trainer-deployment.yaml") == []
    found = render(TRAINER).one("trainer-deployment.yaml")["spec"]
    assert found["replicas"] == 1 and found["strategy"] == {"type": "Recreate"}
    pod = found["template"]["spec"]
    assert pod["containers"][0]["args"] == ["trainer", "--config", "/etc/visavis/visavis.toml"]
    # Where things are sealed a trainer starts on nothing but memory, and /dev/shm is too small for a model.
    assert {"name": "scratch", "emptyDir": {"medium": "Memory", "sizeLimit": "2Gi"}} in pod["volumes"]
    assert {"name": "scratch", "mountPath": "/scratch"} in pod["containers"][0]["volumeMounts"]
    assert "scratch" not in str(least.one("worker-deployment.yaml"))


@template("trainer-configmap.yaml")
def test_trainer_configmap(render, least):
    assert least.of("trainer-configmap.yaml") == []
    found = render(TRAINER).config("visavis-trainer")
    assert found["objects"]["url"] == "s3://b/c" and "gateway" not in found
    assert found["trainer"] == {"scratch_dir": "/scratch"}


@template("redis-statefulset.yaml")
def test_redis_statefulset(render, least):
    assert least.of("redis-statefulset.yaml") == []
    own = {"secrets": LEAST["secrets"], "redis": {"enabled": True}}
    found = render(own).one("redis-statefulset.yaml")["spec"]
    container = found["template"]["spec"]["containers"][0]
    assert " ".join(container["args"]) == "--dir /data --appendonly yes --appendfsync always --maxmemory-policy noeviction"
    assert found["volumeClaimTemplates"][0]["spec"]["resources"]["requests"] == {"storage": "8Gi"}
    locked = render(over(own, {"redis": {"existingSecret": "r", "persistence": {"enabled": False}}}))
    found = locked.one("redis-statefulset.yaml")["spec"]
    assert found["template"]["spec"]["containers"][0]["args"][-2:] == ["--requirepass", "$(REDIS_PASSWORD)"]
    assert "volumeClaimTemplates" not in found
    env = {e["name"]: e for e in locked.one("gateway-deployment.yaml")["spec"]["template"]["spec"]["containers"][0]["env"]}
    assert env["VISAVIS__REDIS__URL"]["value"] == "redis://:$(REDIS_PASSWORD)@visavis-redis:6379"


@template("redis-service.yaml")
def test_redis_service(render, least):
    assert least.of("redis-service.yaml") == []
    own = render({"secrets": LEAST["secrets"], "redis": {"enabled": True}})
    assert own.one("redis-service.yaml")["spec"]["ports"][0]["port"] == 6379


INGRESS = over(
    LEAST,
    {"ingress": {"enabled": True, "host": "h", "tlsSecret": "t"}, "gateway": {"tls": {"existingSecret": "g"}}},
)


@template("ingress.yaml")
def test_ingress(render, least):
    assert least.of("ingress.yaml") == []
    found = render(INGRESS).one("ingress.yaml")
    assert found["spec"]["ingressClassName"] == "nginx"
    assert found["spec"]["tls"] == [{"hosts": ["h"], "secretName": "t"}]
    notes = found["metadata"]["annotations"]
    assert notes["nginx.org/ssl-services"] == "visavis-gateway" and notes["nginx.org/lb-method"] == "round_robin"
    assert all(isinstance(value, str) for value in notes.values())
    assert not any(key.startswith("nginx.ingress.kubernetes.io") for key in notes), "the retired controller's"


ROUTE = over(
    LEAST,
    {
        "gateway": {"tls": {"existingSecret": "g"}},
        "httpRoute": {
            "enabled": True, "parentRefs": [{"name": "public"}], "hostnames": ["h"],
            "backendTls": {"hostname": "visavis", "caConfigMap": "ca"},
        },
    },
)  # fmt: skip


@template("httproute.yaml")
def test_httproute(render, least):
    assert least.of("httproute.yaml") == []
    found = render(ROUTE).one("httproute.yaml")["spec"]
    assert found["parentRefs"] == [{"name": "public"}] and found["hostnames"] == ["h"]
    events, rest = found["rules"]
    assert events["timeouts"] == {"request": "0s"} and rest["timeouts"] == {"request": "75s"}


@template("backendtlspolicy.yaml")
def test_backendtlspolicy(render, least):
    assert least.of("backendtlspolicy.yaml") == []
    found = render(ROUTE).one("backendtlspolicy.yaml")["spec"]
    assert found["targetRefs"][0]["name"] == "visavis-gateway" and found["validation"]["hostname"] == "visavis"
    without = over(ROUTE, {"httpRoute": {"backendTls": {"enabled": False}}})
    assert render(without).of("backendtlspolicy.yaml") == []


def flows(policy, way):
    """Ports of each rule."""
    return [sorted(str(p["port"]) for p in rule["ports"]) for rule in policy["spec"][way]]


@template("networkpolicy-default-deny.yaml")
def test_networkpolicy_default_deny(render, least):
    found = least.one("networkpolicy-default-deny.yaml")["spec"]
    assert found["policyTypes"] == ["Ingress", "Egress"]
    assert "ingress" not in found and "egress" not in found, "nothing is allowed here"
    for _, pod in least.pods():
        assert found["podSelector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()
    off = render("networkPolicy.enabled", False)
    assert not [t for t, _ in off.objects if t.startswith("networkpolicy")]


@template("networkpolicy-gateway.yaml")
def test_networkpolicy_gateway(render, least):
    found = least.one("networkpolicy-gateway.yaml")
    assert flows(found, "ingress") == [["https"], ["admin"]]
    assert flows(found, "egress") == [["53", "53"], ["6379"]]
    assert "from" not in found["spec"]["ingress"][0] and "from" in found["spec"]["ingress"][1]
    more = render(
        over(
            TRAINER,
            {
                "config": {"oidc": {"issuers": [{"issuer": "https://i", "audiences": ["v"], "tenant": "default"}]}},
                "objects": {"endpoint": "https://s3:9000"},
                "networkPolicy": {"gatewayFrom": [{"podSelector": {}}], "redisTo": [{"ipBlock": {"cidr": "10.0.0.0/8"}}]},
            },
        )
    ).one("networkpolicy-gateway.yaml")
    assert flows(more, "egress") == [["53", "53"], ["6379"], ["9000"], ["443"]]
    assert more["spec"]["egress"][1]["to"] == [{"ipBlock": {"cidr": "10.0.0.0/8"}}]
    assert more["spec"]["ingress"][0]["from"] == [{"podSelector": {}}]


@template("networkpolicy-worker.yaml")
def test_networkpolicy_worker(render, least):
    found = least.one("networkpolicy-worker.yaml")
    assert flows(found, "ingress") == [["admin"]]
    assert flows(found, "egress") == [["53", "53"], ["6379"], ["443"]]
    closed = render("models", {"source": "volume", "existingClaim": "m"}).one("networkpolicy-worker.yaml")
    assert flows(closed, "egress") == [["53", "53"], ["6379"]]


@template("networkpolicy-trainer.yaml")
def test_networkpolicy_trainer(render, least):
    assert least.of("networkpolicy-trainer.yaml") == []
    assert flows(render(TRAINER).one("networkpolicy-trainer.yaml"), "egress")[2] == ["443"]


@template("networkpolicy-redis.yaml")
def test_networkpolicy_redis(render, least):
    assert least.of("networkpolicy-redis.yaml") == []
    own = {"secrets": LEAST["secrets"], "redis": {"enabled": True}}
    found = render(own).one("networkpolicy-redis.yaml")["spec"]
    assert "egress" not in found and len(found["ingress"][0]["from"]) == 1
    keda = render(over(own, {"worker": {"autoscaling": {"type": "keda"}}})).one("networkpolicy-redis.yaml")
    assert {"kubernetes.io/metadata.name": "keda"} in [
        f.get("namespaceSelector", {}).get("matchLabels") for f in keda["spec"]["ingress"][0]["from"]
    ]


@template("metrics-service.yaml")
@template("servicemonitor.yaml")
def test_servicemonitor(render, least):
    assert least.of("servicemonitor.yaml") == least.of("metrics-service.yaml") == []
    found = render("monitoring.serviceMonitor", {"enabled": True, "labels": {"release": "p"}})
    monitor, service = found.one("servicemonitor.yaml"), found.one("metrics-service.yaml")
    assert monitor["metadata"]["labels"]["release"] == "p"
    assert monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    # The alerts and dashboards say job="visavis".
    assert service["metadata"]["labels"][monitor["spec"]["jobLabel"]] == "visavis"
    for name, pod in found.pods():
        assert service["spec"]["selector"].items() <= pod["metadata"]["labels"].items(), name
    ports = [p["name"] for p in service["spec"]["ports"]]
    assert monitor["spec"]["endpoints"][0]["port"] in ports


@template("prometheusrule.yaml")
def test_prometheusrule(render, least):
    assert least.of("prometheusrule.yaml") == []
    groups = render("monitoring.prometheusRule.enabled", True).one("prometheusrule.yaml")["spec"]["groups"]
    assert groups == chart.values(chart.CHART / "files/rules.yaml")["groups"]
    moved = render("monitoring.prometheusRule", {"enabled": True, "runbookBaseUrl": "https://wiki/visavis/"})
    pages = [
        r["annotations"]["runbook_url"]
        for g in moved.one("prometheusrule.yaml")["spec"]["groups"]
        for r in g["rules"]
        if "alert" in r
    ]
    assert pages and all(p.startswith("https://wiki/visavis/Visavis") for p in pages)


@template("dashboards.yaml")
def test_dashboards(render, least):
    assert least.of("dashboards.yaml") == []
    found = render("monitoring.dashboards.enabled", True).of("dashboards.yaml")
    files = {p.name: p.read_text() for p in (chart.CHART / "files/dashboards").iterdir()}
    assert {k: v for o in found for k, v in o["data"].items()} == files and files
    assert all(o["metadata"]["labels"]["grafana_dashboard"] == "1" for o in found)


def test_every_template_has_a_test():
    there = {p.name for p in (chart.CHART / "templates").glob("*.yaml")}
    assert there == TESTED
