//! A test that hangs must not hang everything: its process is ended after a while, and says which test it was.

use std::{
    cell::OnceCell,
    io::{self, Write},
    process,
    sync::{Mutex, Once, PoisonError},
    thread::{self, ThreadId},
    time::{Duration, Instant},
};

/// How long a test may take that says nothing else; far more than any needs on a machine that is slow and busy.
const MOST: Duration = Duration::from_secs(15 * 60);
/// Pause between looks.
const LOOK: Duration = Duration::from_secs(1);

struct Running {
    thread: ThreadId,
    test: String,
    began: Instant,
    most: Duration,
}

static RUNNING: Mutex<Vec<Running>> = Mutex::new(Vec::new());

thread_local! {
    static MINE: OnceCell<Registered> = const { OnceCell::new() };
}

/// Dropped when its thread ends; the harness makes one anew for each test.
struct Registered(ThreadId);

impl Drop for Registered {
    fn drop(&mut self) {
        running(|all| all.retain(|r| r.thread != self.0));
    }
}

fn running<T>(with: impl FnOnce(&mut Vec<Running>) -> T) -> T {
    with(&mut RUNNING.lock().unwrap_or_else(PoisonError::into_inner))
}

/// Ends the process, and with it the servers that were started, when the test that calls is still running a quarter of
/// an hour from now. Whatever starts a server or a client calls it. Outside a test it does nothing, nor where all tests
/// run in the main thread (`--test-threads=1`): a test is known by the thread that bears its name.
pub fn bound_this_test() {
    if MINE.with(|mine| mine.get().is_none()) {
        bound_this_test_to(MOST);
    }
}

/// The same for a test that may take longer, or must not take as long.
pub fn bound_this_test_to(most: Duration) {
    static WATCH: Once = Once::new();
    let thread = thread::current();
    let Some(test) = thread.name().filter(|name| *name != "main" && !name.starts_with("tokio")) else { return };
    let entry = Running { thread: thread.id(), test: test.to_owned(), began: Instant::now(), most };
    running(|all| {
        all.retain(|r| r.thread != entry.thread);
        all.push(entry);
    });
    MINE.with(|mine| _ = mine.get_or_init(|| Registered(thread.id())));
    WATCH.call_once(|| drop(thread::spawn(watch)));
}

fn watch() {
    loop {
        thread::sleep(LOOK);
        let overdue = running(|all| all.iter().find(|r| r.began.elapsed() > r.most).map(|r| (r.test.clone(), r.most)));
        if let Some((test, most)) = overdue {
            // Past the test harness, which would keep it to itself.
            drop(writeln!(io::stderr(), "{test} is still running after {} s: it hangs", most.as_secs()));
            process::exit(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{env, process::Command};

    use super::*;

    const AS_SUBJECT: &str = "VISAVIS_TESTKIT_HANGS";

    /// Hangs when the other test starts it in a process of its own.
    #[test]
    fn subject() {
        bound_this_test_to(Duration::from_secs(1));
        while env::var_os(AS_SUBJECT).is_some() {
            thread::park();
        }
    }

    #[test]
    fn a_test_that_hangs_is_named_and_ends_its_process_and_others_do_not() {
        let of = |subject: &str| {
            let mut run = Command::new(env::current_exe().expect("this program"));
            run.args(["overdue::tests::subject", "overdue::tests::takes_its_time"]).env(subject, "1").output()
        };
        let hung = of(AS_SUBJECT).expect("it runs");
        let told = String::from_utf8_lossy(&hung.stderr);
        assert!(
            !hung.status.success() && told.contains("overdue::tests::subject is still running after 1 s"),
            "{told}"
        );
        assert!(of("VISAVIS_TESTKIT_NOTHING").expect("it runs").status.success());
    }

    /// Goes on when the one above has ended within its second.
    #[test]
    fn takes_its_time() {
        bound_this_test();
        thread::sleep(3 * LOOK);
    }
}
