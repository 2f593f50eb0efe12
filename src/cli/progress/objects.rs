//! `progress` and `checking` objects for programs, once a second for each view that changed.

use std::{collections::HashMap, time::Duration};

use serde::Serialize;

use super::view::{Stage, View};

/// Time between two objects of one view.
const EVERY: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
pub(super) struct Objects {
    said: HashMap<String, (Duration, Object)>,
}

/// The body of one line of `--json`. Sizes in bytes, rates in bytes per second.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Object {
    id: String,
    name: String,
    stage: &'static str,
    done: u64,
    total: u64,
    pieces_done: u32,
    pieces: u32,
    down_bps: u64,
    up_bps: u64,
    downloaded: u64,
    uploaded: u64,
    wasted: u64,
    peers: u32,
    web_seeds: u32,
    seeds: u32,
    known: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    eta_s: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    waiting: Option<String>,
}

impl Object {
    fn of(v: &View) -> Object {
        Object {
            id: v.id.clone(),
            name: v.name.clone(),
            stage: v.stage.name(),
            done: v.done,
            total: v.total,
            pieces_done: v.pieces_done,
            pieces: v.pieces,
            down_bps: v.down.0,
            up_bps: v.up.0,
            downloaded: v.downloaded,
            uploaded: v.uploaded,
            wasted: v.wasted,
            peers: v.peers,
            web_seeds: v.web_seeds,
            seeds: v.seeds,
            known: v.known,
            eta_s: v.eta.map(|t| t.as_secs()),
            waiting: v.waiting.clone(),
        }
    }
}

impl Objects {
    /// The events that are due, each with its name: changed, and a second after the last or in another stage.
    pub(super) fn show(&mut self, now: Duration, views: &[View]) -> Vec<(&'static str, Object)> {
        let mut due = Vec::new();
        for view in views {
            let object = Object::of(view);
            let say = match self.said.get(&object.id) {
                Some((at, said)) => {
                    *said != object
                        && (now.saturating_sub(*at) >= EVERY || said.stage != object.stage)
                }
                None => true,
            };
            if say {
                self.said.insert(object.id.clone(), (now, object.clone()));
                let checking = matches!(view.stage, Stage::Checking | Stage::Hashing);
                due.push((if checking { "checking" } else { "progress" }, object));
            }
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_most_once_a_second_and_only_news() {
        let mut o = Objects::default();
        let mut v = View { id: "i".into(), total: 10, ..View::default() };
        let ms = Duration::from_millis;
        assert_eq!(o.show(ms(0), std::slice::from_ref(&v)).len(), 1);
        v.done = 1;
        assert!(o.show(ms(500), std::slice::from_ref(&v)).is_empty());
        assert_eq!(o.show(ms(1000), std::slice::from_ref(&v)).len(), 1);
        assert!(o.show(ms(3000), std::slice::from_ref(&v)).is_empty());
        v.stage = Stage::Seeding;
        assert_eq!(o.show(ms(3001), std::slice::from_ref(&v)).len(), 1);
    }

    #[test]
    fn keys_are_those_of_the_contract() {
        let v = View { id: "i".into(), total: 10, ..View::default() };
        let text = serde_json::to_string(&Object::of(&v)).expect("plain data");
        assert!(text.starts_with(r#"{"id":"i","#), "{text}");
        for key in ["done", "total", "down_bps", "up_bps", "peers", "pieces"] {
            assert!(text.contains(&format!("\"{key}\":")), "{key}");
        }
    }
}
