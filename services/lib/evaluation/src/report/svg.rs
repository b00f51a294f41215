//! Plots as inline SVG: axes with ticks on a linear, logarithmic or normal-deviate scale, curves, bars and marks.
//! Colours come from the page's style sheet by class.

use std::fmt::Write;

use super::html::escape;
use crate::probit;

const WIDTH: f64 = 520.0;
const HEIGHT: f64 = 400.0;
const LEFT: f64 = 76.0;
const RIGHT: f64 = 26.0;
const TOP: f64 = 34.0;
const BOTTOM: f64 = 52.0;
/// Of one line of the legend.
const LINE: f64 = 17.0;

/// How values are spread along an axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// Evenly.
    Linear,
    /// By their logarithm.
    Log,
    /// By their normal deviate: scores of two normal distributions make a straight DET curve.
    Probit,
}

/// One axis.
#[derive(Clone, Debug)]
pub struct Axis {
    /// What is measured along it.
    pub label: &'static str,
    /// Its lower end.
    pub from: f64,
    /// Its upper end.
    pub to: f64,
    /// How values are spread along it.
    pub scale: Scale,
    /// Values that are marked, and how.
    pub ticks: Vec<(f64, String)>,
}

impl Axis {
    /// Share of the axis' length at which a value lies; what lies beyond an end is drawn at it.
    fn place(&self, value: f64) -> f64 {
        let map = |v: f64| match self.scale {
            Scale::Linear => v,
            Scale::Log => v.max(f64::MIN_POSITIVE).log10(),
            Scale::Probit => probit(v).clamp(-9.0, 9.0),
        };
        let (from, to) = (map(self.from), map(self.to));
        ((map(value) - from) / (to - from)).clamp(0.0, 1.0)
    }
}

/// A plot in the making.
#[derive(Debug)]
pub struct Plot {
    title: &'static str,
    x: Axis,
    y: Axis,
    marks: String,
    legend: Vec<(&'static str, String)>,
    legend_at_top: bool,
}

impl Plot {
    /// Nothing but axes.
    #[must_use]
    pub fn new(title: &'static str, x: Axis, y: Axis) -> Self {
        Self { title, x, y, marks: String::new(), legend: Vec::new(), legend_at_top: false }
    }

    /// Puts the legend into the upper right corner instead of the lower right one.
    #[must_use]
    pub fn legend_at_top(mut self) -> Self {
        self.legend_at_top = true;
        self
    }

    fn at(&self, x: f64, y: f64) -> (f64, f64) {
        let (w, h) = (WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM);
        (LEFT + w * self.x.place(x), TOP + h * (1.0 - self.y.place(y)))
    }

    /// A line through points, with an entry in the legend unless its name is empty.
    pub fn curve(&mut self, class: &'static str, name: &str, points: impl Iterator<Item = (f64, f64)>) {
        let mut path = String::new();
        let mut last = None;
        for (x, y) in points {
            let (x, y) = self.at(x, y);
            let here = format!("{x:.1},{y:.1}");
            if last.as_ref() != Some(&here) {
                let _ = write!(path, "{}{here}", if last.is_some() { " " } else { "" });
                last = Some(here);
            }
        }
        let _ = writeln!(self.marks, "<polyline class=\"curve {class}\" points=\"{path}\"/>");
        self.key(class, name);
    }

    /// A bar from the bottom up to `y`.
    pub fn bar(&mut self, class: &'static str, x: [f64; 2], y: f64) {
        let ((left, top), (right, bottom)) = (self.at(x[0], y), self.at(x[1], self.y.from));
        let (width, height) = (right - left, bottom - top);
        if height > 0.0 {
            let _ = writeln!(
                self.marks,
                "<rect class=\"bar {class}\" x=\"{left:.1}\" y=\"{top:.1}\" width=\"{width:.1}\" height=\"{height:.1}\"/>"
            );
        }
    }

