//! Counts tokens off the request threads, one text after the other.
//!
//! Counting a long text takes milliseconds, in which a request thread would answer nobody, a probe included. One
//! thread of low priority does it. Its queue is bounded: what finds no room is not counted, and bounded by its bytes.

use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::Duration;
use tokio::sync::oneshot;

/// Texts up to this length are counted where they are: handing them over would take longer.
pub const INLINE_BYTES: usize = 4 << 10;

const MAX_WAITING_TEXTS: usize = 32;

/// Niceness of the counting thread: requests go first.
const NICENESS: i32 = 10;

/// A settlement waits for room for up to ten seconds.
const ROOM_TRIES: usize = 400;
const ROOM_PAUSE: Duration = Duration::from_millis(25);

type Job = Box<dyn FnOnce() + Send>;

pub struct Counter {
    queue: SyncSender<Job>,
}

impl Counter {
    pub fn start() -> Counter {
        let (queue, jobs) = sync_channel(MAX_WAITING_TEXTS);
        let thread = thread::Builder::new().name("counter".to_owned());
        if let Err(error) = thread.spawn(move || work(&jobs)) {
            log::error!(
                "The counting thread cannot start: {error}; texts are bounded by their bytes"
            );
        }
        Counter { queue }
    }

    /// Counts, waiting for room. `None`: there was none for long.
    pub async fn run_patiently<T: Send + 'static>(
        &self,
        count: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        self.offer(count, ROOM_TRIES).await
    }

    /// Counts if there is room now. `None`: there was none.
    pub async fn run<T: Send + 'static>(
        &self,
        count: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        self.offer(count, 1).await
    }

    async fn offer<T: Send + 'static>(
        &self,
        count: impl FnOnce() -> T + Send + 'static,
        tries: usize,
    ) -> Option<T> {
        let (done, counted) = oneshot::channel();
        let mut job: Job = Box::new(move || {
            // Whoever waited may have gone.
            let _ = done.send(count());
        });
        for tried in 1..=tries {
            match self.queue.try_send(job) {
                Ok(()) => return counted.await.ok(),
                Err(TrySendError::Full(again)) => job = again,
                Err(TrySendError::Disconnected(_)) => return None,
            }
            if tried < tries {
                tokio::time::sleep(ROOM_PAUSE).await;
            }
        }
        None
    }
}

fn work(jobs: &Receiver<Job>) {
    // Where it is not allowed, it counts at the usual priority.
    let _ = rustix::process::nice(NICENESS);
    while let Ok(job) = jobs.recv() {
        // A fault in one text must not keep the others from being counted.
        let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(job));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wait<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap()
            .block_on(future)
    }

    #[test]
    fn a_job_that_panics_takes_no_other_with_it() {
        let counter = Counter::start();

        let failed: Option<u64> = wait(counter.run(|| panic!("odd text")));
        let counted = wait(counter.run(|| 7));

        assert_eq!((failed, counted), (None, Some(7)));
    }

    #[test]
    fn a_full_queue_takes_no_more() {
        let counter = Counter::start();
        let (go, gate) = std::sync::mpsc::channel::<()>();
        let (begun, has_begun) = std::sync::mpsc::channel();
        let mut blocked = Box::pin(counter.run(move || {
            let _ = begun.send(());
            let _ = gate.recv();
        }));
        let poll = |future: &mut std::pin::Pin<Box<dyn Future<Output = Option<()>>>>| {
            let waker = futures_util::task::noop_waker_ref();
            let _ = future
                .as_mut()
                .poll(&mut std::task::Context::from_waker(waker));
        };
        let mut first: std::pin::Pin<Box<dyn Future<Output = Option<()>>>> =
            Box::pin(async { blocked.as_mut().await });
        poll(&mut first);
        has_begun.recv().unwrap();
        let mut waiting: Vec<std::pin::Pin<Box<dyn Future<Output = Option<()>>>>> = Vec::new();
        for _ in 0..MAX_WAITING_TEXTS {
            waiting.push(Box::pin(counter.run(|| ())));
            poll(waiting.last_mut().unwrap());
        }

        assert_eq!(wait(counter.run(|| ())), None);

        go.send(()).unwrap();
        assert_eq!(wait(waiting.pop().unwrap()), Some(()));
    }
}
