//! What a table of attacks is made of, and how all rows of one are tried.
//!
//! Each door, a place where bytes come in, has a file of its own with its rows and the way to try one.
//! Nothing here knows what an attack is.

use std::{
    collections::{BTreeSet, VecDeque},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Mutex,
    thread,
};

/// What the program may take of the machine while it is attacked. The system ends or refuses it
/// beyond that, so that a bound that is passed is a wrong exit code.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bound {
    /// Memory it writes to, in MiB.
    pub(crate) memory: u32,
    /// Processor time in seconds.
    pub(crate) seconds: u32,
    /// Open files and sockets.
    pub(crate) files: u32,
    /// Size of a file it writes, in KiB, if that is bounded.
    pub(crate) file_size: Option<u32>,
}

impl Bound {
    /// What everything small has to do with; an idle session takes half of it.
    pub(crate) const SMALL: Bound = Bound { memory: 24, seconds: 5, files: 256, file_size: None };

    /// With so much memory instead.
    pub(crate) const fn memory(self, mib: u32) -> Bound {
        Bound { memory: mib, ..self }
    }
}

/// One row: what is tried, what it has to get, and within which bound.
#[derive(Debug)]
pub(crate) struct Attack<I, G> {
    pub(crate) name: &'static str,
    /// What comes in, or how it is made.
    pub(crate) input: I,
    /// What the attacker, and the user, get.
    pub(crate) gets: G,
    pub(crate) bound: Bound,
    /// What the program does wrong as yet. The row has to fail as long as this is said.
    defect: Option<&'static str>,
}

impl<I, G> Attack<I, G> {
    pub(crate) const fn new(name: &'static str, input: I, gets: G) -> Self {
        Attack { name, input, gets, bound: Bound::SMALL, defect: None }
    }

    /// With another bound than [`Bound::SMALL`].
    pub(crate) fn within(self, bound: Bound) -> Self {
        Attack { bound, ..self }
    }

    /// Known to go wrong: why.
    #[allow(dead_code, reason = "there are times without any")]
    pub(crate) fn known_defect(self, what: &'static str) -> Self {
        Attack { defect: Some(what), ..self }
    }
}

/// Rows tried at a time.
const ABREAST: usize = 3;

/// Tries all rows of a door, then fails with all that went wrong, each by its name.
pub(crate) fn try_all<I: Sync + Send, G: Sync + Send>(
    door: &str,
    rows: Vec<Attack<I, G>>,
    try_one: impl Fn(&Attack<I, G>) + Sync,
) {
    let names: BTreeSet<_> = rows.iter().map(|row| row.name).collect();
    assert_eq!(names.len(), rows.len(), "{door}: two rows have one name");
    let count = rows.len();
    let (left, wrong) = (Mutex::new(VecDeque::from(rows)), Mutex::new(Vec::new()));
    let work = || {
        loop {
            let Some(row) = left.lock().expect("no row is held by a panic").pop_front() else {
                return;
            };
            if let Err(text) = verdict(&row, &try_one) {
                wrong.lock().expect("only pushed to").push(format!("- {}: {text}", row.name));
            }
        }
    };
    thread::scope(|scope| (0..ABREAST).for_each(|_| drop(scope.spawn(work))));
    let wrong = wrong.into_inner().expect("only pushed to");
    assert!(wrong.is_empty(), "{door}: {} of {count} fail\n{}", wrong.len(), wrong.join("\n"));
}

fn verdict<I, G>(row: &Attack<I, G>, try_one: impl Fn(&Attack<I, G>)) -> Result<(), String> {
    let tried = catch_unwind(AssertUnwindSafe(|| try_one(row)));
    match (tried, row.defect) {
        (Ok(()), None) | (Err(_), Some(_)) => Ok(()),
        (Ok(()), Some(defect)) => Err(format!("mended, so take away the mark: {defect}")),
        (Err(panic), None) => {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|&t| t.to_owned()));
            Err(text.unwrap_or_else(|| "it panicked".to_owned()))
        }
    }
}

#[test]
fn a_row_that_fails_names_itself_and_the_others_are_tried_all_the_same() {
    let rows = vec![
        Attack::new("good", true, ()),
        Attack::new("bad", false, ()),
        Attack::new("known", false, ()).known_defect("it is bad"),
        Attack::new("mended", true, ()).known_defect("it was bad"),
    ];
    let tried = Mutex::new(0);
    let all = || {
        try_all("door", rows, |row| {
            *tried.lock().expect("counted") += 1;
            assert!(row.input, "is bad");
        });
    };
    let panic = catch_unwind(AssertUnwindSafe(all)).expect_err("two rows are wrong");
    let text = panic.downcast_ref::<String>().expect("a text");
    for part in ["door: 2 of 4 fail", "- bad: is bad", "- mended: mended, so take away the mark"] {
        assert!(text.contains(part), "{part} is missing in {text}");
    }
    assert_eq!(*tried.lock().expect("counted"), 4);
}
