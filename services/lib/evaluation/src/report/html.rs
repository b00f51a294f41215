//! The little HTML that reports need. Everything that comes from outside passes through [`escape`].

/// Text that is safe between tags and in quoted attributes.
#[must_use]
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            // Not allowed in HTML, and able to turn a line around.
            c if (c.is_control() && c != '\n') || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}') => {
                out.push('\u{fffd}');
            }
            c => out.push(c),
        }
    }
    out
}

/// A whole page: a heading, a line below it, and the body, which is HTML already.
#[must_use]
pub fn page(title: &str, subtitle: &str, body: &str) -> String {
    let (title, subtitle) = (escape(title), escape(subtitle));
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<title>{title}</title>\n<style>\n{}</style>\n</head>\n\
         <body>\n<header>\n<h1>{title}</h1>\n<p class=\"subtitle\">{subtitle}</p>\n</header>\n<main>\n{body}</main>\n\
         </body>\n</html>\n",
        include_str!("style.css")
    )
}

/// A section with a heading; the body is HTML already.
#[must_use]
pub fn section(title: &str, body: &str) -> String {
    format!("<section>\n<h2>{}</h2>\n{body}</section>\n", escape(title))
}

/// A paragraph of plain text.
#[must_use]
pub fn paragraph(text: &str) -> String {
    format!("<p>{}</p>\n", escape(text))
}

/// A table of plain text; columns after the first are set as figures.
#[must_use]
pub fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let head: String = head.iter().map(|h| format!("<th scope=\"col\">{}</th>", escape(h))).collect();
    let row = |cells: &Vec<String>| {
        let cells: Vec<String> = cells.iter().map(|c| escape(c)).collect();
        let (first, rest) = cells.split_first().map_or(("", &[][..]), |(f, r)| (f.as_str(), r));
        let rest: String = rest.iter().map(|c| format!("<td>{c}</td>")).collect();
        format!("<tr><th scope=\"row\">{first}</th>{rest}</tr>\n")
    };
    let rows: String = rows.iter().map(row).collect();
    format!("<div class=\"wide\"><table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{rows}</tbody>\n</table></div>\n")
}

/// A table of words, all of them set as text.
#[must_use]
pub fn word_table(head: &[&str], rows: &[Vec<String>]) -> String {
    table(head, rows).replacen("<table>", "<table class=\"words\">", 1)
}

/// Key figures: name, value, and a line that explains.
#[must_use]
pub fn cards(cards: &[(&str, String, String)]) -> String {
    let card = |(name, value, note): &(&str, String, String)| {
        let (name, value, note) = (escape(name), escape(value), escape(note));
        format!(
            "<div class=\"card\"><div class=\"name\">{name}</div><div class=\"value\">{value}</div>\
             <div class=\"note\">{note}</div></div>\n"
        )
    };
    format!("<div class=\"cards\">\n{}</div>\n", cards.iter().map(card).collect::<String>())
}

/// Names and what is said of them.
#[must_use]
pub fn facts(facts: &[(&str, String)]) -> String {
    let fact = |(name, value): &(&str, String)| format!("<dt>{}</dt><dd>{}</dd>\n", escape(name), escape(value));
    format!("<dl>\n{}</dl>\n", facts.iter().map(fact).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_from_outside_becomes_markup() {
        assert_eq!(escape("<b a=\"x\" b='y'>&"), "&lt;b a=&quot;x&quot; b=&#39;y&#39;&gt;&amp;");
        assert_eq!(escape("a\u{0}b\u{202e}c\td"), "a\u{fffd}b\u{fffd}c\u{fffd}d");
        let hostile = "</td><script>alert(1)</script>".to_owned();
        for made in [
            table(&["h"], &[vec![hostile.clone(), hostile.clone()]]),
            page(&hostile, &hostile, ""),
            section(&hostile, ""),
            paragraph(&hostile),
            cards(&[("n", hostile.clone(), hostile.clone())]),
            facts(&[("n", hostile.clone())]),
        ] {
            assert!(!made.contains("<script"), "{made}");
        }
    }
}
