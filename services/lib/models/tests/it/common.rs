//! What the tests share: a cache in a temporary folder, tiny wheels made on the spot, stand-ins for a broken Python.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;
use visavis_models::{Artefact, Cache, Checksum, Pip, WheelSource};
use zip::{ZipWriter, write::SimpleFileOptions};

pub struct Rig {
    pub folder: TempDir,
    pub cache: Cache,
}

pub fn rig() -> Rig {
    let folder = tempfile::tempdir().unwrap();
    let cache = Cache::open(folder.path().join("cache")).unwrap();
    Rig { folder, cache }
}

impl Rig {
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A valid wheel of package `probe` with this one data file.
    pub fn wheel(&self, member: &str, data: &[u8]) -> PathBuf {
        fs::create_dir_all(self.path("index")).unwrap();
        let path = self.path("index/probe-1.0-py3-none-any.whl");
        let mut zip = ZipWriter::new(fs::File::create(&path).unwrap());
        let meta = "Metadata-Version: 2.1\nName: probe\nVersion: 1.0\n";
        let tags = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n";
        let files: [(&str, &[u8]); 4] = [
            (member, data),
            ("probe-1.0.dist-info/METADATA", meta.as_bytes()),
            ("probe-1.0.dist-info/WHEEL", tags.as_bytes()),
            ("probe-1.0.dist-info/RECORD", b""),
        ];
        for (name, data) in files {
            zip.start_file(name, SimpleFileOptions::default()).unwrap();
            zip.write_all(data).unwrap();
        }
        zip.finish().unwrap();
        path
    }

    /// The real pip, with nothing but the folder of [`Self::wheel`] as its index.
    pub fn local_pip(&self) -> Pip {
        let environment = [
            ("PIP_NO_INDEX", "1".into()),
            ("PIP_FIND_LINKS", self.path("index").into_os_string()),
            ("PIP_CONFIG_FILE", "/dev/null".into()),
        ];
        Pip { environment: environment.map(|(k, v)| (k.into(), v)).to_vec(), ..Pip::default() }
    }

    /// A "python" that runs this shell script; `$DEST` is the folder pip was to download to.
    pub fn fake_python(&self, script: &str) -> Pip {
        let python = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/fake_python.sh");
        Pip { pythons: vec![python.into()], environment: vec![("FAKE_PIP".into(), script.into())] }
    }

    /// Names of everything in the cache that is not a finished file.
    pub fn leftovers(&self) -> Vec<String> {
        let names = fs::read_dir(self.cache.root()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
        names.filter(|n| n.starts_with('.') && n != ".lock").collect()
    }
}

/// `data` as a pinned file that lies in `wheel`.
pub fn artefact(data: &[u8], wheel: &Path, member: &str) -> Artefact {
    let source = WheelSource {
        package: "probe".into(),
        version: "1.0".into(),
        wheel: wheel.file_name().unwrap().to_str().unwrap().into(),
        wheel_bytes: fs::metadata(wheel).map_or(0, |m| m.len()),
        wheel_sha256: Checksum::of_file(wheel).unwrap_or(Checksum::of(b"no wheel")),
        member: member.into(),
        tags: None,
    };
    Artefact {
        name: "probe".into(),
        file: "probe.onnx".into(),
        bytes: Some(data.len() as u64),
        sha256: Checksum::of(data),
        sources: vec![source],
    }
}

/// Whether tests that need pip can run.
pub fn have_pip() -> bool {
    let there = Command::new("python3").args(["-m", "pip", "--version"]).output().is_ok_and(|o| o.status.success());
    if !there {
        eprintln!("SKIPPED: python3 with pip is not installed");
    }
    there
}
