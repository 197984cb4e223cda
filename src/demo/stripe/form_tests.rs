//! Tests of brackets in names, of limits, and of unknown parameters.

use super::*;

fn form(text: &str) -> Form {
    Form::parse(text.as_bytes())
}

#[test]
fn brackets_name_members() {
    let form = form("line_items%5B0%5D%5Bprice%5D=price_a&line_items[7][price]=price_b&expand[]=x");

    assert_eq!(form.entries("line_items"), ["0", "7"]);
    assert_eq!(form.text("line_items[7][price]"), Some("price_b"));
    assert_eq!(form.values("expand"), ["x"]);
}

#[test]
fn malformed_names_stay_whole() {
    for name in ["a[b", "a]b", "[b]", "a[[b]]", "a[b]c"] {
        assert_eq!(segments(name), [name], "{name}");
    }
    assert_eq!(segments("a[]"), ["a", ""]);
}

#[test]
fn unknown_parameters_are_named() {
    let known = ["metadata[*]", "mode"];

    assert!(
        form("mode=x&metadata[a]=1&metadata[b]=2")
            .check(&known)
            .is_ok()
    );
    for name in [
        "metadata",
        "metadata[a][b]",
        "modes",
        "line_items[0][price]",
    ] {
        let error = form(&format!("{name}=1")).check(&known).unwrap_err();
        assert_eq!(error.code, Some("parameter_unknown"));
        assert_eq!(error.param.as_deref(), Some(name));
    }
}

#[test]
fn metadata_is_bounded() {
    let long = "x".repeat(501);
    let many: String = (0..51).map(|n| format!("metadata[k{n}]=1&")).collect();

    assert!(
        form(&format!("metadata[k]={}", &long[1..]))
            .metadata("metadata")
            .is_ok()
    );
    for text in [
        format!("metadata[k]={long}"),
        format!("metadata[{}]=1", &long[..41]),
        many,
    ] {
        let error = form(&text).metadata("metadata").unwrap_err();
        assert_eq!(error.param.as_deref(), Some("metadata"));
    }
    let inner = form("subscription_data[metadata][tenant]=t&metadata[tenant]=u");
    let metadata = inner.metadata("subscription_data[metadata]").unwrap();
    assert_eq!(
        Value::Object(metadata),
        serde_json::json!({ "tenant": "t" })
    );
}

#[test]
fn values_are_read_by_type() {
    let form = form("a=7&a=8&b=true&c=&d=x");

    assert_eq!(form.integer("a"), Ok(Some(8)));
    assert_eq!(form.boolean("b"), Ok(Some(true)));
    assert_eq!(form.integer("e"), Ok(None));
    assert!(form.integer("d").is_err() && form.boolean("d").is_err());
    assert!(form.required("c").is_err() && form.required("e").is_err());
}
