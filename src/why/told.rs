//! A cause as it leaves the program: in `--json`, in what a run leaves in the state folder.

use serde::{Deserialize, Serialize};

use super::Finding;

/// A cause in words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// Its name for programs.
    pub cause: String,
    /// How much of the trouble it explains, from 0 to 100.
    pub weight: u8,
    /// What is the matter.
    pub line: String,
    /// What shows it.
    pub evidence: String,
    /// What to do about it.
    pub remedy: String,
}

impl From<&Finding> for Told {
    fn from(finding: &Finding) -> Self {
        let Finding { cause, weight } = finding;
        Told {
            cause: cause.name().to_owned(),
            weight: *weight,
            line: cause.to_string(),
            evidence: cause.evidence(),
            remedy: cause.remedy(),
        }
    }
}
