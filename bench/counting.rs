//! Cost of counting a text, in nanoseconds a byte: texts that are hard on tokenizers, in sizes that show whether the
//! cost grows with the text or faster.
#![expect(clippy::print_stdout, reason = "a table is what this is run for")]

use std::hint::black_box;
use std::time::Instant;

use resullm::dialect::{surplus, tokens};

const SIZES: [usize; 4] = [125_000, 250_000, 500_000, 1_000_000];
/// Runs of each, of which the fastest counts: other work of the machine only adds.
const RUNS: usize = 5;

/// A way of counting, by name.
type Way = (&'static str, fn(&str) -> u64);

const WAYS: [Way; 3] = [
    ("exact", tokens::count),
    ("at most", tokens::at_most),
    ("normalised", |text| surplus::of_text(text.as_bytes())),
];

fn main() {
    let texts: [(&str, String); 7] = [
        ("one letter", "a".to_owned()),
        ("one emoji", "😀".to_owned()),
        ("random CJK", random(0x4e00, 0x5200, 1_000_000)),
        ("U+FDFA", "\u{fdfa}".to_owned()),
        ("blanks", " ".to_owned()),
        ("random of the BMP", random(0x80, 0xd750, 1_000_000)),
        (
            "English",
            "The quick brown fox jumps over the lazy dog while nobody watches. ".to_owned(),
        ),
    ];
    let sizes = SIZES.map(|size| format!(" {} KB |", size / 1_000)).concat();
    println!("| ns a byte | |{sizes}");
    println!("|---|---|{}", "---|".repeat(SIZES.len()));
    for (name, piece) in &texts {
        for (way, count) in WAYS {
            let figures = SIZES.map(|size| {
                let nanos = fastest(&of_size(piece, size), count);
                format!(" {:.1} |", nanos as f64 / size as f64)
            });
            println!("| {name} | {way} |{}", figures.concat());
        }
    }
}

fn fastest(text: &str, count: fn(&str) -> u64) -> u128 {
    let runs = (0..RUNS).map(|_| {
        let begun = Instant::now();
        black_box(count(black_box(text)));
        begun.elapsed().as_nanos()
    });
    runs.min().unwrap_or_default()
}

/// A piece again and again, cut where a character ends.
fn of_size(piece: &str, size: usize) -> String {
    let text = piece.repeat(size.div_ceil(piece.len()));
    text[..text.floor_char_boundary(size)].to_owned()
}

/// Characters of a range in no order, the same ones in every run.
fn random(first: u32, count: u32, bytes: usize) -> String {
    let mut state = 1u64;
    let signs = std::iter::repeat_with(|| {
        state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
        let at = (state >> 33) as u32 % count;
        char::from_u32(first + at).unwrap_or('?')
    });
    signs.take(bytes / 2).collect()
}
