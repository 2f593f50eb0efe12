//! Patterns that choose files by path: `*.jpg`, `docs/**`, `!*.tmp`.
//!
//! `?` is one character, `*` any number of them, `[a-z]` one of a set and `[!a-z]` one outside it,
//! none of them a `/`; `**` crosses folders. A pattern without `/` is compared with the last name of
//! a path, any other one with the whole path below the folder that is shared. A leading `!` turns
//! the pattern round.

/// A list of patterns: the last one that matches a path decides about it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Globs {
    patterns: Vec<Pattern>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Pattern {
    exclude: bool,
    whole_path: bool,
    tokens: Vec<Token>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Char(char),
    /// One character, not `/`.
    Any,
    /// Any number of characters, none of them `/`.
    Stars,
    /// Any number of any characters.
    Everything,
    /// Any number of whole folders.
    Folders,
    Set {
        negated: bool,
        ranges: Vec<(char, char)>,
    },
}

/// A pattern that says nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GlobError {
    /// Nothing to compare with.
    #[error("the file pattern is empty")]
    Empty,
    /// A `[` without its `]`.
    #[error("the file pattern `{0}` has a `[` without a `]`")]
    OpenSet(String),
}

impl Globs {
    /// Reads patterns in order.
    pub fn new<S: AsRef<str>>(patterns: impl IntoIterator<Item = S>) -> Result<Self, GlobError> {
        let patterns = patterns.into_iter().map(|text| Pattern::parse(text.as_ref()));
        Ok(Globs { patterns: patterns.collect::<Result<_, _>>()? })
    }

    /// Whether the file at `path`, with `/` between names, is chosen. One that no pattern matches
    /// is chosen when the first pattern excludes, or when there are none.
    pub fn includes(&self, path: &str) -> bool {
        let decider = self.patterns.iter().rev().find(|pattern| pattern.matches(path));
        match decider {
            Some(pattern) => !pattern.exclude,
            None => self.patterns.first().is_none_or(|first| first.exclude),
        }
    }
}

impl Pattern {
    fn parse(text: &str) -> Result<Self, GlobError> {
        let (exclude, body) = match text.strip_prefix('!') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        if body.is_empty() {
            return Err(GlobError::Empty);
        }
        let whole_path = body.contains('/');
        let mut tokens = Vec::new();
        let mut rest = body.trim_start_matches('/');
        while let Some(c) = rest.chars().next() {
            let (token, used) = match c {
                '*' if rest.starts_with("**/")
                    && matches!(tokens.last(), None | Some(Token::Char('/'))) =>
                {
                    (Token::Folders, 3)
                }
                '*' if rest.starts_with("**") => (Token::Everything, 2),
                '*' => (Token::Stars, 1),
                '?' => (Token::Any, 1),
                '[' => set(rest).ok_or_else(|| GlobError::OpenSet(text.to_owned()))?,
                '\\' => match rest[1..].chars().next() {
                    Some(next) => (Token::Char(next), 1 + next.len_utf8()),
                    None => (Token::Char('\\'), 1),
                },
                c => (Token::Char(c), c.len_utf8()),
            };
            tokens.push(token);
            rest = &rest[used..];
        }
        Ok(Pattern { exclude, whole_path, tokens })
    }

    /// All places in the text that each token can lead to, so that no pattern takes long.
    fn matches(&self, path: &str) -> bool {
        let text = if self.whole_path { path } else { path.rsplit('/').next().unwrap_or(path) };
        let text: Vec<char> = text.chars().collect();
        let mut at = vec![false; text.len() + 1];
        at[0] = true;
        for token in &self.tokens {
            let mut next = vec![false; text.len() + 1];
            for i in 0..=text.len() {
                let here = text.get(i).copied();
                let before = i.checked_sub(1).map(|j| text[j]);
                match token {
                    Token::Stars => {
                        next[i] = at[i] || i > 0 && next[i - 1] && before != Some('/');
                    }
                    Token::Everything => next[i] = at[i] || i > 0 && next[i - 1],
                    Token::Folders => {
                        next[i] = at[i] || before == Some('/') && at[..i].contains(&true);
                    }
                    one => {
                        if at[i] && here.is_some_and(|c| one.takes(c)) {
                            next[i + 1] = true;
                        }
                    }
                }
            }
            at = next;
        }
        at[text.len()]
    }
}

