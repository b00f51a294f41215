"""Values that are wrong are refused before anything is made, in words that say which and why."""

import chart
import helm_python as helm
import pytest
from conftest import LEAST, over, values

TLS = {"gateway": {"tls": {"existingSecret": "t"}}}

# A value, and what the refusal says.
SHAPE = [
    ("gateway.replicas", "three", ["/gateway/replicas", "got string, want integer"]),
    ("gateway.replcas", 3, ["/gateway", "additional properties 'replcas' not allowed"]),
    ("gatway", {}, ["additional properties 'gatway' not allowed"]),
    ("gateway.service.port", 70000, ["/gateway/service/port", "maximum"]),
    ("gateway.service.type", "Loadbalancer", ["/gateway/service/type", "'LoadBalancer'"]),
    ("image.pullPolicy", "Sometimes", ["/image/pullPolicy"]),
    ("image.digest", "latest", ["/image/digest", "does not match pattern"]),
    ("secrets.adminKey.existingSecret", "My Secret", ["/secrets/adminKey/existingSecret", "does not match pattern"]),
    ("externalRedis.addresses", ["redis.example.org"], ["/externalRedis/addresses/0", "does not match pattern"]),
    ("externalRedis.addresses", ["redis://:pw@redis:6379"], ["/externalRedis/addresses/0", "does not match pattern"]),
    ("externalRedis.mode", "replica", ["/externalRedis/mode"]),
    ("objects.url", "https://bucket", ["/objects/url", "does not match pattern"]),
    ("worker.autoscaling.type", "both", ["/worker/autoscaling/type", "'none', 'hpa', 'keda'"]),
    ("worker.autoscaling.minReplicas", 0, ["/worker/autoscaling/minReplicas", "minimum"]),
    ("worker.provider", "rocm", ["/worker/provider", "'cpu'"]),
    ("worker.classes.gpu.replicas", -1, ["/worker/classes/gpu/replicas", "minimum"]),
    ("worker.classes.gpu.provder", "cuda", ["/worker/classes/gpu", "additional properties 'provder' not allowed"]),
    ("worker.classes", {"GPU": {"enabled": True}}, ["/worker/classes", "additional properties 'GPU' not allowed"]),
    ("worker.resources", {"limits": {"memory": "much"}}, ["/worker/resources/limits/memory", "does not match pattern"]),
    ("worker.snapshotsSizeLimit", "4 GB", ["/worker/snapshotsSizeLimit", "does not match pattern"]),
    ("config.limits.image_bytes", "10 MB", ["/config/limits/image_bytes", "got string, want integer"]),
    ("config.limits.imagebytes", 1, ["/config/limits", "additional properties 'imagebytes' not allowed"]),
    ("config.limit", {}, ["/config", "additional properties 'limit' not allowed"]),
    ("config.gateway.listen", "0.0.0.0:1", ["/config/gateway", "additional properties 'listen' not allowed"]),
    ("config.sealing.key", "00", ["/config/sealing", "additional properties 'key' not allowed"]),
    ("config.redis.url", "redis://r", ["/config/redis", "additional properties 'url' not allowed"]),
    ("trainer.config.trainer.scratch_dir", "/tmp", ["/trainer/config/trainer", "'scratch_dir' not allowed"]),
    ("worker.config.worker.provider", "cuda", ["/worker/config/worker", "additional properties 'provider' not allowed"]),
    ("monitoring.serviceMonitor.interval", "often", ["/monitoring/serviceMonitor/interval", "does not match pattern"]),
]  # fmt: skip

