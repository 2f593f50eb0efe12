//! Codes that people pass on, by which a torrent is found that is announced nowhere else.
//!
//! A code is 95 bits of a hash of the info hash, and a check digit. From the code follow two hashes: the
//! *place* at which those who know it meet, which everybody may see, and the *password*, which stands for
//! the info hash in their handshakes and which nobody can tell from the place. Whoever has the code can
//! check the info dictionary that he is given; whoever has not can neither find the torrent nor take part.
//! All of that holds as long as nobody can guess the info hash, which is for whoever makes the torrent.

use std::{fmt, str::FromStr};

use crate::base::hash::{Sha1Hash, sha1};

/// Digits of five bits; those that look like others are left out (Crockford's base 32).
const DIGITS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
/// Digits of the code before the check digit.
const LENGTH: usize = 19;
/// Digits that stand together.
const GROUP: usize = 5;
/// Bits of the code.
const BITS: u32 = 5 * LENGTH as u32;

/// A code; prints as four groups of five digits, and is read however people write it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ShareCode(u128);

/// Why a text is no code.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ShareCodeError {
    /// It has more or fewer digits.
    #[error("a code has 20 letters and digits, this one has {0}")]
    Length(usize),
    /// There is no such digit.
    #[error("{0:?} is in no code")]
    Digit(char),
    /// One digit or more is not what it was.
    #[error("a letter or digit of the code is wrong, or two have changed places")]
    Check,
}

impl ShareCode {
    /// The code of a torrent.
    pub fn of(info_hash: Sha1Hash) -> Self {
        let mut bits = [0; 16];
        bits.copy_from_slice(&derived(b"code", &info_hash.0).0[..16]);
        ShareCode(u128::from_be_bytes(bits) >> (128 - BITS))
    }

    /// Where those who know the code meet: a hash for the DHT and the local network.
    pub fn place(self) -> Sha1Hash {
        derived(b"place", &self.0.to_be_bytes())
    }

    /// What they call the torrent in handshakes.
    pub fn password(self) -> Sha1Hash {
        derived(b"password", &self.0.to_be_bytes())
    }

    /// The last digit: each digit times its place, summed up modulo a prime, is 0 with it.
    fn check_digit(digits: &[u8]) -> u8 {
        let weighted = digits.iter().zip(1u32..).map(|(&digit, at)| u32::from(digit) * at);
        // Modulo 31 the digits 0 and 31 are one; the code does not suffer, the check hardly.
        (weighted.sum::<u32>() % 31) as u8
    }

    fn digits(self) -> [u8; LENGTH + 1] {
        let mut digits = [0; LENGTH + 1];
        for (at, digit) in digits[..LENGTH].iter_mut().enumerate() {
            *digit = (self.0 >> (5 * (LENGTH - 1 - at)) & 31) as u8;
        }
        digits[LENGTH] = Self::check_digit(&digits[..LENGTH]);
        digits
    }
}

/// One hash for each use, so that none tells of another.
fn derived(what: &[u8], of: &[u8]) -> Sha1Hash {
    sha1(&[b"downpour share 1 ", what, b" ", of].concat())
}

impl fmt::Display for ShareCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.digits().map(|digit| DIGITS[digit as usize]);
        let groups: Vec<_> = digits.chunks(GROUP).map(String::from_utf8_lossy).collect();
        f.pad(&groups.join("-"))
    }
}

/// A secret is not for logs.
impl fmt::Debug for ShareCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ShareCode(..)")
    }
}

impl FromStr for ShareCode {
    type Err = ShareCodeError;

    fn from_str(text: &str) -> Result<Self, ShareCodeError> {
        let written = text.chars().filter(|c| !c.is_whitespace() && *c != '-');
        let digits: Vec<u8> = written.map(digit).collect::<Result<_, _>>()?;
        let Some((&check, code)) = digits.split_last().filter(|(_, code)| code.len() == LENGTH)
        else {
            return Err(ShareCodeError::Length(digits.len()));
        };
        if check != Self::check_digit(code) {
            return Err(ShareCodeError::Check);
        }
        Ok(ShareCode(code.iter().fold(0, |bits, &digit| bits << 5 | u128::from(digit))))
    }
}

/// What a character stands for, as it is meant.
fn digit(c: char) -> Result<u8, ShareCodeError> {
    let meant = match c.to_ascii_lowercase() {
        'o' => '0',
        'i' | 'l' => '1',
        other => other,
    };
    let at = DIGITS.iter().position(|&digit| char::from(digit) == meant);
    at.map(|at| at as u8).ok_or(ShareCodeError::Digit(c))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const CODE: &str = "p88et-2d12k-fr079-jbk72";

    /// What is printed today must be found tomorrow.
    #[test]
    fn known_values() {
        let code = ShareCode::of(sha1(b"an info dictionary"));
        assert_eq!(code.to_string(), CODE);
        assert_eq!(code.place().to_string(), "eb05ac80541a6b81dcc7a25ef7cd37f4fa282da2");
        assert_eq!(code.password().to_string(), "c3476bf097478fa3a0bd2d09800c9103b0baebb1");
    }

    #[test]
    fn it_is_read_however_it_is_written() {
        let code: ShareCode = CODE.parse().expect("valid");
        let odd = CODE.to_uppercase().replace('-', " ").replace('0', "o").replace('1', "L");
        assert_eq!(odd.parse(), Ok(code), "{odd}");
        assert_eq!("abc".parse::<ShareCode>(), Err(ShareCodeError::Length(3)));
        assert_eq!("abcu".parse::<ShareCode>(), Err(ShareCodeError::Digit('u')));
        assert_eq!("".parse::<ShareCode>(), Err(ShareCodeError::Length(0)));
        assert_eq!(format!("{code:?}"), "ShareCode(..)");
    }

    #[test]
    fn the_three_hashes_have_nothing_in_common() {
        let code = ShareCode::of(Sha1Hash([0; 20]));
        assert!(code.place() != code.password());
        assert_ne!(code, ShareCode::of(Sha1Hash([1; 20])));
    }

    proptest! {
        #[test]
        fn it_reads_what_it_prints(hash: [u8; 20]) {
            let code = ShareCode::of(Sha1Hash(hash));
            prop_assert_eq!(code.to_string().parse(), Ok(code));
        }

        #[test]
        fn a_slip_is_noticed(hash: [u8; 20], at in 0usize..LENGTH, by in 1u8..31) {
            let code = ShareCode::of(Sha1Hash(hash));
            let mut wrong = code.digits();
            wrong[at] = (wrong[at] + by) % 32;
            let same = wrong[at] % 31 == code.digits()[at] % 31;
            let text: String = wrong.iter().map(|&d| char::from(DIGITS[d as usize])).collect();
            prop_assert!(same || text.parse::<ShareCode>() == Err(ShareCodeError::Check));
            let mut swapped = code.digits();
            swapped.swap(at, (at + 1) % LENGTH);
            let same = swapped[at] % 31 == swapped[(at + 1) % LENGTH] % 31;
            let text: String = swapped.iter().map(|&d| char::from(DIGITS[d as usize])).collect();
            prop_assert!(same || text.parse::<ShareCode>() == Err(ShareCodeError::Check));
        }
    }
}
