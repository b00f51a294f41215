"""Makes helm/visavis/values.schema.json: the shape of values.yaml, closed everywhere, with what types alone do not say,
and the program's settings as its commented defaults list them. `--check` compares instead of writing."""

import json
import pathlib
import re
import sys
import tomllib

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
DEFAULTS = ROOT / "services/lib/runtime/src/config/default.toml"
VALUES = ROOT / "helm/visavis/values.yaml"
SCHEMA = ROOT / "helm/visavis/values.schema.json"

# Settings that the chart makes itself, or that are secrets and belong in none of its values.
OWNED = {
    "admin.listen",
    "gateway.listen", "gateway.tls_cert_file", "gateway.tls_key_file", "gateway.admin_key_file", "gateway.admin_key",
    "gateway.tls_extra_names",
    "models.cache_dir", "models.offline", "models.runtime_library",
    "queue.engine",
    "redis.url", "redis.queue_url", "redis.tls_ca_file",
    "sealing.key", "sealing.key_file",
    "store.engine", "store.data_dir",
    "telemetry.format",
    "trainer.scratch_dir",
    "worker.provider",
    "objects.url", "objects.endpoint", "objects.region", "objects.access_key", "objects.secret_key",
    "objects.secret_key_file", "objects.allow_http", "objects.tls_ca_file",
}  # fmt: skip

TEXT = {"type": "string"}
MAP = {"type": "object", "additionalProperties": {"type": "string"}}
FREE = {"type": "object"}
LIST = {"type": "array", "items": {"type": "object"}}
NAME = {"type": "string", "pattern": "^([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?)?$"}
QUANTITY = {"type": ["string", "integer"], "pattern": "^[0-9.]+(m|k|Ki|M|Mi|G|Gi|T|Ti)?$"}
COUNT = {"type": "integer", "minimum": 1}
SECONDS = {"type": "integer", "minimum": 0}
DURATION = {"type": "string", "pattern": "^[0-9]+(ms|s|m|h)$"}
RESOURCES = {
    "type": "object",
    "additionalProperties": False,
    "properties": {k: {"type": "object", "additionalProperties": QUANTITY} for k in ("requests", "limits")},
}
ENV = {
    "type": "array",
    "items": {
        "type": "object",
        "additionalProperties": False,
        "required": ["name"],
        "properties": {"name": TEXT, "value": TEXT, "valueFrom": FREE},
    },
}

# By the end of a value's path, longest first; what none of them names has the type of its default.
SPECIAL = {
    "image.digest": {"type": "string", "pattern": "^(sha256:[0-9a-f]{64})?$"},
    "image.pullPolicy": {"enum": ["Always", "IfNotPresent", "Never"]},
    "imagePullSecrets": {"type": "array", "items": NAME},
    "existingSecret": NAME, "tlsSecret": NAME, "caSecret": NAME, "caConfigMap": NAME, "existingClaim": NAME,
    "annotations": MAP, "controllerAnnotations": MAP, "labels": MAP, "commonLabels": MAP, "podAnnotations": MAP,
    "podLabels": MAP, "nodeSelector": MAP, "affinity": FREE, "tolerations": LIST, "topologySpreadConstraints": LIST,
    "extraEnv": ENV, "models.env": ENV, "extraVolumes": LIST, "extraVolumeMounts": LIST,
    "resources": RESOURCES,
    "replicas": {"type": "integer", "minimum": 0},
    "minReplicas": COUNT, "maxReplicas": COUNT, "lagCount": COUNT, "bulkLagCount": COUNT, "pollingInterval": COUNT,
    "targetCPUUtilizationPercentage": {"type": "integer", "minimum": 1, "maximum": 100},
    "autoscaling.type": {"enum": ["none", "hpa", "keda"]},
    "maxUnavailable": {"type": ["integer", "string"], "pattern": "^[0-9]+%$", "minimum": 0},
    "periodSeconds": COUNT, "failureThreshold": COUNT, "preStopSeconds": SECONDS,
    "terminationGracePeriodSeconds": SECONDS,
    "sizeLimit": QUANTITY, "snapshotsSizeLimit": QUANTITY, "scratchSizeLimit": QUANTITY, "persistence.size": QUANTITY,
    "service.port": {"type": "integer", "minimum": 1, "maximum": 65535},
    "service.type": {"enum": ["ClusterIP", "NodePort", "LoadBalancer"]},
    "externalRedis.addresses": {"type": "array", "items": {"type": "string", "pattern": "^[^:/@\\s]+:[0-9]+$"}},
    "externalRedis.mode": {"enum": ["standalone", "sentinel", "cluster"]},
    "objects.url": {"type": "string", "pattern": "^(s3://.+)?$"},
    "objects.endpoint": {"type": "string", "pattern": "^(https?://.+)?$"},
    "models.source": {"enum": ["fetch", "volume"]},
    "worker.provider": {"enum": ["cpu", "cuda", "tensorrt"]},
    "gpu.count": COUNT,
    "parentRefs": LIST, "hostnames": {"type": "array", "items": TEXT},
    "gatewayFrom": LIST, "monitoringFrom": LIST, "kedaFrom": LIST, "dnsTo": LIST, "redisTo": LIST, "objectsTo": LIST,
    "modelsTo": LIST, "identityProvidersTo": LIST, "gatewayExtraEgress": LIST, "workerExtraEgress": LIST,
    "redisPorts": {"type": "array", "items": {"type": "integer", "minimum": 1, "maximum": 65535}},
    "interval": DURATION,
    "config": {"$ref": "#/$defs/config"},
}  # fmt: skip
TYPES = {str: "string", bool: "boolean", int: "integer", float: "number", list: "array", dict: "object"}


