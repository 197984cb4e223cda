//! Writes JSON objects member by member, with values that are JSON texts already.

use serde_json::Value;

/// Object that is being written.
#[derive(Debug)]
pub(super) struct ObjectText(String);

impl ObjectText {
    pub(crate) fn new() -> ObjectText {
        ObjectText("{".to_owned())
    }

    /// Begins with the member that tells the object's kind.
    pub(crate) fn typed(kind: &str) -> ObjectText {
        ObjectText::new().text("type", kind)
    }

    /// Adds a value that is a JSON text.
    pub(crate) fn raw(mut self, name: &str, json: &str) -> ObjectText {
        if self.0.len() > 1 {
            self.0.push(',');
        }
        self.0.push_str(&quoted(name));
        self.0.push(':');
        self.0.push_str(json);
        self
    }

    pub(crate) fn text(self, name: &str, text: &str) -> ObjectText {
        self.raw(name, &quoted(text))
    }

    pub(crate) fn number(self, name: &str, number: u64) -> ObjectText {
        self.raw(name, &number.to_string())
    }

    pub(crate) fn flag(self, name: &str, flag: bool) -> ObjectText {
        self.raw(name, if flag { "true" } else { "false" })
    }

    pub(crate) fn null(self, name: &str) -> ObjectText {
        self.raw(name, "null")
    }

    /// Adds a list of JSON texts.
    pub(crate) fn list(self, name: &str, list: &[String]) -> ObjectText {
        self.raw(name, &format!("[{}]", list.join(",")))
    }

    /// Adds a list of JSON texts unless it is empty.
    pub(crate) fn some_list(self, name: &str, list: &[String]) -> ObjectText {
        match list.is_empty() {
            true => self,
            false => self.list(name, list),
        }
    }

    pub(crate) fn some_raw(self, name: &str, json: Option<&str>) -> ObjectText {
        match json {
            Some(json) => self.raw(name, json),
            None => self,
        }
    }

    pub(crate) fn some_text(self, name: &str, text: Option<&str>) -> ObjectText {
        match text {
            Some(text) => self.text(name, text),
            None => self,
        }
    }

    pub(crate) fn some_flag(self, name: &str, flag: Option<bool>) -> ObjectText {
        match flag {
            Some(flag) => self.flag(name, flag),
            None => self,
        }
    }

    pub(crate) fn end(mut self) -> String {
        self.0.push('}');
        self.0
    }
}

/// Returns a text as a JSON string.
pub(super) fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

/// Writes an event whose name is its type, as Anthropic's and Responses' are.
pub(super) fn push_named(out: &mut Vec<u8>, name: &str, data: &str) {
    out.extend_from_slice(b"event: ");
    out.extend_from_slice(name.as_bytes());
    out.push(b'\n');
    push_data(out, data);
}

/// Writes an event without a name.
pub(super) fn push_data(out: &mut Vec<u8>, data: &str) {
    out.extend_from_slice(b"data: ");
    out.extend_from_slice(data.as_bytes());
    out.extend_from_slice(b"\n\n");
}
