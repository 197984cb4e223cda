//! Tables: the one engine behind the gateway's settings and the configs of tenants.
//!
//! A [`table!`] declares a struct, one row for each field: description, name, type, [`ValueType`] and default. From
//! the rows follow the reader with its faults ([`Table::read`]), the JSON Schema ([`schema::of`]), the
//! commented YAML file and the reference page ([`page`]).
//!
//! ```text
//! YAML, environment, JSON ─► Node ─► rows ─► struct, or Faults (path, message, place)
//! ```

mod combine;
mod fault;
mod node;
mod opened;
pub mod page;
mod reading;
mod references;
mod row;
mod scalars;
pub mod schema;
mod secret;
mod value_type;
pub mod yaml;

pub use combine::{by_name, defaulted, either, list, map, number_or, object, section};
pub use fault::{Fault, Faults};
pub use node::Node;
pub(crate) use node::{ANY_ITEM, joined, pointer_step};
pub(crate) use opened::is_secret;
pub use opened::{Goes, opened, opened_line};
pub use reading::{Reading, Source};
pub use references::Env;
pub use row::{Row, Table, Unknown};
pub use scalars::{
    MAX_NUMBER, boolean, choice, file, line, number, parsed, plain, primitive, size, span, text,
    url, whole, words,
};
pub(crate) use scalars::{bytes_of_hex_or_base64, duration};
pub use secret::{Opener, Secret};
pub use value_type::{AnyRow, ValueType};

/// Declares a [`Table`]: a struct and its rows, in the order of the file.
///
/// ```text
/// table! {
///     /// Description of the section.
///     pub struct Limits unknown Refused {
///         /// Description of the row, for the schema, the file and the reference.
///         most: u64 = whole(1, 100).default("10");
///     }
///     beside { pub source: Option<PathBuf> }
/// }
/// ```
///
/// Every row is a public field. `unknown` says what happens to fields without a row. Fields `beside` the rows are
/// not read; they begin as their `Default`.
macro_rules! table {
    (
        $(#[doc = $about:literal])*
        $vis:vis struct $name:ident unknown $unknown:ident {
            $( $(#[doc = $doc:literal])* $field:ident : $type:ty = $form:expr ; )*
        }
        $( beside { $( $(#[$beside_meta:meta])* $beside:ident : $beside_type:ty ),* $(,)? } )?
        $( check $check:path ; )?
        $( finish $finish:path ; )?
        $( rule $rule:path ; )?
    ) => {
        $(#[doc = $about])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        $vis struct $name {
            $( $(#[doc = $doc])* pub $field: $type, )*
            $( $( $(#[$beside_meta])* pub $beside: $beside_type, )* )?
        }

        const _: () = {
            use $crate::tables::{AnyRow, Node, Reading, Row, Table, Unknown};

            struct Rows { $( $field: Row<$type>, )* }

            static ROWS: std::sync::LazyLock<Rows> = std::sync::LazyLock::new(|| Rows {
                $( $field: Row::new(stringify!($field), &[$($doc),*], $form), )*
            });

            impl Table for $name {
                const ABOUT: &'static [&'static str] = &[$($about),*];
                const UNKNOWN: Unknown = Unknown::$unknown;

                fn rows() -> Vec<&'static dyn AnyRow> {
                    vec![$( &ROWS.$field as &'static dyn AnyRow ),*]
                }

                fn rule() -> Option<serde_json::Value> {
                    let none: Option<serde_json::Value> = None;
                    none $( .or_else(|| Some($rule())) )?
                }

                fn read(node: &Node<'_>, reading: &mut Reading<'_>) -> Option<$name> {
                    if !reading.is_object(node) {
                        return None;
                    }
                    Self::check_names(node, reading);
                    $( let $field = ROWS.$field.read(node, reading); )*
                    $( $check(node, reading); )?
                    let read = $name {
                        $( $field: $field?, )*
                        $( $( $beside: Default::default(), )* )?
                    };
                    $( let read = $finish(read); )?
                    Some(read)
                }
            }
        };
    };
}
pub(crate) use table;

#[cfg(test)]
pub(crate) mod tests;
