//! Counts tokens off the request threads, one text after the other.
//!
//! Counting a long text takes milliseconds, in which a request thread would answer nobody, a probe included. One
//! thread of low priority does it, for each tenant in turn. Its queues are bounded: what finds no room is not counted,
//! and bounded by its bytes.

use crate::dialect::growth;
use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;
use tokio::sync::oneshot;

/// Texts up to this length are counted where they are: handing them over would take longer.
pub const INLINE_BYTES: usize = 4 << 10;

/// Texts of one tenant that may wait, and of all.
const MOST_OF_ONE: usize = 32;
const MOST_OF_ALL: usize = 512;

/// Niceness of the counting thread: requests go first.
const NICENESS: i32 = 10;

/// A settlement waits for room for up to ten seconds.
const ROOM_TRIES: usize = 400;
const ROOM_PAUSE: Duration = Duration::from_millis(25);

type Job = Box<dyn FnOnce() + Send>;

pub struct Counter {
    turns: Arc<Turns>,
}

/// What waits, by tenant; the first one's is next.
#[derive(Default)]
struct Turns {
    waiting: Mutex<Waiting>,
    more: Condvar,
}

#[derive(Default)]
struct Waiting {
    queues: VecDeque<(String, VecDeque<Job>)>,
    texts: usize,
    is_over: bool,
}

/// Why a job was not taken.
enum Refused {
    Full(Job),
    Over,
}

impl Turns {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn offer(&self, tenant: &str, job: Job) -> Result<(), Refused> {
        let mut waiting = self.lock();
        if waiting.is_over {
            return Err(Refused::Over);
        }
        if waiting.texts >= MOST_OF_ALL {
            return Err(Refused::Full(job));
        }
        match waiting.queues.iter_mut().find(|(name, _)| name == tenant) {
            Some((_, queue)) if queue.len() >= MOST_OF_ONE => return Err(Refused::Full(job)),
            Some((_, queue)) => queue.push_back(job),
            None => {
                let queue = VecDeque::from([job]);
                waiting.queues.push_back((tenant.to_owned(), queue));
            }
        }
        waiting.texts += 1;
        drop(waiting);
        self.more.notify_one();
        Ok(())
    }

    /// The next one's, whose tenant then stands last. `None`: there will be no more.
    fn take(&self) -> Option<Job> {
        let mut waiting = self.lock();
        loop {
            if let Some((tenant, mut queue)) = waiting.queues.pop_front() {
                let job = queue.pop_front();
                if !queue.is_empty() {
                    waiting.queues.push_back((tenant, queue));
                }
                if job.is_some() {
                    waiting.texts -= 1;
                    return job;
                }
            } else if waiting.is_over {
                return None;
            } else {
                let woken = self.more.wait(waiting);
                waiting = woken.unwrap_or_else(PoisonError::into_inner);
            }
        }
    }

    fn end(&self) {
        self.lock().is_over = true;
        self.more.notify_all();
    }
}

impl Drop for Counter {
    fn drop(&mut self) {
        self.turns.end();
    }
}

impl Counter {
    pub fn start() -> Counter {
        let turns = Arc::new(Turns::default());
        let of_thread = turns.clone();
        let thread = thread::Builder::new().name("counter".to_owned());
        if let Err(error) = thread.spawn(move || work(&of_thread)) {
            log::error!(
                "The counting thread cannot start: {error}; texts are bounded by their bytes"
            );
            turns.end();
        }
        Counter { turns }
    }

    /// Counts, waiting for room. `None`: there was none for long.
    pub async fn run_patiently<T: Send + 'static>(
        &self,
        tenant: &str,
        count: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        self.offer(tenant, count, ROOM_TRIES).await
    }

    /// Counts if there is room now. `None`: there was none.
    pub async fn run<T: Send + 'static>(
        &self,
        tenant: &str,
        count: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        self.offer(tenant, count, 1).await
    }

    async fn offer<T: Send + 'static>(
        &self,
        tenant: &str,
        count: impl FnOnce() -> T + Send + 'static,
        tries: usize,
    ) -> Option<T> {
        let (done, counted) = oneshot::channel();
        let mut job: Job = Box::new(move || {
            // Whoever waited may have gone.
            let _ = done.send(count());
        });
        for tried in 1..=tries {
            match self.turns.offer(tenant, job) {
                Ok(()) => return counted.await.ok(),
                Err(Refused::Full(again)) => job = again,
                Err(Refused::Over) => return None,
            }
            if tried < tries {
                tokio::time::sleep(ROOM_PAUSE).await;
            }
        }
        None
    }
}

fn work(turns: &Turns) {
    // Where it is not allowed, it counts at the usual priority.
    let _ = rustix::process::nice(NICENESS);
    growth::prepare();
    while let Some(job) = turns.take() {
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

        let failed: Option<u64> = wait(counter.run("abc", || panic!("odd text")));
        let counted = wait(counter.run("abc", || 7));

        assert_eq!((failed, counted), (None, Some(7)));
    }

    type Pending = std::pin::Pin<Box<dyn Future<Output = Option<()>>>>;

    fn poll(future: &mut Pending) {
        let waker = futures_util::task::noop_waker_ref();
        let _ = future
            .as_mut()
            .poll(&mut std::task::Context::from_waker(waker));
    }

    /// A job of another tenant's that is under way until something is sent.
    fn occupied(counter: &Arc<Counter>) -> (std::sync::mpsc::Sender<()>, Pending) {
        let (go, gate) = std::sync::mpsc::channel::<()>();
        let (begun, has_begun) = std::sync::mpsc::channel();
        let counter = counter.clone();
        let mut first: Pending = Box::pin(async move {
            let job = move || {
                let _ = begun.send(());
                let _ = gate.recv();
            };
            counter.run("first", job).await
        });
        poll(&mut first);
        has_begun.recv().unwrap();
        (go, first)
    }

    fn offered(
        counter: &Arc<Counter>,
        tenant: &'static str,
        job: impl FnOnce() + Send + 'static,
    ) -> Pending {
        let counter = counter.clone();
        let mut offered: Pending = Box::pin(async move { counter.run(tenant, job).await });
        poll(&mut offered);
        offered
    }

    #[test]
    fn a_tenants_full_queue_takes_no_more_and_is_no_others() {
        let counter = Arc::new(Counter::start());
        let (go, _first) = occupied(&counter);
        let waiting: Vec<Pending> = (0..MOST_OF_ONE)
            .map(|_| offered(&counter, "many", || ()))
            .collect();

        assert_eq!(wait(counter.run("many", || ())), None);
        let other = offered(&counter, "other", || ());

        go.send(()).unwrap();
        assert_eq!(wait(other), Some(()));
        assert!(waiting.into_iter().all(|each| wait(each) == Some(())));
    }

    #[test]
    fn tenants_take_turns() {
        let counter = Arc::new(Counter::start());
        let (go, _first) = occupied(&counter);
        let (said, order) = std::sync::mpsc::channel();
        let say = |word| {
            let said = said.clone();
            move || said.send(word).unwrap()
        };
        let waiting: Vec<Pending> = ["a", "a", "a", "b", "b", "c"]
            .map(|tenant| offered(&counter, tenant, say(tenant)))
            .into();

        go.send(()).unwrap();
        waiting.into_iter().for_each(|each| {
            wait(each).unwrap();
        });
        let order: Vec<&str> = order.try_iter().collect();
        assert_eq!(order, ["a", "b", "c", "a", "b", "a"]);
    }
}
