//! Secrets in files: `admin.token_file` and `secrets.key_file`, one secret a line.
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
    let text = match std::fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) => {
            faults.add(fault(file, path, format!("cannot be read: {error}")));
            return Vec::new();
        }
    };
    let mut secrets = Vec::new();
    let lines = text.lines().enumerate();
    for (index, line) in lines.filter(|(_, line)| !line.trim().is_empty()) {
        match read(line.trim()) {
            Ok(secret) => secrets.push(secret),
            Err(message) => {
                let place = format!("{}:{}", file.display(), index + 1);
                faults.add(Fault::new(path, message).at(place));
            }
        }
    }
    if secrets.is_empty() && text.trim().is_empty() {
        faults.add(fault(file, path, "holds no line".to_owned()));
    }
    secrets
}

fn fault(file: &Path, path: &str, message: String) -> Fault {
    Fault::new(path, message).at(file.display().to_string())
}
