//! Draws the README's bar chart, `throughput.svg`: CPU time per request of each contender.
//!
//! The chart consists of text and rectangles only, in colours that are legible on white and on black.

use std::fmt::Write;

use super::results::Results;

const SCENARIO: &str = "plain-16";
const WIDTH: f64 = 720.0;
const LEFT: f64 = 150.0;
const RIGHT: f64 = 110.0;
const TOP: f64 = 52.0;
const ROW: f64 = 30.0;
const BAR: f64 = 18.0;
/// Bars longer than this many times the median are truncated and labelled `(cut)`.
const CUT: f64 = 6.0;

struct Bar {
    name: String,
    cpu: f64,
    redis: f64,
}

/// Returns the SVG text, or `None` if [`SCENARIO`] was not measured.
pub fn draw(results: &Results) -> Option<String> {
    let mut bars: Vec<Bar> = results
        .names()
        .filter_map(|name| {
            let figures = results.figures(name, SCENARIO);
            Some(Bar {
                name: name.to_owned(),
                cpu: figures.cpu?,
                redis: figures.redis_cpu.unwrap_or(0.0),
            })
        })
        .collect();
    bars.sort_by(|one, other| (one.cpu + one.redis).total_cmp(&(other.cpu + other.redis)));
    let middle = bars.get(bars.len() / 2)?;
    let most = (middle.cpu + middle.redis) * CUT;
    let longest = bars.last().map(|bar| bar.cpu + bar.redis)?.min(most);
    let height = TOP + ROW * bars.len() as f64 + 30.0;
    let scale = (WIDTH - LEFT - RIGHT) / longest;
    let mut svg = String::new();
    let _ = write!(svg, "{}", head(height));
    for (number, bar) in bars.iter().enumerate() {
        let _ = write!(
            svg,
            "{}",
            row(bar, TOP + ROW * number as f64, scale, longest)
        );
    }
    let _ = writeln!(
        svg,
        r#"  <text class="note" x="{LEFT}" y="{:.0}">16 connections, answers of 550 bytes, {} cores shared with generator and provider. Paler: Redis.</text>
</svg>"#,
        height - 12.0,
        results.machine.cores,
    );
    Some(svg)
}

fn head(height: f64) -> String {
    format!(
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0}" width="{WIDTH}" height="{height:.0}" role="img" aria-label="CPU time a request of ResuLLM and others">
  <style>
    text {{ font: 13px system-ui, sans-serif; fill: #57606a }}
    .title {{ font-size: 15px; font-weight: 600 }}
    .note {{ font-size: 11px }}
    .other {{ fill: #8c959f }}
    .ours {{ fill: #d9622b }}
    .redis {{ fill: #d9622b; opacity: .45 }}
    .strong {{ font-weight: 600 }}
    @media (prefers-color-scheme: dark) {{ text {{ fill: #b1bac4 }} .other {{ fill: #6e7681 }} }}
  </style>
  <text class="title" x="12" y="26">CPU time a request, microseconds (less is better)</text>
"#
    )
}

fn row(bar: &Bar, top: f64, scale: f64, longest: f64) -> String {
    let ours = bar.name.starts_with("resullm");
    let (class, strong) = if ours {
        ("ours", " class=\"strong\"")
    } else {
        ("other", "")
    };
    let whole = bar.cpu + bar.redis;
    let shown = bar.cpu.min(longest) * scale;
    let redis = (whole.min(longest) * scale - shown).max(0.0);
    let baseline = top + BAR - 4.5;
    let mut text = format!(
        "  <text{strong} x=\"{:.0}\" y=\"{baseline:.1}\" text-anchor=\"end\">{}</text>\n  <rect class=\"{class}\" x=\"{LEFT}\" y=\"{top:.0}\" width=\"{shown:.1}\" height=\"{BAR}\" rx=\"2\"/>\n",
        LEFT - 10.0,
        bar.name,
    );
    if redis > 0.0 {
        let _ = writeln!(
            text,
            "  <rect class=\"redis\" x=\"{:.1}\" y=\"{top:.0}\" width=\"{redis:.1}\" height=\"{BAR}\" rx=\"2\"/>",
            LEFT + shown,
        );
    }
    let figure = match bar.redis > 0.0 {
        true => format!("{:.0} + {:.0}", bar.cpu, bar.redis),
        false => thousands(bar.cpu),
    };
    let cut = if whole > longest { " (cut)" } else { "" };
    let _ = writeln!(
        text,
        "  <text{strong} x=\"{:.1}\" y=\"{baseline:.1}\">{figure}{cut}</text>",
        LEFT + shown + redis + 8.0,
    );
    text
}

/// Formats a rounded number with thousands separators.
pub fn thousands(value: f64) -> String {
    let digits = format!("{:.0}", value.abs());
    let mut text = String::new();
    for (number, digit) in digits.chars().enumerate() {
        if number > 0 && (digits.len() - number) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    if value <= -0.5 {
        text.insert(0, '-');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::thousands;

    #[test]
    fn figures_have_their_commas() {
        assert_eq!(thousands(0.4), "0");
        assert_eq!(thousands(999.0), "999");
        assert_eq!(thousands(128_575.2), "128,575");
        assert_eq!(thousands(-1_234.0), "-1,234");
    }
}
