//! Sizes of every shape of a `prompt` or an `input`.

use super::*;
use proptest::prelude::*;

#[test]
fn every_shape_has_its_size() {
    for (raw, tokens, texts) in [
        (r#""Hello""#, 5, 1),
        (r#""[1,2,3]""#, 7, 1),
        (r#"["ab" , "c\"d"]"#, 6, 2),
        ("[15339, 11,\t-1.5E+2]", 3, 1),
        ("[[1,2],[3]]", 3, 2),
        ("[]", 0, 1),
        (r#"["a",7]"#, 2, 2),
        (r#"[{"i":"u"}]"#, 2 + 100, 1),
    ] {
        let expected = Size {
            tokens: tokens + 8 * texts,
            texts,
        };
        assert_eq!(size(raw, 100), expected, "{raw}");
    }
}

proptest! {
    #[test]
    fn any_text_has_a_size(text in "[\\[\\]{}\",:\\\\ a1]{0,40}|\\PC{0,60}") {
        let _ = size(&text, 1);
    }
}
