//! Every call that is served. What is not here is not forwarded.

use super::Dialect;
use super::openai::chat::Chat;

static DIALECTS: &[&dyn Dialect] = &[&Chat];

/// The dialect of a path below `v1`.
pub fn find(words: &[&str]) -> Option<&'static dyn Dialect> {
    let fits = |dialect: &&&dyn Dialect| dialect.path().split('/').eq(words.iter().copied());
    DIALECTS.iter().find(fits).copied()
}
