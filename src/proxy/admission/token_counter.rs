//! The counting thread: counts the tokens of long texts away from the request threads.
//!
//! Counting a long text takes milliseconds, in which a request thread would serve no other request. One
//! thread of low priority does it, round robin over the tenants. Its queues are bounded: a text that does not
//! fit is not counted, and its bytes bound it instead.

use crate::dialect::growth;
use parking_lot::{Condvar, Mutex, MutexGuard};
use std::collections::VecDeque;
use std::sync::Arc;
use std::thread;
use std::time::Duration;
use tokio::sync::oneshot;

/// Longest text in bytes that is counted on the request thread: queueing it in [`TokenCounter`] would take
/// longer.
pub(crate) const INLINE_BYTES: usize = 4 << 10;

/// Queue capacity in jobs of one tenant; [`MAX_QUEUED`] of all tenants.
const MAX_QUEUED_PER_TENANT: usize = 32;
const MAX_QUEUED: usize = 512;

/// Niceness of the counting thread: requests go first.
const NICENESS: i32 = 10;

/// Tries to enter the queue, [`QUEUE_PAUSE`] apart: a settlement waits for up to ten seconds.
const QUEUE_TRIES: usize = 400;
const QUEUE_PAUSE: Duration = Duration::from_millis(25);

type Job = Box<dyn FnOnce() + Send>;

pub struct TokenCounter {
    queues: Arc<Queues>,
}

/// Queued jobs by tenant, and the signal that there are some.
#[derive(Default)]
struct Queues {
    waiting: Mutex<Waiting>,
    more: Condvar,
}

#[derive(Default)]
struct Waiting {
    queues: VecDeque<(String, VecDeque<Job>)>,
    texts: usize,
    is_over: bool,
}

/// Reason for which a job was not queued.
enum Refused {
    Full(Job),
    Over,
}

impl Queues {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock()
    }

    fn offer(&self, tenant: &str, job: Job) -> Result<(), Refused> {
        let mut waiting = self.lock();
        if waiting.is_over {
            return Err(Refused::Over);
        }
        if waiting.texts >= MAX_QUEUED {
            return Err(Refused::Full(job));
        }
        match waiting.queues.iter_mut().find(|(name, _)| name == tenant) {
            Some((_, queue)) if queue.len() >= MAX_QUEUED_PER_TENANT => {
                return Err(Refused::Full(job));
            }
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

    /// Takes the next job; its tenant moves to the end of the round. `None`: the counter has ended.
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
                self.more.wait(&mut waiting);
            }
        }
    }

    fn end(&self) {
        self.lock().is_over = true;
        self.more.notify_all();
    }
}

impl Drop for TokenCounter {
    fn drop(&mut self) {
        self.queues.end();
    }
}

impl TokenCounter {
    pub fn start() -> TokenCounter {
        let queues = Arc::new(Queues::default());
        let of_thread = queues.clone();
        let thread = thread::Builder::new().name("counter".to_owned());
        if let Err(error) = thread.spawn(move || work(&of_thread)) {
            log::error!(
                "The token counting thread cannot start: {error}. Long texts count a token a byte, so that low balances get 402 earlier; restart"
            );
            queues.end();
        }
        TokenCounter { queues }
    }

    /// Counts, waiting for a place in the queue. `None`: there was none within ten seconds.
    pub(crate) async fn run_patiently<T: Send + 'static>(
        &self,
        tenant: &str,
        count: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        self.offer(tenant, count, QUEUE_TRIES).await
    }

    /// Counts if there is a place in the queue now. `None`: there was none.
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
            // The request may have ended meanwhile.
            let _ = done.send(count());
        });
        for tried in 1..=tries {
            match self.queues.offer(tenant, job) {
                Ok(()) => return counted.await.ok(),
                Err(Refused::Full(again)) => job = again,
                Err(Refused::Over) => return None,
            }
            if tried < tries {
                tokio::time::sleep(QUEUE_PAUSE).await;
            }
        }
        None
    }
}

fn work(queues: &Queues) {
    // Ignored: without the permission the thread keeps the usual priority.
    let _ = rustix::process::nice(NICENESS);
    growth::prepare();
    while let Some(job) = queues.take() {
        // A panic over one text must not end the thread.
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
        let counter = TokenCounter::start();

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
    fn occupied(counter: &Arc<TokenCounter>) -> (std::sync::mpsc::Sender<()>, Pending) {
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
        counter: &Arc<TokenCounter>,
        tenant: &'static str,
        job: impl FnOnce() + Send + 'static,
    ) -> Pending {
        let counter = counter.clone();
        let mut offered: Pending = Box::pin(async move { counter.run(tenant, job).await });
        poll(&mut offered);
        offered
    }

    #[test]
    fn full_queues_concern_their_tenant_alone() {
        let counter = Arc::new(TokenCounter::start());
        let (go, _first) = occupied(&counter);
        let waiting: Vec<Pending> = (0..MAX_QUEUED_PER_TENANT)
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
        let counter = Arc::new(TokenCounter::start());
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
