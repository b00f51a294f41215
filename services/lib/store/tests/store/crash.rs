//! Kills a process while it commits: what it had acknowledged must be there, and nothing half-written.

use std::{
    collections::HashMap,
    io::{BufRead, BufReader, Write},
    process::{Command, Stdio},
    sync::Arc,
};

use store::{Commit, RedbStore, Space, Store};
use tempfile::TempDir;
use visavis_store as store;

const STORE: &str = "VISAVIS_TEST_STORE";
const TASKS: usize = 8;

fn space(task: usize) -> Space {
    Space::tenant(&format!("t{}", task % 3).parse().unwrap())
}

fn body(task: usize, n: usize) -> Vec<u8> {
    format!("{task}:{n};").repeat(50 + n % 400).into_bytes()
}

/// Each commit writes a pair and erases the pair before the last one.
#[test]
#[ignore = "not a test: what the killed process does"]
fn child() {
    let path = std::env::var(STORE).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    runtime.block_on(async {
        let store = Arc::new(RedbStore::open(path.as_ref()).unwrap());
        let tasks: Vec<_> = (0..TASKS).map(|task| tokio::spawn(commits(store.clone(), task))).collect();
        for t in tasks {
            t.await.unwrap();
        }
    });
}

async fn commits(store: Arc<RedbStore>, task: usize) {
    for n in 0.. {
        let mut commit =
            Commit::new().put(format!("a/{task}/{n:06}"), body(task, n)).put(format!("b/{task}/{n:06}"), body(task, n));
        if let Some(old) = n.checked_sub(2) {
            commit = commit.erase(format!("a/{task}/{old:06}")).erase(format!("b/{task}/{old:06}"));
        }
        store.commit(&space(task), commit).await.unwrap();
        let mut out = std::io::stdout().lock();
        writeln!(out, "\nack {task} {n}").unwrap();
        out.flush().unwrap();
    }
}

#[tokio::test]
async fn acknowledged_commits_survive_a_kill_and_no_commit_is_halved() {
    let dir = TempDir::new().unwrap();
    for round in 1..=3usize {
        let path = dir.path().join(round.to_string());
        let mut acked: HashMap<usize, usize> = HashMap::new();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "crash::child", "--nocapture"])
            .env(STORE, &path)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut seen = 0;
        for line in lines.map_while(Result::ok) {
            let Some(ack) = line.strip_prefix("ack ") else { continue };
            let (task, n) = ack.split_once(' ').unwrap();
            acked.insert(task.parse().unwrap(), n.parse().unwrap());
            seen += 1;
            if seen == 150 * round {
                child.kill().unwrap();
            }
        }
        assert!(!child.wait().unwrap().success());
        assert!(seen >= 150 * round, "the child ended early");
        verify(&path, &acked).await;
    }
}

async fn verify(path: &std::path::Path, acked: &HashMap<usize, usize>) {
    let store = RedbStore::open(path).unwrap();
    for task in 0..TASKS {
        let mut numbers = Vec::new();
        for half in ["a", "b"] {
            let page = store.scan(&space(task), &format!("{half}/{task}/"), None, 100).await.unwrap();
            let found: Vec<usize> = page.records.iter().map(|(k, _)| k[4..].parse().unwrap()).collect();
            assert!(found.iter().zip(&page.records).all(|(n, (_, r))| r.value == body(task, *n)));
            numbers.push(found);
        }
        assert_eq!(numbers[0], numbers[1], "a commit was halved");
        let Some(&last) = acked.get(&task) else { continue };
        let there = *numbers[0].last().unwrap();
        assert!(there == last || there == last + 1, "acknowledged {last}, found {there}");
        assert_eq!(numbers[0], (there.saturating_sub(1)..=there).collect::<Vec<_>>(), "an erased pair came back");
    }
}