# Values that are well formed and contradict each other.
SENSE = [
    ({"externalRedis": {"addresses": []}}, "externalRedis.addresses: name the Redis"),
    ({"redis": {"enabled": True}}, "redis.enabled and externalRedis exclude each other"),
    ({"externalRedis": {"addresses": [], "urlKey": "url"}}, "externalRedis.urlKey needs externalRedis.existingSecret"),
    ({"externalRedis": {"mode": "sentinel"}}, "externalRedis.sentinelMaster"),
    ({"secrets": {"adminKey": {"existingSecret": ""}}}, "kubectl create secret generic visavis-admin --namespace faces"),
    ({"secrets": {"sealing": {"existingSecret": ""}}}, "kubectl create secret generic visavis-sealing --namespace faces"),
    ({"config": {"sealing": {"mode": "off"}}}, "contradicts config.sealing"),
    ({"objects": {"url": "s3://b"}}, "objects.existingSecret"),
    ({"objects": {"url": "s3://b", "existingSecret": "s", "endpoint": "http://s3"}}, "objects.allowHttp"),
    ({"models": {"source": "volume"}}, "models.existingClaim"),
    ({"trainer": {"enabled": True}}, "objects.url"),
    ({"ingress": {"enabled": True}, **TLS}, "ingress.host and ingress.tlsSecret"),
    ({"ingress": {"enabled": True, "host": "h", "tlsSecret": "t"}}, "gateway.tls.existingSecret"),
    ({"httpRoute": {"enabled": True}, **TLS}, "httpRoute.parentRefs"),
    ({"httpRoute": {"enabled": True, "parentRefs": [{"name": "p"}]}, **TLS}, "httpRoute.backendTls needs hostname"),
    ({"ingress": {"enabled": True}, "httpRoute": {"enabled": True}}, "exclude each other"),
    ({"gateway": {"autoscaling": {"enabled": True, "minReplicas": 11}}}, "gateway.autoscaling.minReplicas is above"),
    ({"worker": {"autoscaling": {"type": "hpa", "minReplicas": 11}}}, "worker.classes.cpu.autoscaling.minReplicas is above"),
    ({"worker": {"provider": "cuda"}}, "worker.classes.cpu.runtimeLibrary"),
    (
        {
            "externalRedis": {"addresses": [], "existingSecret": "r", "urlKey": "url"},
            "worker": {"autoscaling": {"type": "keda"}},
        },
        "KEDA asks the server itself",
    ),
    ({"gateway": {"terminationGracePeriodSeconds": 25}}, "gateway.terminationGracePeriodSeconds: 25 is too short"),
    ({"worker": {"terminationGracePeriodSeconds": 20}}, "worker.classes.cpu.terminationGracePeriodSeconds: 20 is too short"),
    (
        {"worker": {"terminationGracePeriodSeconds": 30}, "config": {"shutdown": {"grace_ms": 30000}}},
        "draining alone may take 30 s",
    ),
]


@pytest.mark.parametrize(("path", "value", "said"), SHAPE)
def test_the_schema_refuses(path, value, said):
    with pytest.raises(helm.HelmValuesError) as refused:
        chart.render(values(path, value))
    for words in said:
        assert words in str(refused.value), str(refused.value)


@pytest.mark.parametrize(("given", "said"), SENSE)
def test_the_chart_refuses(given, said):
    with pytest.raises(helm.HelmRenderError) as refused:
        chart.render(over(LEAST, given))
    assert said in str(refused.value), str(refused.value)


def test_values_that_just_suffice_are_taken():
    chart.render(over(LEAST, {"gateway": {"terminationGracePeriodSeconds": 26}}))
    chart.render(over(LEAST, {"secrets": {"sealing": {"existingSecret": ""}}, "config": {"sealing": {"mode": "off"}}}))
    chart.render(over(LEAST, {"worker": {"provider": "cuda", "runtimeLibrary": "/lib/onnxruntime.so"}}))


def test_the_schema_is_closed_everywhere():
    def walk(path, schema):
        if schema.get("type") == "object" and "properties" in schema:
            assert schema["additionalProperties"] is False, path
            for key, inner in schema["properties"].items():
                walk(f"{path}.{key}", inner)

    with helm.Chart.load(chart.CHART) as loaded:
        schema = loaded.schema
        walk("", schema)
        for name, part in schema["$defs"].items():
            walk(name, part)
        # Every default is a value that the schema knows.
        loaded.validate_schema({})
