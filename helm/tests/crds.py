"""Shapes of the objects that are no part of Kubernetes itself: closed, and as narrow as what the chart makes of them.
Written after the operators' documentation; Kubernetes' own kinds are checked against its published schemas."""

TEXT = {"type": "string", "minLength": 1}
WHOLE = {"type": "integer", "minimum": 0}


def closed(required="", **properties):
    """An object with these properties and no others."""
    return {
        "type": "object",
        "additionalProperties": False,
        "required": required.split(),
        "properties": properties,
    }


def many(items):
    """A list that is not empty."""
    return {"type": "array", "minItems": 1, "items": items}


METADATA = closed("name labels", name=TEXT, labels={"type": "object"}, annotations={"type": "object"})


def kind(api, name, spec):
    """A whole object."""
    return closed(
        "apiVersion kind metadata spec",
        apiVersion={"const": api}, kind={"const": name}, metadata=METADATA, spec=spec,
    )  # fmt: skip


TRIGGER = closed(
    "type name metadata",
    type={"enum": ["redis-streams", "redis-sentinel-streams", "redis-cluster-streams"]},
    name=TEXT,
    # Everything here is text for KEDA.
    metadata=closed(
        "stream consumerGroup lagCount enableTLS",
        address=TEXT, addresses=TEXT, sentinelMaster=TEXT, stream=TEXT, consumerGroup=TEXT, username=TEXT,
        lagCount={"type": "string", "pattern": "^[1-9][0-9]*$"}, enableTLS={"enum": ["true", "false"]},
    ),
    authenticationRef=closed("name", name=TEXT),
)  # fmt: skip
TARGET = closed("apiVersion kind name", apiVersion=TEXT, kind=TEXT, name=TEXT)
SCALED_OBJECT = closed(
    "scaleTargetRef triggers", scaleTargetRef=TARGET, minReplicaCount=WHOLE, maxReplicaCount=WHOLE,
    pollingInterval=WHOLE, triggers=many(TRIGGER),
)  # fmt: skip
TRIGGER_AUTHENTICATION = closed(
    "secretTargetRef",
    secretTargetRef=many(
        closed("parameter name key", parameter={"enum": ["password", "ca"]}, name=TEXT, key=TEXT),
    ),
)
SERVICE_MONITOR = closed(
    "selector endpoints",
    jobLabel=TEXT,
    selector=closed("matchLabels", matchLabels={"type": "object", "minProperties": 1}),
    namespaceSelector=closed("matchNames", matchNames=many(TEXT)),
    endpoints=many(
        closed(
            "port path interval", port=TEXT, path=TEXT, interval=TEXT,
            relabelings=many(closed("sourceLabels targetLabel", sourceLabels=many(TEXT), targetLabel=TEXT)),
        ),
    ),
)  # fmt: skip
RULE = closed(
    "expr", record=TEXT, alert=TEXT, expr=TEXT, labels={"type": "object"}, annotations={"type": "object"},
    **{"for": {"type": "string", "pattern": "^[0-9]+[smh]$"}},
)  # fmt: skip
PROMETHEUS_RULE = closed("groups", groups=many(closed("name rules", name=TEXT, rules=many(RULE))))
MATCH = closed("path", path=closed("type value", type={"enum": ["PathPrefix", "RegularExpression"]}, value=TEXT))
HTTP_ROUTE = closed(
    "parentRefs rules",
    parentRefs=many(closed("name", name=TEXT, namespace=TEXT, sectionName=TEXT)),
    hostnames=many(TEXT),
    rules=many(
        closed(
            "matches backendRefs",
            matches=many(MATCH),
            backendRefs=many(closed("name port", name=TEXT, port=WHOLE)),
            timeouts=closed("request", request={"type": "string", "pattern": "^[0-9]+s$"}),
        )
    ),
)
BACKEND_TLS_POLICY = closed(
    "targetRefs validation",
    targetRefs=many(closed("group kind name", group={"const": ""}, kind={"const": "Service"}, name=TEXT)),
    validation=closed(
        "hostname caCertificateRefs",
        hostname=TEXT,
        caCertificateRefs=many(
            closed("group kind name", group={"const": ""}, kind={"const": "ConfigMap"}, name=TEXT),
        ),
    ),
)

SCHEMAS = {
    "ScaledObject": kind("keda.sh/v1alpha1", "ScaledObject", SCALED_OBJECT),
    "TriggerAuthentication": kind("keda.sh/v1alpha1", "TriggerAuthentication", TRIGGER_AUTHENTICATION),
    "ServiceMonitor": kind("monitoring.coreos.com/v1", "ServiceMonitor", SERVICE_MONITOR),
    "PrometheusRule": kind("monitoring.coreos.com/v1", "PrometheusRule", PROMETHEUS_RULE),
    "HTTPRoute": kind("gateway.networking.k8s.io/v1", "HTTPRoute", HTTP_ROUTE),
    "BackendTLSPolicy": kind("gateway.networking.k8s.io/v1", "BackendTLSPolicy", BACKEND_TLS_POLICY),
}
