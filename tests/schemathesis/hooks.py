"""What schemathesis has to be told beyond the OpenAPI document. Loaded by `run` through schemathesis.toml.

- Answers of one JSON document per line are held line by line to the schema that the document gives for a line.
- What is valid depends on the day, on chance and on what no schema says: in requests that should be taken, dates are put
  where they are valid, a key of an export is a random one, and ranges of addresses are ranges.
- Half of the requests that should be taken are about something that is there. Whatever a request is about to take away
  is made for it alone.
"""

import hashlib
import ipaddress
import json
import os
import re
from functools import lru_cache

import requests
import schemathesis

SERVICE = os.environ["VISAVIS_SCHEMA_URL"]
SESSION = requests.Session()
SESSION.trust_env = False
SESSION.verify = os.environ["VISAVIS_SCHEMA_CERTIFICATE"]
SESSION.headers["authorization"] = "Bearer " + os.environ["VISAVIS_SCHEMA_KEY"]
PHOTO = os.environ["VISAVIS_SCHEMA_PHOTO"]
PURPOSE = "access_control"
LINES = "application/x-ndjson"
EXPORT = "application/vnd.visavis.export"


@schemathesis.serializer(EXPORT)
def export_file(ctx, value):
    return {"data": value if isinstance(value, bytes) else str(value).encode()}


@schemathesis.deserializer(LINES)
def lines(ctx, response):
    return [json.loads(line) for line in response.content.splitlines()]


@schemathesis.hook
def before_load_schema(context, raw_schema):
    for item in raw_schema["paths"].values():
        for operation in item.values():
            for response in operation["responses"].values():
                content = response.get("content", {}).get(LINES)
                if content:
                    content["schema"] = {"type": "array", "items": content["schema"]}


def made(path, body, **more):
    answer = SESSION.post(SERVICE + path, json=body, timeout=60, **more)
    answer.raise_for_status()
    return answer.json()


def collection():
    return made("/v1/collections", {"purposes": [PURPOSE]})["id"]


def consent(where, whom):
    about = {"collection_id": where, "subject_id": whom, "purposes": [PURPOSE], "method": "signed_form"}
    return made("/v1/consents", about)["id"]


def subject(where):
    agreed = json.dumps({"purposes": [PURPOSE], "method": "signed_form"})
    with open(PHOTO, "rb") as photo:
        files = {"image": photo.read()}
    answer = SESSION.post(f"{SERVICE}/v1/collections/{where}/subjects", files=files, data={"consent": agreed}, timeout=60)
    answer.raise_for_status()
    enrolled = answer.json()
    return enrolled["subject"]["id"], enrolled["faces"][0]["id"]


# Requests that are under way and about something that is there.
PUT = set()
KNOWN = {"collection", "subject", "face", "key", "job", "erasure", "consent"}


@lru_cache
def standing():
    """What nothing takes away: by the name of a parameter."""
    where = collection()
    whom, face = subject(where)
    return {"collection": where, "subject": whom, "face": face} | others(where)


def others(where):
    key = made("/v1/api-keys", {"name": "made for a test", "scopes": ["detect"]})["id"]
    items = [{"images": [{"b64": "AAAA"}]}]
    job = made("/v1/jobs", {"kind": "bulk_identify", "collection_id": where, "items": items})["id"]
    erasure = made("/v1/erasures", {"collection_id": where, "subject_ids": ["nobody"]})["id"]
    return {"key": key, "job": job, "erasure": erasure, "consent": consent(where, "somebody")}


def spent(names):
    """The same for one request."""
    ids = dict(standing())
    if names == {"collection"}:
        ids["collection"] = collection()
    elif "subject" in names:
        ids["subject"], ids["face"] = subject(ids["collection"])
    elif names & {"key", "job", "consent"}:
        ids |= others(ids["collection"])
    return ids


def takes_away(case):
    withdraws = case.operation.path.endswith(("/withdraw", "/rotate"))
    return case.method in ("DELETE", "PATCH") or withdraws


def one_half(case):
    said = repr((case.operation.label, case.path_parameters, case.query, str(case.body)[:200]))
    return hashlib.sha256(said.encode()).digest()[0] % 2 == 0


def about_something(case):
    names = set(case.path_parameters or ())
    if not names or not names <= KNOWN or not one_half(case):
        return
    try:
        ids = spent(names) if takes_away(case) else standing()
    except requests.HTTPError:
        # Another request, which learned of them from an answer, has changed or erased them: the next has new ones.
        standing.cache_clear()
        return
    PUT.add(case.id)
    for name in names:
        case.path_parameters[name] = ids[name]
    for agreed in found(case.body, "consent"):
        if isinstance(agreed, dict) and agreed.get("purposes"):
            agreed["purposes"] = [PURPOSE]


@schemathesis.hook
def after_call(context, case, response):
    if case.id in PUT:
        PUT.discard(case.id)
        if response.status_code in (404, 410):
            standing.cache_clear()


def found(value, name):
    if isinstance(value, dict):
        if name in value:
            yield value[name]
        for member in value.values():
            yield from found(member, name)
    elif isinstance(value, list):
        for item in value:
            yield from found(item, name)


def dated(value):
    """Sets dates that are dates to where they are valid on any day."""
    if isinstance(value, dict):
        for name, moment in {"obtained_at": "2020-01-01T00:00:00Z", "expires_at": "2999-12-31T00:00:00Z"}.items():
            if isinstance(value.get(name), str):
                value[name] = moment
    for member in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        dated(member)


def ranged(value):
    for ranges in found(value, "cidrs"):
        for n, text in enumerate(ranges if isinstance(ranges, list) else ()):
            try:
                ipaddress.ip_network(text)
            except ValueError:
                ranges[n] = "2001:db8::/32" if n % 2 else "10.0.0.0/8"


@schemathesis.hook
def before_call(context, case, kwargs):
    meta = case.meta
    if meta is None or not meta.generation.mode.is_positive:
        return
    dated(case.body)
    ranged(case.body)
    key = (case.headers or {}).get("visavis-export-key")
    if key and re.fullmatch("[0-9a-fA-F]{64}", key):
        case.headers["visavis-export-key"] = hashlib.sha256(key.encode()).hexdigest()
    # There, requests follow each other's answers.
    if meta.phase.name.value != "stateful":
        about_something(case)
    elif case.operation.label in ("POST /v1/collections", "PATCH /v1/collections/{collection}"):
        # A collection may ask more of consents than their form says; what follows here knows nothing of that.
        if isinstance(case.body, dict):
            case.body.pop("consent", None)
