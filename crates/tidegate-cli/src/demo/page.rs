//! The page: two charts and the table, in one file that needs nothing else.

use std::fmt::Write;

use tidegate_lab::load::Second;

use super::chart::{Chart, Curve};
use super::figures::{Figures, Table};
use super::half::Half;
use super::story::{CROWD, Story, TIMEOUT};

const STYLE: &str = "\
:root { color-scheme: light dark; --ink: #1b2430; --soft: #5a6675; --paper: #ffffff; --line: #dfe4ea;
  --shade: #f3f5f8; --with: #0b6bcb; --without: #c4421a; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6eaf0; --soft: #9aa6b4; --paper: #12171e;
  --line: #2b333d; --shade: #1a212a; --with: #5db0ff; --without: #ff8a5c; } }
body { margin: 2rem auto; max-width: 50rem; padding: 0 1rem; font: 16px/1.5 system-ui, sans-serif;
  color: var(--ink); background: var(--paper); }
h1 { font-size: 1.5rem; } h2 { font-size: 1.1rem; margin-top: 2rem; }
svg { width: 100%; height: auto; font: 12px system-ui, sans-serif; fill: var(--soft); }
path { fill: none; stroke-width: 2.5; stroke-linecap: round; stroke-linejoin: round; }
.with { stroke: var(--with); } .without { stroke: var(--without); stroke-dasharray: 7 5; }
.grid { stroke: var(--line); } .mark { stroke: var(--soft); stroke-dasharray: 2 4; } .shade { fill: var(--shade); }
.key span { margin-right: 1.5rem; white-space: nowrap; }
.key svg { width: 2.5rem; height: .8rem; margin-right: .4rem; }
table { border-collapse: collapse; width: 100%; } td, th { padding: .3rem .6rem; text-align: right; }
th { font-weight: 600; } tr > :first-child { text-align: left; } tr + tr > * { border-top: 1px solid var(--line); }
";

const KEY: &str = "\
<p class=\"key\"><span><svg viewBox=\"0 0 40 12\" aria-hidden=\"true\"><path class=\"without\" d=\"M2 6H38\"/></svg>\
without the gate</span><span><svg viewBox=\"0 0 40 12\" aria-hidden=\"true\"><path class=\"with\" d=\"M2 6H38\"/>\
</svg>with it</span></p>\n";

/// The whole page.
pub(crate) fn page(story: Story, without: &Half, with: &Half) -> String {
    let curves = |value: fn(&Second) -> Option<f64>| {
        let curve = |class, half: &Half| {
            let shown = half.report.seconds.iter().take(story.seconds as usize);
            Curve { class, values: shown.map(value).collect() }
        };
        vec![curve("without", without), curve("with", with)]
    };
    let chart = |label, unit, mark, curves| {
        Chart { label, unit, mark, shaded_from: story.calm.into(), seconds: story.seconds.into(), curves }
            .svg()
    };
    let answered = chart(
        "Requests answered in time, second by second, without the gate and with it",
        "answered in time, per second",
        Some((Story::capacity(), "what the service can carry")),
        curves(|second| Some(second.ok as f64)),
    );
    let slowest = chart(
        "Time that 99 of 100 successes took at most, second by second, without the gate and with it",
        "99 % of these within, milliseconds",
        None,
        curves(|second| (second.ok > 0).then_some(second.p99)),
    );
    let mut rows = String::new();
    let table = Table { without: Figures::of(without, story), with: Figures::of(with, story) };
    for [name, without, with] in table.rows() {
        // Writing to a string cannot fail.
        let _ = writeln!(rows, "<tr><th scope=\"row\">{name}</th><td>{without}</td><td>{with}</td></tr>");
    }
    let (capacity, calm, timeout) = (Story::capacity(), story.calm, TIMEOUT.as_secs());
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>Tidegate: the same crowd, without the gate and with it</title>\n<style>\n{STYLE}</style>\n\
         <h1>The same crowd, without the gate and with it</h1>\n\
         <p>A service that can carry {capacity:.0} requests a second gets just that for {calm} s, and then \
         {CROWD} times as many (shaded). Its clients give up after {timeout} s; it works on for those who left. \
         The gate was told nothing about the service.</p>\n\
         {KEY}<h2>Answered in time</h2>\n{answered}<h2>How long it took</h2>\n{slowest}\
         <h2>In figures</h2>\n<table>\n<tr><td></td><th scope=\"col\">without the gate</th>\
         <th scope=\"col\">with it</th></tr>\n{rows}</table>\n</html>\n"
    )
}

#[cfg(test)]
mod tests {
    use super::super::figures::tests::half;
    use super::*;

    #[test]
    fn the_page_needs_nothing_else() {
        let page = page(Story::new(3), &half([500, 0, 0]), &half([499, 498, 497]));
        for wrong in ["http://", "https://", "<script", "@import", "url(", "src=", "NaN", "inf"] {
            assert!(!page.contains(wrong), "{wrong}");
        }
        assert!(page.contains("prefers-color-scheme: dark"));
        for tag in ["svg", "table", "style", "p", "h2", "tr"] {
            let (open, close) = (format!("<{tag}"), format!("</{tag}>"));
            let opened = page.split(&open).skip(1).filter(|rest| rest.starts_with([' ', '>'])).count();
            assert_eq!(opened, page.matches(&close).count(), "{tag}");
        }
        assert!(page.contains("498/s, 100 %"), "{page}");
    }

    #[test]
    fn halves_that_came_to_nothing_are_shown_as_well() {
        let page = page(Story::new(18), &Half::default(), &Half::default());
        assert!(page.contains("0/s, 0 %") && !page.contains("NaN"));
    }
}
