//! How progress is shown: bars on a terminal, lines elsewhere, objects for programs.
//!
//! The only home of `indicatif`. What is shown is a [`View`]; who fills it is not known here.

mod bars;
mod carets;
mod draw;
mod lines;
mod objects;
mod sparkline;
mod text;
mod view;

use std::time::Duration;

pub(super) use text::{count, percent, short_duration};
pub(super) use view::{Stage, View};

use super::{args::ProgressMode, exit::Failure, terminal::Terminal};

/// Shows views as this run wants them.
#[derive(Debug)]
pub(super) struct Progress {
    terminal: Terminal,
    shape: Shape,
}

#[derive(Debug)]
enum Shape {
    Bars(Box<bars::Bars>),
    Lines(lines::Lines),
    Objects(objects::Objects),
    None,
}

impl Progress {
    pub(super) fn new(terminal: Terminal) -> Self {
        let shape = match terminal.progress {
            ProgressMode::Auto => Shape::Objects(objects::Objects::default()),
            ProgressMode::Bar => Shape::Bars(Box::new(bars::Bars::new(terminal.style))),
            ProgressMode::Lines => Shape::Lines(lines::Lines::default()),
            ProgressMode::None => Shape::None,
        };
        Progress { terminal, shape }
    }

    /// Shows how things stand `now`, counted from the start of the run.
    pub(super) fn show(&mut self, now: Duration, views: &[View]) -> Result<(), Failure> {
        match &mut self.shape {
            Shape::Bars(bars) => bars.show(now, views),
            Shape::Lines(lines) => {
                lines.show(now, views).iter().for_each(|l| self.terminal.say(l));
            }
            Shape::Objects(objects) => {
                for (event, object) in objects.show(now, views) {
                    self.terminal.event(event, &object)?;
                }
            }
            Shape::None => {}
        }
        Ok(())
    }

    /// Says something without disturbing the bars.
    pub(super) fn say(&self, text: &str) {
        match &self.shape {
            Shape::Bars(bars) if !self.terminal.quiet => bars.say(text),
            _ => self.terminal.say(text),
        }
    }

    /// Writes a line of data without disturbing the bars.
    pub(super) fn data(&self, line: &str) -> Result<(), Failure> {
        self.suspend(|| self.terminal.data(line))
    }

    /// Runs `f`, which may write, while no bars are on the screen.
    pub(super) fn suspend<T>(&self, f: impl FnOnce() -> T) -> T {
        match &self.shape {
            Shape::Bars(bars) => bars.suspend(f),
            _ => f(),
        }
    }

    /// Takes the bars off the screen and lets go of it.
    pub(super) fn clear(&mut self) {
        if let Shape::Bars(bars) = &self.shape {
            bars.clear();
        }
        self.shape = Shape::None;
    }

    /// Leaves what was last shown on the screen and lets go of it.
    pub(super) fn finish(&mut self) {
        if let Shape::Bars(bars) = &self.shape {
            bars.finish();
        }
        self.shape = Shape::None;
    }
}
