"""A new user's first minutes: the commands of README.md and what NOTES.txt says next."""

import re
import shlex

import chart
import helm_python as helm
import pytest
from conftest import LEAST, over

README = (chart.CHART / "README.md").read_text()


def commands():
    """The commands of the section Install, one a list of words."""
    section = README.split("## Install")[1].split("## What to know")[0]
    block = re.search(r"```sh\n(.*?)```", section, re.S)[1].replace("\\\n", " ")
    return [shlex.split(line) for line in block.splitlines() if line.strip()]


def sets(command):
    """The values that a command's --set flags make."""
    given = {}
    for flag, value in zip(command, command[1:], strict=False):
        if flag == "--set":
            given = over(given, helm.parse_set_string(value))
    return given


def made(words):
    """Name and keys of a secret that a command makes."""
    keys = {re.match(r"--from-literal=([^=]+)=", w)[1] for w in words if w.startswith("--from-literal")}
    return words[words.index("secret") + 2], keys or {"tls.crt", "tls.key"}


def test_the_install_command_works_with_the_secrets_made_before_it():
    *before, install = commands()
    assert install[:3] == ["helm", "install", "visavis"]
    secrets = dict(made(words) for words in before if "secret" in words)
    objects = chart.objects(sets(install), name="visavis", namespace="faces")
    used = {}
    for _, found in objects:
        if found["kind"] != "Deployment":
            continue
        pod = found["spec"]["template"]["spec"]
        for volume in pod["volumes"]:
            if "secret" in volume:
                keys = {i["key"] for i in volume["secret"]["items"]}
                used.setdefault(volume["secret"]["secretName"], set()).update(keys)
        for entry in pod["containers"][0]["env"]:
            if "valueFrom" in entry:
                of = entry["valueFrom"]["secretKeyRef"]
                used.setdefault(of["name"], set()).add(of["key"])
    assert used == secrets


def test_the_shorter_command_for_trying_out_works():
    install = commands()[-1]
    cut = sets(install[: install.index("externalRedis.addresses={redis.example.org:6379}") - 1])
    names = {o["metadata"]["name"] for _, o in chart.objects(over(cut, {"redis": {"enabled": True}}))}
    assert "visavis-redis" in names


NOTES = [
    ({}, ["rollout status deployment/visavis-gateway", "rollout status deployment/visavis-worker-cpu", "port-forward", "--insecure"]),
    ({"gateway": {"tls": {"existingSecret": "own"}}}, ["get secret own", "--cacert visavis.pem", '--resolve "$NAME:8443:127.0.0.1"', "-ext subjectAltName"]),
    (
        {"gateway": {"tls": {"existingSecret": "t"}}, "ingress": {"enabled": True, "host": "h.example", "tlsSecret": "x"}},
        ["https://h.example/v1/collections", "https://h.example/docs"],
    ),
    ({"worker": {"classes": {"gpu": {"enabled": True}}}}, ["deployment/visavis-worker-gpu"]),
]


@pytest.mark.parametrize(("given", "said"), NOTES)
def test_notes_lead_on(given, said):
    notes = chart.render(over(LEAST, given))[chart.NOTES]
    for words in said:
        assert words in notes, notes
    assert "{{index .data \"admin.key\" | base64decode}}" in notes
    assert "\n\n\n" not in notes and "<no value>" not in notes, notes


def test_notes_warn_of_what_is_for_trying_out():
    own = {"secrets": LEAST["secrets"], "redis": {"enabled": True}}
    notes = chart.render(own)[chart.NOTES]
    assert "WARNING: each gateway signs a certificate" in notes and "WARNING: the Redis of this chart" in notes
    whole = over(LEAST, {"gateway": {"tls": {"existingSecret": "t"}}})
    assert "WARNING" not in chart.render(whole)[chart.NOTES]
    unsealed = over(whole, {"secrets": {"sealing": {"existingSecret": ""}}, "config": {"sealing": {"mode": "off"}}})
    assert "WARNING: nothing is sealed" in chart.render(unsealed)[chart.NOTES]
