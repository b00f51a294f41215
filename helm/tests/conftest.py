"""What the tests of the chart share: the chart rendered by Helm's own engine, and ways to find an object in it."""

import functools
import pathlib
import sys
import tomllib

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "deploy/tools"))

import chart  # noqa: E402

# The least a user has to say.
LEAST = {
    "secrets": {"sealing": {"existingSecret": "sealing"}, "adminKey": {"existingSecret": "admin"}},
    "externalRedis": {"addresses": ["redis.example.org:6379"]},
}


def over(base, given):
    """Values over values, as Helm merges them."""
    merged = dict(base)
    for key, value in given.items():
        merged[key] = over(merged.get(key) or {}, value) if isinstance(value, dict) else value
    return merged


def values(path, value, base=None):
    """The least values with one more: `values("gateway.replicas", 3)`."""
    for key in reversed(path.split(".")):
        value = {key: value}
    return over(LEAST if base is None else base, value)


class Rendered:
    """The objects of one set of values."""

    def __init__(self, given):
        self.objects = chart.objects(given)

    def of(self, template):
        """The objects of a template."""
        return [o for t, o in self.objects if t == template]

    def one(self, template):
        """The only object of a template."""
        (found,) = self.of(template)
        return found

    def named(self, kind, name):
        """The object of this kind and name."""
        (found,) = (o for _, o in self.objects if (o["kind"], o["metadata"]["name"]) == (kind, name))
        return found

    def pods(self):
        """Name and pod template of everything that runs."""
        for _, o in self.objects:
            if o["kind"] in ("Deployment", "StatefulSet"):
                yield o["metadata"]["name"], o["spec"]["template"]

    def config(self, name):
        """The program's settings of a component."""
        return tomllib.loads(self.named("ConfigMap", name)["data"]["visavis.toml"])


@pytest.fixture
def render():
    """Renders the least values with others over them."""
    return lambda *given: Rendered(given[0] if len(given) == 1 else values(*given))


@pytest.fixture
def least():
    """The least values, rendered."""
    return Rendered(LEAST)


@functools.cache
def rendered(name):
    """A file of ci/, rendered once: its tests only read."""
    found = Rendered(chart.scenarios()[name])
    found.values = chart.scenarios()[name]
    return found


@pytest.fixture(params=sorted(chart.scenarios()))
def scenario(request):
    """Each file of ci/."""
    return rendered(request.param)
