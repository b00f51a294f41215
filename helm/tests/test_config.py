"""What the program is told: its file is TOML of the right types, and its variables come from the right secrets."""

import pytest
from conftest import LEAST, over


def env(rendered, name):
    """The variables of a component."""
    return {e["name"]: e for e in rendered.named("Deployment", name)["spec"]["template"]["spec"]["containers"][0]["env"]}


def test_numbers_keep_their_type(render):
    found = render(
        over(
            LEAST,
            {
                "config": {
                    "limits": {"request_bytes": 67108864, "import_bytes": 17179869184},
                    "worker": {"verification_fmr": 0.0001, "detector_scouts": False},
                    "gateway": {"key_requests_per_second": 12.5, "trusted_proxies": ["10.0.0.0/8", 'a"\\b']},
                }
            },
        )
    ).config("visavis-gateway")
    assert found["limits"] == {"request_bytes": 67108864, "import_bytes": 17179869184}
    assert all(isinstance(v, int) for v in found["limits"].values())
    assert found["worker"] == {"verification_fmr": 0.0001, "detector_scouts": False}
    assert found["gateway"]["key_requests_per_second"] == 12.5
    assert found["gateway"]["trusted_proxies"] == ["10.0.0.0/8", 'a"\\b']


def test_tables_within_lists(render):
    issuer = {"issuer": "https://i?a=b&c", "audiences": ["v"], "roles": {"face-desk": ["operator"]}, "leeway_ms": 5000}
    found = render("config.oidc.issuers", [issuer]).config("visavis-gateway")
    assert found["oidc"]["issuers"] == [issuer]


def test_what_the_chart_sets_wins(render):
    found = render("gateway.config.gateway", {"max_in_flight": 7}).config("visavis-gateway")
    assert found["gateway"]["max_in_flight"] == 7 and found["gateway"]["listen"] == "0.0.0.0:8443"
    assert found["store"] == {"engine": "redis", "data_dir": "/data"} and found["queue"] == {"engine": "redis"}
    assert "models" not in found
    worker = render("config.models.detector", "scrfd_500m").config("visavis-worker-cpu")
    assert worker["models"] == {"detector": "scrfd_500m", "cache_dir": "/models", "offline": True}
    assert "max_in_flight" not in render("gateway.config.gateway", {"max_in_flight": 7}).config("visavis-worker-cpu").get(
        "gateway", {}
    )


URLS = [
    ({}, "redis://redis.example.org:6379"),
    ({"tls": True}, "rediss://redis.example.org:6379"),
    ({"existingSecret": "r"}, "redis://:$(REDIS_PASSWORD)@redis.example.org:6379"),
    ({"existingSecret": "r", "username": "u", "tls": True}, "rediss://u:$(REDIS_PASSWORD)@redis.example.org:6379"),
    ({"mode": "cluster", "addresses": ["a:1", "b:2"]}, "redis-cluster://a:1,b:2"),
    ({"mode": "cluster", "addresses": ["a:1"], "tls": True}, "rediss-cluster://a:1"),
    ({"mode": "sentinel", "addresses": ["a:1", "b:2"], "sentinelMaster": "main"}, "redis-sentinel://a:1,b:2/main"),
]


@pytest.mark.parametrize(("given", "url"), URLS)
def test_the_address_of_the_server(render, given, url):
    found = render(over(LEAST, {"externalRedis": given}))
    for name in ["visavis-gateway", "visavis-worker-cpu"]:
        variables = env(found, name)
        assert variables["VISAVIS__REDIS__URL"]["value"] == url
        assert ("REDIS_PASSWORD" in variables) == ("existingSecret" in given)
        # A variable must stand above those that refer to it.
        assert list(variables).index("VISAVIS__REDIS__URL") == len([n for n in variables if n == "REDIS_PASSWORD"])


def test_the_address_as_a_secret(render):
    found = env(render("externalRedis", {"existingSecret": "r", "urlKey": "url"}), "visavis-gateway")
    assert found["VISAVIS__REDIS__URL"]["valueFrom"] == {"secretKeyRef": {"name": "r", "key": "url"}}
    assert "REDIS_PASSWORD" not in found


def test_objects(render, least):
    assert "objects" not in least.config("visavis-gateway")
    assert "VISAVIS__OBJECTS__ACCESS_KEY" not in env(least, "visavis-gateway")
    found = render("objects", {"url": "s3://b/c", "existingSecret": "s", "caSecret": "ca", "endpoint": "https://s3"})
    for name in ["visavis-gateway", "visavis-worker-cpu"]:
        assert found.config(name)["objects"] == {
            "url": "s3://b/c", "region": "us-east-1", "allow_http": False, "endpoint": "https://s3",
            "secret_key_file": "/run/secrets/visavis/objects/secret-key",
            "tls_ca_file": "/run/secrets/visavis/objects-ca/ca.crt",
        }  # fmt: skip
        assert env(found, name)["VISAVIS__OBJECTS__ACCESS_KEY"]["valueFrom"]["secretKeyRef"]["key"] == "access-key"


def test_files_that_the_settings_name_are_mounted(scenario):
    for name, template in scenario.pods():
        if name.endswith("-redis"):
            continue
        container = template["spec"]["containers"][0]
        mounts = [m["mountPath"] for m in container["volumeMounts"]]
        for section in scenario.config(name).values():
            for key, value in section.items():
                if isinstance(value, str) and value.startswith("/") and key != "runtime_library":
                    assert any(value == m or value.startswith(m + "/") for m in mounts), (name, key, value)