    /// A line from bottom to top.
    pub fn vertical(&mut self, class: &'static str, name: &str, x: f64) {
        let ((x, bottom), (_, top)) = (self.at(x, self.y.from), self.at(x, self.y.to));
        let _ = writeln!(
            self.marks,
            "<line class=\"{class}\" x1=\"{x:.1}\" y1=\"{bottom:.1}\" x2=\"{x:.1}\" y2=\"{top:.1}\"/>"
        );
        self.key(class, name);
    }

    /// A dot with a word of explanation when pointed at.
    pub fn dot(&mut self, x: f64, y: f64, about: &str) {
        let (x, y) = self.at(x, y);
        let about = escape(about);
        let _ = writeln!(
            self.marks,
            "<circle class=\"dot\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4\"><title>{about}</title></circle>"
        );
    }

    /// An entry in the legend.
    pub fn key(&mut self, class: &'static str, name: &str) {
        if !name.is_empty() {
            self.legend.push((class, name.to_owned()));
        }
    }

    /// The figure, with a caption of plain text.
    #[must_use]
    pub fn figure(&self, caption: &str) -> String {
        let mut svg = format!(
            "<figure class=\"plot\">\n<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{title}\">\n\
             <text class=\"title\" x=\"{LEFT}\" y=\"20\">{title}</text>\n",
            title = escape(self.title)
        );
        self.axes(&mut svg);
        svg.push_str(&self.marks);
        self.legend(&mut svg);
        let _ = write!(svg, "</svg>\n<figcaption>{}</figcaption>\n</figure>\n", escape(caption));
        svg
    }

    fn axes(&self, svg: &mut String) {
        let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
        for (value, name) in &self.x.ticks {
            let (x, _) = self.at(*value, self.y.from);
            let y = bottom + 17.0;
            let _ = writeln!(
                svg,
                "<line class=\"grid\" x1=\"{x:.1}\" y1=\"{TOP}\" x2=\"{x:.1}\" y2=\"{bottom}\"/>\
                 <text x=\"{x:.1}\" y=\"{y}\" text-anchor=\"middle\">{}</text>",
                escape(name)
            );
        }
        for (value, name) in &self.y.ticks {
            let (_, y) = self.at(self.x.from, *value);
            let (x, base) = (LEFT - 7.0, y + 4.0);
            let _ = writeln!(
                svg,
                "<line class=\"grid\" x1=\"{LEFT}\" y1=\"{y:.1}\" x2=\"{right}\" y2=\"{y:.1}\"/>\
                 <text x=\"{x}\" y=\"{base:.1}\" text-anchor=\"end\">{}</text>",
                escape(name)
            );
        }
        let (w, h) = (right - LEFT, bottom - TOP);
        let (across, down) = (LEFT + w / 2.0, TOP + h / 2.0);
        let _ = writeln!(
            svg,
            "<rect class=\"frame\" x=\"{LEFT}\" y=\"{TOP}\" width=\"{w}\" height=\"{h}\"/>\n\
             <text x=\"{across}\" y=\"{}\" text-anchor=\"middle\">{}</text>\n\
             <text transform=\"translate(14 {down}) rotate(-90)\" text-anchor=\"middle\">{}</text>",
            HEIGHT - 12.0,
            escape(self.x.label),
            escape(self.y.label)
        );
    }

    fn legend(&self, svg: &mut String) {
        let height = LINE * self.legend.len() as f64;
        let first = if self.legend_at_top { TOP + 18.0 } else { HEIGHT - BOTTOM - height + 6.0 };
        let right = WIDTH - RIGHT - 10.0;
        for (i, (class, name)) in self.legend.iter().enumerate() {
            let y = first + LINE * i as f64;
            let (from, to, line) = (right - 24.0, right, y - 4.0);
            // Bars are shown by a broad line of their colour.
            let class = class.replace("bar ", "broad ");
            let _ = writeln!(
                svg,
                "<line class=\"curve {class}\" x1=\"{from}\" y1=\"{line}\" x2=\"{to}\" y2=\"{line}\"/>\
                 <text class=\"key\" x=\"{}\" y=\"{y}\" text-anchor=\"end\">{}</text>",
                from - 6.0,
                escape(name)
            );
        }
    }
}
