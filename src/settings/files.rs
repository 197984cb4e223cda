//! Secrets in files: `admin.token_file` and `secrets.key_file`, one secret a line. Lines that begin with `#` are comments.
//!
//! A file is read at every start and every reload, while the environment of a process never changes.

use super::table::Settings;
use super::values::{read_key, read_token};
use crate::tables::{Fault, Faults};
use std::path::{Path, PathBuf};

/// Adds the secrets of the files to the settings.
pub(super) fn read(settings: &mut Settings, faults: &mut Faults) {
    let admin = &mut settings.admin;
    let tokens = secrets_of(&admin.token_file, "admin.token_file", read_token, faults);
    admin.old_tokens.extend(tokens);
    let secrets = &mut settings.secrets;
    let mut keys = secrets_of(&secrets.key_file, "secrets.key_file", read_key, faults).into_iter();
    if secrets.key.is_none() {
        secrets.key = keys.next();
    }
    secrets.old_keys.extend(keys);
}

fn secrets_of<T>(
    file: &Option<PathBuf>,
    path: &str,
    read: fn(&str) -> Result<T, String>,
    faults: &mut Faults,
) -> Vec<T> {
    let Some(file) = file else {
        return Vec::new();
    };
    // The file's name is not quoted: a secret may have been written in its place.
    let text = match text_of(file) {
        Ok(text) => text,
        Err(error) => {
            faults.add(Fault::new(
                path,
                format!("its file cannot be read: {error}"),
            ));
            return Vec::new();
        }
    };
    let mut secrets = Vec::new();
    let mut is_empty = true;
    for (index, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        is_empty = false;
        match read(line) {
            Ok(secret) => secrets.push(secret),
            Err(message) => {
                let message = format!("line {} of its file: {message}", index + 1);
                faults.add(Fault::new(path, message));
            }
        }
    }
    if is_empty {
        faults.add(Fault::new(path, "its file holds no secret"));
    }
    secrets
}

/// Reads a regular file: a pipe would be waited for.
fn text_of(file: &Path) -> std::io::Result<String> {
    if !std::fs::metadata(file)?.is_file() {
        return Err(std::io::Error::other("it is not a regular file"));
    }
    std::fs::read_to_string(file)
}
