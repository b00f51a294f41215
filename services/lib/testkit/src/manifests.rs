//! The chart as Kubernetes would get it: rendered by Helm's own engine through the tools of `.ci/ops`.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

/// The objects of one set of values.
#[derive(Clone, Debug)]
pub struct Manifests(Vec<Value>);

impl Manifests {
    /// Renders the chart with a file of values, given by its path within the repository. Fetches the tools once.
    #[must_use]
    pub fn render(values: &str) -> Self {
        let root = repository();
        let output = Command::new(root.join(".ci/ops"))
            .args(["--python", "deploy/tools/chart.py", "--values"])
            .arg(root.join(values))
            .output()
            .expect(".ci/ops can be run");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{values} cannot be rendered: {said}");
        Self(serde_json::from_slice(&output.stdout).expect("the objects are JSON"))
    }

    /// The objects of a kind.
    pub fn of_kind(&self, kind: &str) -> impl Iterator<Item = &Value> {
        self.0.iter().filter(move |o| o["kind"] == kind)
    }

    /// The object of this kind and name.
    #[must_use]
    pub fn get(&self, kind: &str, name: &str) -> &Value {
        let found = self.of_kind(kind).find(|o| o["metadata"]["name"] == name);
        found.unwrap_or_else(|| panic!("there is no {kind} named {name}"))
    }

    /// Names of the Deployments of a component, such as `worker`.
    #[must_use]
    pub fn deployments(&self, component: &str) -> Vec<String> {
        let of = |o: &&Value| o["metadata"]["labels"]["app.kubernetes.io/component"] == component;
        self.of_kind("Deployment").filter(of).map(|o| text(&o["metadata"]["name"]).to_owned()).collect()
    }
}

/// The repository's root.
pub(crate) fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(3).expect("the root").to_owned()
}

/// A text of a manifest.
pub(crate) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text"))
}

/// The items of a list of a manifest; none where there is no list.
pub(crate) fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}
