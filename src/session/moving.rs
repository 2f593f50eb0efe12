//! What follows when we are somewhere else in the network, or have slept: trackers are told, what failed is tried
//! again, and gateways are asked anew. When that is so is [`crate::net::whereabouts`].

use std::sync::Arc;

use tokio::sync::Notify;

use super::{
    discovery::{Input, Line},
    mail::Mail,
};
use crate::net::whereabouts::Whereabouts;

/// Tells everybody each time, until the task is dropped.
pub(super) async fn tell(
    mut whereabouts: Whereabouts,
    discovery: Line,
    shard: Arc<Mail>,
    gateways: Vec<Arc<Notify>>,
) {
    loop {
        whereabouts.moved().await;
        discovery.send(Input::Moved);
        shard.post(|letters| letters.moved = true);
        gateways.iter().for_each(|ask| ask.notify_one());
    }
}
