//! Text lists of blocked addresses, line by line.
//!
//! One list may mix the forms: PeerGuardian's (`a name:1.2.3.4-1.2.3.9`), eMule's (`001.002.003.004 -
//! 001.002.003.009 , 000 , a name`), nets (`10.0.0.0/8`), ranges and single addresses, of both families.
//! Blank lines and remarks (`#`, `;`, `/`) are skipped. A line that is not understood is counted and stops
//! nothing. PeerGuardian's binary form (P2B) is not read: whoever offers it offers text as well.

use super::{
    Builder, TooManyRanges,
    line::{self, Line},
};
use crate::base::limits::MAX_BLOCKLIST_LINE;

/// Some editors begin a file with it.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// How much of a list was understood.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Understood {
    /// Lines that name addresses.
    pub good: u64,
    /// Lines that are not understood.
    pub bad: u64,
    /// The number of the first of them, from 1.
    pub first_bad: Option<u64>,
}

/// A list that is being read: its bytes come in pieces, cut anywhere.
#[derive(Debug)]
pub struct List<'a> {
    into: &'a mut Builder,
    /// The beginning of a line whose end has not come, at most [`MAX_BLOCKLIST_LINE`].
    begun: Vec<u8>,
    /// The line that has begun is too long: what else there is of it is skipped.
    too_long: bool,
    /// Lines that have ended.
    lines: u64,
    understood: Understood,
}

impl<'a> List<'a> {
    /// A list whose ranges are added to `into`.
    pub const fn new(into: &'a mut Builder) -> Self {
        let understood = Understood { good: 0, bad: 0, first_bad: None };
        List { into, begun: Vec::new(), too_long: false, lines: 0, understood }
    }

    /// The next bytes.
    ///
    /// # Errors
    /// There are too many ranges: the list is not to be used.
    pub fn push(&mut self, mut bytes: &[u8]) -> Result<(), TooManyRanges> {
        while let Some(end) = bytes.iter().position(|&b| b == b'\n') {
            let (rest, behind) = bytes.split_at(end);
            self.end_line(rest)?;
            bytes = behind.get(1..).unwrap_or_default();
        }
        self.too_long |= self.begun.len() + bytes.len() > MAX_BLOCKLIST_LINE;
        if !self.too_long {
            self.begun.extend_from_slice(bytes);
        }
        Ok(())
    }

    /// There is no more.
    ///
    /// # Errors
    /// There are too many ranges: the list is not to be used.
    pub fn end(mut self) -> Result<Understood, TooManyRanges> {
        if self.too_long || !self.begun.is_empty() {
            self.end_line(b"")?;
        }
        Ok(self.understood)
    }

    /// A line ends with `rest`.
    fn end_line(&mut self, rest: &[u8]) -> Result<(), TooManyRanges> {
        self.lines += 1;
        let length = self.begun.len() + rest.len();
        let said = if std::mem::take(&mut self.too_long) || length > MAX_BLOCKLIST_LINE {
            None
        } else if self.begun.is_empty() {
            read(rest, self.lines)
        } else {
            self.begun.extend_from_slice(rest);
            read(&self.begun, self.lines)
        };
        self.begun.clear();
        match said {
            Some(Line::Remark) => {}
            Some(Line::Allowed) => self.understood.good += 1,
            Some(Line::Blocked(range)) => {
                self.understood.good += 1;
                self.into.block(range)?;
            }
            None => {
                self.understood.bad += 1;
                self.understood.first_bad.get_or_insert(self.lines);
            }
        }
        Ok(())
    }
}

fn read(line: &[u8], number: u64) -> Option<Line> {
    let marked = line.strip_prefix(BYTE_ORDER_MARK).filter(|_| number == 1);
    line::read(marked.unwrap_or(line))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::ip_filter::IpFilter;
    use proptest::prelude::*;

    fn read<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> (IpFilter, Understood) {
        let mut builder = Builder::default();
        let mut list = List::new(&mut builder);
        pieces.into_iter().for_each(|piece| list.push(piece).expect("few"));
        let understood = list.end().expect("few");
        (builder.build(), understood)
    }

    #[test]
    fn forms_may_be_mixed_and_damage_is_counted() {
        let text = b"\xef\xbb\xbf1.2.3.4\r\n# a remark\r\n\r\nwhat?\na:5.6.7.8-5.6.7.9\n\
                     9.9.9.9 - 9.9.9.10 , 200 , allowed\nand this\n2001:db8::/32";
        let (filter, understood) = read([&text[..]]);
        assert_eq!(understood, Understood { good: 4, bad: 2, first_bad: Some(4) });
        assert_eq!(filter.ranges(), 3);
        for (ip, blocked) in
            [("1.2.3.4", true), ("5.6.7.9", true), ("9.9.9.9", false), ("2001:db8::1", true)]
        {
            assert_eq!(filter.blocks(ip.parse().expect("valid")), blocked, "{ip}");
        }
    }

    #[test]
    fn a_line_without_end_takes_no_memory() {
        let long = [b'x'; 3_000];
        let mut builder = Builder::default();
        let mut list = List::new(&mut builder);
        for _ in 0..1_000 {
            list.push(&long).expect("few");
            assert!(list.begun.capacity() <= 2 * MAX_BLOCKLIST_LINE);
        }
        list.push(b":1.2.3.4-1.2.3.5\n5.6.7.8").expect("few");
        let understood = list.end().expect("few");
        assert_eq!(understood, Understood { good: 1, bad: 1, first_bad: Some(1) });
        assert_eq!(builder.build().ranges(), 1);
    }

    fn words() -> impl Strategy<Value = Vec<u8>> {
        let word = proptest::sample::select(vec![
            &b"1.2.3.4"[..],
            b"001.002.003.010",
            b"2001:db8::7",
            b"-",
            b" - ",
            b"/24",
            b" , 000 , ",
            b":",
            b"#",
            b"name \xe9",
            b"\n",
            b"\r\n",
        ]);
        proptest::collection::vec(word, 0..40).prop_map(|words| words.concat())
    }

    proptest! {
        #[test]
        fn where_it_is_cut_does_not_matter(
            bytes in prop_oneof![words(), proptest::collection::vec(any::<u8>(), 0..300)],
            cuts in proptest::collection::vec(1usize..20, 0..30),
        ) {
            let whole = read([&bytes[..]]);
            let (mut pieces, mut rest) = (Vec::new(), &bytes[..]);
            for cut in cuts {
                let (piece, behind) = rest.split_at(cut.min(rest.len()));
                pieces.push(piece);
                rest = behind;
            }
            pieces.push(rest);
            prop_assert_eq!(read(pieces), whole);
        }
    }
}
