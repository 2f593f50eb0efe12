//! Keeps the terminal from writing `^C` behind the bars.
//!
//! The cursor stands at the end of the last row, so those two letters would begin a row of their own
//! and the next redraw would start one row too low. Everything else stays as the user has it.

use std::io::{Stderr, stderr};

use rustix::{
    process::getpgrp,
    termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcgetpgrp, tcsetattr},
};

/// As long as it lives, control characters that are typed leave no trace.
#[derive(Debug)]
pub(super) struct Carets {
    /// How the terminal was, if it was changed.
    before: Option<Termios>,
}

impl Carets {
    pub(super) fn hide() -> Self {
        let stderr = stderr();
        let change = || {
            let before = tcgetattr(&stderr).ok()?;
            let mut now = before.clone();
            now.local_modes.remove(LocalModes::ECHOCTL);
            set(&stderr, &now).then_some(before)
        };
        Carets { before: change() }
    }
}

impl Drop for Carets {
    fn drop(&mut self) {
        if let Some(before) = &self.before {
            set(&stderr(), before);
        }
    }
}

/// Whether it could be done. In the background it would stop the process.
fn set(terminal: &Stderr, modes: &Termios) -> bool {
    tcgetpgrp(terminal).is_ok_and(|foreground| foreground == getpgrp())
        && tcsetattr(terminal, OptionalActions::Now, modes).is_ok()
}