def special(path):
    """What SPECIAL says of a path, if anything."""
    parts = path.split(".")
    return next((SPECIAL[e] for i in range(len(parts)) if (e := ".".join(parts[i:])) in SPECIAL), None)


def shape(path, value):
    """The schema of a value."""
    if (known := special(path)) is not None:
        return known
    if isinstance(value, dict):
        inner = {k: shape(f"{path}.{k}" if path else k, v) for k, v in value.items()}
        return {"type": "object", "additionalProperties": False, "properties": inner}
    if isinstance(value, list):
        sys.exit(f"{path}: say in SPECIAL what the list holds")
    return {"type": TYPES[type(value)]}


def uncommented(text):
    """The defaults with their commented keys. A line of prose does not look like one."""
    table = None
    for line in text.splitlines():
        if re.match(r"# ?\[\[", line):
            table = line
        elif re.match(r"\[", line):
            table = None
        key = re.match(r"# ([a-z][a-z0-9_]* = .+)$", line)
        # Keys of the example of a list of tables are that table's own.
        if key and table is None:
            line = key[1]
        yield line


def settings():
    """The program's settings as a schema; `worker.classes` and the roles take parts of it."""
    known = tomllib.loads("\n".join(uncommented(DEFAULTS.read_text())))
    sections = {}
    for section, keys in known.items():
        free = {k: v for k, v in keys.items() if f"{section}.{k}" not in OWNED}
        inner = {k: setting(v) for k, v in sorted(free.items())}
        if inner:
            sections[section] = {"type": "object", "additionalProperties": False, "properties": inner}
    return {"type": "object", "additionalProperties": False, "properties": dict(sorted(sections.items()))}


def setting(value):
    """A setting's schema by its default. Lists hold what their first item is, tables anything."""
    kind = TYPES[type(value)]
    if kind == "array":
        return {"type": kind, "items": {"type": TYPES[type(value[0])]}} if value else {"type": kind}
    return {"type": kind, "minimum": 0} if kind in ("integer", "number") else {"type": kind}


def made():
    """The whole schema."""
    values = yaml.safe_load(VALUES.read_text())
    classes = values["worker"].pop("classes")
    whole = shape("", values)
    worker = whole["properties"]["worker"]
    one = {**worker, "properties": {"enabled": {"type": "boolean"}, **worker["properties"]}}
    worker["properties"] = {
        **worker["properties"],
        "classes": {
            "type": "object",
            "additionalProperties": False,
            "patternProperties": {"^[a-z]([-a-z0-9]{0,14}[a-z0-9])?$": {"$ref": "#/$defs/workerClass"}},
        },
    }
    assert set(classes) == {"cpu", "gpu"}, "the classes that README.md tells of"
    # Helm gives charts that are part of others `global`.
    whole["properties"]["global"] = FREE
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Values of the Visavis chart",
        "$comment": "Made by deploy/tools/schema.py from values.yaml and the program's defaults.",
        **whole,
        "$defs": {"config": settings(), "workerClass": one},
    }


def main():
    """The command."""
    text = json.dumps(made(), indent=2, ensure_ascii=False) + "\n"
    if "--check" not in sys.argv:
        SCHEMA.write_text(text)
    elif SCHEMA.read_text() != text:
        sys.exit("helm/visavis/values.schema.json is not what values.yaml and default.toml say: .ci/ops --write")


if __name__ == "__main__":
    main()
