//! Reasons in one word each. The words stay as they are, whatever becomes of the sentences.

use crate::session::{
    CloseCause, DialFailure, Disconnect, FaultKind, PeerEnd, Refusal, WebSeedFailure as Failure,
};

/// Why a connection ended.
pub(super) const fn of_end(end: &PeerEnd) -> &'static str {
    match end {
        PeerEnd::Dropped(reason) => match reason {
            Disconnect::Protocol(_) => "protocol_error",
            Disconnect::OutOfRange => "out_of_range",
            Disconnect::OutOfTurn(_) => "out_of_turn",
            Disconnect::Unasked => "unasked_block",
            Disconnect::WrongInfoHash => "wrong_info_hash",
            Disconnect::Ourselves => "ourselves",
            Disconnect::Duplicate => "duplicate",
            Disconnect::HandshakeTimeout => "handshake_timeout",
            Disconnect::Unanswered => "unanswered",
            Disconnect::Unread => "unread",
            Disconnect::Idle => "idle",
            Disconnect::BothSeeds => "both_seeds",
            Disconnect::Poison => "bad_data",
            Disconnect::Flood(_) => "flood",
            Disconnect::Replaced => "replaced",
            Disconnect::Stopped => "stopped",
        },
        PeerEnd::Closed(cause) => match cause {
            CloseCause::Eof => "closed_by_peer",
            CloseCause::Reset => "reset_by_peer",
            CloseCause::Lost => "lost",
            CloseCause::WebSeed(failure) => of_web_seed(failure),
        },
    }
}

/// Why a dial failed.
pub(super) const fn of_dial(failure: DialFailure) -> &'static str {
    match failure {
        DialFailure::Refused => "refused",
        DialFailure::TimedOut => "timed_out",
        DialFailure::Unreachable => "unreachable",
        DialFailure::Declined => "encryption_declined",
        DialFailure::NoDescriptor => "no_descriptor",
        DialFailure::NoWay => "no_way_out",
    }
}

/// Why a connection was not wanted.
pub(super) const fn of_refusal(refusal: Refusal) -> &'static str {
    match refusal {
        Refusal::Full => "full",
        Refusal::Address => "address",
        Refusal::Banned => "banned",
        Refusal::Paused => "paused",
    }
}

/// Why a web seed failed.
pub(super) const fn of_web_seed(failure: &Failure) -> &'static str {
    match failure {
        Failure::BadUrl => "bad_url",
        Failure::Unreachable => "unreachable",
        Failure::TimedOut => "timed_out",
        Failure::Broken => "broken",
        Failure::Redirect => "redirect",
        Failure::Busy { .. } => "busy",
        Failure::Status(_) => "status",
        Failure::NoFile { .. } => "no_file",
        Failure::OtherFile { .. } => "other_file",
        Failure::NoRanges => "no_ranges",
        Failure::WrongRange => "wrong_range",
        Failure::WrongLength => "wrong_length",
        Failure::BadData => "bad_data",
        Failure::Encoded => "encoded",
    }
}

/// Why the disk refused.
pub(super) const fn of_disk(kind: FaultKind) -> &'static str {
    match kind {
        FaultKind::Full => "full",
        FaultKind::Permission => "permission",
        FaultKind::Missing => "missing",
        FaultKind::Gone => "gone",
        FaultKind::Unreadable => "unreadable",
        FaultKind::Exhausted => "exhausted",
        FaultKind::Changed => "changed",
        FaultKind::Io => "io",
    }
}
