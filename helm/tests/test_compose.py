"""The composition of docker/: what it names is there, and its processes are told what they are mounted."""

import pathlib
import re
import subprocess
import tomllib

import chart
import pytest

DOCKER = chart.ROOT / "docker"
COMPOSE = chart.values(DOCKER / "compose.yaml")
PROGRAMS = ["gateway", "worker", "trainer"]


@pytest.fixture(scope="module")
def papers(tmp_path_factory):
    """The folder that docker/secrets makes."""
    folder = tmp_path_factory.mktemp("secrets")
    subprocess.run([DOCKER / "secrets", folder], check=True, capture_output=True)
    return folder


def test_secrets_are_those_that_the_script_makes(papers):
    named = {pathlib.PurePath(s["file"]).name for s in COMPOSE["secrets"].values()}
    assert named <= {p.name for p in papers.iterdir()}
    used = {name for service in COMPOSE["services"].values() for name in service.get("secrets", [])}
    assert used == COMPOSE["secrets"].keys()
    assert re.fullmatch(r"vv_[a-z]+_[0-9a-f]{48}\n", (papers / "admin.key").read_text())
    assert re.fullmatch(r"[0-9a-f]{64}\n", (papers / "sealing.key").read_text())


def test_a_second_run_of_the_script_keeps_what_is_there(papers):
    before = {p.name: p.read_bytes() for p in papers.iterdir()}
    subprocess.run([DOCKER / "secrets", papers], check=True, capture_output=True)
    assert {p.name: p.read_bytes() for p in papers.iterdir()} == before


def test_what_is_mounted_exists():
    for name, service in COMPOSE["services"].items():
        for mount in service.get("volumes", []):
            source = mount.split(":")[0]
            if source.startswith("."):
                assert (DOCKER / source).exists(), (name, source)
            else:
                assert source in COMPOSE["volumes"], (name, source)
        assert set(service.get("networks", [])) <= COMPOSE["networks"].keys()
        assert set(service.get("depends_on", {})) <= COMPOSE["services"].keys()


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_finds_its_files(name):
    service = COMPOSE["services"][name]
    assert service["command"] == [name, "--config", "/etc/visavis.toml"]
    assert service["read_only"] is True and service["cap_drop"] == ["ALL"]
    folders = [m.split(":")[1] for m in service["volumes"]] + [t.split(":")[0] for t in service["tmpfs"]]
    config = tomllib.loads((DOCKER / "visavis.toml").read_text())
    if name == "gateway":
        for key in ("admin_key_file", "tls_cert_file", "tls_key_file"):
            assert pathlib.PurePath(config["gateway"][key]).name in service["secrets"]
    assert pathlib.PurePath(config["sealing"]["key_file"]).name in service["secrets"]
    assert config["store"]["data_dir"] in folders
    assert name == "gateway" or config["models"]["cache_dir"] in folders
    # One place for crops, models and checkpoints: without it a trainer does not start.
    assert f"objects:{config['objects']['url']}" in service["volumes"]
    assert name != "trainer" or service["shm_size"] == "2gb"
    drain = config.get("shutdown", {}).get("grace_ms", 20000) / 1000
    assert int(service["stop_grace_period"].removesuffix("s")) > drain


def test_the_server_keeps_what_it_is_told():
    command = COMPOSE["services"]["redis"]["command"]
    assert " ".join(command).endswith("--appendonly yes --appendfsync always --maxmemory-policy noeviction")


def test_images_have_a_tag_or_are_built_here():
    built = {s["image"] for s in COMPOSE["services"].values() if "build" in s}
    for service in COMPOSE["services"].values():
        assert service["image"] in built or re.search(r":[\w.-]+$", service["image"]), service["image"]


def test_prometheus_finds_every_program():
    scrape = chart.values(chart.ROOT / "deploy/monitoring/prometheus.yaml")["scrape_configs"][0]
    assert scrape["job_name"] == "visavis"
    assert scrape["dns_sd_configs"][0]["names"] == PROGRAMS
    port = tomllib.loads((DOCKER / "visavis.toml").read_text())["admin"]["listen"].rsplit(":", 1)[1]
    assert scrape["dns_sd_configs"][0]["port"] == int(port)
