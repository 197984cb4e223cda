//! [`Documents`]: what issuers publish, their keys or their discovery, fetched when needed and kept.
//!
//! A document is known by its URL and the issuer it is read for, so two issuers never share one. Callers that need the
//! same document share one fetch, which goes on when its first caller leaves; [`Freshness`] says when there is one.

use crate::fetch::Fetcher;
use crate::rules::identity::freshness::{Freshness, Next};
use crate::telemetry::fields::About;
use crate::telemetry::throttle::Throttle;
use crate::url::Url;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use http::StatusCode;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

/// Most documents that are kept. When there are more, the one that was fetched longest ago goes.
const MAX_DOCUMENTS: usize = 1_000;
/// Times that a caller looks again after a fetch: its own, and one that another caller began meanwhile.
const MAX_LOOKS: usize = 3;

/// Reason why a caller gets no document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoDocument {
    /// The latest document does not have what was asked for.
    Missing,
    /// None could be fetched. The log says why.
    Unavailable,
}

/// Reads a document for an issuer. The error is for the log.
type Parse<T> = fn(&[u8], &str) -> Result<T, &'static str>;

/// Documents by their URL and their issuer.
type Entries<T> = HashMap<(Url, String), Arc<Entry<T>>>;

/// Cache of documents of one kind.
pub(super) struct Documents<T> {
    fetcher: Arc<Fetcher>,
    parse: Parse<T>,
    entries: Mutex<Entries<T>>,
}

struct Entry<T> {
    url: Url,
    issuer: String,
    state: Mutex<State<T>>,
}

struct State<T> {
    document: Option<Arc<T>>,
    times: Freshness,
    fetching: Option<Shared<BoxFuture<'static, ()>>>,
}

impl<T: Send + Sync + 'static> Documents<T> {
    pub fn new(fetcher: Arc<Fetcher>, parse: Parse<T>) -> Documents<T> {
        Documents {
            fetcher,
            parse,
            entries: Mutex::default(),
        }
    }

    /// Returns a document that `has` what the caller needs, from the cache or by a fetch.
    pub async fn find(
        &self,
        url: &Url,
        issuer: &str,
        has: impl Fn(&T) -> bool,
    ) -> Result<Arc<T>, NoDocument> {
        let entry = self.entry(url, issuer);
        for _ in 0..MAX_LOOKS {
            let fetching = match self.look(&entry, &has) {
                Ok(document) => return Ok(document),
                Err(Wait::For(fetching)) => fetching,
                Err(Wait::Never(why)) => return Err(why),
            };
            fetching.await;
        }
        Err(NoDocument::Unavailable)
    }

    fn look(&self, entry: &Arc<Entry<T>>, has: impl Fn(&T) -> bool) -> Result<Arc<T>, Wait> {
        let mut state = entry.state.lock();
        let found = state.document.clone().filter(|document| has(document));
        let now = Instant::now();
        let next = state.times.next(found.is_some(), now);
        if let (Next::Use, Some(document)) = (next, found) {
            return Ok(document);
        }
        let fetching = state
            .fetching
            .clone()
            .filter(|fetching| fetching.peek().is_none());
        match (fetching, next) {
            (Some(fetching), _) => Err(Wait::For(fetching)),
            (None, Next::Fetch) => {
                state.times.begin(now);
                let fetch = fetch(self.fetcher.clone(), entry.clone(), self.parse);
                // A task of its own: a caller that leaves must not use up the fetch of all others.
                let fetching = tokio::spawn(fetch).map(drop).boxed().shared();
                state.fetching = Some(fetching.clone());
                Err(Wait::For(fetching))
            }
            (None, Next::Missing) => Err(Wait::Never(NoDocument::Missing)),
            (None, Next::Unavailable | Next::Use) => Err(Wait::Never(NoDocument::Unavailable)),
        }
    }

    fn entry(&self, url: &Url, issuer: &str) -> Arc<Entry<T>> {
        let mut entries = self.entries.lock();
        let name = (url.clone(), issuer.to_owned());
        if let Some(entry) = entries.get(&name) {
            return entry.clone();
        }
        if entries.len() >= MAX_DOCUMENTS {
            let tried = |entry: &Arc<Entry<T>>| entry.state.lock().times.tried();
            let oldest = entries.iter().min_by_key(|(_, entry)| tried(entry));
            if let Some(name) = oldest.map(|(name, _)| name.clone()) {
                entries.remove(&name);
            }
        }
        let entry = Arc::new(Entry {
            url: name.0.clone(),
            issuer: name.1.clone(),
            state: Mutex::new(State {
                document: None,
                times: Freshness::default(),
                fetching: None,
            }),
        });
        entries.insert(name, entry.clone());
        entry
    }
}

enum Wait {
    For(Shared<BoxFuture<'static, ()>>),
    Never(NoDocument),
}

/// Fetches a document into its entry.
async fn fetch<T: Send + Sync>(fetcher: Arc<Fetcher>, entry: Arc<Entry<T>>, parse: Parse<T>) {
    let fetched = fetcher.get(&entry.url).await;
    let read = fetched.map_err(|error| error.0).and_then(|fetched| {
        let host = &entry.url.host;
        if fetched.status != StatusCode::OK {
            return Err(format!("{host} answered {}", fetched.status.as_u16()));
        }
        let parsed = parse(&fetched.body, &entry.issuer);
        let parsed = parsed.map_err(|why| format!("the document of {host} {why}"))?;
        Ok((parsed, fetched.max_age))
    });
    let mut state = entry.state.lock();
    match read {
        Ok((document, max_age)) => {
            state.document = Some(Arc::new(document));
            state.times.succeed(max_age, Instant::now());
        }
        Err(why) => {
            state.times.fail();
            drop(state);
            log_failure(&entry.issuer, &why);
        }
    }
}

fn log_failure(issuer: &str, why: &str) {
    static FAILED: Throttle = Throttle::new();
    About::default().log_throttled(
        &FAILED,
        module_path!(),
        log::Level::Warn,
        &[("issuer", issuer.into())],
        format_args!(
            "An issuer of sign-in cannot be asked: {why}. Its sign-ins are refused with 503, unless its last keys still serve"
        ),
    );
}
