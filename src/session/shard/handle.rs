//! A shard as the rest of the session knows it: where commands go, and figures to read.

use std::sync::{
    Arc,
    atomic::{AtomicU32, AtomicU64},
};

use tokio::{
    runtime,
    sync::{mpsc, oneshot},
};

use super::super::{command::Command, mail::Mail};

/// Figures of a shard that anybody may read at any time.
#[derive(Debug, Default)]
pub(in crate::session) struct Gauges {
    pub(in crate::session) down: AtomicU64,
    pub(in crate::session) up: AtomicU64,
    pub(in crate::session) connections: AtomicU32,
    pub(in crate::session) slabs: AtomicU64,
}

/// A shard as the rest of the session knows it. Copies lead to the same one.
#[derive(Debug, Clone)]
pub(in crate::session) struct ShardHandle {
    commands: mpsc::Sender<Command>,
    pub(in crate::session) mail: Arc<Mail>,
    pub(in crate::session) gauges: Arc<Gauges>,
    runtime: runtime::Handle,
}

impl ShardHandle {
    pub(super) const fn new(
        commands: mpsc::Sender<Command>,
        mail: Arc<Mail>,
        gauges: Arc<Gauges>,
        runtime: runtime::Handle,
    ) -> Self {
        ShardHandle { commands, mail, gauges, runtime }
    }

    /// Tasks that live on its thread.
    pub(in crate::session) fn tasks(&self) -> usize {
        self.runtime.metrics().num_alive_tasks()
    }

    /// Sends a command; false when the shard has ended.
    pub(in crate::session) async fn send(&self, command: Command) -> bool {
        self.commands.send(command).await.is_ok()
    }

    /// Sends a command that is answered; `None` when the shard has ended or does not answer.
    pub(in crate::session) async fn ask<R>(
        &self,
        command: impl FnOnce(oneshot::Sender<R>) -> Command,
    ) -> Option<R> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(command(reply)).await.ok()?;
        answer.await.ok()
    }
}
