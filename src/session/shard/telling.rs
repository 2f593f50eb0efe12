//! What happens to a torrent: what the shard makes of it, and who is told.

use super::{Shard, TorrentEvent};
use crate::{
    base::{time::Instant, web_seed::WebSeedNumber},
    session::{event::PeerEnd, id::TorrentId, shared::Stage, turn::Happened},
    torrent::{Direction, Event, Torrent},
};

impl Shard {
    pub(super) fn happened(&mut self, now: Instant, id: TorrentId, happened: Happened) {
        let Some(tenant) = self.tenants.get_mut(&id) else { return };
        let shared = tenant.shared.clone();
        match happened {
            // The torrent itself tells of web seeds.
            Happened::Connected(addr, ..)
            | Happened::Refused(addr, _)
            | Happened::Dropped(addr, _)
            | Happened::Closed(addr, _)
                if WebSeedNumber::of(addr).is_some() => {}
            Happened::Torrent(event) => {
                match &event {
                    Event::Completed => self.completed(now, id),
                    Event::Metadata(bytes) => {
                        // Nothing else sets it.
                        let _ = shared.metadata.set(bytes.clone());
                        shared.set_stage(Stage::Complete);
                        // Whatever was said of the link is out of date.
                        self.save_at_once(now, id);
                    }
                    Event::Stopped(fault) => {
                        tenant.fault = Some(fault.clone());
                        self.tell_trackers_of_stop(now, id);
                        self.wait_for_storage(now, id, fault);
                        self.publish(now, id);
                        // What was complete stays so.
                        if !self.turns.torrent(id).is_some_and(Torrent::is_done) {
                            shared.set_stage(Stage::Failed(fault.clone().into()));
                        }
                    }
                    Event::PieceLost(_) => {
                        if !self.turns.torrent(id).is_some_and(Torrent::is_done) {
                            shared.set_stage(Stage::Busy);
                        }
                        self.publish(now, id);
                        self.changed(now, id, 0);
                    }
                    Event::PieceFailed(_) => self.changed(now, id, 0),
                    &Event::PieceVerified(piece) => {
                        let geometry = shared.info.geometry();
                        self.changed(now, id, geometry.piece_len(piece).into());
                    }
                    _ => {}
                }
                shared.tell(|| told(event));
            }
            Happened::Connected(addr, direction, encryption) => {
                let outgoing = direction == Direction::Outgoing;
                shared.tell(|| TorrentEvent::PeerConnected { addr, outgoing, encryption });
            }
            Happened::Refused(addr, reason) => {
                shared.tell(|| TorrentEvent::PeerRefused { addr, reason });
            }
            Happened::Dropped(addr, reason) => shared
                .tell(|| TorrentEvent::PeerDisconnected { addr, reason: PeerEnd::Dropped(reason) }),
            Happened::Closed(addr, cause) => shared
                .tell(|| TorrentEvent::PeerDisconnected { addr, reason: PeerEnd::Closed(cause) }),
        }
    }
}

fn told(event: Event) -> TorrentEvent {
    match event {
        Event::Metadata(_) => TorrentEvent::Metadata,
        Event::PieceVerified(piece) => TorrentEvent::PieceVerified(piece),
        Event::PieceFailed(piece) => TorrentEvent::PieceFailed(piece),
        Event::PieceLost(piece) => TorrentEvent::PieceLost(piece),
        Event::Completed => TorrentEvent::Completed,
        Event::Banned(addr) => TorrentEvent::Banned(addr),
        Event::WebSeed { url, change } => TorrentEvent::WebSeed { url, change },
        Event::Stopped(fault) => TorrentEvent::DiskFault(fault),
    }
}