impl Token {
    /// Whether a token that stands for one character stands for `c`.
    fn takes(&self, c: char) -> bool {
        match self {
            Token::Char(own) => *own == c,
            Token::Any => c != '/',
            Token::Set { negated, ranges } => {
                c != '/' && ranges.iter().any(|&(low, high)| (low..=high).contains(&c)) != *negated
            }
            Token::Stars | Token::Everything | Token::Folders => false,
        }
    }
}

/// The set that `text` begins with, and its length in bytes.
fn set(text: &str) -> Option<(Token, usize)> {
    let body = text.strip_prefix('[')?;
    let negated = body.starts_with(['!', '^']);
    let skipped = 1 + usize::from(negated);
    // A `]` right at the start is a member.
    let end = text[skipped..].char_indices().skip(1).find(|&(_, c)| c == ']')?.0 + skipped;
    let mut ranges = Vec::new();
    let mut members = text[skipped..end].chars().peekable();
    while let Some(low) = members.next() {
        let mut ahead = members.clone();
        match (ahead.next(), ahead.next()) {
            (Some('-'), Some(high)) => {
                ranges.push((low, high));
                members = ahead;
            }
            _ => ranges.push((low, low)),
        }
    }
    Some((Token::Set { negated, ranges }, end + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn includes(patterns: &[&str], path: &str) -> bool {
        Globs::new(patterns).expect("valid").includes(path)
    }

    #[test]
    fn patterns_match_as_in_a_shell() {
        for (pattern, path, is_match) in [
            ("*.jpg", "a.jpg", true),
            ("*.jpg", "x/y/a.jpg", true),
            ("*.jpg", "a.jpeg", false),
            ("*", "a", true),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("?", "☃", true),
            ("x/*", "x/a", true),
            ("x/*", "x/y/a", false),
            ("x/**", "x/y/a", true),
            ("**/a", "a", true),
            ("**/a", "x/y/a", true),
            ("**/a", "x/ba", false),
            ("x/**/a", "x/a", true),
            ("x/**/a", "x/y/z/a", true),
            ("/a", "a", true),
            ("/a", "x/a", false),
            ("[a-c]x", "bx", true),
            ("[a-c]x", "dx", false),
            ("[!a-c]x", "dx", true),
            ("[]]", "]", true),
            ("[a-]", "-", true),
            ("\\*", "*", true),
            ("\\*", "a", false),
            ("**", "x/y", true),
        ] {
            assert_eq!(includes(&[pattern], path), is_match, "{pattern} on {path}");
        }
    }

    #[test]
    fn the_last_match_decides() {
        assert!(includes(&[], "a"));
        assert!(includes(&["!*.tmp"], "a"));
        assert!(!includes(&["!*.tmp"], "a.tmp"));
        assert!(!includes(&["*.jpg"], "a"));
        assert!(!includes(&["*.jpg", "!x/**"], "x/a.jpg"));
        assert!(includes(&["*.jpg", "!x/**", "x/good.jpg"], "x/good.jpg"));
    }

    #[test]
    fn hard_patterns_end_soon() {
        let pattern = "*a".repeat(200);
        assert!(!includes(&[&pattern], &"a".repeat(199)));
    }

    #[test]
    fn nonsense_is_refused() {
        assert_eq!(Globs::new([""]), Err(GlobError::Empty));
        assert_eq!(Globs::new(["!"]), Err(GlobError::Empty));
        for open in ["[", "[a", "[]", "[!]", "x[!"] {
            assert_eq!(Globs::new([open]), Err(GlobError::OpenSet(open.to_owned())));
        }
    }
}
