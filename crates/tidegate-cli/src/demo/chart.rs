//! Curves over time as SVG, coloured by the page's style sheet.

use std::fmt::Write;

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 300.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 16.0;
const TOP: f64 = 16.0;
const BOTTOM: f64 = 40.0;

/// One value a second; a gap where there is none.
#[derive(Debug)]
pub(crate) struct Curve<'a> {
    /// Class of the style sheet.
    pub(crate) class: &'a str,
    pub(crate) values: Vec<Option<f64>>,
}

/// A chart of curves over the same seconds.
#[derive(Debug)]
pub(crate) struct Chart<'a> {
    /// Read out in place of the picture.
    pub(crate) label: &'a str,
    pub(crate) unit: &'a str,
    /// A horizontal line that says what is possible, with its name.
    pub(crate) mark: Option<(f64, &'a str)>,
    /// From this second on the background is shaded.
    pub(crate) shaded_from: f64,
    pub(crate) seconds: f64,
    pub(crate) curves: Vec<Curve<'a>>,
}

impl Chart<'_> {
    /// The picture. It holds no text from outside, so nothing needs to be escaped.
    pub(crate) fn svg(&self) -> String {
        let values = self.curves.iter().flat_map(|curve| curve.values.iter().flatten().copied());
        let highest = values.chain(self.mark.map(|(value, _)| value)).fold(0.0, f64::max);
        let (step, top) = grid(highest);
        let x = |second: f64| LEFT + (WIDTH - LEFT - RIGHT) * second / self.seconds.max(1.0);
        let y = |value: f64| HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * value / top;

        let mut svg = format!(
            "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{}\">\n<rect class=\"shade\" \
             x=\"{:.1}\" y=\"{TOP}\" width=\"{:.1}\" height=\"{:.1}\"/>\n",
            self.label,
            x(self.shaded_from),
            x(self.seconds) - x(self.shaded_from),
            HEIGHT - TOP - BOTTOM,
        );
        // Writing to a string cannot fail.
        for number in 0..=(top / step).round() as u32 {
            let (value, at) = (f64::from(number) * step, y(f64::from(number) * step));
            let _ = writeln!(
                svg,
                "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{:.1}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/>\
                 <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{value:.0}</text>",
                WIDTH - RIGHT,
                LEFT - 8.0,
                at + 4.0
            );
        }
        let every = (self.seconds / 9.0).ceil().max(1.0);
        let mut second = 0.0;
        while second <= self.seconds {
            let _ = writeln!(
                svg,
                "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{second:.0}</text>",
                x(second),
                HEIGHT - BOTTOM + 18.0
            );
            second += every;
        }
        let (middle, low) = (LEFT + (WIDTH - LEFT - RIGHT) / 2.0, HEIGHT - 4.0);
        let _ = writeln!(svg, "<text x=\"{middle}\" y=\"{low}\" text-anchor=\"middle\">seconds</text>");
        let _ = writeln!(svg, "<text x=\"{:.1}\" y=\"12\">{}</text>", 4.0, self.unit);
        if let Some((value, name)) = self.mark {
            let _ = writeln!(
                svg,
                "<line class=\"mark\" x1=\"{LEFT}\" x2=\"{:.1}\" y1=\"{1:.1}\" y2=\"{1:.1}\"/>\
                 <text x=\"{2:.1}\" y=\"{3:.1}\" text-anchor=\"end\">{name}</text>",
                WIDTH - RIGHT,
                y(value),
                WIDTH - RIGHT - 4.0,
                y(value) - 6.0
            );
        }
        for Curve { class, values } in &self.curves {
            let mut path = String::new();
            let mut pen = 'M';
            for (second, value) in values.iter().enumerate() {
                let Some(value) = value else {
                    pen = 'M';
                    continue;
                };
                // A second's value stands in its middle; a lone one is a dot, thanks to round line ends.
                let _ = write!(path, "{pen}{:.1} {:.1}", x(second as f64 + 0.5), y(*value));
                if pen == 'M' {
                    path.push_str("h0");
                }
                pen = 'L';
            }
            let _ = writeln!(svg, "<path class=\"{class}\" d=\"{path}\"/>");
        }
        svg.push_str("</svg>\n");
        svg
    }
}

/// A round distance between grid lines and a round upper end for values up to `highest`: 3 to 6 lines.
fn grid(highest: f64) -> (f64, f64) {
    let highest = if highest.is_finite() { highest.max(1.0) } else { 1.0 };
    let power = 10f64.powf((highest / 5.0).log10().floor()).max(1.0);
    let step = [1.0, 2.0, 5.0, 10.0].map(|by| by * power).into_iter().find(|step| highest / step <= 5.0);
    let step = step.unwrap_or(power * 10.0);
    (step, step * (highest / step).ceil().max(1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_grid_is_round_and_high_enough() {
        for (highest, step, top) in [(0.0, 1.0, 1.0), (4.2, 1.0, 5.0), (512.0, 200.0, 600.0)] {
            assert_eq!(grid(highest), (step, top), "{highest}");
        }
        for highest in [1.0, 9.9, 97.0, 1001.0, 123_456.0] {
            let (step, top) = grid(highest);
            assert!(top >= highest && (1.0..=5.0).contains(&(top / step)), "{highest}");
        }
        assert_eq!(grid(f64::NAN), (1.0, 1.0));
    }

    #[test]
    fn a_gap_lifts_the_pen() {
        let values = vec![Some(1.0), Some(2.0), None, Some(1.0)];
        let curves = vec![Curve { class: "with", values }];
        let chart = Chart { label: "a", unit: "b", mark: None, shaded_from: 1.0, seconds: 4.0, curves };
        let svg = chart.svg();
        let (_, path) = svg.split_once("class=\"with\" d=\"").unwrap();
        let path = path.split('"').next().unwrap();
        assert_eq!((path.matches('M').count(), path.matches('L').count()), (2, 1), "{path}");
        assert!(svg.starts_with("<svg") && svg.ends_with("</svg>\n") && !svg.contains("NaN"));
    }
}
