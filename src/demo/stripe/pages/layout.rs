//! The frame that all pages share, and the escaping of everything that is written into one.
//!
//! Pure. Pages have no scripts; what changes something is a form with `POST`.

/// Answer to a browser.
pub(crate) enum HtmlReply {
    /// Status and HTML.
    Page(u16, String),
    /// 303 to this address.
    SeeOther(String),
}

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:44rem;margin:0 auto;padding:1rem;color:#1a1f36}\
.banner{background:#fff3cd;border:1px solid #e0c36a;padding:.5rem 1rem;border-radius:6px}\
table{border-collapse:collapse;width:100%}td,th{border-bottom:1px solid #ddd;padding:.4rem;text-align:left;\
vertical-align:top}form{display:inline}button{font:inherit;padding:.3rem .8rem;border-radius:6px;cursor:pointer;\
border:1px solid #635bff;background:#fff;color:#635bff}.main{background:#635bff;color:#fff}\
code{font-size:.8em;word-break:break-all}";

/// A whole page. `content` is HTML; its texts are escaped already.
pub(super) fn page(status: u16, title: &str, content: &str) -> HtmlReply {
    let title = escape(title);
    HtmlReply::Page(
        status,
        format!(
            "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" \
             content=\"width=device-width\"><title>{title}</title><style>{STYLE}</style></head><body>\
             <p class=\"banner\"><strong>This is a stand-in. No money moves.</strong></p><h1>{title}</h1>{content}\
             </body></html>"
        ),
    )
}

/// A page that says one thing.
pub(super) fn message(status: u16, title: &str, text: &str) -> HtmlReply {
    page(status, title, &format!("<p>{}</p>", escape(text)))
}

/// A form with one button, which posts to the page's own address.
pub(super) fn button(label: &str, fields: &[(&str, &str)]) -> String {
    let hidden = fields.iter().map(|(name, value)| {
        format!(
            "<input type=\"hidden\" name=\"{}\" value=\"{}\">",
            escape(name),
            escape(value)
        )
    });
    let hidden: String = hidden.collect();
    format!(
        "<form method=\"post\">{hidden}<button>{}</button></form> ",
        escape(label)
    )
}

/// Text for HTML, in an element or in a quoted attribute.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped += "&amp;",
            '<' => escaped += "&lt;",
            '>' => escaped += "&gt;",
            '"' => escaped += "&quot;",
            '\'' => escaped += "&#39;",
            c => escaped.push(c),
        }
    }
    escaped
}
